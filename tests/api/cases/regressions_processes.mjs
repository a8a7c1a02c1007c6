// Mistakes that were made once with processes: how they end, what they leave behind, and readers
// of their output that lag (group regress-process).
import fs from 'node:fs';
import net from 'node:net';
import { RawWs, define, eq, frame, ok, secs, until } from '../lib.mjs';
import { farReader, sha256 } from '../lib/far_reader.mjs';
import { commandLine, here, marked, stat } from '../lib/proc.mjs';
import { counted, cue, numberOf, onCue, sameBytes, unbroken } from '../lib/programs.mjs';
import { HOST } from '../lib/requests.mjs';
import { bytesOf } from '../lib/sse.mjs';

const regress = define('regress-process');
const R = { restoreConfig: true };
const EXIT_WITHIN = secs(3);

// Bytes that have come to the server through this connection and that it has not read.
function unread(socket) {
  const port = (n) => n.toString(16).toUpperCase().padStart(4, '0');
  const line = new RegExp(`:${port(socket.remotePort)} \\w+:${port(socket.localPort)} 01 \\w+:(\\w+)`);
  return parseInt(line.exec(fs.readFileSync('/proc/net/tcp', 'latin1'))?.[1] ?? '0', 16);
}

// ------------------------------------------------------------------ the end of a terminal
const JOBS = {
  'one that writes now and then': 'while :; do echo x; sleep 0.02; done',
  'one that writes without a pause': 'exec yes',
};
regress(
  'better',
  'job-in-the-background-of-a-terminal',
  'a terminal ends with its leader although a job in the background writes on',
  async ({ api }) =>
    api.withConfig({ maxLogBytesPerProcess: 200000 }, async () => {
      for (const [what, job] of Object.entries(JOBS)) {
        const p = await onCue(api, `trap "" HUP; (${job}) & sleep 0.05; exit 3`, { tty: true });
        const f = await api.follow(p.id).opened();
        const w = await api.ws(p.id);
        await w.ready();
        await cue(api, p.id);
        eq((await api.exited(p.id, EXIT_WITHIN)).exitCode, 3, what);
        await f.waitEnd(EXIT_WITHIN);
        eq([f.events.at(-1).event, f.events.at(-1).json.exitCode], ['exit', 3], what);
        await w.waitClose(EXIT_WITHIN);
        eq(w.frames.at(-1).json, { type: 'exit', exitCode: 3 }, what);
      }
    }),
  R,
);
regress(
  'better',
  'terminal-without-descriptors',
  'a program that has closed its terminal may open it again',
  async ({ api }) => {
    const script = 'exec </dev/null >/dev/null 2>&1; sleep 0.3; echo LATE >/dev/tty; exit 4';
    const p = await api.sh(script, { tty: true });
    eq((await api.exited(p.id, EXIT_WITHIN)).exitCode, 4);
    eq(await api.logText(p.id), 'LATE\r\n');
  },
);
regress(
  'better',
  'stop-of-a-terminal',
  'stop lets a handler finish, and ends an interactive shell, which ignores SIGTERM',
  async ({ api }) => {
    const script = 'trap "sleep 0.5; exit 7" TERM; echo ready; while :; do sleep 0.05; done';
    const p = await api.sh(script, { tty: true });
    await api.logHas(p.id, 'ready');
    await api.stop(p.id);
    eq((await api.exited(p.id, EXIT_WITHIN)).exitCode, 7, 'of the handler');
    const shells = [{ command: 'sh', args: ['-i'] }];
    if ((await api.runSh('command -v bash')).exitCode === 0)
      shells.push({ command: 'bash', args: ['--norc', '--noprofile', '-i'] });
    for (const spec of shells) {
      const q = await api.create({ ...spec, tty: true, env: { PS1: 'prompt> ', ENV: '' } });
      await api.logHas(q.id, 'prompt> ');
      await api.stop(q.id);
      await api.exited(q.id, EXIT_WITHIN);
    }
  },
);

// ------------------------------------------------------------------ what is left behind
regress(
  'better',
  'children-of-an-exited-process',
  'kill and delete reach what an exited process left in its session',
  async ({ api }) => {
    const child = 'trap "" TERM HUP; echo child=$$; while :; do sleep 1; done';
    const ends = {
      kill: async (id) => eq((await api.kill(id)).status, 200, 'kill'),
      delete: async (id) => eq((await api.del(`/v1/processes/${id}`)).status, 204, 'delete'),
    };
    for (const tty of [false, true])
      for (const [verb, end] of Object.entries(ends)) {
        const p = await api.sh(`sh -c '${child}' & wait`, { tty });
        const pid = numberOf('child', await api.logHas(p.id, /child=\d+\s/));
        await api.stop(p.id);
        await api.exited(p.id, EXIT_WITHIN);
        ok(here(pid), 'the child outlives the stop');
        await end(p.id);
        const what = `the end of the child after ${verb}, tty ${tty}`;
        await until(() => !here(pid), { within: EXIT_WITHIN, what });
      }
  },
);
regress(
  'better',
  'nothing-outlives-the-server',
  'SIGTERM to the server ends what left its session, and what a run left in the background',
  async (ctx) =>
    ctx.withServer({}, async (s, api) => {
      const p = await api.sh(`setsid sh -c 'trap "" TERM; echo up; sleep 7301' & wait`);
      await api.logHas(p.id, 'up');
      await api.runSh('exec >/dev/null 2>&1; sleep 7302 & (trap "" TERM; exec sleep 7303) & :');
      const sleeps = () => marked(s.mark).map(commandLine).filter((c) => /^sleep 730\d$/.test(c));
      await until(() => sleeps().length === 3, { what: 'three sleeps', last: sleeps });
      s.signal('SIGTERM');
      eq(await s.waitExit(secs(5)), { code: 0, signal: null }, 'exit');
      const what = 'the end of all processes';
      await until(() => marked(s.mark).length === 0, { within: secs(1), what, last: sleeps });
    }),
);

