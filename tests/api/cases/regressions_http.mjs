// Mistakes that were made once with connections: partial and half-closed pipelines, deadlines of
// slow readers, the upgrade, and numbers at the end of their range (group regress-http).
import fs from 'node:fs';
import net from 'node:net';
import { Api, UPGRADE, define, eq, match, ok, problem, secs, until } from '../lib.mjs';
import { echoer, reader, seqs } from '../lib/helpers.mjs';
import { bytesOf } from '../lib/sse.mjs';
import { commandLine, marked } from '../lib/proc.mjs';
import { HEALTH, HOST, JSON_TYPE, RUN } from '../lib/requests.mjs';

const regress = define('regress-http');
const MIB = 1024 * 1024;
const LAST = 18446744073709551615n; // the greatest sequence that can be asked for

const post = (head, json) => {
  const body = JSON.stringify(json);
  return `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
};
const get = (path, lines = '') => `GET ${path} HTTP/1.1\r\n${HOST}${lines}\r\n`;

// Hundredths of a second that a process has computed.
function ticks(pid) {
  const f = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').pop().split(' ');
  return Number(f[11]) + Number(f[12]);
}

// ------------------------------------------------------------------ pipelines
regress(
  'better',
  'partial-head-is-awaited',
  'a partial request behind an answered one costs no processor time',
  async ({ api, server }) => {
    const run = post(RUN, { command: 'true' });
    const wires = [];
    for (const [first, part, rest] of [
      [HEALTH, 'GE', HEALTH.slice(2)],
      [HEALTH, '\r\n', HEALTH],
      [run, 'GE', HEALTH.slice(2)],
    ]) {
      const w = api.wire().write(first + part);
      await w.answer(1);
      wires.push([w, rest]);
    }
    const before = ticks(server.serverPid()),
      t0 = Date.now();
    await until(() => Date.now() - t0 >= 1000, { what: 'the end of the measurement' });
    const used = ticks(server.serverPid()) - before,
      most = (Date.now() - t0) / 10 / 5;
    ok(used < most, () => `${used} hundredths of a second in ${Date.now() - t0} ms`);
    for (const [w, rest] of wires) eq((await w.write(rest).answer(2)).status, 200, 'the rest');
  },
);

// Everything is asked for at once and the client's side is shut; then come n answers and the end.
async function askedAndShut(api, bytes, n) {
  const w = api.wire().write(bytes);
  w.s.end();
  await w.waitEnd(secs(15));
  eq([w.answers.length, w.error?.message], [n, undefined], 'answers, and a clean end');
  return w.answers;
}
regress(
  'better',
  'shut-behind-3000-requests',
  'pipelined requests are all answered although the client has shut its side',
  async ({ api }) => {
    const answers = await askedAndShut(api, HEALTH.repeat(3000), 3000);
    ok(
      answers.every((a) => a.status === 200 && a.json?.status === 'ok'),
      'what they say',
    );
  },
);
regress(
  'better',
  'shut-behind-a-run',
  'so are a run that is under way and the request behind it',
  async ({ api }) => {
    const run = post(RUN, { command: 'sh', args: ['-c', 'sleep 0.3; echo done'] });
    const [first, second] = await askedAndShut(api, run + HEALTH, 2);
    eq([first.json?.stdout, second.json?.status], ['done\n', 'ok']);
  },
);
regress(
  'better',
  'shut-behind-a-long-log',
  'so are a long answer and the request behind it',
  async ({ api }) => {
    const size = 5 * MIB;
    const p = await api.sh(`head -c ${size} /dev/zero | tr '\\0' x; echo END >&2`);
    await api.exited(p.id);
    const [log, health] = await askedAndShut(api, get(`/v1/processes/${p.id}/logs`) + HEALTH, 2);
    const bytes = bytesOf(log.json?.entries ?? []);
    eq([bytes.length, bytes.includes('END\n')], [size + 4, true], 'the log');
    eq(health.json?.status, 'ok');
  },
);
regress(
  'better',
  'shut-behind-a-stream',
  'a stream behind pipelined requests ends, and so does the connection',
  async ({ api }) => {
    const p = await api.sh('echo hi');
    await api.exited(p.id);
    const follow = get(`/v1/processes/${p.id}/logs?follow=true`);
    for (let i = 0; i < 5; i++) await askedAndShut(api, HEALTH.repeat(400) + follow, 401);
  },
);
regress(
  'better',
  'busy-log-is-not-empty',
  'a fetch from a process that floods a small log gets what the log holds',
  async ({ api }) =>
    api.withConfig({ maxLogBytesPerProcess: 100000 }, async () => {
      const p = await api.create({ command: 'yes' });
      await api.logHas(p.id, 'y');
      for (let i = 0; i < 100; i++)
        ok((await api.logs(p.id, '?tail=1')).entries.length === 1, `fetch ${i} is empty`);
    }),
  { restoreConfig: true },
);

// ------------------------------------------------------------------ deadlines
regress(
  'better',
  'slow-is-not-idle',
  'a client that takes a long answer slowly is not cut by the idle timeout',
  async (ctx) =>
    ctx.withServer({ flags: '--idle-timeout 1500' }, async (s, api) => {
      const size = 20 * MIB,
        lasts = 2500;
      await api.setConfig({ maxOutputBytes: size });
      const script = `head -c ${size} /dev/zero | tr '\\0' x`;
      const c = net.connect(api.port, api.host);
      api.open.add({ close: () => c.destroy() });
      let t0 = 0,
        got = 0,
        ended = false;
      const chunks = [];
      c.on('data', (d) => {
        t0 ||= Date.now();
        got += d.length;
        chunks.push(d);
        const early = (lasts * got) / size - (Date.now() - t0);
        if (early < 1 || got >= size) return;
        c.pause();
        setTimeout(() => c.resume(), early);
      });
      for (const ev of ['end', 'error', 'close']) c.on(ev, () => (ended = true));
      c.write(post(RUN, { command: 'sh', args: ['-c', script] }));
      await until(() => got > 0, { what: 'the answer to begin' });
      const head = chunks[0].toString('latin1').split('\r\n\r\n')[0];
      const length = head.length + 4 + Number(/^content-length: (\d+)/im.exec(head)?.[1]);
      await until(() => got >= length || ended, { what: 'its end', last: () => got });
      ok(Date.now() - t0 > 2000, () => `read, or cut, in ${Date.now() - t0} ms: ${got} bytes`);
      eq(got, length, 'bytes of the answer');
      const a = JSON.parse(Buffer.concat(chunks).subarray(head.length + 4));
      eq([a.stdout.length, a.stdoutTruncated], [size, false]);
    }),
);

// ------------------------------------------------------------------ stopping
const refused = (api) =>
  new Promise((resolve) => {
    const s = net.connect(api.port, api.host);
    s.on('error', () => resolve(true));
    s.on('connect', () => {
      s.destroy();
      resolve(false);
    });
  });
regress(
  'better',
  'body-after-the-signal',
  'a create whose body comes after SIGTERM starts nothing',
  async (ctx) =>
    ctx.withServer({}, async (s, api) => {
      const stays = await api.sh('trap "" TERM; echo up; while :; do sleep 1; done');
      await api.logHas(stays.id, 'up');
      const [head, body] = post(
        `POST /v1/processes HTTP/1.1\r\n${HOST}${JSON_TYPE}Expect: 100-continue\r\n`,
        { command: 'sleep', args: ['7304'] },
      ).split(/(?<=\r\n\r\n)/);
      const w = api.wire().write(head);
      await until(() => w.interim.length > 0, { what: 'the server to wait for the body' });
      s.signal('SIGTERM');
      await until(() => refused(api), { every: 5, what: 'the server to stop listening' });
      const a = await w.write(body).answer(1);
      eq([a.status, a.type.split(';')[0]], [503, 'application/problem+json']);
      await w.waitEnd();
      const started = marked(s.mark).map(commandLine);
      ok(!started.some((c) => c.includes('7304')), () => `started: ${started.join('; ')}`);
      eq(await s.waitExit(secs(5)), { code: 0, signal: null }, 'exit');
      eq(marked(s.mark).map(commandLine), [], 'left');
    }),
);

// ------------------------------------------------------------------ the upgrade
regress(
  'better',
  'long-token-in-query',
  'a token of 500 letters that take six characters each in a query opens the terminal',
  async (ctx) => {
    const token = 'é'.repeat(500);
    await ctx.withServer({ auth: 'none', flags: `--token '${token}'` }, async (s) => {
      const api = new Api(s.url, Buffer.from(token).toString('latin1'));
      // A body of text would make the client write the head as UTF-8, too.
      const body = Buffer.from(JSON.stringify({ command: 'cat', tty: true }));
      const headers = { 'content-type': 'application/json' };
      const { id } = (await api.req('POST', '/v1/processes', { body, headers })).json;
      api.created.add(id);
      const open = (t) =>
        api.ws(id, { auth: false, query: `?access_token=${encodeURIComponent(t)}` });
      const w = await open(token);
      await w.ready();
      const wrong = await open(token.slice(1));
      await until(() => wrong.rejected, { what: 'the refusal' });
      eq(wrong.rejected.status, 401, 'with one letter less');
      await api.cleanup();
    });
  },
);
regress(
  'better',
  'connection-in-two-lines',
  'two Connection lines are one list; a 426 names the upgrade',
  async ({ api }) => {
    const p = await reader(api),
      path = `/v1/processes/${p.id}/terminal/ws`;
    const line = (k) => `${k}: ${UPGRADE[k]}\r\n`;
    const rest = ['upgrade', 'sec-websocket-version', 'sec-websocket-key'].map(line).join('');
    for (const two of ['keep-alive\r\nConnection: Upgrade', 'Upgrade\r\nConnection: keep-alive']) {
      const w = api.wire().write(get(path, `Connection: ${two}\r\n${rest}`));
      eq((await w.answer(1)).status, 101, two);
      w.close();
    }
    for (const lines of ['', `Connection: keep-alive\r\n${rest}`, line('connection')]) {
      const a = await api.wire().write(get(path, lines)).answer(1);
      problem(a, { status: 426 });
      match(a.headers.connection, /\bupgrade\b/i, 'connection');
      match(a.headers.upgrade, /^websocket$/i, 'upgrade');
    }
  },
);

// ------------------------------------------------------------------ where to start reading
regress(
  'better',
  'since-before-tail',
  'a follower from beyond the end is shown nothing older, whatever its tail',
  async ({ api }) => {
    const p = await echoer(api);
    await p.say('one');
    await p.say('two');
    const end = (await api.logs(p.id)).entries.at(-1).sequence;
    const followers = [];
    for (const tail of [1, 5, 1000000])
      followers.push(await api.follow(p.id, `since=${end + 2}&tail=${tail}`).opened());
    for (const line of ['three', 'four', 'five', 'six']) await p.say(line);
    for (const f of followers) {
      await f.waitText('six\n');
      eq([seqs(f.log()), f.text()], [[end + 3, end + 4], 'five\nsix\n']);
    }
  },
);
regress(
  'better',
  'greatest-since',
  'the greatest numbers find nothing and harm nothing',
  async ({ api }) => {
    const p = await reader(api);
    const tails = ['', '&tail=0', '&tail=1', `&tail=${LAST}`, '&stream=pty&tail=2'];
    for (const since of [LAST, LAST - 1n, 2n ** 63n, 2n ** 53n]) {
      for (const tail of tails) {
        eq((await api.logs(p.id, `?since=${since}${tail}`)).entries, [], `${since}${tail}`);
        const f = await api.follow(p.id, `since=${since}${tail}`).opened();
        eq([f.status, f.events], [200, []], `following ${since}${tail}`);
        f.close();
      }
      const w = await api.ws(p.id, { query: `?since=${since}` });
      const { firstSequence } = await w.ready();
      ok(Number.isSafeInteger(firstSequence), () => `firstSequence ${firstSequence}`);
      w.close();
    }
    eq((await api.info(p.id)).status, 'running');
  },
);
