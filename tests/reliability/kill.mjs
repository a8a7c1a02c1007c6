#!/usr/bin/env node
// The long kill test: a server is killed at random moments under load, and everything is accounted
// for. Prints its figures as JSON, and as the table of docs/reliability.md. Exit status 1 when
// anything was lost, repeated, or wrong.
import fs from 'node:fs';
import path from 'node:path';
import { killAtRandom } from '../api/lib/kills.mjs';
import { settings, startServer } from '../api/lib/server.mjs';

const USAGE = `usage: kill.mjs --bin SERVER [--kills N] [--megabytes N] [--at-once N] [--seed N] [--dir DIR] [--json FILE] [--keep-log]

  --kills N       how often the server is killed (default 100)
  --megabytes N   how much is written at least (default 50)
  --at-once N     processes that write at the same time (default 6)
  --seed N        the moments and sizes of an earlier run (default: new ones)
  --dir DIR       the data directory is made in there, on a real disk (default: the temporary one)
  --json FILE     the figures go there too
  --keep-log      what the server said on stderr is shown`;
const NUMBERS = ['kills', 'megabytes', 'at-once', 'seed'], TEXTS = ['bin', 'dir', 'json'], FLAGS = ['keep-log', 'help'];

function options(argv) {
  const opt = { kills: 100, megabytes: 50, 'at-once': 6, seed: Date.now() % 1000000 };
  for (let i = 0; i < argv.length; i++) {
    const [, name, value] = /^--([a-z-]+)(?:=(.*))?$/s.exec(argv[i]) ?? [];
    if (FLAGS.includes(name)) opt[name] = true;
    else if (NUMBERS.includes(name)) opt[name] = Number(value ?? argv[++i]);
    else if (TEXTS.includes(name)) opt[name] = value ?? argv[++i];
    else usage(`unexpected argument ${argv[i]}`);
  }
  if (NUMBERS.some((n) => !Number.isInteger(opt[n]))) usage('a number is none');
  return opt;
}
function usage(msg) {
  if (msg) console.error(msg);
  console.error(USAGE);
  process.exit(2);
}
// As docs/reliability.md shows it.
export function table(f) {
  const rows = [
    ['kills', f.kills],
    ['seconds', f.seconds],
    ['processes (of them with terminals)', `${f.processes} (${f.terminals})`],
    ['output', `${(f.bytes / 1e6).toFixed(1)} MB, ${f.lines} lines`],
    ['lines lost', f.lost],
    ['lines repeated', f.repeated],
    ['lines damaged', f.damaged],
    ['readers reconnected', f.reconnects],
    ['kill to answer, median', `${f.restartMs.median} ms`],
    ['kill to answer, 95th percentile', `${f.restartMs.p95} ms`],
    ['kill to answer, slowest', `${f.restartMs.max} ms`],
    ['other faults', f.faults.length],
  ];
  return ['| Figure | Value |', '|---|---|', ...rows.map(([k, v]) => `| ${k} | ${v} |`)].join('\n');
}

const opt = options(process.argv.slice(2));
if (opt.help || !opt.bin) usage(opt.help ? '' : '--bin is missing');
settings.bin = path.resolve(opt.bin);
const dataDir = opt.dir ? fs.mkdtempSync(path.join(path.resolve(opt.dir), 'kills-')) : undefined;
const s = await startServer({ dataDir });
let figures;
try {
  const show = (r) => { if (r.kills % 10 === 0) console.error(`${r.kills} kills, ${(r.written / 1e6).toFixed(0)} MB, ${r.faults.length} faults`); };
  figures = await killAtRandom(s, { kills: opt.kills, bytes: opt.megabytes * 1e6, atOnce: opt['at-once'], seed: opt.seed, progress: show });
} catch (e) {
  console.error(`seed ${opt.seed}: ${e.stack}`);
}
const faults = await s.stop();
if (dataDir) fs.rmSync(dataDir, { recursive: true, force: true });
if (opt['keep-log'] || !figures) console.error(s.log);
if (!figures) process.exit(1);
figures.faults.push(...faults);
console.log(JSON.stringify(figures, null, 2));
console.log(table(figures));
if (opt.json) fs.writeFileSync(opt.json, `${JSON.stringify(figures, null, 2)}\n`);
process.exit(figures.faults.length || figures.lost || figures.repeated || figures.damaged ? 1 : 0);
