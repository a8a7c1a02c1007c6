// Terminals over WebSocket.
import {
  conflict,
  define,
  eq,
  frame,
  has,
  includes,
  keys,
  match,
  ok,
  oneOf,
  RawWs,
  secs,
  sleep,
  until,
  UPGRADE,
} from '../lib.mjs';
import { reader, say } from '../lib/helpers.mjs';

const ws = define('terminal-ws');

ws(
  'compat',
  'handshake',
  'upgrade answers 101 with the right accept key; the first frame is ready',
  async ({ api }) => {
    const p = await reader(api);
    const c = new RawWs(api, p.id);
    await c.wait((f) => f.op === 1, 'the first frame');
    match(c.head, /^HTTP\/1\.1 101 /);
    match(c.head, /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i);
    match(c.head, /upgrade: websocket/i);
    match(c.head, /connection: upgrade/i);
    ok(!/sec-websocket-(extensions|protocol)/i.test(c.head), 'nothing else negotiated');
    includes(JSON.parse(c.frames[0].data.toString()), { type: 'ready', processId: p.id });
    eq(
      [c.frames[0].fin, c.frames[0].rsv, c.frames[0].masked],
      [true, 0, false],
      'unmasked, final, no reserved bits',
    );
  },
);
ws(
  'compat',
  'output-and-input',
  'output comes as binary frames, input goes as JSON text frames',
  async ({ api }) => {
    const p = await reader(api);
    const w = await api.ws(p.id);
    await w.ready();
    w.send({ type: 'input', data: 'plain\n' });
    await w.waitOut('got:plain\r\n');
    w.send({
      type: 'input',
      data: Buffer.from('b64\u00e9\n').toString('base64'),
      encoding: 'base64',
    });
    await w.waitOut('got:b64');
    w.send({ type: 'input', data: 'text\n', encoding: 'text' });
    await w.waitOut('got:text');
    w.send({ type: 'input', data: 'null\n', encoding: null, more: 1 });
    await w.waitOut('got:null');
    ok(
      w.frames.filter((f) => !f.binary).every((f) => f.json?.type === 'ready'),
      'only ready as text',
    );
    eq(w.ctl('error'), []);
  },
);
ws(
  'compat',
  'utf8-input-default',
  'input without encoding is UTF-8 text (over HTTP it is base64)',
  async ({ api }) => {
    const p = await reader(api);
    const w = await api.ws(p.id);
    await w.ready();
    w.send({ type: 'input', data: 'YQo=\n' });
    await w.waitOut('got:YQo=');
  },
);
ws('compat', 'bytes', 'output frames carry the terminal bytes unchanged', async ({ api }) => {
  const p = await api.sh(
    'stty raw -echo; echo ready; head -c 1 >/dev/null; i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i+1)); done; exec sleep 60',
    { tty: true },
  );
  await api.logHas(p.id, 'ready');
  const w = await api.ws(p.id);
  await w.ready();
  w.send({ type: 'input', data: 'x' });
  const want = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  await until(() => w.output().subarray(-256).equals(want), {
    what: 'the 256 byte values at the end',
    last: () => w.output().length,
  });
});
ws(
  'compat',
  'exit',
  'exit brings an exit frame with the code and a normal close',
  async ({ api }) => {
    const p = await reader(api);
    const w = await api.ws(p.id);
    await w.ready();
    say(w, 'hello');
    await w.waitOut('got:hello');
    say(w, 'quit 5');
    eq(await w.wait('exit'), { type: 'exit', exitCode: 5 });
    oneOf((await w.waitClose()).code, [1000, 1005], 'close code');
    eq(w.frames.at(-1).json?.type, 'exit', 'last frame');
  },
);
ws(
  'compat',
  'exit-by-signal',
  'after a signal the exit frame has exitCode null',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60', { tty: true });
    const w = await api.ws(p.id);
    await w.ready();
    await api.kill(p.id, '?waitMs=10000');
    eq(await w.wait('exit'), { type: 'exit', exitCode: null });
    oneOf((await w.waitClose()).code, [1000, 1005]);
  },
);
ws(
  'compat',
  'after-exit',
  'connecting to an exited process gives ready, exit, close',
  async ({ api }) => {
    const p = await api.sh('exit 6', { tty: true });
    await api.exited(p.id);
    const w = await api.ws(p.id);
    await w.waitClose();
    const told = w.frames.filter((f) => !f.binary).map((f) => f.json);
    eq(told.length, 2, 'text frames');
    includes(told[0], { type: 'ready', processId: p.id });
    eq(told[1], { type: 'exit', exitCode: 6 });
    oneOf(w.closed.code, [1000, 1005]);
  },
);
ws('compat', 'resize', 'a resize frame sets the size and is not answered', async ({ api }) => {
  const p = await api.sh('trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done', {
    tty: true,
  });
  await api.logHas(p.id, 'ready');
  const w = await api.ws(p.id);
  await w.ready();
  w.send({ type: 'resize', cols: 101, rows: 33 });
  await w.waitOut('33 101');
  eq(w.frames.filter((f) => !f.binary).length, 1, 'no answer');
});
ws(
  'compat',
  'close-frame',
  'a close message ends the session, not the process',
  async ({ api }) => {
    const p = await reader(api);
    const w = await api.ws(p.id);
    await w.ready();
    w.send({ type: 'close' });
    oneOf((await w.waitClose()).code, [1000, 1005]);
    eq((await api.info(p.id)).status, 'running');
    const v = await api.ws(p.id);
    await v.ready();
    say(v, 'again');
    await v.waitOut('got:again');
  },
);
ws('compat', 'disconnect', 'a vanishing client leaves the process running', async ({ api }) => {
  const p = await reader(api);
  for (let i = 0; i < 3; i++) {
    const w = await api.ws(p.id);
    await w.ready();
    w.sock.terminate();
  }
  const w = await api.ws(p.id);
  await w.ready();
  say(w, 'here');
  await w.waitOut('got:here');
  eq((await api.info(p.id)).status, 'running');
});
ws(
  'compat',
  'two-clients',
  'two clients see the same output and both may type',
  async ({ api }) => {
    const p = await reader(api);
    const a = await api.ws(p.id);
    const b = await api.ws(p.id);
    await a.ready();
    await b.ready();
    say(a, 'from-a');
    await a.waitOut('got:from-a');
    await b.waitOut('got:from-a');
    say(b, 'from-b');
    await a.waitOut('got:from-b');
    await b.waitOut('got:from-b');
    a.send({ type: 'close' });
    await a.waitClose();
    say(b, 'alone');
    await b.waitOut('got:alone');
    say(b, 'quit 2');
    eq((await b.wait('exit')).exitCode, 2);
  },
);
ws('compat', 'http-input-shows', 'input over HTTP shows up in the session', async ({ api }) => {
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  await api.input(p.id, 'via-http\n');
  await w.waitOut('got:via-http');
});
ws(
  'compat',
  'bad-frames',
  'bad messages are answered with an error frame and the session goes on',
  async ({ api }) => {
    const p = await reader(api);
    const w = await api.ws(p.id);
    await w.ready();
    let n = 0;
    const bad = async (m, re) => {
      w.send(m);
      n++;
      await until(() => w.ctl('error').length >= n, {
        what: `an error frame for ${String(m).slice(0, 60)}`,
      });
      const e = w.ctl('error').at(-1);
      keys(e, ['type', 'message']);
      if (re) match(e.message, re, String(m).slice(0, 60));
    };
    for (const m of [
      'not json',
      '',
      '[]',
      'null',
      '"x"',
      '{}',
      '{"type":"bogus"}',
      '{"type":5}',
      '{"type":"input"}',
      '{"type":"input","data":5}',
      '{"type":"resize"}',
      '{"type":"resize","cols":-1,"rows":1}',
      '{"type":"resize","cols":70000,"rows":1}',
      '{"type":"resize","cols":"a","rows":1}',
      '{"type":"input","data":"x"} tail',
    ])
      await bad(m, /^invalid terminal frame: /);
    await bad(
      '{"type":"input","data":"x","encoding":"hex"}',
      /^invalid request: encoding must be one of: base64, utf8, text$/,
    );
    await bad(
      '{"type":"input","data":"@","encoding":"base64"}',
      /^invalid request: invalid base64 input: /,
    );
    say(w, 'alive');
    await w.waitOut('got:alive');
    eq(w.ctl('error').length, n, 'one error each');
  },
);
ws(
  'compat',
  'input-limit',
  'input beyond maxInputBytesPerRequest is answered with an error frame',
  async ({ api }) =>
    api.withConfig({ maxInputBytesPerRequest: 100 }, async () => {
      const p = await reader(api);
      const w = await api.ws(p.id);
      await w.ready();
      w.send({ type: 'input', data: 'x'.repeat(101) });
      eq(await w.wait('error'), {
        type: 'error',
        message: 'input payload exceeds maxInputBytesPerRequest (100)',
      });
      say(w, 'ok');
      await w.waitOut('got:ok');
    }),
  { restoreConfig: true },
);
ws('compat', 'ping', 'a ping is answered with the same payload', async ({ api }) => {
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  w.sock.ping('abc');
  await until(() => w.pongs, { what: 'a pong' });
  eq(w.lastPong.toString(), 'abc');
});
ws(
  'compat',
  'fragments',
  'a fragmented message with a ping in between is put together',
  async ({ api }) => {
    const p = await reader(api);
    const c = new RawWs(api, p.id);
    await c.wait((f) => f.op === 1, 'ready');
    c.write(
      frame(1, '{"type":"input",', { fin: false }),
      frame(9, 'mid'),
      frame(0, '"data":"frag', { fin: false }),
      frame(0, 'mented\\n"}'),
    );
    await c.wait((f) => f.op === 10 && f.data.toString() === 'mid', 'the pong');
    await c.wait((f) => f.op === 2 && f.data.includes('got:fragmented'), 'the echo');
  },
);
ws('compat', 'split-delivery', 'a frame arriving byte by byte is understood', async ({ api }) => {
  const p = await reader(api);
  const c = new RawWs(api, p.id);
  await c.wait((f) => f.op === 1, 'ready');
  c.s.setNoDelay(true);
  for (const b of frame(1, '{"type":"input","data":"slow\\n"}')) {
    c.write(Buffer.from([b]));
    await sleep(2);
  }
  await c.wait((f) => f.op === 2 && f.data.includes('got:slow'), 'the echo');
});
ws(
  'compat',
  'pipelined-with-upgrade',
  'frames sent along with the upgrade request are not lost',
  async ({ api }) => {
    const p = await reader(api);
    const h = Object.entries({ ...UPGRADE, ...api.headers({}) })
      .map(([k, v]) => `${k}: ${v}\r\n`)
      .join('');
    const r = await api.raw(
      Buffer.concat([
        Buffer.from(
          `GET /v1/processes/${p.id}/terminal/ws HTTP/1.1\r\nHost: localhost\r\n${h}\r\n`,
        ),
        frame(1, '{"type":"input","data":"early\\n"}'),
      ]),
      { until: (t) => t.includes('got:early') },
    );
    eq(r.why, 'matched', `saw ${JSON.stringify(r.text.slice(-200))}`);
  },
);
ws(
  'compat',
  'protocol-errors-end-session',
  'protocol violations end the connection and nothing else',
  async ({ api }) => {
    const p = await reader(api);
    for (const [what, f] of [
      ['unmasked', frame(1, '{"type":"close"}', { mask: false })],
      ['reserved opcode', frame(3, 'x')],
      ['stray continuation', frame(0, 'x')],
      ['reserved bit', frame(1, '{}', { rsv: 0x40 })],
      ['long ping', frame(9, 'x'.repeat(126))],
      ['broken UTF-8', frame(1, Buffer.from([0x22, 0xff, 0x22]))],
    ]) {
      const c = new RawWs(api, p.id);
      await c.wait((x) => x.op === 1, 'ready');
      c.write(f);
      await until(() => c.ended || c.closeCode() !== null, {
        within: secs(8),
        what: `the end after ${what}`,
      });
      c.close();
    }
    eq((await api.info(p.id)).status, 'running');
  },
);
ws(
  'compat',
  'not-a-terminal',
  'a pipe process has no terminal: 409 problem before the upgrade',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    conflict(
      await api.get(`/v1/processes/${p.id}/terminal/ws`, { headers: UPGRADE }),
      'process is not running in tty mode',
    );
  },
);
ws(
  'compat',
  'bad-upgrade',
  'a request that is no proper WebSocket upgrade is refused',
  async ({ api }) => {
    const p = await reader(api);
    const u = `/v1/processes/${p.id}/terminal/ws`;
    const without = (k) => Object.fromEntries(Object.entries(UPGRADE).filter(([x]) => x !== k));
    for (const [h, codes] of [
      [{}, [400, 426]],
      [without('upgrade'), [400, 426]],
      [without('sec-websocket-version'), [400, 426]],
      [{ ...UPGRADE, 'sec-websocket-version': '8' }, [400, 426]],
      [without('sec-websocket-key'), [400]],
    ])
      oneOf((await api.get(u, { headers: h })).status, codes, JSON.stringify(h));
    eq((await api.req('POST', u, { headers: UPGRADE })).status, 405);
  },
);
ws(
  'compat',
  'header-spelling',
  'header values are compared without regard to case, in lists too',
  async ({ api }) => {
    const p = await reader(api);
    for (const h of [
      'Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket',
      'connection: upgrade\r\nUPGRADE: WEBSOCKET',
    ]) {
      const r = await api.raw(
        `GET /v1/processes/${p.id}/terminal/ws HTTP/1.1\r\nHost: localhost\r\n${h}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${api.authLine()}\r\n`,
        { until: (t) => t.includes('\r\n\r\n') },
      );
      match(r.text, /^HTTP\/1\.1 101 /, h);
    }
  },
);
ws(
  'compat',
  'deflate-declined',
  'an offer of compression is declined, the session works',
  async ({ api }) => {
    const p = await reader(api);
    const w = await api.ws(p.id, { deflate: true });
    await w.ready();
    eq(w.sock.extensions, '');
    say(w, 'x'.repeat(3000));
    await w.waitOut('got:xxx');
  },
);
ws(
  'compat',
  'large-output',
  'output of a fast program is complete for a reading client',
  async ({ api }) => {
    const p = await api.sh(
      'stty raw -echo; echo ready; read x; seq 1 20000; echo THE-END; exec sleep 60',
      { tty: true },
    );
    await api.logHas(p.id, 'ready');
    const w = await api.ws(p.id);
    await w.ready();
    w.send({ type: 'input', data: '\n' });
    await w.waitOut('THE-END', secs(20));
    has(
      w.output().toString(),
      `${Array.from({ length: 20000 }, (_, i) => `${i + 1}\n`).join('')}THE-END`,
    );
  },
);
ws(
  'compat',
  'output-before-exit-frame',
  'output comes before the exit frame, nothing after it',
  async ({ api }) => {
    const p = await reader(api, 'trap "echo LAST-WORDS; sleep 0.7" EXIT;');
    const w = await api.ws(p.id);
    await w.ready();
    say(w, 'quit 0');
    await w.waitClose();
    has(w.output().toString(), 'LAST-WORDS');
    eq(w.frames.at(-1).json, { type: 'exit', exitCode: 0 }, 'last frame');
  },
);
ws('compat', 'paste', 'a large paste arrives complete', async ({ api }) => {
  const p = await api.sh('stty raw -echo; echo ready; head -c 50000 | cksum; exec sleep 60', {
    tty: true,
  });
  await api.logHas(p.id, 'ready');
  const w = await api.ws(p.id);
  await w.ready();
  w.send({ type: 'input', data: 'p'.repeat(50000) });
  await w.waitOut((await api.runSh('head -c 50000 /dev/zero | tr "\\0" p | cksum')).stdout.trim());
});
