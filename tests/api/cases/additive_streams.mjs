// Event streams beyond the published server: the exit event, resuming, gaps that are told, and
// back-pressure (group sse).
import { define, eq, keys, ok, secs, until } from '../lib.mjs';
import { farReader, sha256 } from '../lib/far_reader.mjs';
import { echoer, reader, seqs } from '../lib/helpers.mjs';
import { counted, cue, onCue, unbroken } from '../lib/programs.mjs';

const sse = define('sse');
const KIB = 1024;
const R = { restoreConfig: true };
const withLog = (api, bytes, fn) => api.withConfig({ maxLogBytesPerProcess: bytes }, fn);
const names = (f) => f.events.map((e) => e.event);
const size = (events) => events.reduce((n, e) => n + (e.event === 'log' ? Buffer.from(e.json.data, 'base64').length : 0), 0);
const READY = Buffer.from('ready\n');

// What a follower got is the log without a hole, except where a gap event tells of one. Returns the gaps.
function accounted(f, from = 1) {
  let next = from;
  const gaps = [];
  for (const e of f.events) {
    if (e.event === 'log') { eq(e.json.sequence, next, 'the next sequence'); next++; }
    if (e.event !== 'gap') continue;
    gaps.push(e);
    eq([e.id, e.json.fromSequence], [undefined, next], 'a gap begins where the follower was');
    ok(e.json.toSequence >= next, () => `a gap to ${e.json.toSequence} from ${next}`);
    next = e.json.toSequence + 1;
  }
  return gaps.map((e) => e.json);
}

// ------------------------------------------------------------------ the end
sse('better', 'exit-event', 'the last event is exit, with the process as it is now', async ({ api }) => {
  for (const [script, tty] of [['echo bye; exit 7', false], ['echo bye; kill -9 $$', false], ['echo bye; exit 7', true]]) {
    const p = await onCue(api, script, { tty });
    const live = await api.follow(p.id).opened();
    await cue(api, p.id);
    await live.waitEnd();
    const replayed = await api.follow(p.id).opened();
    await replayed.waitEnd();
    const now = await api.info(p.id);
    for (const f of [live, replayed]) {
      ok(f.text().includes('bye'), 'all output came before');
      eq(names(f).slice(-2), ['log', 'exit']);
      eq([f.events.at(-1).json, f.events.at(-1).id], [now, undefined], 'the event');
      ok(!f.error, () => `a clean end: ${f.error}`);
    }
  }
});
sse('better', 'exit-event-through-filters', 'a follower that is shown nothing is told the exit all the same', async ({ api }) => {
  const p = await echoer(api);
  const followers = [];
  for (const q of ['stream=stderr', 'tail=0', 'since=18446744073709551615']) followers.push(await api.follow(p.id, q).opened());
  await api.input(p.id, 'quit 3\n');
  for (const f of followers) { await f.waitEnd(); eq([names(f), f.events[0].json.exitCode], [['exit'], 3]); }
});
sse('better', 'end-comes-last-for-all', 'every reader gets all output, then the exit, then the end', async ({ api }) => {
  const n = 100000, want = Buffer.concat([READY, counted(n)]);
  const p = await onCue(api, `seq 1 ${n}; exit 5`, { tty: true });
  const followers = [], terminals = [];
  for (let i = 0; i < 6; i++) { followers.push(await api.follow(p.id).opened()); terminals.push(await api.ws(p.id)); }
  await Promise.all(terminals.map((t) => t.ready()));
  followers[0].res.pause();
  terminals[0].sock.pause();
  await cue(api, p.id);
  await api.exited(p.id);
  followers[0].res.resume();
  terminals[0].sock.resume();
  for (const f of followers) {
    await f.waitEnd();
    unbroken(f.log(), 1);
    eq([names(f).at(-1), f.events.at(-1).json.exitCode, f.text() === want.toString()], ['exit', 5, true]);
  }
  for (const t of terminals) {
    eq((await t.waitClose()).code, 1000);
    eq([t.frames.at(-1).json, t.output().equals(want)], [{ exitCode: 5, type: 'exit' }, true]);
  }
});
sse('better', 'background-child-delays-nothing', 'the stream ends with the process although a child holds its pipes; what that writes is logged', async ({ api }) => {
  const dir = (await api.runSh('mktemp -d')).stdout.trim();
  try {
    const late = 'i=0; while [ ! -e "$0" ] && [ $i -lt 400 ]; do i=$((i+1)); sleep 0.05; done; echo late; echo "pid $$" >&2';
    const p = await api.create({ command: 'sh', args: ['-c', `(${late}) & echo early`, `${dir}/go`] });
    const f = await api.follow(p.id).opened();
    await f.waitEnd(secs(4));
    eq([f.text(), names(f)], ['early\n', ['log', 'exit']]);
    await api.run({ command: 'touch', args: [`${dir}/go`] });
    await api.logHas(p.id, 'late\n');
    eq(await api.logText(p.id, '?stream=stdout'), 'early\nlate\n');
  } finally { await api.run({ command: 'rm', args: ['-rf', dir] }); }
});
sse('better', 'deleted-while-followed', 'followers of a deleted process get the rest, the exit and the end', async ({ api }) => {
  const n = 1200000, want = Buffer.concat([READY, counted(n)]);
  const p = await onCue(api, `seq 1 ${n}`);
  const f = await api.follow(p.id, '', { paused: true }).opened();
  await cue(api, p.id);
  await api.exited(p.id);
  await api.logHas(p.id, `${n}\n`, { query: '?tail=1' });
  eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
  eq((await api.get(`/v1/processes/${p.id}`)).status, 404, 'gone at once');
  f.start();
  await f.waitEnd();
  const lost = accounted(f).reduce((sum, g) => sum + (g.bytes ?? 0), 0);
  eq([size(f.events) + lost, lost, names(f).at(-1)], [want.length, 0, 'exit']);
});

