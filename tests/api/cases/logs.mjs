// Log fetches.
import { bytesOf, define, eq, invalid, keys, match, ok, secs, text, until } from '../lib.mjs';
import { contiguous, echoer, seqs } from '../lib/helpers.mjs';

const logs = define('logs');
const dec = (e) => Buffer.from(e.data, 'base64').toString('utf8');

logs(
  'compat',
  'shape',
  'the answer and its entries have exactly the documented members',
  async ({ api }) => {
    const p = await echoer(api);
    const l = await api.logs(p.id);
    keys(l, ['processId', 'stream', 'entries']);
    eq([l.processId, l.stream], [p.id, 'combined']);
    const e = l.entries[0];
    keys(e, ['sequence', 'stream', 'timestampMs', 'data', 'encoding']);
    eq([e.sequence, e.stream, e.encoding, dec(e)], [1, 'stdout', 'base64', 'ready\n']);
    ok(Number.isInteger(e.timestampMs) && e.timestampMs >= p.createdAtMs, 'timestampMs');
  },
);
logs('compat', 'empty', 'a silent process has an empty list', async ({ api }) => {
  const p = await api.sh('exec sleep 60');
  eq((await api.logs(p.id)).entries, []);
});
logs(
  'compat',
  'sequence',
  'sequences start at 1 and have no holes, across both streams',
  async ({ api }) => {
    const p = await echoer(api);
    for (const s of ['a', 'err1', 'b', 'err2']) await p.say(s);
    const l = (await api.logs(p.id)).entries;
    eq(seqs(l), [1, 2, 3, 4, 5]);
    eq(
      l.map((e) => e.stream),
      ['stdout', 'stdout', 'stderr', 'stdout', 'stderr'],
    );
    l.forEach((e, i) =>
      ok(!i || e.timestampMs >= l[i - 1].timestampMs, 'timestamps do not go back'),
    );
  },
);
logs(
  'compat',
  'stream-filter',
  'stream selects; sequence numbers stay those of the whole log',
  async ({ api }) => {
    const p = await echoer(api);
    await p.say('err1');
    await p.say('b');
    eq(
      (await api.logs(p.id, '?stream=stderr')).entries.map((e) => [e.sequence, dec(e)]),
      [[2, 'err1\n']],
    );
    const o = await api.logs(p.id, '?stream=stdout');
    eq(o.stream, 'stdout');
    eq(seqs(o.entries), [1, 3]);
    eq(seqs((await api.logs(p.id, '?stream=combined')).entries), [1, 2, 3]);
    const t = await api.logs(p.id, '?stream=pty');
    eq([t.stream, t.entries], ['pty', []]);
  },
);
logs(
  'compat',
  'tty-stream',
  'a terminal process logs to pty, which is its default stream',
  async ({ api }) => {
    const p = await api.sh('echo out; echo err >&2; exec sleep 60', { tty: true });
    await api.logHas(p.id, 'err');
    const l = await api.logs(p.id);
    eq(l.stream, 'pty');
    ok(
      l.entries.every((e) => e.stream === 'pty'),
      'entries are pty',
    );
    eq(text(l.entries), 'out\r\nerr\r\n');
    for (const s of ['stdout', 'stderr', 'combined'])
      eq((await api.logs(p.id, `?stream=${s}`)).entries, [], s);
  },
);
logs('compat', 'tail', 'tail keeps the last entries, after the stream filter', async ({ api }) => {
  const p = await echoer(api);
  for (const s of ['err1', 'b', 'c']) await p.say(s);
  eq(seqs((await api.logs(p.id, '?tail=2')).entries), [3, 4]);
  eq(seqs((await api.logs(p.id, '?tail=2&stream=stdout')).entries), [3, 4]);
  eq(seqs((await api.logs(p.id, '?tail=1&stream=stderr')).entries), [2]);
  eq((await api.logs(p.id, '?tail=0')).entries, []);
  eq(seqs((await api.logs(p.id, '?tail=1000')).entries), [1, 2, 3, 4]);
});
logs('compat', 'since', 'since is exclusive and goes before tail', async ({ api }) => {
  const p = await echoer(api);
  for (const s of ['b', 'c', 'd']) await p.say(s);
  eq(seqs((await api.logs(p.id, '?since=2')).entries), [3, 4]);
  eq(seqs((await api.logs(p.id, '?since=0')).entries), [1, 2, 3, 4]);
  eq(seqs((await api.logs(p.id, '?since=1&tail=2')).entries), [3, 4]);
  eq((await api.logs(p.id, '?since=4')).entries, []);
  eq((await api.logs(p.id, '?since=18446744073709551615')).entries, []);
});
logs(
  'compat',
  'last-event-id',
  'Last-Event-ID works like since; the larger of the two counts',
  async ({ api }) => {
    const p = await echoer(api);
    for (const s of ['b', 'c', 'd']) await p.say(s);
    const get = async (q, v) =>
      seqs(
        (await api.get(`/v1/processes/${p.id}/logs${q}`, { headers: { 'last-event-id': v } })).json
          .entries,
      );
    eq(await get('', '2'), [3, 4]);
    eq(await get('', ' 3 '), [4]);
    eq(await get('', ''), [1, 2, 3, 4]);
    eq(await get('?since=1', '3'), [4]);
    eq(await get('?since=3', '1'), [4]);
  },
);
logs(
  'compat',
  'last-event-id-invalid',
  'a Last-Event-ID that is no number is a 400 problem',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    for (const v of ['abc', '-1', '1.5'])
      invalid(
        await api.get(`/v1/processes/${p.id}/logs`, { headers: { 'last-event-id': v } }),
        'Last-Event-ID must be a positive integer',
      );
  },
);
logs('compat', 'bytes-preserved', 'all byte values survive', async ({ api }) => {
  const p = await api.sh(
    'i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i+1)); done; exec sleep 60',
  );
  await until(async () => bytesOf((await api.logs(p.id)).entries).length === 256, {
    what: '256 bytes',
  });
  eq(
    [...bytesOf((await api.logs(p.id)).entries)],
    Array.from({ length: 256 }, (_, i) => i),
  );
});
logs(
  'compat',
  'large-output',
  'a megabyte of output is logged completely and in order',
  async ({ api }) => {
    const p = await api.sh('seq 1 150000');
    await api.exited(p.id, secs(30));
    const want = Array.from({ length: 150000 }, (_, i) => `${i + 1}\n`).join('');
    await until(async () => bytesOf((await api.logs(p.id)).entries).length >= want.length, {
      within: secs(20),
      what: 'all output',
    });
    const l = (await api.logs(p.id)).entries;
    contiguous(l);
    ok(bytesOf(l).toString() === want, 'content');
  },
);
logs(
  'compat',
  'complete-after-exit',
  'the output before the exit is all there once the process has exited',
  async ({ api }) => {
    for (let i = 0; i < 5; i++) {
      const p = await api.sh('head -c 50000 /dev/zero | tr "\\0" z; echo END');
      await api.exited(p.id);
      await until(async () => (await api.logText(p.id)) === `${'z'.repeat(50000)}END\n`, {
        within: secs(5),
        what: 'the whole output',
      });
    }
  },
);
logs(
  'compat',
  'output-of-children-after-exit',
  'what a background child writes after the exit is still logged',
  async ({ api }) => {
    const p = await api.sh('(sleep 0.6; echo late) & echo early');
    await api.exited(p.id);
    eq(await api.logHas(p.id, 'late'), 'early\nlate\n');
  },
);
logs(
  'compat',
  'retention',
  'beyond maxLogBytesPerProcess the oldest entries go, sequences continue',
  async ({ api }) =>
    api.withConfig({ maxLogBytesPerProcess: 20000 }, async () => {
      const p = await api.sh('seq 1 20000; echo THE-END');
      await api.logHas(p.id, 'THE-END', { query: '?tail=1' });
      const l = (await api.logs(p.id)).entries;
      ok(bytesOf(l).length <= 20000, `kept ${bytesOf(l).length} bytes`);
      ok(bytesOf(l).length > 5000, 'kept most of the limit');
      ok(l[0].sequence > 1, 'oldest gone');
      contiguous(l);
    }),
  { restoreConfig: true },
);
logs(
  'compat',
  'retention-set-at-start',
  'a changed log limit applies to processes started later',
  async ({ api }) => {
    const before = await api.setConfig({ maxLogBytesPerProcess: 1000000 });
    try {
      const p = await echoer(api);
      await api.setConfig({ maxLogBytesPerProcess: 10 });
      await p.say('x'.repeat(300));
      ok((await api.logText(p.id)).startsWith('ready\n'), 'the running process keeps its limit');
    } finally {
      await api.post('/v1/processes/config', before);
    }
  },
  { restoreConfig: true },
);
logs(
  'compat',
  'accept-header-irrelevant',
  'without follow the answer is JSON whatever Accept says',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    const r = await api.get(`/v1/processes/${p.id}/logs?follow=false`, {
      headers: { accept: 'text/event-stream' },
    });
    match(r.type, /^application\/json/);
  },
);
