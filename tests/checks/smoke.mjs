// smoke.mjs - does this build serve at all?
//   node smoke.mjs [--bare] [--page] COMMAND...   starts `COMMAND... server --port 0`, asks, ends it by SIGTERM
// --bare: there is no command to run where it lives. --page: it has the inspector; without, it has not. Exit
// status 0, or 1 with a line on stderr.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';

const argv = process.argv.slice(2);
const flags = argv.filter((word) => word === '--bare' || word === '--page');
const [bare, page] = ['--bare', '--page'].map((flag) => flags.includes(flag));
const [command, ...rest] = argv.slice(flags.length);
const child = spawn(command, [...rest, 'server', '--port', '0', '--no-token'], { stdio: ['ignore', 'pipe', 'pipe'] });
const exited = once(child, 'exit');
let diagnostics = '';
child.stderr.on('data', (chunk) => { diagnostics += chunk; });

function fail(text) {
  console.error(`smoke: ${argv.join(' ')}: ${text}\n${diagnostics}`);
  child.kill('SIGKILL');
  process.exit(1);
}
setTimeout(() => fail('not done after 20 s'), 20000).unref();
exited.then(([code, signal]) => { if (!child.stopping) fail(`it ended by itself: ${signal ?? code}`); });

async function address() {
  let line = '';
  for await (const chunk of child.stdout) {
    line += chunk;
    if (line.includes('\n')) break;
  }
  const at = /(\d+\.\d+\.\d+\.\d+):(\d+)/.exec(line);
  if (!at) fail(`no address in ${JSON.stringify(line)}`);
  return `http://${at[0]}`;
}

try {
  const url = await address();
  const health = await fetch(`${url}/v1/health`);
  if (health.status !== 200 || (await health.json()).status !== 'ok') fail(`health: ${health.status}`);
  const served = Buffer.from(await (await fetch(`${url}/v1/openapi.json`)).arrayBuffer());
  if (!served.equals(readFileSync('openapi.json'))) fail('openapi.json is not served as it is');
  const ui = await fetch(`${url}/ui/`);
  const told = await ui.text();
  if (page ? ui.status !== 200 || !told.startsWith('<!doctype html>') : ui.status !== 404 || !/built without the inspector/.test(told))
    fail(`/ui/: ${ui.status} ${told.slice(0, 200)}`);
  if (!bare) {
    const body = JSON.stringify({ command: 'echo', args: ['smoke'] });
    const headers = { 'content-type': 'application/json' };
    const run = await (await fetch(`${url}/v1/processes/run`, { method: 'POST', headers, body })).json();
    if (run.stdout !== 'smoke\n' || run.exitCode !== 0) fail(`run: ${JSON.stringify(run)}`);
  }
} catch (error) {
  fail(`${error.message}: ${error.cause?.message ?? ''}`);
}
child.stopping = true;
child.kill('SIGTERM');
const [code, signal] = await exited;
if (code !== 0) fail(`SIGTERM ended it with ${signal ?? code}`);
process.exit(0);
