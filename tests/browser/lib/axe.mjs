// axe-core over what a page shows: what it finds serious or critical, one line each.
import fs from 'node:fs';
import { createRequire } from 'node:module';

let source;
const axeSource = () => (source ??= fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));

export async function axeFaults(page) {
  // Through the page's own policy no foreign script may be added; the driver evaluates it instead.
  if (!(await page.evaluate(() => Boolean(window.axe)))) await page.evaluate(axeSource());
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter((v) => ['serious', 'critical'].includes(v.impact))
    .map((v) => `${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')} ${n.any[0]?.message ?? n.failureSummary?.split('\n')[1]?.trim() ?? ''}`).join('; ')}`);
}
