// Terminals: what was added to the published protocol, and how strict the framing is.
import { define, eq, frame, includes, keys, ok, RawWs, secs, until } from '../lib.mjs';
import { reader, say } from '../lib/helpers.mjs';

const more = define('terminal-more');
const logged = async (api, id) => (await api.logs(id)).entries.at(-1)?.sequence ?? 0;

more(
  'better',
  'ready-members',
  'ready tells the sequence, the size and the state',
  async ({ api }) => {
    const p = await reader(api),
      w = await api.ws(p.id),
      last = await logged(api, p.id);
    eq(await w.ready(), {
      type: 'ready',
      processId: p.id,
      sequence: last,
      firstSequence: 1,
      cols: 80,
      rows: 24,
      status: 'running',
    });
    w.send({ type: 'resize', cols: 101, rows: 33 });
    say(w, 'quit 4');
    await w.waitClose();
    await api.exited(p.id);
    const v = await api.ws(p.id);
    includes(await v.ready(), {
      sequence: await logged(api, p.id),
      cols: 101,
      rows: 33,
      status: 'exited',
    });
    await v.waitClose();
  },
);
more(
  'better',
  'size-at-create',
  'cols and rows of create are the size of the terminal',
  async ({ api }) => {
    const p = await api.sh('stty size; exec sleep 60', { tty: true, cols: 132, rows: 43 });
    keys(p, [
      'id',
      'command',
      'args',
      'tty',
      'interactive',
      'owner',
      'status',
      'pid',
      'createdAtMs',
    ]);
    await api.logHas(p.id, /^43 132\r\n/);
    const w = await api.ws(p.id);
    includes(await w.ready(), { cols: 132, rows: 43 });
  },
);
more(
  'better',
  'one-frame-per-entry',
  'frames can be counted: one for each entry from firstSequence on',
  async ({ api }) => {
    const p = await reader(api),
      first = await api.ws(p.id);
    await first.ready();
    for (const x of ['a', 'b', 'c']) {
      say(first, x);
      await first.waitOut(`got:${x}`);
    }
    say(first, 'quit 0');
    await first.waitClose();
    await api.exited(p.id);
    const entries = (await api.logs(p.id)).entries;
    for (const query of ['', '?since=2', '?replay=0', '?replay=1', `?since=${entries.length}`]) {
      const w = await api.ws(p.id, { query }),
        r = await w.ready();
      await w.waitClose();
      const got = w.frames.filter((f) => f.binary),
        want = entries.filter((e) => e.sequence >= r.firstSequence);
      eq(
        got.map((f) => f.data.toString('base64')),
        want.map((e) => e.data),
        query,
      );
      if (query.startsWith('?since')) eq(r.firstSequence, Number(query.slice(7)) + 1, query);
    }
  },
);
more(
  'better',
  'bad-replay',
  'values of since and replay that are no number are 400 before the upgrade',
  async ({ api }) => {
    const p = await reader(api);
    for (const q of ['since=x', 'since=-1', 'replay=', 'replay=1.5', 'replay=1&replay=2']) {
      const w = await api.ws(p.id, { query: `?${q}` });
      await w.opened().catch(() => {});
      eq(w.rejected?.status, 400, q);
      eq(w.rejected.json.type, 'urn:sandbox-agent:error:invalid_request', q);
    }
  },
);
more('better', 'binary-is-input', 'binary frames are typed as they are', async ({ api }) => {
  const p = await api.sh(
    'stty raw -echo; echo ready; head -c 256 | od -An -v -tx1 | tr -d " \\n"; exec sleep 60',
    { tty: true },
  );
  await api.logHas(p.id, 'ready');
  const w = await api.ws(p.id),
    bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  await w.ready();
  w.send(bytes.subarray(0, 100));
  w.send(Buffer.alloc(0));
  w.send(bytes.subarray(100));
  await w.waitOut(bytes.toString('hex'));
  eq(w.ctl('error'), []);
});
more(
  'better',
  'binary-limit',
  'the input limit holds for binary frames',
  async ({ api }) =>
    api.withConfig({ maxInputBytesPerRequest: 10 }, async () => {
      const p = await reader(api),
        w = await api.ws(p.id);
      await w.ready();
      w.send(Buffer.from('0123456789\n'));
      eq(await w.wait('error'), {
        type: 'error',
        message: 'input payload exceeds maxInputBytesPerRequest (10)',
      });
      w.send(Buffer.from('ok\n'));
      await w.waitOut('got:ok');
    }),
  { restoreConfig: true },
);

