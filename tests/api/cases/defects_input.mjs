// Input never blocks, can be ended, and sizes are checked (groups input, resize, terminal-ws).
import { define, eq, has, oneOf, problem, secs, sleep, until, within } from '../lib.mjs';
import { queued, reader, say } from '../lib/helpers.mjs';
import { numberOf } from '../lib/programs.mjs';

const input = define('input');
const resize = define('resize');
const terminal = define('terminal-ws');

// A process that never reads, with more input under way than any pipe or terminal holds.
async function unread(api, tty, fn) {
  const p = await api.sh(`${tty ? 'stty raw -echo; ' : ''}echo "pid=$$ up"; exec sleep 300`, { tty });
  const pid = numberOf('pid', await api.logHas(p.id, 'up'));
  const pending = Array.from({ length: 4 }, () => api.input(p.id, 'x'.repeat(60000), 'utf8', { timeout: secs(20) }).catch((e) => e));
  try { await fn(p, pending); } finally {
    await api.reap(pid);
    await Promise.all(pending);
  }
}
async function blocksNobody(api, tty) {
  await unread(api, tty, async (p, pending) => {
    await Promise.race([Promise.all(pending), sleep(500)]); // until answered, or long enough to be stuck
    const soon = { timeout: secs(3) };
    eq((await api.get(`/v1/processes/${p.id}`, soon)).json.status, 'running');
    eq((await api.get('/v1/processes', soon)).status, 200);
    eq((await api.req('POST', `/v1/processes/${p.id}/stop?waitMs=0`, soon)).status, 200);
    eq((await api.req('POST', `/v1/processes/${p.id}/kill?waitMs=2000`, soon)).json.status, 'exited');
  });
}
async function isAnswered(api, tty) {
  await unread(api, tty, async (p, pending) => {
    const answers = await within(Promise.all(pending), secs(3), 'the answers to the inputs');
    for (const r of answers) {
      oneOf(r.status, [200, 409, 429], 'status of an input');
      if (r.status === 200) eq(r.json, { bytesWritten: 60000, ...queued(r.json) }); else problem(r, { status: r.status, type: 'conflict' });
    }
    eq(answers.some((r) => r.status === 200), true, 'at least one fits');
  });
}
input('defect', 'unread-blocks-nobody', 'D-30: input that is not read holds up no other request', ({ api }) => blocksNobody(api, false));
input('defect', 'unread-blocks-nobody-tty', 'D-30: nor does it in a terminal', ({ api }) => blocksNobody(api, true));
input('defect', 'unread-is-answered', 'D-31: the request with input that is not read is answered', ({ api }) => isAnswered(api, false));
input('defect', 'unread-is-answered-tty', 'D-31: and so it is for a terminal', ({ api }) => isAnswered(api, true));

input('defect', 'end-of-file', 'D-32: eof ends the input, with the last data or alone', async ({ api }) => {
  const send = (id, body) => api.post(`/v1/processes/${id}/input`, body);
  const scenarios = [
    ['3', [{ data: 'abc', encoding: 'utf8', eof: true }]],
    ['3', [{ data: 'YWJj', encoding: 'base64' }, { eof: true }]],
    ['0', [{ data: '', eof: true }]],
    ['200000', [...Array(4).fill({ data: 'x'.repeat(50000), encoding: 'utf8' }), { eof: true }]],
  ];
  for (const [count, bodies] of scenarios) {
    const p = await api.create({ command: 'wc', args: ['-c'] });
    for (const b of bodies) { const r = await send(p.id, b); eq([r.status, r.json?.bytesWritten], [200, b.encoding === 'base64' ? 3 : (b.data ?? '').length], r.text); }
    eq((await api.exited(p.id, secs(4))).exitCode, 0);
    eq((await api.logText(p.id)).trim(), count);
  }
});
terminal('defect', 'end-of-file', 'D-32: eof in an input message ends the input of a terminal program', async ({ api }) => {
  for (const data of ['line\n', 'unfinished', '']) {
    const p = await api.sh('stty -echo; echo ready; cat; echo "eof seen"', { tty: true });
    await api.logHas(p.id, 'ready');
    const w = await api.ws(p.id);
    await w.ready();
    w.send({ type: 'input', data, eof: true });
    await w.wait('exit', secs(4));
    has(w.output().toString(), `ready\r\n${data.replace('\n', '\r\n')}eof seen\r\n`);
  }
});

resize('defect', 'zero-refused', 'D-33: a size of zero is refused and the size stays', async ({ api }) => {
  const p = await api.sh('echo ready; while read l; do stty size; done', { tty: true });
  await api.logHas(p.id, 'ready');
  for (const [size, name] of [[{ cols: 0, rows: 24 }, 'cols'], [{ cols: 80, rows: 0 }, 'rows'], [{ cols: 0, rows: 0 }, 'cols']]) {
    const r = await api.post(`/v1/processes/${p.id}/terminal/resize`, size);
    problem(r, { status: 422, type: 'invalid_request', detail: `invalid request: ${name}: must be between 1 and 65535, got 0` });
  }
  await api.input(p.id, '\n');
  await api.logHas(p.id, '24 80');
});
terminal('defect', 'zero-size-refused', 'D-33: in a terminal message too: an error frame, and the session goes on', async ({ api }) => {
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  w.send({ type: 'resize', cols: 0, rows: 24 });
  eq(await w.wait('error', secs(3)), { type: 'error', message: 'invalid terminal frame: cols: must be between 1 and 65535, got 0' });
  w.send({ type: 'resize', cols: 80, rows: 0 });
  await until(() => w.ctl('error').length === 2, { what: 'the second error frame' });
  say(w, 'alive');
  await w.waitOut('got:alive');
});

input('defect', 'erase-is-utf8-aware', 'D-39: erase in a terminal removes a whole character', async ({ api }) => {
  const p = await api.sh('echo ready; read x; printf %s "$x" | od -An -tx1; echo done', { tty: true });
  await api.logHas(p.id, 'ready');
  await api.input(p.id, 'a\u00e9\u4e16\u007f\u007fb\n');
  const shown = await api.logHas(p.id, 'done');
  has(shown.replaceAll(' ', ''), '\n6162\r\n', 'the bytes that the program read');
});
