// The terminal WebSocket: what was there before, all of the output, and a proper end
// (group terminal-ws).
import { RawWs, define, eq, frame, has, lacks, ok, oneOf, secs, until } from '../lib.mjs';
import { reader, say } from '../lib/helpers.mjs';
import { counted, cue, onCue, sameBytes } from '../lib/programs.mjs';

const terminal = define('terminal-ws');
const MIB = 1024 * 1024;

const connected = async (api, id) => { const c = new RawWs(api, id); await c.wait((f) => f.op === 1, 'ready'); return c; };

terminal('defect', 'scrollback', 'D-34: a new client is shown the earlier output, then live output without gap or repetition', async ({ api }) => {
  const p = await reader(api);
  await api.input(p.id, 'before\n');
  await api.logHas(p.id, 'got:before');
  const w = await api.ws(p.id);
  await w.ready();
  await w.waitOut('got:before', secs(3));
  say(w, 'after');
  await w.waitOut('got:after');
  eq(w.frames[0].json?.type, 'ready', 'first frame');
  eq(w.output().toString(), 'ready\r\ngot:before\r\ngot:after\r\n');
  const busy = await api.sh('i=0; while :; do i=$((i+1)); echo "$i"; done', { tty: true }); // joins while it prints
  for (let round = 0; round < 5; round++) {
    const v = await api.ws(busy.id);
    await until(() => v.output().length > 300000, { what: 'output' });
    v.close();
    const lines = v.output().toString().split('\r\n').slice(1, -1).map(Number);
    lines.forEach((x, i) => ok(x === lines[0] + i, `line ${i} is ${x} after ${lines[i - 1]}`));
  }
});
terminal('defect', 'scrollback-after-exit', 'D-34: an exited terminal shows its output, then the exit', async ({ api }) => {
  const p = await api.sh('echo first; echo last; exit 6', { tty: true });
  await api.exited(p.id);
  const w = await api.ws(p.id);
  await w.waitClose();
  eq(w.frames.map((f) => (f.binary ? 'output' : f.json.type)).join().replace(/(output,)+/, 'output,'), 'ready,output,exit');
  eq([w.output().toString(), w.ctl('exit')[0].exitCode], ['first\r\nlast\r\n', 6]);
});

terminal('defect', 'no-noise-at-exit', 'D-26: the end of a terminal adds nothing to its output', async ({ api }) => {
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  say(w, 'x');
  await w.waitOut('got:x');
  say(w, 'quit 0');
  await w.waitClose();
  lacks(w.output().toString(), 'error');
  ok(w.output().toString().endsWith('got:x\r\n'), () => `ends with ${w.output()}`);
});

terminal('defect', 'close-handshake', 'D-35: a close frame is answered with its code', async ({ api }) => {
  const p = await reader(api);
  const closes = [[Buffer.from([3, 232]), [1000]], [Buffer.concat([Buffer.from([3, 233]), Buffer.from('bye')]), [1001]], [Buffer.alloc(0), [1000, 1005]]];
  for (const [payload, codes] of closes) {
    const c = await connected(api, p.id);
    c.write(frame(8, payload));
    await until(() => c.closeCode() !== null || c.ended, { within: secs(3), what: 'the close frame' });
    oneOf(c.closeCode(), codes, 'close code');
    await until(() => c.ended, { within: secs(3), what: 'the connection to end' });
  }
  const w = await api.ws(p.id);
  await w.ready();
  w.sock.close(1000, 'done');
  eq((await w.waitClose(secs(3))).code, 1000, 'as a library sees it');
  eq((await api.info(p.id)).status, 'running');
});