// ------------------------------------------------------------------ readers that lag
// A follower that takes `size` bytes from its socket at a time, with a pause of `pace` ms after
// each while that is not 0. It keeps no output, only which events came.
function sip(api, id, size, pace) {
  const r = { got: 0, pace, events: new Set(), rest: '', close: () => s.destroy() };
  const callback = (n, buf) => {
    r.got += n;
    r.rest += buf.toString('latin1', 0, n);
    for (const [, name] of r.rest.matchAll(/^event: (\w+)\n/gm)) r.events.add(name);
    r.rest = r.rest.slice(-20);
    if (r.pace > 0) setTimeout(() => s.resume(), r.pace);
    return r.pace === 0;
  };
  const s = net.connect({
    port: api.port,
    host: api.host,
    onread: { buffer: Buffer.alloc(size), callback },
  });
  api.open.add(r);
  s.on('error', () => {});
  s.write(`GET /v1/processes/${id}/logs?follow=true HTTP/1.1\r\n${HOST}${api.authLine()}\r\n`);
  return r;
}
regress(
  'better',
  'slow-reader-of-an-ended-process',
  'a reader that is slow but moves is waited for only while the process lives',
  async ({ api }) =>
    api.withConfig({ maxLogBytesPerProcess: 1 }, async () => {
      // Entries of one byte: the 64 KiB that are left in the pipe are 10 MB to the reader.
      const p = await api.sh('head -n 1 >/dev/null; exec yes');
      const f = sip(api, p.id, 16384, 10);
      await until(() => f.got > 0, { what: 'the stream to begin' });
      await cue(api, p.id);
      await until(() => f.got > 300000, { what: 'a part of the output' });
      await api.kill(p.id);
      await api.exited(p.id, EXIT_WITHIN);
      f.pace = 0;
      await until(() => f.events.has('exit'), { what: 'the exit event' });
      ok(f.events.has('gap'), 'what was not waited for is told');
    }),
  R,
);
regress(
  'better',
  'small-caps-lose-nothing',
  'a follower that keeps up gets everything, however small the log',
  async ({ api }) => {
    // The process lives until all is read: the end of one waits for its readers a second only.
    const follow = async (cap, lines) => {
      await api.setConfig({ maxLogBytesPerProcess: cap });
      const p = await api.sh(`head -n 1 >/dev/null; seq 1 ${lines}; printf Z; head -n 1 >/dev/null`);
      const want = Buffer.concat([counted(lines), Buffer.from('Z')]);
      return { cap, p, want, reader: await farReader(api, p.id, 'sse') };
    };
    const all = [];
    // With one byte there is a round of process, server and reader for each few bytes.
    for (const [cap, lines] of [[1, 3000], [1000, 18000], [60000, 18000]]) all.push(await follow(cap, lines));
    for (const { cap, p, want, reader } of all) {
      await cue(api, p.id);
      await api.logHas(p.id, /Z$/, { query: '?tail=1' });
      await cue(api, p.id);
      const got = await reader.result();
      eq([got.gaps, got.bytes, got.sha256], [[], want.length, sha256(want)], `a log of ${cap}`);
      eq([got.unbroken, got.last], [true, 'exit'], `a log of ${cap}`);
    }
  },
  R,
);
regress(
  'better',
  'wake-while-full',
  'a follower that paused gets all of it when it reads on, without another byte of output',
  async ({ api }) => {
    const want = Buffer.concat([Buffer.from('ready\n'), counted(1100000)]);
    const p = await onCue(api, 'seq 1 1100000; exec sleep 60');
    const f = await api.follow(p.id, '', { paused: true }).opened();
    await cue(api, p.id);
    await api.logHas(p.id, '1100000\n', { query: '?tail=1' });
    f.start();
    const got = () => f.log().length && f.log().at(-1).sequence;
    const end = (await api.logs(p.id, '?tail=1')).entries[0].sequence;
    await until(() => got() === end, { what: `entry ${end}`, last: got });
    unbroken(f.log(), 1);
    sameBytes(bytesOf(f.log()), want, 'followed');
    eq((await api.info(p.id)).status, 'running');
  },
);
regress(
  'better',
  'wake-while-full-of-pongs',
  'a terminal whose client reads nothing but pings shows all output once it reads',
  async ({ api, server }) => {
    const p = await onCue(api, 'echo AFTER; exec sleep 60', { tty: true });
    const c = new RawWs(api, p.id);
    await c.wait((f) => f.op === 2 && f.data.includes('ready'), 'the output so far');
    c.s.pause();
    // More than both systems hold, so that in the end the server has pongs that it cannot send.
    const pings = Buffer.concat(Array(500).fill(frame(9, Buffer.alloc(125, 0x70))));
    for (let i = 0; i < 400; i++) c.s.write(pings);
    // It sleeps although there is something to read.
    const sleeps = () => unread(c.s) > 0 && stat(server.serverPid())?.state === 'S';
    await until(() => c.s.writableLength > 0 && sleeps() && sleeps(), { what: 'the server to take no more' });
    await cue(api, p.id);
    await api.logHas(p.id, 'AFTER\n');
    c.s.resume();
    await c.wait((f) => f.op === 2 && f.data.includes('AFTER'), 'the rest of the output');
    eq((await api.info(p.id)).status, 'running');
  },
);
