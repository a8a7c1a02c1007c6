// Processes and runs beyond the published server: exact bytes, honest exits, whole trees, bounded
// input, and the server as PID 1 (groups run, lifecycle, input, robustness).
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { Api, conflict, define, eq, has, invalid, keys, lacks, match, ok, problem, secs, skip, until } from '../lib.mjs';
import { reader, queued } from '../lib/helpers.mjs';
import { stat, zombiesOf } from '../lib/proc.mjs';
import { gone, numberOf } from '../lib/programs.mjs';

const run = define('run');
const lifecycle = define('lifecycle');
const input = define('input');
const robustness = define('robustness');
const BASE = ['exitCode', 'timedOut', 'stdout', 'stderr', 'stdoutTruncated', 'stderrTruncated', 'durationMs'];
const send = (api, id, body) => api.post(`/v1/processes/${id}/input`, body);

// ------------------------------------------------------------------ runs
run('better', 'base64-output', 'stdoutEncoding base64 gives the exact bytes of both streams', async ({ api }) => {
  const every = 'i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i+1)); done';
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('base64');
  const r = await api.runSh(`${every}; { ${every}; } >&2`, { stdoutEncoding: 'base64' });
  eq([r.stdout, r.stderr], [all, all]);
  keys(r, BASE);
  const cut = await api.run({ command: 'printf', args: ['ab\u00e9cd'], stdoutEncoding: 'base64', maxOutputBytes: 3 });
  eq([cut.stdout, cut.stdoutTruncated], [Buffer.from('ab\u00e9').subarray(0, 3).toString('base64'), true], 'cut by bytes');
  eq((await api.run({ command: 'true', stdoutEncoding: 'base64' })).stdout, '');
  eq((await api.run({ command: 'printf', args: ['a\\377'], stdoutEncoding: 'utf8' })).stdout, 'a\ufffd', 'utf8 is the default, said aloud');
});
run('better', 'unknown-output-encoding', 'another stdoutEncoding is refused', async ({ api }) => {
  for (const stdoutEncoding of ['hex', 'BASE64', '', 5]) {
    const r = await api.post('/v1/processes/run', { command: 'true', stdoutEncoding });
    problem(r, { status: 422, type: 'invalid_request', detail: /stdoutEncoding/ });
  }
});
run('better', 'text-is-utf8', 'whatever the bytes were, the text is valid UTF-8', async ({ api }) => {
  const r = await api.req('POST', '/v1/processes/run', { json: { command: 'head', args: ['-c', '200000', '/dev/urandom'] } });
  new TextDecoder('utf-8', { fatal: true }).decode(r.buf);
  has(r.json.stdout, '\ufffd');
});
run('better', 'exit-signal', 'a death by signal is told by name; a timeout and a code are none', async ({ api }) => {
  for (const [name, nr] of [['SIGKILL', 9], ['SIGTERM', 15], ['SIGINT', 2], ['SIGUSR1', 10]]) {
    const r = await api.runSh(`kill -${nr} $$`);
    eq([r.exitCode, r.timedOut, r.exitSignal], [null, false, name]);
    keys(r, [...BASE, 'exitSignal']);
  }
  for (const r of [await api.runSh('exit 137'), await api.runSh('exec sleep 60', { timeoutMs: 200 })]) keys(r, BASE);
});
run('better', 'core-dumped', 'coreDumped is there when there was a core, and only then', async ({ api }) => {
  const dir = (await api.runSh('mktemp -d')).stdout.trim();
  try {
    const crash = (limit) => `ulimit -c ${limit}; kill -SEGV $$`;
    const seen = await api.run({ command: 'perl', args: ['-e', 'system("sh", "-c", $ARGV[0]); print(($? & 128) ? "yes" : "no")', crash('unlimited')], cwd: dir })
      .catch(() => skip('no perl to ask whether this system writes cores'));
    const r = await api.runSh(crash('unlimited'), { cwd: dir });
    eq([r.exitSignal, r.coreDumped], ['SIGSEGV', seen.stdout === 'yes' ? true : undefined]);
    const p = await api.sh(crash('unlimited'), { cwd: dir });
    eq((await api.exited(p.id)).coreDumped, seen.stdout === 'yes' ? true : undefined);
    const none = await api.runSh(crash('0'), { cwd: dir });
    eq(none.exitSignal, 'SIGSEGV');
    ok(!none.coreDumped || seen.stdout === 'yes', 'no core, no claim'); // a system may pipe cores past the limit
  } finally { await api.run({ command: 'rm', args: ['-rf', dir] }); }
});
run('better', 'timeout-beyond-session', 'a timeout also ends descendants that went into sessions of their own', async ({ api }) => {
  const script = 'setsid sh -c \'echo "child=$$"; exec sleep 300\' >&2 & setsid sleep 300 >/dev/null 2>&1 </dev/null & wait';
  const r = await api.runSh(script, { timeoutMs: 3000 });
  const child = numberOf('child', r.stderr);
  try { eq(r.timedOut, true); await gone(api, child, 'the child in its own session'); } finally { await api.reap(child); }
});
run('better', 'two-hundred-at-once', 'two hundred runs at once, each leaving orphans, all tell their own output and code', async (ctx) => ctx.withServer({}, async (s, api) => {
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    const r = await api.runSh(`(sleep 0.1 >/dev/null 2>&1 & exec true); (sh -c 'exit 77' >/dev/null 2>&1 &); echo ${i}; exit ${i % 256}`);
    eq([r.exitCode, r.stdout, r.timedOut], [i % 256, `${i}\n`, false]);
  }));
  await until(() => zombiesOf(s.serverPid()).length === 0, { within: secs(5), what: 'all orphans to be reaped' });
}), { spawn: true });

