// Attacks by slowness and by number. Each is run against a server of its own while a prober asks for
// its health; then it is judged: what did the attackers get, was everybody else answered, what did
// it cost, and did all come back. Timing is measured and not judged here.
//
// A connection is one of attackers; `outcome` is the status of its answer, or how it ended without
// one: 'closed', 'reset', an error's code, or 'open'.
import net from 'node:net';
import { Agent } from 'node:http';
import tls from 'node:tls';
import { spawnSync } from 'node:child_process';
import { eq, match, ok, secs, sleep, until } from './assert.mjs';
import { descriptors } from './proc.mjs';
import { startProber } from './prober.mjs';
import { UPGRADE } from './rawws.mjs';
import { settings, startServer } from './server.mjs';
import { isSanitized, peakKib, residentKib } from './tree.mjs';

const KIB = 1024, AT_ONCE = 200;
const BASE_KIB = 3 * KIB; // what a server may grow by whatever the number of connections
const HEAD = 'GET /v1/health HTTP/1.1\r\nhost: localhost\r\n';
const POST = 'POST /v1/processes/run HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';

class Peer {
  constructor(port, { first = '', halfOpen = false, stopReading = false, make } = {}) {
    this.status = this.failure = null;
    this.ended = false;
    this.began = performance.now();
    this.s = make ? make(port) : net.connect({ port, host: '127.0.0.1', allowHalfOpen: halfOpen });
    this.s.setNoDelay(true);
    this.opened = new Promise((resolve) => {
      this.s.once('connect', () => { if (first) this.s.write(first); resolve(); });
      this.s.once('close', resolve);
    });
    this.s.on('data', (d) => {
      this.status ??= /^HTTP\/1\.[01] (\d{3})/.exec(d.toString('latin1'))?.[1] ?? 'garbled';
      if (stopReading) this.s.pause();
    });
    this.s.on('error', (e) => { this.failure ??= e.code === 'EPIPE' ? 'ECONNRESET' : e.code; this.over(); });
    for (const event of ['end', 'close']) this.s.on(event, () => this.over());
  }
  over() {
    if (this.ended) return;
    this.ended = true;
    this.took = performance.now() - this.began;
  }
  outcome() {
    if (this.status) return this.status;
    if (this.failure) return this.failure === 'ECONNRESET' ? 'reset' : this.failure;
    return this.ended ? 'closed' : 'open';
  }
  write(bytes) { if (!this.ended && this.s.writable) this.s.write(bytes); }
}

class Attack {
  constructor(server, sizes) {
    Object.assign(this, { server, z: sizes, api: server.api, port: server.port });
    this.peers = [];
    this.faults = [];
    this.count = 0; // connections, those that are gone included
  }
  async open(n, options = {}) {
    const all = [];
    for (let i = 0; i < n; i++) {
      all.push(new Peer(this.port, typeof options === 'function' ? options(i) : options));
      if (i % AT_ONCE === AT_ONCE - 1) await Promise.all(all.slice(-AT_ONCE).map((p) => p.opened));
    }
    await Promise.all(all.map((p) => p.opened));
    this.peers.push(...all);
    this.count += n;
    return all;
  }
  // Has this done to each peer every so many ms, until all are ended.
  async feed(peers, every, bytes, ms) {
    const end = Date.now() + ms;
    while (peers.some((p) => !p.ended) && Date.now() < end) {
      const t0 = Date.now();
      for (const p of peers) p.write(bytes);
      await sleep(Math.max(1, every - (Date.now() - t0)));
    }
  }
  ended(peers, what, ms = secs(20)) {
    return until(() => peers.every((p) => p.ended), { within: ms, what, last: () => tally(peers) });
  }
  answered(peers, ms = secs(20)) {
    return until(() => peers.every((p) => p.outcome() !== 'open'), { within: ms, what: 'all to be answered', last: () => tally(peers) });
  }
  // The limit is not passed, and is not enforced early either.
  noEarlierThan(peers, ms) {
    const early = peers.filter((p) => p.took < ms - 20);
    if (early.length) this.faults.push(`${early.length} were told before the timeout, one after ${Math.round(early[0].took)} ms`);
  }
  release() {
    for (const p of this.peers) p.s.destroy();
  }
}
function tally(peers) {
  const got = {};
  for (const p of peers) got[p.outcome()] = (got[p.outcome()] ?? 0) + 1;
  return got;
}

