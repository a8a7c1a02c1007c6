// The published TypeScript SDK, sandbox-agent 0.4.2, as users have it: every method that touches
// processes, its streams, its terminal session and its errors (group sdk).
import { WebSocketClass, define, eq, has, includes, keys, ok, secs, text, until, within } from '../lib.mjs';
import { reader } from '../lib/helpers.mjs';

const sdk = define('sdk');
const shell = (script, extra = {}) => ({ command: 'sh', args: ['-c', script], ...extra });

// Creates through the SDK; the client of the case deletes what is left.
async function create(api, agent, spec) {
  const p = await agent.createProcess(spec);
  api.created.add(p.id);
  return p;
}
async function refused(promise) {
  try { await promise; } catch (e) { return e; }
  throw new Error('the call should have failed');
}
const logHas = (agent, id, needle) => until(async () => text((await agent.getProcessLogs(id)).entries).includes(needle), { what: `log to show ${needle}` });

// A terminal session whose events are kept.
async function session(agent, id, options = {}) {
  const t = agent.connectProcessTerminal(id, { WebSocket: await WebSocketClass(), ...options });
  const seen = { ready: [], exit: [], errors: [], order: [], bytes: Buffer.alloc(0), code: null };
  t.onReady((f) => { seen.ready.push(f); seen.order.push('ready'); });
  t.onData((d) => { seen.bytes = Buffer.concat([seen.bytes, d]); if (seen.order.at(-1) !== 'data') seen.order.push('data'); });
  t.onExit((f) => { seen.exit.push(f); seen.order.push('exit'); });
  t.onError((e) => seen.errors.push(e));
  t.socket.addEventListener('close', (e) => { seen.code = e.code; });
  const shows = (needle, ms) => until(() => seen.bytes.includes(needle), { within: ms, what: `terminal to show ${needle}`, last: () => seen.bytes.toString().slice(-200) });
  return { t, seen, shows, closed: (ms = secs(5)) => within(t.closed, ms, 'the session to close') };
}

sdk('compat', 'health', 'connecting waits for a healthy server', async (ctx) => {
  const agent = await ctx.sdk();
  eq(await agent.getHealth(), { status: 'ok' });
});

sdk('compat', 'run', 'runProcess gives the result of a command', async (ctx) => {
  const agent = await ctx.sdk();
  const r = await agent.runProcess(shell('echo out; echo "$X" >&2; pwd >&2; exit 3', { env: { X: 'err' }, cwd: '/usr', timeoutMs: 5000, maxOutputBytes: 100 }));
  includes(r, { exitCode: 3, timedOut: false, stdout: 'out\n', stderr: 'err\n/usr\n', stdoutTruncated: false, stderrTruncated: false });
  includes(await agent.runProcess(shell('echo early; exec sleep 60', { timeoutMs: 2500 })), { exitCode: null, timedOut: true, stdout: 'early\n' });
});

sdk('compat', 'config', 'the configuration is read and replaced', async (ctx) => {
  const agent = await ctx.sdk();
  const config = await agent.getProcessConfig();
  keys(config, ['maxConcurrentProcesses', 'defaultRunTimeoutMs', 'maxRunTimeoutMs', 'maxOutputBytes', 'maxLogBytesPerProcess', 'maxInputBytesPerRequest']);
  const changed = { ...config, maxOutputBytes: 4 };
  eq(await agent.setProcessConfig(changed), changed);
  includes(await agent.runProcess(shell('echo too long')), { stdout: 'too ', stdoutTruncated: true });
}, { restoreConfig: true });

sdk('compat', 'life', 'create, list, get, stop, kill and delete', async (ctx) => {
  const agent = await ctx.sdk();
  const p = await create(ctx.api, agent, shell('exec sleep 60', { cwd: '/', interactive: true }));
  includes(p, { command: 'sh', args: ['-c', 'exec sleep 60'], cwd: '/', tty: false, interactive: true, owner: 'user', status: 'running' });
  eq(await agent.getProcess(p.id), p);
  for (const query of [undefined, {}, { owner: 'user' }]) eq((await agent.listProcesses(query)).processes.find((x) => x.id === p.id), p);
  eq((await agent.listProcesses({ owner: 'system' })).processes, []);
  includes(await agent.stopProcess(p.id, { waitMs: 5000 }), { id: p.id, status: 'exited' });
  const q = await create(ctx.api, agent, shell('trap "" TERM; echo up; while :; do sleep 1; done'));
  await logHas(agent, q.id, 'up');
  includes(await agent.stopProcess(q.id, { waitMs: 50 }), { status: 'running' });
  includes(await agent.killProcess(q.id), { status: 'exited' });
  eq(await agent.deleteProcess(q.id), undefined);
  eq((await refused(agent.getProcess(q.id))).status, 404);
});