// ------------------------------------------------------------------ records
lifecycle('better', 'exit-signal', 'a record tells the signal that ended the process, and only then', async ({ api }) => {
  const killed = await api.sh('exec sleep 60'), stopped = await api.sh('exec sleep 60', { tty: true });
  const k = (await api.kill(killed.id, '?waitMs=5000')).json, t = (await api.stop(stopped.id, '?waitMs=5000')).json;
  eq([k.exitSignal, t.exitSignal], ['SIGKILL', 'SIGTERM']);
  for (const p of [k, t]) ok(!('exitCode' in p) && !('pid' in p) && !('coreDumped' in p), JSON.stringify(p));
  const plain = await api.exited((await api.sh('exit 143')).id);
  eq([plain.exitCode, 'exitSignal' in plain], [143, false]);
  eq((await api.get('/v1/processes')).json.processes.find((p) => p.id === killed.id), k, 'the list has it too');
});
lifecycle('better', 'failed-start-leaves-nothing', 'a command that cannot start leaves no record and no child', async (ctx) => ctx.withServer({}, async (s, api) => {
  for (let i = 0; i < 50; i++) {
    for (const tty of [false, true]) eq((await api.post('/v1/processes', { command: 'no-such-program', tty })).status, 502);
    eq((await api.post('/v1/processes/run', { command: 'true', cwd: '/no/such/dir' })).status, 502);
  }
  eq((await api.get('/v1/processes')).json.processes, []);
  eq(zombiesOf(s.serverPid()), []); // descriptors are counted when the server is at rest
}), { spawn: true });
lifecycle('better', 'nul-is-refused', 'a NUL byte in what is to be started is refused by name', async ({ api }) => {
  for (const [spec, where] of [[{ command: 'tr\0ue' }, 'command'], [{ command: 'true', args: ['a', 'b\0'] }, 'args[1]'], [{ command: 'true', cwd: '/\0' }, 'cwd']]) {
    for (const path of ['/v1/processes', '/v1/processes/run']) invalid(await api.post(path, spec), `${where}: contains a NUL byte`);
  }
  const r = await api.post('/v1/processes/run', { command: 'true', env: { A: 'x\0y' } });
  problem(r, { status: 400, type: 'invalid_request', detail: /^invalid request: env.*contains a NUL byte$/ });
});