// ------------------------------------------------------------------ the attacks
// full, short: sizes. flags, pre: of the server. kib: what a connection may cost. got: outcomes that
// may be; fresh: those of new connections of others, while it lasts. run: does it, and returns when
// it has come to its end.
export const ATTACKS = {
  'slow-heads': {
    title: 'heads that come a byte at a time',
    full: { n: 2000, every: 200, timeout: 5000 }, short: { n: 300, every: 100, timeout: 1000 },
    flags: (z) => `--request-timeout ${z.timeout}`, kib: 24, got: ['408'],
    async run(a, z) {
      const peers = await a.open(z.n, { first: `${HEAD}x-slow: ` });
      await a.feed(peers, z.every, 'a', z.timeout + secs(10));
      await a.ended(peers, 'each to be told 408');
      a.noEarlierThan(peers, z.timeout);
    },
  },
  'slow-bodies': {
    title: 'bodies that come a byte a second, sized and chunked',
    full: { n: 2000, every: 1000, timeout: 5000 }, short: { n: 300, every: 250, timeout: 1000 },
    flags: (z) => `--request-timeout ${z.timeout}`, kib: 24, got: ['408'],
    async run(a, z) {
      const sized = await a.open(z.n / 2, { first: `${POST}content-length: 5000\r\n\r\n{` });
      const chunked = await a.open(z.n / 2, { first: `${POST}transfer-encoding: chunked\r\n\r\n1388\r\n{` });
      const peers = [...sized, ...chunked];
      await a.feed(peers, z.every, ' ', z.timeout + secs(10));
      await a.ended(peers, 'each to be told 408');
      a.noEarlierThan(peers, z.timeout);
    },
  },
  'large-heads': {
    title: 'heads as large as they may be, never ended',
    full: { n: 1000, timeout: 5000 }, short: { n: 100, timeout: 1000 },
    flags: (z) => `--request-timeout ${z.timeout}`, kib: 128, got: ['408'],
    async run(a, z) {
      const lines = Array.from({ length: 30 }, (_, i) => `x-${i}: ${'a'.repeat(1000)}\r\n`).join('');
      await a.ended(await a.open(z.n, { first: HEAD + lines }), 'each to be told 408');
    },
  },
  'large-heads-over-tls': {
    title: 'the same over TLS',
    needs: '--tls-self-signed',
    full: { n: 300, timeout: 10000 }, short: { n: 40, timeout: 3000 },
    flags: (z) => `--tls-self-signed --request-timeout ${z.timeout}`, kib: 128, got: ['408'],
    async run(a, z) {
      const lines = Array.from({ length: 30 }, (_, i) => `x-${i}: ${'a'.repeat(1000)}\r\n`).join('');
      await a.ended(await a.open(z.n, { first: HEAD + lines, make: dialTls }), 'each to be told 408');
    },
  },
  'large-bodies': {
    title: 'bodies as large as they may be, never ended',
    full: { n: 100, timeout: 5000 }, short: { n: 10, timeout: 2000 },
    flags: (z) => `--request-timeout ${z.timeout}`, kib: 3 * KIB, got: ['408'],
    async run(a, z) {
      const size = 2 * KIB * KIB, body = Buffer.alloc(size - 1, ' ');
      const peers = await a.open(z.n / 2, { first: `${POST}content-length: ${size}\r\n\r\n` });
      peers.push(...await a.open(z.n / 2, { first: `${POST}transfer-encoding: chunked\r\n\r\n${size.toString(16)}\r\n` }));
      for (const p of peers) p.write(body);
      await a.ended(peers, 'each to be told 408');
    },
  },
  'stopped-readers': {
    title: 'readers that stop: event streams, log downloads, terminals',
    full: { n: 300, hold: 5000 }, short: { n: 150, hold: 500 },
    flags: () => '', kib: 768, got: ['200', '101'],
    async run(a, z) {
      await a.api.setConfig({ maxLogBytesPerProcess: 4 * KIB * KIB });
      const flood = { command: 'sh', args: ['-c', 'while :; do head -c 65536 /dev/zero | tr "\\0" x; sleep 0.01; done'] };
      const pipe = await a.api.create(flood), tty = await a.api.create({ ...flood, tty: true });
      const last = async () => (await a.api.logs(pipe.id, '?tail=1')).entries.at(-1)?.sequence ?? 0;
      const upgrade = Object.entries(UPGRADE).map(([k, v]) => `${k}: ${v}\r\n`).join('');
      const asks = [
        `/v1/processes/${pipe.id}/logs?follow=true HTTP/1.1\r\n`,
        `/v1/processes/${pipe.id}/logs HTTP/1.1\r\n`,
        `/v1/processes/${tty.id}/terminal/ws HTTP/1.1\r\n${upgrade}`,
      ];
      await until(async () => (await last()) > 100, { what: 'a log to read' });
      const peers = await a.open(z.n, (i) => ({ first: `GET ${asks[i % 3]}host: localhost\r\n\r\n`, stopReading: true }));
      await a.answered(peers);
      await sleep(z.hold);
      // The log goes on past all that they and the system between can take, and they are not waited
      // for one after the other.
      const from = await last();
      await until(async () => (await last()) > from + 1000, { within: secs(12), what: 'a process whose readers have stopped to go on', last: () => from });
    },
  },
  'unread-answers': {
    title: 'requests without end whose answers nobody reads',
    full: { n: 200, hold: 3000 }, short: { n: 120, hold: 500 },
    flags: () => "--cors-allow-credentials --cors-allow-origin '*'", kib: 128, got: ['200', '404'],
    async run(a, z) {
      // A short request with a long answer, and long ones whose answers repeat what they said.
      const each = ['GET /ui/ HTTP/1.1\r\n', `GET /${'x'.repeat(4000)} HTTP/1.1\r\n`, `OPTIONS /v1/processes HTTP/1.1\r\naccess-control-request-headers: ${'x'.repeat(30000)}\r\n`];
      const endless = each.map((lines) => {
        const one = `${lines}host: localhost\r\norigin: http://app.example\r\n\r\n`;
        return Buffer.from(one.repeat(Math.ceil((4 * KIB * KIB) / one.length)));
      });
      await a.answered(await a.open(z.n, (i) => ({ first: endless[i % 3], stopReading: true })));
      await sleep(z.hold);
    },
  },
  'half-open': {
    title: 'peers that shut their side and stay, or never close it',
    full: { n: 2000 }, short: { n: 200 },
    flags: () => '', kib: 24, got: ['200', '400', 'closed'],
    async run(a, z) {
      const kinds = [
        [`${HEAD}x-half: `, true], // in a head
        [`${POST}content-length: 100\r\n\r\n{`, true], // in a body
        [`${HEAD}connection: close\r\n\r\n`, false], // answered, and never closed
        ['NONSENSE\r\n\r\n', false], // refused, and never closed
        [`${HEAD}\r\n`, true], // shut behind a whole request
      ];
      const peers = await a.open(z.n, (i) => ({ first: kinds[i % kinds.length][0], halfOpen: true }));
      peers.forEach((p, i) => { if (kinds[i % kinds.length][1]) p.s.end(); });
      await a.ended(peers, 'the server to end each connection');
      // The peers are still there: that they go is not what frees the server's side.
      const back = () => descriptors(a.server.serverPid()).filter((d) => d.startsWith('socket:')).length < a.sockets + 10;
      await until(back, { what: 'descriptors to be closed on this side', within: secs(10) });
    },
  },
  'idle-connections': {
    title: 'idle connections, half of them after a request',
    full: { n: 5000, timeout: 10000 }, short: { n: 600, timeout: 3000 },
    flags: (z) => `--idle-timeout ${z.timeout}`, kib: 4, got: ['200', 'closed'],
    async run(a, z) {
      const peers = await a.open(z.n, (i) => ({ first: i % 2 ? `${HEAD}\r\n` : '' }));
      await until(() => peers.every((p, i) => i % 2 === 0 || p.status), { what: 'answers' });
      await a.ended(peers, 'idle connections to be closed', z.timeout + secs(20));
      a.noEarlierThan(peers, z.timeout);
    },
  },
  churn: {
    title: 'connections opened and closed or reset at once',
    full: { n: 20000, hands: 100 }, short: { n: 2000, hands: 50 },
    flags: () => '', kib: 1, got: ['200', 'closed', 'open'],
    async run(a, z) {
      const firsts = ['', HEAD, `${HEAD}\r\n`, `${POST}content-length: 100\r\n\r\n{`];
      let left = z.n;
      const hand = async (k) => {
        while (left-- > 0) {
          const [p] = await a.open(1, { first: firsts[(left + k) % firsts.length] });
          if (left % 3 === 0) p.s.resetAndDestroy();
          else p.s.destroy();
          if (!p.failure && !p.status) a.peers.splice(a.peers.indexOf(p), 1);
        }
      };
      await Promise.all(Array.from({ length: z.hands }, (_, k) => hand(k)));
    },
  },
  'descriptor-limit': {
    title: 'more connections than there are descriptors',
    full: { n: 1000, hold: 3000, limit: 256 }, short: { n: 300, hold: 300, limit: 128 },
    pre: (z) => `ulimit -n ${z.limit}`, flags: () => '', kib: 24,
    got: ['200', '503', 'closed', 'reset'], fresh: ['200', '503', 'closed', 'ECONNRESET'],
    async run(a, z) {
      const peers = await a.open(z.n, { first: `${HEAD}\r\n` });
      await a.answered(peers);
      await sleep(z.hold);
      const got = tally(peers);
      if (!(got[200] > 0 && got[200] < z.limit)) a.faults.push(`${got[200]} connections served with ${z.limit} descriptors`);
      if (!(got[503] > 0)) a.faults.push('nobody was told 503');
    },
  },
  'silent-at-the-limit': {
    title: 'clients that say nothing, more than there are descriptors, beside processes',
    full: { n: 2000, limit: 1024, most: 400 }, short: { n: 600, limit: 200, most: 70 },
    pre: (z) => `ulimit -n ${z.limit}`, flags: () => '', kib: 24,
    got: ['503', 'open', 'closed', 'reset'], fresh: ['200', '503', 'closed', 'ECONNRESET'],
    async run(a, z) {
      const kept = new Agent({ keepAlive: true, maxSockets: 1 });
      const post = (path, json) => a.api.req('POST', path, { json, agent: kept });
      await a.api.setConfig({ maxConcurrentProcesses: 2 * z.most });
      eq((await post('/v1/processes', { command: 'cat' })).status, 200, 'a process before');
      // What connections may not have is there for processes.
      const silent = await a.open(z.n, { halfOpen: true });
      const ran = await post('/v1/processes/run', { command: 'true' });
      if (ran.status !== 200) a.faults.push(`a run beside them: ${ran.status} ${ran.text}`);
      for (const p of silent) p.s.destroy();
      // And when processes have them all, whoever comes is told so in some way, the last one as soon as
      // the first, and not when all those before have been waited for, one by one.
      let refused;
      for (let i = 0; i < z.most && !refused; i++) {
        const r = await post('/v1/processes', { command: 'cat' });
        if (r.status !== 200) refused = r;
      }
      match(refused?.json.detail, /open files/, 'why there is no further process');
      const late = await a.open(z.n, { halfOpen: true });
      const asking = await a.open(10, { first: `${HEAD}\r\n` });
      // Of what is too little for the start of a process, a few of them still get one each.
      const waiting = () => tally(late).open > 16 || asking.some((p) => p.outcome() === 'open');
      await until(() => !waiting(), { within: secs(20), what: 'all to be turned away', last: () => tally([...late, ...asking]) });
      const { json } = await a.api.req('GET', '/v1/processes', { agent: kept });
      for (const p of json.processes) await a.api.req('POST', `/v1/processes/${p.id}/kill?waitMs=5000`, { agent: kept });
      for (const p of json.processes) await a.api.req('DELETE', `/v1/processes/${p.id}`, { agent: kept });
      kept.destroy();
    },
  },
  'connection-limit': {
    title: 'more connections than --max-connections',
    full: { n: 2000, hold: 3000, most: 500 }, short: { n: 200, hold: 300, most: 50 },
    flags: (z) => `--max-connections ${z.most}`, kib: 24,
    got: ['200', '503', 'closed', 'reset'], fresh: ['200', '503', 'closed', 'ECONNRESET'],
    async run(a, z) {
      const peers = await a.open(z.n, { first: `${HEAD}\r\n` });
      await a.answered(peers);
      await sleep(z.hold);
      const got = tally(peers);
      if (!(got[200] > 0 && got[200] <= z.most)) a.faults.push(`${got[200]} connections served where ${z.most} are allowed`);
      if (!(got[503] > 0)) a.faults.push('nobody was told 503');
    },
  },
  handshakes: {
    title: 'TLS handshakes: begun and left, cut, and whole ones in a storm',
    needs: '--tls-self-signed',
    full: { n: 200, storm: 1000, hands: 20 }, short: { n: 50, storm: 50, hands: 5 },
    flags: () => '--tls-self-signed', kib: 128, got: ['closed', 'reset', 'garbled', 'open'],
    async run(a, z) {
      const hello = await clientHello();
      const stuck = await a.open(z.n, (i) => ({ first: hello.subarray(0, i % 2 ? hello.length : 20 + (i % 100)) }));
      let left = z.storm;
      const hand = async () => {
        while (left-- > 0) {
          const [p] = await a.open(1, { make: dialTls });
          if (left % 4) await Promise.race([new Promise((done) => { p.s.once('secureConnect', done); p.s.once('close', done); }), sleep(secs(10))]);
          if (left % 4 && p.failure) a.faults.push(`a handshake failed: ${p.failure}`);
          p.s.destroy();
          a.peers.splice(a.peers.indexOf(p), 1);
        }
      };
      await Promise.all(Array.from({ length: z.hands }, hand));
      await a.ended(stuck, 'handshakes that do not go on to be given up', secs(20));
    },
  },
};

