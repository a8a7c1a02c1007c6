// Logs followed as an event stream.
import { define, eq, keys, lacks, match, notFound, ok, secs, until } from '../lib.mjs';
import { echoer, seqs } from '../lib/helpers.mjs';

const sse = define('sse');

sse(
  'compat',
  'headers',
  'follow=true answers text/event-stream at once, even with nothing to show',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    const s = await api.follow(p.id).opened();
    eq(s.status, 200);
    match(s.headers['content-type'], /^text\/event-stream/);
    match(s.headers['cache-control'] ?? '', /no-cache/);
  },
);
sse(
  'compat',
  'framing',
  'one event: log block per entry, id is the sequence, data one JSON line',
  async ({ api }) => {
    const p = await echoer(api);
    await p.say('err1');
    const s = await api.follow(p.id).opened();
    await s.waitText('err1\n');
    eq(
      s.events.map((e) => [e.event, e.id]),
      [
        ['log', '1'],
        ['log', '2'],
      ],
    );
    for (const [i, e] of s.events.entries()) {
      keys(e.json, ['sequence', 'stream', 'timestampMs', 'data', 'encoding']);
      eq(String(e.json.sequence), e.id);
      eq(e.json, (await api.logs(p.id)).entries[i]);
    }
    ok(
      s.blocks.every((b) => b.split('\n').length === 3),
      'three lines a block',
    );
    lacks(s.rawText, '\r', 'line ends');
  },
);
sse(
  'compat',
  'replay-then-live',
  'buffered entries first, then live ones, each once and in order',
  async ({ api }) => {
    const p = await echoer(api);
    await p.say('b');
    const s = await api.follow(p.id).opened();
    await s.waitText('b\n');
    for (const x of ['c', 'err1', 'd']) await p.say(x);
    await s.waitText('d\n');
    eq(seqs(s.log()), [1, 2, 3, 4, 5]);
  },
);
sse('compat', 'live-is-prompt', 'live entries arrive promptly, not in batches', async ({ api }) => {
  const p = await echoer(api);
  const s = await api.follow(p.id).opened();
  await s.waitText('ready');
  for (let i = 0; i < 5; i++) {
    await api.input(p.id, `n${i}\n`);
    await s.waitText(`n${i}\n`, secs(5));
  }
});
sse('compat', 'stream-filter', 'stream filters replay and live entries', async ({ api }) => {
  const p = await echoer(api);
  await p.say('err1');
  const s = await api.follow(p.id, 'stream=stderr').opened();
  await s.waitText('err1');
  await p.say('quiet');
  await p.say('err2');
  await s.waitText('err2');
  eq(
    s.log().map((e) => [e.sequence, e.stream]),
    [
      [2, 'stderr'],
      [4, 'stderr'],
    ],
  );
});
sse('compat', 'tail', 'tail limits the replay only', async ({ api }) => {
  const p = await echoer(api);
  await p.say('b');
  await p.say('c');
  const s = await api.follow(p.id, 'tail=1').opened();
  const z = await api.follow(p.id, 'tail=0').opened();
  await s.waitText('c\n');
  await p.say('d');
  await p.say('e');
  await s.waitText('e\n');
  await z.waitText('e\n');
  eq(seqs(s.log()), [3, 4, 5]);
  eq(seqs(z.log()), [4, 5]);
});
sse(
  'compat',
  'resume',
  'since and Last-Event-ID resume without loss or repetition',
  async ({ api }) => {
    const p = await echoer(api);
    for (const x of ['b', 'c', 'd']) await p.say(x);
    const a = await api.follow(p.id, 'since=2').opened();
    const b = await api.follow(p.id, '', { headers: { 'last-event-id': '3' } }).opened();
    await p.say('e');
    await a.waitText('e\n');
    await b.waitText('e\n');
    eq(seqs(a.log()), [3, 4, 5]);
    eq(seqs(b.log()), [4, 5]);
  },
);
sse(
  'compat',
  'terminal-process',
  'a terminal process is followed on pty by default',
  async ({ api }) => {
    const p = await api.sh('echo one; read x; echo "two $x"; exec sleep 60', { tty: true });
    const s = await api.follow(p.id).opened();
    await s.waitText('one\r\n');
    await api.input(p.id, 'go\n');
    await s.waitText('two go\r\n');
    ok(
      s.log().every((e) => e.stream === 'pty'),
      'pty',
    );
  },
);
sse('compat', 'many-followers', 'several followers all get everything', async ({ api }) => {
  const p = await echoer(api);
  const all = await Promise.all(Array.from({ length: 8 }, () => api.follow(p.id).opened()));
  for (const x of ['b', 'c', 'd']) await p.say(x);
  for (const s of all) {
    await s.waitText('d\n');
    eq(seqs(s.log()), [1, 2, 3, 4]);
  }
});
sse(
  'compat',
  'accept-not-required',
  'follow=true streams whatever Accept says',
  async ({ api }) => {
    const p = await echoer(api);
    const s = await api.follow(p.id, '', { headers: { accept: 'application/json' } }).opened();
    match(s.headers['content-type'], /^text\/event-stream/);
    await s.waitText('ready');
  },
);
sse(
  'compat',
  'not-found',
  'following an unknown process is a 404 problem, not a stream',
  async ({ api }) => {
    notFound(
      await api.get('/v1/processes/proc_0/logs?follow=true', {
        headers: { accept: 'text/event-stream' },
      }),
      'proc_0',
    );
  },
);
sse(
  'compat',
  'keep-alive-comment',
  'an idle stream carries a comment about every 15 seconds',
  async ({ api }) => {
    const p = await api.sh('exec sleep 300');
    const s = await api.follow(p.id).opened();
    await until(() => s.comments.length > 0, { within: secs(25), what: 'a comment line' });
    ok(s.comments[0].text.startsWith(':'), 'comment');
    eq(s.events, []);
  },
  { slow: true },
);
sse(
  'compat',
  'exited-process-replays',
  'following an exited process replays its log',
  async ({ api }) => {
    const p = await api.sh('echo one; echo two');
    await api.exited(p.id);
    const s = await api.follow(p.id).opened();
    eq(await s.waitText('two\n'), 'one\ntwo\n');
  },
);
sse('compat', 'delete-ends-stream', 'deleting the process ends its streams', async ({ api }) => {
  const p = await api.sh('echo bye');
  await api.exited(p.id);
  const s = await api.follow(p.id).opened();
  await s.waitText('bye');
  await api.del(`/v1/processes/${p.id}`);
  await s.waitEnd();
});
sse(
  'compat',
  'disconnect-leaves-process',
  'a follower going away leaves the process alone',
  async ({ api }) => {
    const p = await echoer(api);
    for (let i = 0; i < 3; i++) {
      const s = await api.follow(p.id).opened();
      await s.waitText('ready');
      s.close();
    }
    await p.say('still here');
    eq((await api.info(p.id)).status, 'running');
  },
);
sse(
  'compat',
  'stalled-follower-harmless',
  'a follower that does not read holds up neither the process nor others',
  async ({ api }) => {
    const p = await api.sh(
      'read x; head -c 12000000 /dev/zero | tr "\\0" y; echo; echo FINISHED; exec sleep 60',
    );
    const stuck = await api.follow(p.id, '', { paused: true }).opened();
    await api.input(p.id, 'go\n');
    await api.logHas(p.id, 'FINISHED', { query: '?tail=3', ms: secs(30) });
    const s = await api.follow(p.id, 'tail=1').opened();
    await s.waitText('FINISHED');
    stuck.close();
  },
);
