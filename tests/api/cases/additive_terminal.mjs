// Terminals beyond the published server: what ready tells, which output is replayed and how,
// binary input, and gaps that are told (groups terminal-ws, lifecycle).
import { RawWs, define, eq, frame, has, includes, keys, match, ok, problem, secs, text, until, UPGRADE } from '../lib.mjs';
import { farReader, sha256 } from '../lib/far_reader.mjs';
import { reader, say } from '../lib/helpers.mjs';
import { counted, cue, onCue } from '../lib/programs.mjs';

const terminal = define('terminal-ws');
const lifecycle = define('lifecycle');
const KIB = 1024;
const R = { restoreConfig: true };
const READY = Buffer.from('ready\n');
const frames = (w) => w.frames.filter((f) => f.binary);

// ------------------------------------------------------------------ size
lifecycle('better', 'size-at-creation', 'a terminal starts with the size asked for', async ({ api }) => {
  for (const [asked, size] of [[{ cols: 132, rows: 50 }, '50 132'], [{ cols: 100 }, '24 100'], [{ rows: 7 }, '7 80'], [{ cols: 65535, rows: 1 }, '1 65535']]) {
    const p = await api.sh('stty size', { tty: true, ...asked });
    await api.exited(p.id);
    eq(await api.logText(p.id), `${size}\r\n`, JSON.stringify(asked));
  }
  const p = await api.sh('true', { cols: 5, rows: 5 });
  ok(!('cols' in p) && !('rows' in p), 'without a terminal it means nothing');
});
lifecycle('better', 'impossible-size', 'sizes of zero or beyond 16 bits are refused', async ({ api }) => {
  for (const bad of [{ cols: 0 }, { rows: 0 }, { cols: 65536 }, { rows: -1 }, { cols: 1.5 }, { cols: '80' }]) {
    const r = await api.post('/v1/processes', { command: 'true', tty: true, ...bad });
    problem(r, { status: 422, type: 'invalid_request', detail: new RegExp(`^invalid request: ${Object.keys(bad)[0]}: `) });
  }
});

lifecycle('better', 'size-in-the-record', 'the record tells the size of the terminal where that is asked for', async ({ api }) => {
  const sizeOf = ({ json }) => [json.cols, json.rows];
  const p = await api.sh('read x', { tty: true, rows: 30 });
  const one = (query) => api.get(`/v1/processes/${p.id}${query}`);
  const list = (query, headers) => api.get(`/v1/processes${query}`, { headers });
  eq(sizeOf(await one('?terminalSize=true')), [80, 30], 'at creation');
  for (const query of ['', '?terminalSize=false']) {
    eq(sizeOf(await one(query)), [undefined, undefined], `with ${query}`);
    ok(!(await list(query)).text.includes('"cols"'), `list with ${query}`);
  }
  const { etag } = (await list('?terminalSize=true')).headers;
  await api.post(`/v1/processes/${p.id}/terminal/resize`, { cols: 91, rows: 31 });
  eq(sizeOf(await one('?terminalSize=true')), [91, 31], 'after a resize');
  const changed = await list('?terminalSize=true', { 'if-none-match': etag });
  eq(sizeOf({ json: changed.json.processes.find(({ id }) => id === p.id) }), [91, 31], 'in the list, which has changed');
  await api.input(p.id, '\n');
  await api.exited(p.id);
  eq(sizeOf(await one('?terminalSize=true')), [91, 31], 'after the exit');
  const q = await api.sh('true');
  ok(!('cols' in (await api.get(`/v1/processes/${q.id}?terminalSize=true`)).json), 'pipes have none');
  for (const path of ['/v1/processes', `/v1/processes/${p.id}`])
    problem(await api.get(`${path}?terminalSize=yes`), { status: 400, type: 'invalid_request', detail: /terminalSize/ });
});

