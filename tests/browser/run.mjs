#!/usr/bin/env node
// The browser suite: the page of the server in a real Chromium, without a window.
import fs from 'node:fs';
import path from 'node:path';
import { settings as servers } from '../api/lib/server.mjs';
import { launchChromium, reasonNot } from './lib/chromium.mjs';
import { cases } from './lib/registry.mjs';
import { runAll, settings } from './lib/runner.mjs';

const USAGE = `usage: run.mjs --bin SERVER [--only REGEX] [--list] [--jobs N] [--repeat N] [--ui-dir DIR] [--verbose]

  --only REGEX   only cases whose group/id matches
  --list         show the cases and stop
  --jobs N       cases beside each other (default 2)
  --repeat N     every case N times
  --ui-dir DIR   the page from disk instead of the one in SERVER
  --verbose      stack traces, and the log of the server in a failed case

CHROMIUM names the browser. SLOW=3 makes all deadlines three times as long. SHOT=DIR keeps a picture of
each page of a failed case.`;

function options(argv) {
  const opt = { jobs: 2, repeat: 1 };
  const flags = ['list', 'verbose', 'help'],
    values = ['bin', 'only', 'jobs', 'repeat', 'ui-dir'];
  for (let i = 0; i < argv.length; i++) {
    const [, name, value] = /^--([a-z-]+)(?:=(.*))?$/s.exec(argv[i]) ?? [];
    if (flags.includes(name)) opt[name] = true;
    else if (values.includes(name)) opt[name] = value ?? argv[++i];
    else usage(`unexpected argument ${argv[i]}`);
  }
  return opt;
}
function usage(message) {
  if (message) console.error(message);
  console.error(USAGE);
  process.exit(2);
}

const opt = options(process.argv.slice(2));
if (opt.help) usage();
const folder = new URL('./cases/', import.meta.url);
for (const file of fs.readdirSync(folder).filter((x) => x.endsWith('.mjs')).sort())
  await import(new URL(file, folder));
const twice = cases.map((c) => c.id).filter((id, i, all) => all.indexOf(id) !== i);
if (twice.length) usage(`case ids used twice: ${twice.join(', ')}`);

const only = opt.only ? new RegExp(opt.only) : /^/;
const selected = cases.filter((c) => only.test(c.id));
if (opt.list) {
  for (const c of selected) console.log(`${String(c.check ?? '').padEnd(3)} ${c.id.padEnd(36)} ${c.title}`);
  console.log(`${selected.length} cases`);
  process.exit(0);
}
if (!opt.bin) usage('--bin is missing');
servers.bin = path.resolve(opt.bin);
if (!fs.existsSync(servers.bin)) usage(`--bin ${opt.bin}: there is no such file`);
settings.uiDir = opt['ui-dir'] ? path.resolve(opt['ui-dir']) : '';

const tally = { passed: 0, failed: 0, skipped: 0 };
const WORD = { passed: 'PASS', failed: 'FAIL', skipped: 'SKIP' };
const indent = (s, lines) => s.trimEnd().split('\n').slice(-lines).map((l) => `    ${l}`).join('\n');
function report(r) {
  tally[r.outcome]++;
  console.log(`${WORD[r.outcome]} ${r.id} (${r.ms}ms)${r.reason ? ` - ${r.reason.trimEnd()}` : ''}`);
  if (opt.verbose && r.stack) console.log(indent(r.stack, 40));
  for (const log of r.logs ?? []) if (opt.verbose && log) console.log(`  server log:\n${indent(log, 100)}`);
}
function close() {
  console.log(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
  process.exit(tally.failed ? 1 : 0);
}
// Promises that a failed case left behind must not end the run.
process.on('unhandledRejection', (e) => {
  if (opt.verbose) console.error(e);
});

const reason = reasonNot();
if (reason) {
  for (const c of selected) report({ id: c.id, outcome: 'skipped', ms: 0, reason });
  close();
}
const browser = await launchChromium();
const rounds = Array.from({ length: Number(opt.repeat) }, () => selected).flat();
await runAll(browser, rounds, { jobs: Math.max(1, Number(opt.jobs) || 1), report });
await browser.close();
close();