const dialTls = (port) => tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });

// What a client says first, caught from one.
function clientHello() {
  return new Promise((resolve, reject) => {
    const listener = net.createServer((s) => s.once('data', (d) => { s.destroy(); listener.close(() => resolve(d)); }).on('error', () => {}));
    listener.once('error', reject);
    listener.listen(0, '127.0.0.1', () => tls.connect({ port: listener.address().port, host: '127.0.0.1' }).on('error', () => {}));
  });
}

let help;
export function canRun(name) {
  const { needs } = ATTACKS[name];
  help ??= String(spawnSync(settings.bin, ['server', '--help']).stdout);
  return !needs || help.includes(needs);
}

// One attack from start to end: its figures, with `faults` empty if all is well.
export async function attack(name, size = 'full') {
  const k = ATTACKS[name], z = k[size];
  const s = await startServer({ flags: k.flags(z), pre: k.pre?.(z), ...(k.needs ? { tls: { rejectUnauthorized: false } } : {}) });
  let prober;
  try {
    const a = new Attack(s, z);
    const pid = s.serverPid(), weighed = !isSanitized(pid);
    for (let i = 0; i < 20; i++) ok((await s.api.get('/v1/health')).status === 200, 'health before');
    prober = await startProber(s.url);
    const before = residentKib(pid);
    a.sockets = s.fds.filter((d) => d.startsWith('socket:')).length;
    let failure;
    await k.run(a, z).catch((e) => { failure = e.message; });
    const peak = peakKib(pid);
    const got = tally(a.peers);
    a.release();
    const probed = await prober.end();
    const faults = [...a.faults, ...(failure ? [failure] : []), ...judge(k, got, probed)];
    const bound = BASE_KIB + k.kib * a.count;
    if (weighed && peak - before > bound) faults.push(`memory grew by ${peak - before} KiB, more than ${bound}`);
    if (s.serverPid() !== pid) faults.push('the server was replaced');
    const after = await until(async () => (await s.api.get('/v1/health')).status === 200, { what: 'health after' }).catch((e) => e.message);
    if (after !== true) faults.push(after);
    faults.push(...(await s.atRest()));
    const figures = {
      name, title: k.title, connections: a.count, got, kept: probed.kept, fresh: probed.fresh, weighed,
      kib: { before, peak, each: Math.round(((peak - before) / a.count) * 10) / 10, bound: k.kib },
      descriptors: { before: s.fds.length, after: descriptors(pid).length }, faults,
    };
    faults.push(...(await s.stop()));
    return figures;
  } finally {
    prober?.kill();
    await s.stop();
  }
}
// Nothing but the refusals that are meant; and whoever holds a connection keeps it.
function judge(k, got, { kept, fresh }) {
  const faults = [];
  for (const [what, n] of Object.entries(got)) if (!k.got.includes(what)) faults.push(`${n} connections got ${what}`);
  for (const [what, n] of Object.entries(kept.got)) if (what !== '200') faults.push(`the kept connection got ${what}, ${n} times`);
  for (const [what, n] of Object.entries(fresh.got)) if (!(k.fresh ?? ['200']).includes(what)) faults.push(`new connections got ${what}, ${n} times`);
  return faults;
}
