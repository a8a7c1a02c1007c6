#!/usr/bin/env node
// Pictures of every state: screenshots.mjs --bin SERVER [--ui-dir DIR] [--only REGEX] OUTDIR writes
// STATE-THEME-WIDTH.png in light and dark, 1440, 900 and 390 px wide.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { settings as servers } from '../api/lib/server.mjs';
import { launchChromium, reasonNot } from './lib/chromium.mjs';
import { Case, settings } from './lib/runner.mjs';
import { STATES, prepare } from './lib/states.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { bin: { type: 'string' }, 'ui-dir': { type: 'string' }, only: { type: 'string' } },
});
if (!values.bin || positionals.length !== 1) {
  console.error('usage: screenshots.mjs --bin SERVER [--ui-dir DIR] [--only REGEX] OUTDIR');
  process.exit(2);
}
if (reasonNot()) {
  console.error(reasonNot());
  process.exit(1);
}
servers.bin = path.resolve(values.bin);
settings.uiDir = values['ui-dir'] ? path.resolve(values['ui-dir']) : '';
const [out] = positionals;
fs.mkdirSync(out, { recursive: true });

const SIZES = [[1440, 900], [900, 700], [390, 844]];
const only = new RegExp(values.only ?? '^');
const browser = await launchChromium();
const t = new Case(browser, {});
const scene = await prepare(t);
let failed = 0;
for (const name of Object.keys(STATES))
  for (const theme of ['light', 'dark'])
    for (const [width, height] of SIZES) {
      const file = `${name}-${theme}-${width}.png`;
      if (!only.test(file)) continue;
      try {
        const v = await scene.enter(name, { colorScheme: theme, viewport: { width, height }, ...(width < 700 && { hasTouch: true }) });
        // Fonts and the first frame of what was just drawn.
        await v.page.evaluate(() => document.fonts.ready.then(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); })));
        await v.page.screenshot({ path: path.join(out, file) });
        await v.context.close();
        console.log(file);
      } catch (e) {
        failed++;
        console.log(`${file}: ${e.message.split('\n')[0]}`);
      }
    }
await t.close();
await browser.close();
process.exit(failed ? 1 : 0);
