// The list, the log and the event stream (groups list, logs, sse).
import { bytesOf, define, eq, lacks, ok, secs, text, until } from '../lib.mjs';
import { echoer, seqs } from '../lib/helpers.mjs';
import { counted, cue, onCue, sameEntries, unbroken } from '../lib/programs.mjs';

const list = define('list');
const logs = define('logs');
const sse = define('sse');
const MIB = 1024 * 1024;

list('defect', 'creation-order', 'D-20: the list has the order of creation, past nine processes too', async (ctx) => ctx.withServer({}, async (s, api) => {
  const made = [];
  for (let i = 0; i < 12; i++) made.push((await api.sh('exec sleep 60')).id);
  await api.kill(made[1], '?waitMs=5000');
  const ids = () => api.get('/v1/processes').then((r) => r.json.processes.map((p) => p.id));
  eq(await ids(), made);
  eq((await api.get('/v1/processes?owner=user')).json.processes.map((p) => p.id), made);
  await api.del(`/v1/processes/${made[1]}`);
  made.splice(1, 1);
  made.push((await api.sh('exec sleep 60')).id);
  eq(await ids(), made, 'after one was deleted and one added');
}), { spawn: true });

sse('defect', 'ends-after-exit', 'D-21: the stream ends when the process has exited and its output was sent', async ({ api }) => {
  const p = await echoer(api);
  const followers = [await api.follow(p.id).opened(), await api.follow(p.id, 'stream=stderr').opened()];
  await p.say('last');
  await api.input(p.id, 'quit 0\n');
  for (const f of followers) await f.waitEnd(secs(4));
  eq([followers[0].text(), followers[1].text()], ['ready\nlast\n', '']);
  ok(!followers[0].error, () => `a clean end: ${followers[0].error}`);
});
sse('defect', 'exited-process-ends', 'D-21: following an exited process replays its log and ends', async ({ api }) => {
  const p = await api.sh('echo one; echo two >&2');
  await api.exited(p.id);
  const f = await api.follow(p.id).opened();
  await f.waitEnd(secs(4));
  eq(text(f.log(), (e) => e.stream === 'stdout') + text(f.log(), (e) => e.stream === 'stderr'), 'one\ntwo\n');
});

sse('defect', 'slow-follower-loses-nothing', 'D-22: a follower that pauses gets every retained entry',
  async ({ api }) => api.withConfig({ maxLogBytesPerProcess: 64 * MIB }, async () => {
  const n = 2400000, want = Buffer.concat([Buffer.from('ready\n'), counted(n), Buffer.from('THE-END\n')]);
  const p = await onCue(api, `seq 1 ${n}; echo THE-END`);
  const f = await api.follow(p.id, '', { paused: true }).opened();
  await cue(api, p.id);
  await api.exited(p.id, secs(20));
  await api.logHas(p.id, 'THE-END', { query: '?tail=1' });
  const [last] = (await api.logs(p.id, '?tail=1')).entries;
  f.start();
  await until(() => f.log().at(-1)?.sequence === last.sequence, { within: secs(15), what: 'the last entry' });
  unbroken(f.log(), 1);
  sameEntries(f.log(), want, 'what the follower got');
}), { restoreConfig: true });

logs('defect', 'limit-below-one-chunk', 'D-23: a limit below one read keeps the newest bytes', async ({ api }) => api.withConfig({ maxLogBytesPerProcess: 100 }, async () => {
  const output = Array.from({ length: 40 }, (_, i) => String(i).padStart(5, '.')).join('');
  const p = await api.create({ command: 'printf', args: ['%s', output] });
  await api.exited(p.id);
  const { entries } = await api.logs(p.id);
  const kept = bytesOf(entries).toString();
  ok(kept.length > 0 && kept.length <= 100, `${kept.length} bytes kept`);
  ok(output.endsWith(kept), () => `not the newest bytes: ${kept}`);
}), { restoreConfig: true });

sse('defect', 'no-gap-between-replay-and-live', 'D-24: between replay and live output no entry is missing or doubled', async ({ api }) => {
  const p = await api.sh('i=0; while [ $i -lt 25000 ]; do echo $i; i=$((i+1)); done; while :; do echo $i; i=$((i+1)); sleep 0.005; done');
  await api.logHas(p.id, /^(2[5-9]|[3-9]\d)\d{3}$/m, { query: '?tail=5' });
  const one = async () => {
    const f = await api.follow(p.id).opened();
    const from = (await api.logs(p.id, '?tail=1')).entries[0].sequence;
    await until(() => (f.log().at(-1)?.sequence ?? 0) > from + 3, { what: 'live entries' });
    f.close();
    unbroken(f.log(), 1);
  };
  for (let round = 0; round < 8; round++) await Promise.all([one(), one(), one(), one()]);
});

sse('defect', 'since-holds-for-live', 'D-25: since also holds for entries that appear later', async ({ api }) => {
  const p = await echoer(api);
  const followers = [await api.follow(p.id, 'since=3').opened(), await api.follow(p.id, '', { headers: { 'last-event-id': '3' } }).opened()];
  for (const line of ['b', 'c', 'd', 'e']) await p.say(line);
  for (const f of followers) { await f.waitText('e\n'); eq(seqs(f.log()), [4, 5]); }
});

logs('defect', 'no-noise-at-terminal-exit', 'D-26: the log of a terminal ends with the last output of its program', async ({ api }) => {
  for (const command of ['echo bye', 'printf bye; exit 3', 'echo bye; kill -9 $$']) {
    const p = await api.sh(command, { tty: true });
    await api.exited(p.id);
    const f = await api.follow(p.id).opened();
    await until(() => f.ended || f.text().includes('bye'), { what: 'the replay' });
    lacks(f.text(), 'error', command);
    eq((await api.logText(p.id)).replace('\r\n', ''), 'bye', command);
  }
});