// ------------------------------------------------------------------ ready
terminal('better', 'ready-tells-the-state', 'ready has the sequences, the size and the status', async ({ api }) => {
  const p = await api.sh('stty -echo; read x; echo one; read x', { tty: true, cols: 90, rows: 30 });
  const state = { type: 'ready', processId: p.id, cols: 90, rows: 30, status: 'running' };
  eq(await (await api.ws(p.id)).ready(), { ...state, sequence: 0, firstSequence: 1 }, 'before any output');
  await api.input(p.id, '\n');
  await api.logHas(p.id, 'one');
  await api.post(`/v1/processes/${p.id}/terminal/resize`, { cols: 91, rows: 31 });
  const last = (await api.logs(p.id, '?tail=1')).entries[0].sequence;
  eq(await (await api.ws(p.id)).ready(), { ...state, cols: 91, rows: 31, sequence: last, firstSequence: 1 }, 'after output and resize');
  eq((await (await api.ws(p.id, { query: '?replay=0' })).ready()).firstSequence, last + 1, 'without replay');
  await api.input(p.id, '\n');
  await api.exited(p.id);
  includes(await (await api.ws(p.id)).ready(), { status: 'exited', firstSequence: 1 }, 'after the exit');
});
terminal('better', 'exit-frame', 'the exit frame has the code, null after a signal, and the close is 1000', async ({ api }) => {
  for (const [end, exitCode] of [['exit 3', 3], ['kill -9 $$', null]]) {
    const p = await onCue(api, end, { tty: true });
    const w = await api.ws(p.id);
    await w.ready();
    await cue(api, p.id);
    eq((await w.waitClose()).code, 1000, end);
    eq(w.frames.at(-1).json, { exitCode, type: 'exit' }, end);
  }
});

// ------------------------------------------------------------------ replay
terminal('better', 'replay-options', 'since and replay choose where to begin; of both the later counts', async ({ api }) => {
  const p = await reader(api);
  for (let i = 0; i < 8; i++) { await api.input(p.id, `line-${i}\n`); await api.logHas(p.id, `got:line-${i}\r\n`); }
  const lengths = (await api.logs(p.id)).entries.map((e) => Buffer.from(e.data, 'base64').length), last = lengths.length;
  const beginsAt = (bytes) => { // whole entries, at most so many bytes
    let sum = 0, i = lengths.length;
    while (i > 0 && sum + lengths[i - 1] <= bytes) sum += lengths[--i];
    return i + 1;
  };
  const tail = lengths.slice(-3).reduce((a, b) => a + b);
  const wanted = [
    ['?since=0', 1], ['?since=4', 5], [`?since=${last}`, last + 1], ['?replay=0', last + 1], [`?replay=${tail}`, beginsAt(tail)],
    [`?replay=${tail + 1}`, beginsAt(tail + 1)], ['?replay=99999999', 1], [`?replay=${tail}&since=2`, beginsAt(tail)], [`?replay=99999999&since=${last - 1}`, last],
  ];
  const clients = [];
  for (const [query, first] of wanted) {
    const w = await api.ws(p.id, { query });
    eq((await w.ready()).firstSequence, first, query);
    clients.push(w);
  }
  await api.input(p.id, 'the-end\n');
  await api.logHas(p.id, 'got:the-end\r\n');
  for (const [i, [query, first]] of wanted.entries()) {
    await clients[i].waitOut('got:the-end\r\n');
    eq(clients[i].output().toString(), await api.logText(p.id, `?since=${first - 1}`), query);
  }
});
terminal('better', 'replay-default', 'by default the last 256 KiB are replayed', async ({ api }) => {
  const p = await onCue(api, 'seq 1 200000; read x', { tty: true });
  await cue(api, p.id);
  await api.logHas(p.id, '200000\n', { query: '?tail=1' });
  const w = await api.ws(p.id);
  await w.waitOut('200000\n');
  const got = w.output();
  ok(got.length <= 256 * KIB && got.length > 128 * KIB, `${got.length} bytes`);
  ok(counted(200000).subarray(-got.length).equals(got), 'they are the last ones');
});
terminal('better', 'replay-refused', 'a bad since or replay is refused before the upgrade', async ({ api }) => {
  const p = await reader(api);
  for (const q of ['replay=abc', 'replay=', 'replay=-1', 'since=x', 'since=1.5', 'replay=1&replay=2', 'since=99999999999999999999']) {
    problem(await api.get(`/v1/processes/${p.id}/terminal/ws?${q}`, { headers: UPGRADE }), { status: 400, type: 'invalid_request', title: 'Invalid Request' });
  }
});

