#!/usr/bin/env node
// The black-box suite: starts servers, talks to them over HTTP, event streams and WebSocket, with
// the published SDK too, and judges how each server ended.
import os from 'node:os';
import fs from 'node:fs';
import path from 'node:path';
import { Api } from './lib/api.mjs';
import { cases } from './lib/registry.mjs';
import { runAll } from './lib/runner.mjs';
import { settings } from './lib/server.mjs';

const USAGE = `usage: run.mjs --bin SERVER [--only REGEX] [--list] [--jobs N] [--repeat N] [--verbose] [--reference]

  --only REGEX   only cases whose group/id matches
  --list         show the cases and stop
  --jobs N       lanes running beside each other (default: one more than there are processors)
  --repeat N     every case N times
  --verbose      stack traces, and the whole log of a server in a failed case
  --reference    SERVER is the published one: compatible cases only, no judgement of its end

SLOW=3 in the environment makes all deadlines three times as long.`;

function options(argv) {
  const opt = { jobs: os.availableParallelism() + 1, repeat: 1 };
  const flags = ['list', 'verbose', 'reference', 'help'],
    values = ['bin', 'only', 'jobs', 'repeat'];
  for (let i = 0; i < argv.length; i++) {
    const [, name, value] = /^--([a-z]+)(?:=(.*))?$/s.exec(argv[i]) ?? [];
    if (flags.includes(name)) opt[name] = true;
    else if (values.includes(name)) opt[name] = value ?? argv[++i];
    else usage(`unexpected argument ${argv[i]}`);
  }
  return opt;
}
function usage(msg) {
  if (msg) console.error(msg);
  console.error(USAGE);
  process.exit(2);
}

const opt = options(process.argv.slice(2));
if (opt.help) usage();
const folder = new URL('./cases/', import.meta.url);
for (const f of fs
  .readdirSync(folder)
  .filter((x) => x.endsWith('.mjs'))
  .sort())
  await import(new URL(f, folder));
const twice = cases.map((c) => c.id).filter((id, i, all) => all.indexOf(id) !== i);
if (twice.length) usage(`case ids used twice: ${twice.join(', ')}`);

const only = opt.only ? new RegExp(opt.only) : /^/;
const selected = cases.filter((c) => only.test(c.id) && (!opt.reference || c.level === 'compat'));
if (opt.list) {
  for (const c of selected) console.log(`${c.level.padEnd(6)} ${c.id.padEnd(44)} ${c.title}`);
  console.log(`${selected.length} cases`);
  process.exit(0);
}
if (!opt.bin) usage('--bin is missing');
settings.bin = path.resolve(opt.bin);
if (!fs.existsSync(settings.bin)) usage(`--bin ${opt.bin}: there is no such file`);
settings.reference = !!opt.reference;
// Every answer that a case gets has to be one that openapi.json allows.
if (!opt.reference) {
  const { checkResponse } = await import('./lib/schema.mjs');
  Api.judge = (method, path, a) => checkResponse(method, path, a.status, a.type, a.json);
}

const tally = { passed: 0, failed: 0, skipped: 0 };
const WORD = { passed: 'PASS', failed: 'FAIL', skipped: 'SKIP' };
const indent = (s, lines) =>
  s
    .trimEnd()
    .split('\n')
    .slice(-lines)
    .map((l) => `    ${l}`)
    .join('\n');
function report(r) {
  tally[r.outcome]++;
  console.log(
    `${WORD[r.outcome]} ${r.id} (${r.ms}ms)${r.reason ? ` - ${r.reason.trimEnd()}` : ''}`,
  );
  if (opt.verbose && r.stack) console.log(indent(r.stack, 40));
  for (const log of r.logs ?? [])
    if (log) console.log(`  server log:\n${indent(log, opt.verbose ? 10000 : 40)}`);
}
// Promises that a failed case left behind must not end the run.
process.on('unhandledRejection', (e) => {
  if (opt.verbose) console.error(e);
});

const rounds = Array.from({ length: Number(opt.repeat) }, () => selected).flat();
await runAll(rounds, { jobs: Math.max(1, Number(opt.jobs) || 1), report });
console.log(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
process.exit(tally.failed ? 1 : 0);