terminal('defect', 'protocol-error-code', 'D-36: a violation of the protocol is answered with 1002, bad text with 1007', async ({ api }) => {
  const p = await reader(api);
  const bad = Buffer.from([0x22, 0xff, 0x22]);
  const violations = [
    ['unmasked', 1002, frame(1, '{"type":"close"}', { mask: false })], ['reserved opcode', 1002, frame(3, 'x')],
    ['reserved control opcode', 1002, frame(11, 'x')], ['stray continuation', 1002, frame(0, 'x')],
    ['RSV1', 1002, frame(1, '{}', { rsv: 0x40 })], ['RSV3', 1002, frame(1, '{}', { rsv: 0x10 })], ['long ping', 1002, frame(9, 'x'.repeat(126))],
    ['fragmented ping', 1002, frame(9, 'x', { fin: false })], ['a message within a message', 1002, Buffer.concat([frame(1, '{', { fin: false }), frame(1, '{}')])],
    ['close of one byte', 1002, frame(8, 'x')], ['close 1005', 1002, frame(8, Buffer.from([3, 237]))], ['close reason', 1007, frame(8, Buffer.from([3, 232, 0xff]))],
    ['broken text', 1007, frame(1, bad)], ['text broken across fragments', 1007, Buffer.concat([frame(1, bad.subarray(0, 2), { fin: false }), frame(0, bad.subarray(2))])],
  ];
  for (const [what, code, bytes] of violations) {
    const c = await connected(api, p.id);
    c.write(bytes);
    await until(() => c.closeCode() !== null || c.ended, { within: secs(3), what: `the end after: ${what}` });
    eq(c.closeCode(), code, what);
    c.close();
  }
  eq((await api.info(p.id)).status, 'running');
});

terminal('defect', 'too-big-code', 'D-37: a message that is too big is answered with 1009', async ({ api }) => {
  const p = await reader(api);
  const whole = frame(1, Buffer.alloc(40 * MIB, 0x20));
  const c = await connected(api, p.id);
  c.write(whole.subarray(0, 100)); // the length alone says enough
  await until(() => c.closeCode() !== null || c.ended, { within: secs(3), what: 'the end' });
  eq(c.closeCode(), 1009, 'after the head of the frame');
  const w = await api.ws(p.id);
  await w.ready();
  w.sock.send(' '.repeat(40 * MIB));
  eq((await w.waitClose()).code, 1009, 'after the whole message');
});

terminal('defect', 'exit-frame-when-deleted', 'D-38: kill and delete at once still bring the exit frame and a normal close', async ({ api }) => {
  for (let round = 0; round < 5; round++) {
    const p = await reader(api);
    const w = await api.ws(p.id);
    await w.ready();
    await api.kill(p.id, '?waitMs=5000');
    eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
    oneOf((await w.waitClose()).code, [1000, 1005], 'close code');
    eq(w.frames.at(-1).json, { type: 'exit', exitCode: null }, 'last frame');
  }
});

// A client that reads nothing until the process is done; then everything, and the end last.
async function pausedClient(api, n) {
  const want = Buffer.concat([Buffer.from('ready\n'), counted(n), Buffer.from('THE-END\n')]);
  const p = await onCue(api, `seq 1 ${n}; echo THE-END; exit 4`, { tty: true });
  const w = await api.ws(p.id);
  await w.ready();
  w.sock.pause();
  await cue(api, p.id);
  await api.exited(p.id, secs(20));
  w.sock.resume();
  await w.waitClose(secs(15));
  eq(w.frames.at(-1).json, { type: 'exit', exitCode: 4 }, 'last frame');
  sameBytes(w.output(), want, 'output');
}
terminal('defect', 'slow-client-loses-nothing', 'D-60: a client that pauses gets all of 20 MB when the log holds it',
  async ({ api }) => api.withConfig({ maxLogBytesPerProcess: 64 * MIB }, async () => {
  await pausedClient(api, 2700000);
}), { restoreConfig: true });
terminal('defect', 'exit-frame-after-all-output', 'D-61: the exit frame comes after all output', async ({ api }) => {
  await pausedClient(api, 1200000);
  const short = async () => {
    const p = await reader(api);
    const w = await api.ws(p.id);
    await w.ready();
    w.send({ type: 'input', data: 'one\ntwo\nquit 0\n' });
    await w.waitClose();
    has(w.output().toString(), 'got:one\r\ngot:two\r\n');
    eq(w.frames.at(-1).json, { type: 'exit', exitCode: 0 }, 'last frame');
  };
  for (let round = 0; round < 4; round++) await Promise.all([short(), short(), short(), short(), short()]);
});
