#!/usr/bin/env node
// Attacks by slowness and by number against servers of its own, on loopback only: see
// tests/api/lib/attacks.mjs. Prints the table of docs/reliability.md. Exit status 1 when somebody was
// refused who should not have been, when something did not come back, or when a bound was passed.
import fs from 'node:fs';
import path from 'node:path';
import { ATTACKS, attack, canRun } from '../api/lib/attacks.mjs';
import { settings } from '../api/lib/server.mjs';

const HEALTH_MS = 50; // the 99th percentile of others, under each attack
const USAGE = `usage: attack.mjs --bin SERVER [--short] [--only REGEX] [--json FILE]

  --short       small and quick; nothing that depends on time is judged
  --only REGEX  only attacks whose name matches: ${Object.keys(ATTACKS).join(' ')}
  --json FILE   the figures go there too`;

function usage(msg) {
  if (msg) console.error(msg);
  console.error(USAGE);
  process.exit(2);
}
function options(argv) {
  const opt = {};
  for (let i = 0; i < argv.length; i++) {
    const [, name, value] = /^--([a-z-]+)(?:=(.*))?$/s.exec(argv[i]) ?? [];
    if (['short', 'help'].includes(name)) opt[name] = true;
    else if (['bin', 'only', 'json'].includes(name)) opt[name] = value ?? argv[++i];
    else usage(`unexpected argument ${argv[i]}`);
  }
  return opt;
}
const listed = (got) => Object.entries(got).map(([what, n]) => `${n} ${what}`).join(', ');
const times = (t) => `${t.p50.toFixed(1)} / ${t.p99.toFixed(1)} / ${t.max.toFixed(1)}`;
const mib = (kib) => (kib / 1024).toFixed(1);
// As docs/reliability.md shows it.
function table(all) {
  const head = '| Attack | Connections, and what they got | Health, kept connection (ms) | Health, new connections (ms) | Memory before, peak (MiB) | KiB a connection (bound) | Descriptors before, after |';
  const row = (f) => [
    f.title, `${f.connections}: ${listed(f.got) || 'gone at once'}`, times(f.kept), times(f.fresh), `${mib(f.kib.before)}, ${mib(f.kib.peak)}`,
    `${f.kib.each} (${f.kib.bound})`, `${f.descriptors.before}, ${f.descriptors.after}`,
  ];
  return [head, '|---|---|---|---|---|---|---|', ...all.map((f) => `| ${row(f).join(' | ')} |`)].join('\n');
}

const opt = options(process.argv.slice(2));
if (opt.help || !opt.bin) usage(opt.help ? '' : '--bin is missing');
settings.bin = path.resolve(opt.bin);
const only = new RegExp(opt.only ?? '');
const all = [];
let failed = 0;
for (const name of Object.keys(ATTACKS).filter((n) => only.test(n))) {
  if (!canRun(name)) {
    console.error(`SKIP ${name}: this server has no ${ATTACKS[name].needs}`);
    continue;
  }
  const f = await attack(name, opt.short ? 'short' : 'full').catch((e) => ({ name, faults: [e.stack] }));
  // A new TLS connection waits for the handshakes of those that came before it: that is the queue, and
  // not the loop.
  const judged = [['the kept connection', f.kept]];
  if (!ATTACKS[name].needs) judged.push(['new connections', f.fresh]);
  if (f.kept && !opt.short)
    for (const [who, t] of judged)
      if (t.p99 >= HEALTH_MS) f.faults.push(`health on ${who}: 99 of 100 within ${t.p99} ms`);
  if (f.kept) all.push(f);
  failed += f.faults.length ? 1 : 0;
  console.error(`${f.faults.length ? 'FAIL' : 'PASS'} ${name}${f.faults.map((x) => `\n    ${x}`).join('')}`);
}
console.log(table(all));
if (opt.json) fs.writeFileSync(opt.json, `${JSON.stringify(all, null, 2)}\n`);
process.exit(failed || all.length === 0 ? 1 : 0);