// ------------------------------------------------------------------ framing
const violation = async (api, p, what, bytes, code) => {
  const c = new RawWs(api, p.id);
  await c.wait((f) => f.op === 1, 'ready');
  c.write(bytes);
  await until(() => c.closeCode() !== null, {
    what: `a close frame after ${what}`,
    last: () => c.ended,
  });
  eq(c.closeCode(), code, what);
  await until(() => c.ended, { what: `the end of the connection after ${what}` });
};
const close = (n, why = '') => {
  const b = Buffer.alloc(2 + Buffer.byteLength(why));
  b.writeUInt16BE(n, 0);
  b.write(why, 2);
  return frame(8, b);
};
more(
  'better',
  'violations',
  'each breach of RFC 6455 ends the session with its close code',
  async ({ api }) => {
    const p = await reader(api),
      long = Buffer.from([0x81, 0xfe, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0]),
      huge = Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    for (const [what, f, code = 1002] of [
      ['an unmasked frame', frame(1, '{}', { mask: false })],
      ...[0x40, 0x20, 0x10].map((rsv) => [`reserved bit ${rsv}`, frame(1, '{}', { rsv })]),
      ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((op) => [`opcode ${op}`, frame(op, 'x')]),
      ['a stray continuation', frame(0, 'x')],
      [
        'a new message inside another',
        Buffer.concat([frame(1, '{', { fin: false }), frame(1, '}')]),
      ],
      ['a ping in fragments', frame(9, 'x', { fin: false })],
      ['a ping of 126 bytes', frame(9, 'x'.repeat(126))],
      ['a close of one byte', frame(8, 'x')],
      ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000].map((n) => [
        `close code ${n}`,
        close(n),
      ]),
      ['a length not in its shortest form', long],
      ['a length over 63 bits', huge],
      ['broken UTF-8', frame(1, Buffer.from([0x22, 0xff, 0x22])), 1007],
      ['a surrogate', frame(1, Buffer.from([0xed, 0xa0, 0x80])), 1007],
      ['UTF-8 cut short', frame(1, Buffer.from([0xe2, 0x82])), 1007],
      ['broken UTF-8 in a close reason', frame(8, Buffer.from([3, 232, 0xff])), 1007],
      ['a message too big', Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4]), 1009],
    ])
      await violation(api, p, what, f, code);
    eq((await api.info(p.id)).status, 'running');
  },
);
more(
  'better',
  'close-is-echoed',
  'a close frame is answered with its code and the connection closed',
  async ({ api }) => {
    const p = await reader(api);
    for (const n of [1000, 1001, 3000, 4999])
      await violation(api, p, `close ${n}`, close(n, 'why'), n);
    const c = new RawWs(api, p.id);
    await c.wait((f) => f.op === 1, 'ready');
    c.write(frame(8, ''));
    await c.wait((f) => f.op === 8, 'the close frame');
    ok([1000, 1005].includes(c.closeCode()), `close code ${c.closeCode()}`);
    await until(() => c.ended, { what: 'the end of the connection' });
  },
);
more(
  'better',
  'utf8-across-fragments',
  'a character may be cut between fragments',
  async ({ api }) => {
    const p = await reader(api),
      c = new RawWs(api, p.id),
      m = Buffer.from('{"type":"input","data":"\u20ac\\n"}'),
      at = m.indexOf(0xe2) + 1;
    await c.wait((f) => f.op === 1, 'ready');
    c.write(frame(1, m.subarray(0, at), { fin: false }), frame(0, m.subarray(at)));
    await c.wait((f) => f.op === 2 && f.data.includes('got:\u20ac'), 'the echo');
  },
);
more(
  'better',
  'pings',
  'pings are answered while output flows, each with its payload',
  async ({ api }) => {
    const p = await api.sh(
      'stty raw; echo ready; read x; seq 1 50000; echo THE-END; exec sleep 60',
      { tty: true },
    );
    await api.logHas(p.id, 'ready');
    const c = new RawWs(api, p.id);
    await c.wait((f) => f.op === 1, 'ready');
    c.write(frame(1, '{"type":"input","data":"\\n"}'));
    for (let i = 0; i < 20; i++) c.write(frame(9, `n${i}`));
    await c.wait((f) => f.op === 10 && f.data.toString() === 'n19', 'the last pong', secs(10));
    eq(
      c.frames.filter((f) => f.op === 10).map((f) => f.data.toString()),
      Array.from({ length: 20 }, (_, i) => `n${i}`),
    );
    await c.wait(
      (f) => f.op === 2 && f.data.includes('THE-END'),
      'the end of the output',
      secs(20),
    );
  },
);