// ------------------------------------------------------------------ whole trees
lifecycle('better', 'tree-beyond-session', 'kill and stop reach descendants that went into sessions of their own', async ({ api }) => {
  for (const verb of ['kill', 'stop']) {
    const p = await api.sh('setsid sh -c \'echo "child=$$"; exec sleep 300\' & wait');
    const child = numberOf('child', await api.logHas(p.id, /child=\d+\n/));
    try {
      eq((await api[verb](p.id, '?waitMs=5000')).json.status, 'exited');
      await gone(api, child, `the child after ${verb}`);
    } finally { await api.reap(child); }
  }
});
lifecycle('better', 'kill-suspended', 'a suspended process is killed, with its suspended children', async ({ api }) => {
  const p = await api.sh('sleep 300 & echo "child=$!"; wait');
  const child = numberOf('child', await api.logHas(p.id, /child=\d+\n/));
  try {
    await api.runSh(`kill -STOP ${p.pid} ${child}`);
    eq((await api.kill(p.id, '?waitMs=3000')).json.exitSignal, 'SIGKILL');
    await gone(api, child, 'the child');
  } finally { await api.reap(child); }
});
lifecycle('better', 'stop-interactive-shell', 'stop ends an interactive shell, which ignores SIGTERM', async ({ api }) => {
  const p = await api.create({ command: 'bash', args: ['--norc', '-i'], tty: true, env: { PS1: 'prompt> ' } });
  await api.logHas(p.id, 'prompt> ');
  eq((await api.stop(p.id, '?waitMs=4000')).json.status, 'exited');
});
lifecycle('better', 'stop-can-be-refused', 'stop does not escalate: a process may ignore it', async ({ api }) => {
  const p = await api.sh('trap "echo asked" TERM; echo up; while :; do sleep 0.05; done');
  await api.logHas(p.id, 'up');
  eq((await api.stop(p.id, '?waitMs=300')).json.status, 'running');
  await api.logHas(p.id, 'asked');
});

// ------------------------------------------------------------------ input
input('better', 'queue-full', 'input that does not fit is refused whole, the rest arrives complete and in order', async ({ api }) => {
  const p = await api.sh('exec md5sum');
  const hash = crypto.createHash('md5');
  await api.runSh(`kill -STOP ${p.pid}`);
  let accepted = 0, refused = 0, r;
  const chunk = (i) => crypto.createHash('sha512').update(String(i)).digest('hex').repeat(400); // 51200 bytes
  for (let i = 0; refused < 3; i++) {
    ok(i < 60, 'the queue has an end');
    r = await api.input(p.id, chunk(i));
    if (r.status === 200) { hash.update(chunk(i)); accepted += 51200; continue; }
    refused++;
    const { detail, details } = problem(r, { status: 429, type: 'conflict', title: 'Too Many Requests' });
    match(detail, /^conflict: input queue is full \(\d+ bytes waiting, limit 1048576\)$/);
    eq(detail, `conflict: ${details.message}`);
  }
  ok(accepted >= 1 << 20, `${accepted} bytes were accepted`);
  ok(accepted <= (1 << 20) + 200000, `${accepted} bytes were accepted, a queue and a pipe full`);
  await api.runSh(`kill -CONT ${p.pid}`);
  await until(async () => (await api.input(p.id, 'more')).status === 200, { what: 'room in the queue' });
  hash.update('more');
  const end = (await send(api, p.id, { eof: true })).json;
  eq(end, { bytesWritten: 0, ...queued(end) });
  await api.exited(p.id);
  eq((await api.logText(p.id)).split(' ')[0], hash.digest('hex'));
});
input('better', 'after-the-end', 'after eof further input is refused; reading what was sent goes on', async ({ api }) => {
  const p = await api.sh('cat; echo end; exec sleep 60');
  eq((await send(api, p.id, { data: 'last\n', encoding: 'utf8', eof: true })).json, { bytesWritten: 5 });
  for (const body of [{ data: 'eA==' }, { eof: true }]) conflict(await send(api, p.id, body), 'process stdin is closed');
  eq(await api.logHas(p.id, 'end\n'), 'last\nend\n');
});
input('better', 'eof-shapes', 'data may be absent only with eof, and eof is a boolean', async ({ api }) => {
  const p = await api.create({ command: 'cat' });
  for (const body of [{}, { eof: false }, { eof: 'yes' }, { data: '', eof: 1 }, { data: null, eof: true }]) {
    problem(await send(api, p.id, body), { status: 422, type: 'invalid_request', title: 'Unprocessable Content' });
  }
  eq((await send(api, p.id, { data: 'aGk=', eof: false })).json, { bytesWritten: 2 });
  eq((await api.info(p.id)).status, 'running');
  eq((await send(api, p.id, { eof: true })).status, 200);
  eq((await api.exited(p.id)).exitCode, 0);
});
input('better', 'eof-on-a-terminal', 'eof ends the input of a terminal, in the middle of a line too', async ({ api }) => {
  for (const data of ['line\n', 'unfinished', undefined]) {
    const p = await api.sh('stty -echo; echo ready; cat; echo "eof seen"', { tty: true });
    await api.logHas(p.id, 'ready');
    eq((await send(api, p.id, { data, encoding: 'utf8', eof: true })).json, { bytesWritten: (data ?? '').length });
    eq((await api.exited(p.id)).exitCode, 0);
    eq(await api.logText(p.id), `ready\r\n${(data ?? '').replace('\n', '\r\n')}eof seen\r\n`);
  }
});
input('better', 'suspended-process', 'a suspended process takes input and delays nothing', async ({ api }) => {
  const p = await reader(api);
  await api.runSh(`kill -STOP ${p.pid}`);
  for (let i = 0; i < 5; i++) eq((await api.input(p.id, `line-${i}\n`, 'utf8', { timeout: secs(3) })).status, 200);
  eq((await api.get('/v1/health', { timeout: secs(2) })).status, 200);
  await api.runSh(`kill -CONT ${p.pid}`);
  await api.logHas(p.id, 'got:line-4');
});