sdk('compat', 'logs-and-input', 'input in each encoding, logs with each filter', async (ctx) => {
  const agent = await ctx.sdk();
  const p = await create(ctx.api, agent, shell('while read l; do echo "$l"; echo "e$l" >&2; done'));
  eq(await agent.sendProcessInput(p.id, { data: 'b25lCg==' }), { bytesWritten: 4 });
  await logHas(agent, p.id, 'eone\n');
  eq(await agent.sendProcessInput(p.id, { data: 'tw\u00f6\n', encoding: 'utf8' }), { bytesWritten: 5 });
  await logHas(agent, p.id, 'etw\u00f6\n');
  const all = await agent.getProcessLogs(p.id);
  eq([all.processId, all.stream, all.entries.length], [p.id, 'combined', 4]);
  eq(text((await agent.getProcessLogs(p.id, { stream: 'stderr' })).entries), 'eone\netw\u00f6\n');
  eq((await agent.getProcessLogs(p.id, { tail: 1 })).entries, all.entries.slice(3));
  eq((await agent.getProcessLogs(p.id, { since: 2 })).entries, all.entries.slice(2));
});

sdk('compat', 'follow', 'followProcessLogs replays, goes on live, and stops when asked to', async (ctx) => {
  const agent = await ctx.sdk();
  const p = await create(ctx.api, agent, shell('echo old; while read l; do echo "$l"; done'));
  await logHas(agent, p.id, 'old');
  const got = [];
  const s = await agent.followProcessLogs(p.id, (e) => got.push(e));
  await until(() => got.length === 1, { what: 'the replay' });
  await agent.sendProcessInput(p.id, { data: 'new\n', encoding: 'utf8' });
  await until(() => got.length === 2, { what: 'the live entry' });
  eq([text(got), got.map((e) => e.sequence)], ['old\nnew\n', [1, 2]]);
  s.close();
  await within(s.closed, secs(3), 'closed to resolve after close()');
});
sdk('defect', 'follow-ends', 'D-21: closed resolves by itself when the process has ended', async (ctx) => {
  const agent = await ctx.sdk();
  const p = await create(ctx.api, agent, shell('echo one; read x; echo two; exit 3'));
  const live = [], after = [];
  const s = await agent.followProcessLogs(p.id, (e) => live.push(e), { since: 0 });
  await agent.sendProcessInput(p.id, { data: '\n', encoding: 'utf8' });
  await within(s.closed, secs(4), 'closed to resolve');
  eq(text(live), 'one\ntwo\n', 'all output came before');
  await within((await agent.followProcessLogs(p.id, (e) => after.push(e))).closed, secs(4), 'closed to resolve for an exited process');
  eq(text(after), 'one\ntwo\n');
});

sdk('compat', 'terminal', 'a terminal session types text and bytes, resizes, and sees the exit', async (ctx) => {
  const agent = await ctx.sdk();
  const p = await reader(ctx.api);
  const { t, seen, shows, closed } = await session(agent, p.id);
  await until(() => seen.ready.length, { what: 'ready' });
  includes(seen.ready[0], { type: 'ready', processId: p.id });
  t.sendInput('t\u00e9xt\n');
  await shows('got:t\u00e9xt');
  t.sendInput(new TextEncoder().encode('bytes\n'));
  await shows('got:bytes');
  t.sendInput(new TextEncoder().encode('buffer\n').buffer);
  await shows('got:buffer');
  t.resize({ cols: 99, rows: 33 });
  await until(async () => (await agent.runProcess({ command: 'stty', args: ['-F', `/proc/${p.pid}/fd/0`, 'size'] })).stdout === '33 99\n', { what: 'the new size' });
  eq(await agent.resizeProcessTerminal(p.id, { cols: 100, rows: 40 }), { cols: 100, rows: 40 });
  t.sendInput('quit 5\n');
  await closed();
  eq([seen.exit, seen.errors, seen.order.at(-1)], [[{ type: 'exit', exitCode: 5 }], [], 'exit']);
});
sdk('defect', 'terminal-scrollback', 'D-34: a session shows what was printed before it, also after the exit', async (ctx) => {
  const agent = await ctx.sdk();
  const p = await reader(ctx.api);
  await agent.sendProcessInput(p.id, { data: 'early\n', encoding: 'utf8' });
  await logHas(agent, p.id, 'got:early');
  const one = await session(agent, p.id);
  await one.shows('got:early', secs(3));
  one.t.sendInput('late\n');
  await one.shows('got:late');
  eq(one.seen.bytes.toString(), 'ready\r\ngot:early\r\ngot:late\r\n');
  one.t.sendInput('quit 1\n');
  await one.closed();
  const two = await session(agent, p.id);
  await two.closed();
  // The SDK hands out binary frames a microtask later than text, so exit may overtake data in it.
  eq([two.seen.order.toSorted(), two.seen.bytes.toString(), two.seen.errors], [['data', 'exit', 'ready'], one.seen.bytes.toString(), []]);
});
sdk('defect', 'terminal-clean-close', 'D-35: close() ends the session with a proper close code, the process lives on', async (ctx) => {
  const agent = await ctx.sdk();
  const p = await reader(ctx.api);
  for (let i = 0; i < 5; i++) {
    const { t, seen, closed } = await session(agent, p.id);
    if (i > 0) await until(() => seen.ready.length, { what: 'ready' }); // the first is closed while connecting
    t.close();
    await closed();
    ok([1000, 1005].includes(seen.code), () => `close code ${seen.code}`);
    eq(seen.errors, []);
  }
  const { t, seen, closed } = await session(agent, p.id);
  await until(() => seen.ready.length, { what: 'ready' });
  t.socket.close(1000, 'done'); // as a page does that goes away
  await closed();
  eq([seen.code, seen.errors], [1000, []]);
  eq((await agent.getProcess(p.id)).status, 'running');
});