// What a terminal would answer, and how printf writes it.
const QUERIES = [
  '\\033[c', '\\033[>c', '\\033[=c', '\\033[6n', '\\033[?6n', '\\033[5n', '\\033]11;?\\007', '\\033]4;1;?\\033\\\\',
  '\\033[>0q', '\\033P$qm\\033\\\\', '\\033[18t', '\\033[14t', '\\033[?2026$p', '\\033Z', '\\005',
];
const bytes = (s) => Buffer.from(s.replaceAll('\\033', '\x1b')
  .replaceAll('\\007', '\x07').replaceAll('\\005', '\x05').replaceAll('\\\\', '\\').replaceAll('\\n', '\n'), 'latin1');
terminal('better', 'replay-without-queries', 'queries are taken out of what is replayed, and out of nothing else', async ({ api }) => {
  const dressed = ['\\033[31m', '\\033[2J', '\\033]0;title\\007', '\\033[10;5H', '\\033[?1049h', '\\033]8;;http://x?y\\007'];
  const printed = `${QUERIES.map((q, i) => `t${i}${q}`).join('')}${dressed.join('x')}end\\n`;
  const kept = bytes(`${QUERIES.map((q, i) => `t${i}`).join('')}${dressed.join('x')}end\\n`);
  const p = await api.sh(`stty raw -echo; echo ready; while read x; do printf '${printed.replaceAll('%', '%%')}'; done`, { tty: true });
  await api.logHas(p.id, 'ready\n');
  const live = await api.ws(p.id);
  await live.ready();
  await cue(api, p.id);
  await live.waitOut('end\n');
  const whole = bytes(printed);
  ok(live.output().equals(Buffer.concat([READY, whole])), () => `live output is unchanged: ${JSON.stringify(live.output().toString('latin1'))}`);
  const later = await api.ws(p.id);
  await later.waitOut('end\n');
  const want = Buffer.concat([READY, kept]);
  eq(later.output().toString('latin1'), want.toString('latin1'), 'the replay');
  await cue(api, p.id);
  await until(() => later.output().length >= want.length + whole.length, { what: 'the live part' });
  ok(later.output().subarray(want.length).equals(whole), 'the live part after a replay is unchanged');
  const log = Buffer.concat((await api.logs(p.id)).entries.map((e) => Buffer.from(e.data, 'base64')));
  ok(log.equals(Buffer.concat([READY, whole, whole])), 'the log is unchanged');
});
terminal('better', 'one-frame-per-entry', 'each entry is a frame, an empty one when nothing of it is left', async ({ api }) => {
  const p = await api.sh("stty raw -echo; echo ready; for x in a b c; do head -n 1 >/dev/null; printf '\\033[6n'; head -n 1 >/dev/null; echo $x; done; read x", { tty: true });
  await api.logHas(p.id, 'ready\n');
  for (const shows of ['\x1b[6n', 'a\n', '\x1b[6n', 'b\n', '\x1b[6n', 'c\n']) {
    const before = (await api.logs(p.id)).entries.length;
    await cue(api, p.id);
    const there = async () => { const { entries } = await api.logs(p.id); return entries.length > before && text(entries).endsWith(shows); };
    await until(there, { what: 'the entry' });
  }
  const { entries } = await api.logs(p.id);
  const w = await api.ws(p.id);
  eq((await w.ready()).firstSequence, 1);
  await w.waitOut('c\n');
  eq(frames(w).length, entries.length, 'frames');
  entries.forEach((e, i) => {
    const logged = Buffer.from(e.data, 'base64').toString('latin1');
    eq(frames(w)[i].data.toString('latin1'), logged === '\x1b[6n' ? '' : logged, `frame of sequence ${i + 1}`);
  });
});