// ------------------------------------------------------------------ the server among others
const WITH_TOKEN = { auth: 'none', env: { SANDBOX_AGENT_TOKEN: 'very-secret', OTHER: 'kept' } };
robustness('better', 'token-is-not-inherited', 'no child has the token of the server in its environment', async (ctx) => ctx.withServer(WITH_TOKEN, async (s) => {
  const api = new Api(s.url, 'very-secret');
  eq((await new Api(s.url).get('/v1/health')).status, 401, 'the token counts');
  const { stdout } = await api.run({ command: 'env' });
  has(stdout, 'OTHER=kept\n');
  lacks(stdout, 'SANDBOX_AGENT_TOKEN');
  for (const tty of [false, true]) {
    const p = await api.create({ command: 'env', tty });
    await api.exited(p.id);
    lacks(await api.logText(p.id), 'very-secret', `tty ${tty}`);
    await api.del(`/v1/processes/${p.id}`);
  }
  eq((await api.runSh('echo $SANDBOX_AGENT_TOKEN', { env: { SANDBOX_AGENT_TOKEN: 'own' } })).stdout, 'own\n', 'a request may set its own');
  lacks(s.log + s.out, 'very-secret', 'the log of the server');
}), { spawn: true });

// The shell that is to become the server starts itself again in a PID namespace of its own.
const AS_PID_1 = 'if [ $$ != 1 ]; then exec unshare --pid --fork --kill-child --mount-proc sh -c "$(tr "\\000" "\\n" </proc/$$/cmdline | tail -n +3)"; fi';
const childOf = (pid) => fs.readdirSync('/proc').filter((x) => /^\d+$/.test(x)).map(Number).find((x) => stat(x)?.ppid === pid);
robustness('better', 'as-pid-1', 'as PID 1 the server reaps every orphan, keeps exit codes apart, and stops when told', async (ctx) => {
  if (spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status !== 0) skip('no PID namespaces here');
  await ctx.withServer({ pre: AS_PID_1, mayDie: true }, async (s, api) => {
    const server = childOf(s.pid);
    eq((await api.runSh('cut -d" " -f1-2 /proc/1/stat')).stdout.slice(0, 3), '1 (', 'there is a PID 1');
    // Each leaves orphans that end at about the same time as their parent, with codes of their own.
    const orphans = '(sh -c "exit 41" & sh -c "sleep 0.05; exit 42" & sh -c "sleep 0.1; exit 43" &) >/dev/null 2>&1';
    await Promise.all(Array.from({ length: 40 }, async (_, i) => {
      eq((await api.runSh(`${orphans}; exit ${i}`)).exitCode, i);
      const p = await api.sh(`${orphans}; exit ${i + 100}`);
      eq((await api.exited(p.id)).exitCode, i + 100);
    }));
    await until(() => zombiesOf(server).length === 0, { within: secs(5), what: 'all orphans to be reaped' });
    await api.sh('exec sleep 300');
    process.kill(server, 'SIGTERM');
    eq(await s.waitExit(secs(5)), { code: 0, signal: null }, 'the end');
  });
}, { spawn: true });