sdk('compat', 'token', 'a token opens every method and the terminal; without it there is none', async (ctx) => ctx.authed(async (api, token) => {
  const agent = await ctx.sdk(api);
  eq((await agent.runProcess(shell('echo in'))).stdout, 'in\n');
  const p = await reader(api);
  has(agent.buildProcessTerminalWebSocketUrl(p.id), `access_token=${encodeURIComponent(token).replaceAll('~', '%7E')}`);
  const { t, shows } = await session(agent, p.id);
  await until(() => t.socket.readyState === 1, { what: 'the session to open' });
  t.sendInput('me\n');
  await shows('got:me');
  t.socket.terminate();
  const stranger = await ctx.sdk(api, { token: 'wrong', skipHealthCheck: true });
  const e = await refused(stranger.listProcesses());
  eq([e.name, e.status, e.message], ['SandboxAgentError', 401, 'Token Invalid']);
  const shut = await session(stranger, p.id);
  await shut.closed();
  eq([shut.seen.ready, shut.seen.errors.length], [[], 1]);
}));

// [call, status, title, type]
const failures = (agent, pipe, done, tty) => [
  [() => agent.getProcess('proc_0'), 404, 'Not Found', 'not_found'],
  [() => agent.followProcessLogs('proc_0', () => {}), 404, 'Not Found', 'not_found'],
  [() => agent.runProcess({ command: ' ' }), 400, 'Invalid Request', 'invalid_request'],
  [() => agent.createProcess({ command: 'no-such-program' }), 502, 'Stream Error', 'stream_error'],
  [() => agent.sendProcessInput(pipe, { data: '@' }), 400, 'Invalid Request', 'invalid_request'],
  [() => agent.sendProcessInput(pipe, { data: 'x'.repeat(70000), encoding: 'utf8' }), 413, 'Payload Too Large', 'invalid_request'],
  [() => agent.sendProcessInput(done, { data: '' }), 409, 'Conflict', 'conflict'],
  [() => agent.resizeProcessTerminal(pipe, { cols: 80, rows: 24 }), 409, 'Conflict', 'conflict'],
  [() => agent.deleteProcess(tty), 409, 'Conflict', 'conflict'],
];
async function showsProblem([call, status, title, type]) {
  const e = await refused(call());
  eq([e.name, e.status, e.message], ['SandboxAgentError', status, title], type);
  includes(e.problem, { type: `urn:sandbox-agent:error:${type}`, title, status }, 'problem');
  ok(e.problem.detail.length > 0, 'a detail');
}
sdk('compat', 'errors', 'errors carry status and problem, and the title as message', async (ctx) => {
  const agent = await ctx.sdk();
  const pipe = await ctx.api.sh('exec sleep 60');
  const tty = await ctx.api.sh('exec sleep 60', { tty: true });
  const done = await ctx.api.sh('true');
  await ctx.api.exited(done.id);
  for (const f of failures(agent, pipe.id, done.id, tty.id)) await showsProblem(f);
});
sdk('defect', 'error-has-problem', 'D-02: errors about the shape of a request carry a problem too', async (ctx) => {
  const agent = await ctx.sdk();
  const p = await ctx.api.sh('exec sleep 60');
  await showsProblem([() => agent.runProcess({}), 422, 'Unprocessable Content', 'invalid_request']);
  await showsProblem([() => agent.listProcesses({ owner: 'x' }), 400, 'Invalid Request', 'invalid_request']);
  await showsProblem([() => agent.stopProcess(p.id, { waitMs: -1 }), 400, 'Invalid Request', 'invalid_request']);
  await showsProblem([() => agent.getProcessLogs(p.id, { tail: 1.5 }), 400, 'Invalid Request', 'invalid_request']);
});
