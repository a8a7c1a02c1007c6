// One-shot runs: the answer comes when the command is over, and nothing is left of a run whose
// time or client is gone (group run).
import { define, eq, ok, secs, until } from '../lib.mjs';
import { gone, numberOf } from '../lib/programs.mjs';

const run = define('run');
const timed = async (fn) => { const t = Date.now(); const r = await fn(); return { r, ms: Date.now() - t }; };

run('defect', 'truncation-on-character', 'D-14: text is cut before a character that does not fit', async ({ api }) => {
  const cut = async (format, maxOutputBytes) => { const r = await api.run({ command: 'printf', args: [format], maxOutputBytes }); return [r.stdout, r.stdoutTruncated]; };
  eq(await cut('ab\u00e9cd', 3), ['ab', true]);
  eq(await cut('ab\u00e9cd', 4), ['ab\u00e9', true]);
  for (const n of [2, 3, 4]) eq(await cut('a\u{1f600}b', n), ['a', true], `${n} bytes`);
  eq(await cut('a\u{1f600}b', 5), ['a\u{1f600}', true]);
  eq(await cut('ab\\303', 9), ['ab\ufffd', false], 'half a character of the command itself is shown');
  eq(await cut('\\377\\377\\377', 2), ['\ufffd\ufffd', true], 'bytes that are no character are cut anywhere');
});

run('defect', 'background-child-holding-pipe', 'D-15: the answer does not wait for a background child that holds the pipe', async ({ api }) => {
  const { r, ms } = await timed(() => api.runSh('sleep 6 & echo "child=$!"; echo late >&2; exit 3', { timeoutMs: 4000 }));
  const child = numberOf('child', r.stdout);
  try {
    ok(ms < secs(2), `answered after ${ms} ms`);
    eq([r.exitCode, r.timedOut, r.stdout, r.stderr], [3, false, `child=${child}\n`, 'late\n']);
    ok(await api.alive(child), 'the background child is left alone');
  } finally { await api.reap(child); }
});

run('defect', 'timeout-with-child-holding-pipe', 'D-16: the timeout is a hard limit on the answer', async ({ api }) => {
  const { r, ms } = await timed(() => api.runSh('echo early; sleep 60; echo x', { timeoutMs: 2500 }));
  ok(ms >= 2500 && ms < secs(30), `answered after ${ms} ms`);
  eq([r.timedOut, r.exitCode, r.stdout], [true, null, 'early\n']);
});

run('defect', 'timeout-ends-descendants', 'D-17: a timeout leaves nothing of the run', async ({ api }) => {
  const deep = 'sleep 300 >/dev/null 2>&1 & echo "deep=$!"; exec >/dev/null 2>&1; wait';
  const script = `(trap "" HUP TERM; exec sleep 300) >/dev/null 2>&1 & echo "child=$!"; sh -c '${deep}' & wait`;
  const r = await api.runSh(script, { timeoutMs: 3000 });
  const left = ['child', 'deep'].map((name) => numberOf(name, r.stdout));
  try {
    eq(r.timedOut, true);
    for (const pid of left) { ok(pid > 1, r.stdout); await gone(api, pid, 'a descendant'); }
  } finally { for (const pid of left) await api.reap(pid); }
});

run('defect', 'client-gone', 'D-19: a client that hangs up ends the run it asked for', async ({ api }) => {
  const dir = (await api.runSh('mktemp -d')).stdout.trim();
  const script = 'sleep 300 & echo "leader=$$ child=$!" >"$0.part"; mv "$0.part" "$0"; wait';
  const body = JSON.stringify({ command: 'sh', args: ['-c', script, `${dir}/pids`], timeoutMs: 60000 });
  const wire = api.wire();
  wire.write(`POST /v1/processes/run HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`, 'POST');
  let pids = [];
  try {
    const said = await until(async () => (await api.runSh(`cat ${dir}/pids 2>/dev/null`)).stdout, { what: 'the command to start' });
    pids = ['leader', 'child'].map((name) => numberOf(name, said));
    wire.close();
    for (const pid of pids) await gone(api, pid, 'the run', secs(4));
  } finally {
    wire.close();
    for (const pid of pids) await api.reap(pid);
    await api.run({ command: 'rm', args: ['-rf', dir] });
  }
});