// ------------------------------------------------------------------ coming back
sse('better', 'last-event-id', 'a follower that comes back with Last-Event-ID goes on where it was', async ({ api }) => {
  const p = await echoer(api);
  for (const line of ['b', 'c']) await p.say(line);
  const f = await api.follow(p.id).opened();
  await f.waitText('c\n');
  f.close();
  const id = f.events.at(-1).id;
  eq([id, seqs(f.log())], ['3', [1, 2, 3]], 'the id of an event is its sequence');
  for (const line of ['d', 'err-e']) await p.say(line);
  const g = await api.follow(p.id, '', { headers: { 'last-event-id': id } }).opened();
  await g.waitText('err-e\n');
  await api.input(p.id, 'quit 0\n');
  await g.waitEnd();
  eq([seqs(g.log()), g.text()], [[4, 5], 'd\nerr-e\n']);
});
sse('better', 'gap-after-since', 'a follower that asks for evicted entries is told which, and how many bytes', async ({ api }) => withLog(api, 8 * KIB, async () => {
  const n = 20000, total = READY.length + counted(n).length;
  const p = await onCue(api, `seq 1 ${n}; read x`);
  await cue(api, p.id);
  await api.logHas(p.id, `${n}\n`, { query: '?tail=1' });
  const { entries } = await api.logs(p.id);
  const first = entries[0].sequence;
  ok(first > 3, `evicted up to ${first}`);
  for (const [query, headers, from] of [['since=0', {}, 1], ['since=2', {}, 3], ['', { 'last-event-id': '1' }, 2]]) {
    const f = await api.follow(p.id, query, { headers }).opened();
    await f.waitText(`${n}\n`);
    eq(names(f)[0], 'gap', `${query} ${JSON.stringify(headers)}`);
    const [gap, ...more] = accounted(f, from);
    eq([gap.fromSequence, gap.toSequence, more.length], [from, first - 1, 0]);
    if (from === 1) eq(gap.bytes ?? total - size(f.events), total - size(f.events), 'bytes of the gap');
    f.close();
  }
  const fresh = await api.follow(p.id).opened();
  await fresh.waitText(`${n}\n`);
  eq([names(fresh)[0], fresh.log()[0].sequence], ['log', first], 'who asks for nothing is told of no gap');
}), R);

// ------------------------------------------------------------------ back-pressure
sse('better', 'stopped-reader-holds-nobody', 'a follower that stopped holds up neither the process nor others, and is told what it missed',
  async ({ api }) => withLog(api, 256 * KIB, async () => {
  const n = 3000000, want = Buffer.concat([READY, counted(n)]);
  const p = await onCue(api, `seq 1 ${n}; exit 4`);
  const stopped = await api.follow(p.id, '', { paused: true }).opened();
  const reading = await farReader(api, p.id, 'sse');
  await cue(api, p.id);
  await api.exited(p.id, secs(20));
  eq(await reading.result(), { bytes: want.length, sha256: sha256(want), gaps: [], unbroken: true, last: 'exit' }, 'the one that read');
  stopped.start();
  await stopped.waitEnd();
  const gaps = accounted(stopped);
  ok(gaps.length > 0, 'a gap is told');
  for (const g of gaps) keys(g, 'bytes' in g ? ['fromSequence', 'toSequence', 'bytes'] : ['fromSequence', 'toSequence']);
  if (gaps.every((g) => 'bytes' in g)) eq(size(stopped.events) + gaps.reduce((sum, g) => sum + g.bytes, 0), want.length, 'bytes received and missed');
  eq(stopped.events.at(-1).json, await api.info(p.id), 'the exit event comes last for it too');
}), R);
sse('better', 'reader-is-not-outrun', 'a follower that goes on reading loses nothing although the log is small', async ({ api }) => withLog(api, 64 * KIB, async () => {
  const n = 1500000, want = Buffer.concat([READY, counted(n)]);
  for (const [pace, tty] of [[0, false], [8, false], [0, true]]) {
    const p = await onCue(api, `seq 1 ${n}`, { tty });
    const reading = await farReader(api, p.id, 'sse', { pace });
    await cue(api, p.id);
    eq(await reading.result(), { bytes: want.length, sha256: sha256(want), gaps: [], unbroken: true, last: 'exit' }, `pause ${pace} ms, tty ${tty}`);
  }
}), R);
sse('better', 'vanished-reader', 'readers that vanish in mid-stream leave nothing behind and hurt nobody', async (ctx) => ctx.withServer({}, async (s, api) => {
  const p = await reader(api);
  const busy = await api.sh('while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done');
  for (let round = 0; round < 4; round++) {
    const gone = await Promise.all(Array.from({ length: 10 }, () => api.follow(busy.id, '', { paused: true }).opened()));
    const terminals = await Promise.all(Array.from({ length: 5 }, () => api.ws(p.id)));
    await Promise.all(terminals.map((t) => t.ready()));
    for (const x of [...gone, ...terminals]) x.close();
  }
  eq((await api.info(busy.id)).status, 'running');
  await until(async () => (await api.logs(busy.id, '?tail=1')).entries[0]?.sequence > 1, { what: 'output' });
}), { spawn: true });