// ------------------------------------------------------------------ input
terminal('better', 'binary-input', 'a binary message is input, byte by byte as it is', async ({ api }) => {
  const p = await api.sh('stty raw -echo; echo ready; head -c 1000 | od -An -v -tx1 | tr -d " \\n"; echo; echo done; read x', { tty: true });
  await api.logHas(p.id, 'ready');
  const w = await api.ws(p.id);
  await w.ready();
  const all = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7) & 255));
  w.sock.send(all.subarray(0, 300), { fin: false });
  w.sock.send(all.subarray(300, 600), { fin: true });
  w.sock.send(all.subarray(600));
  w.sock.send(Buffer.alloc(0));
  await w.waitOut('done');
  has(w.output().toString(), `\n${all.toString('hex')}\n`);
  eq(w.ctl('error'), []);
});
terminal('better', 'binary-input-limit', 'the limit of an input holds for binary messages', async ({ api }) => api.withConfig({ maxInputBytesPerRequest: 100 }, async () => {
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  w.sock.send(Buffer.alloc(101, 0x78));
  eq(await w.wait('error'), { type: 'error', message: 'input payload exceeds maxInputBytesPerRequest (100)' });
  w.sock.send(Buffer.from(`${'y'.repeat(99)}\n`));
  await w.waitOut(`got:${'y'.repeat(99)}\r\n`);
}), R);
terminal('better', 'fragments-too-big', 'fragments that add up to too much are answered with 1009', async ({ api }) => {
  const p = await reader(api);
  const c = new RawWs(api, p.id);
  await c.wait((f) => f.op === 1, 'ready');
  const piece = Buffer.alloc(256 * KIB, 0x20);
  c.write(frame(1, piece, { fin: false }), ...Array.from({ length: 6 }, () => frame(0, piece, { fin: false })));
  await until(() => c.closeCode() !== null || c.ended, { within: secs(4), what: 'the end' });
  eq([c.closeCode(), (await api.info(p.id)).status], [1009, 'running']);
});

// ------------------------------------------------------------------ several readers
terminal('better', 'latecomers', 'clients that come at different times all see the whole', async ({ api }) => {
  const p = await reader(api);
  const clients = [];
  for (let i = 0; i < 6; i++) {
    const w = await api.ws(p.id);
    await w.ready();
    say(w, `from-${i}`);
    clients.push(w);
    for (const c of clients) await c.waitOut(`got:from-${i}\r\n`);
  }
  const want = `ready\r\n${clients.map((c, i) => `got:from-${i}\r\n`).join('')}`;
  for (const c of clients) eq(c.output().toString(), want);
});
terminal('better', 'gap-is-told', 'a client that stopped is told what it missed, the process and others go on',
  async ({ api }) => api.withConfig({ maxLogBytesPerProcess: 256 * KIB }, async () => {
  const n = 2000000, want = Buffer.concat([READY, counted(n)]);
  const p = await onCue(api, `seq 1 ${n}; exit 2`, { tty: true });
  const stopped = await api.ws(p.id, { query: '?since=0' });
  const state = await stopped.ready();
  stopped.sock.pause();
  const reading = await farReader(api, p.id, 'ws');
  await cue(api, p.id);
  await api.exited(p.id, secs(20));
  eq(await reading.result(), { bytes: want.length, sha256: sha256(want), gaps: [], last: 'exit', code: 1000 }, 'the one that read');
  stopped.sock.resume();
  await stopped.waitClose();
  let next = state.firstSequence, missed = 0;
  for (const f of stopped.frames) {
    if (f.binary) next++;
    if (f.json?.type !== 'error') continue;
    match(f.json.message, /^output gap: /);
    keys(f.json, ['type', 'message', 'fromSequence', 'toSequence', ...('bytes' in f.json ? ['bytes'] : [])]);
    eq(f.json.fromSequence, next, 'a gap begins where the client was');
    next = f.json.toSequence + 1;
    missed += f.json.bytes ?? NaN;
  }
  ok(stopped.ctl('error').length > 0, 'a gap is told');
  if (!Number.isNaN(missed)) eq(stopped.output().length + missed, want.length, 'bytes received and missed');
  eq([stopped.frames.at(-1).json, stopped.closed.code], [{ exitCode: 2, type: 'exit' }, 1000]);
}), R);
terminal('better', 'client-is-not-outrun', 'a client that goes on reading loses nothing although the log is small',
  async ({ api }) => api.withConfig({ maxLogBytesPerProcess: 64 * KIB }, async () => {
  const n = 1500000, want = Buffer.concat([READY, counted(n)]);
  const p = await onCue(api, `seq 1 ${n}`, { tty: true });
  const reading = await farReader(api, p.id, 'ws');
  await cue(api, p.id);
  eq(await reading.result(), { bytes: want.length, sha256: sha256(want), gaps: [], last: 'exit', code: 1000 });
}), R);
