// Asks for GET /v1/health all the time, from a process of its own, so that what the attacker does
// meanwhile delays no question: every 10 ms on one connection that is kept, and every 10 ms on a
// new one. The attacker's figures come from here.
//
// As a program: prober.mjs BASE [TOKEN]. It prints "asking" when the first answers came, and one line
// of JSON when its stdin is closed.
import { spawn } from 'node:child_process';
import net from 'node:net';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { secs, sleep, until, within } from './assert.mjs';

const EVERY = 10;
const PATIENCE = secs(20); // after which a question counts as not answered
const self = fileURLToPath(import.meta.url);

// Started, and answered at least once on each kind of connection. end(): its figures.
export async function startProber(base, token = '') {
  const c = spawn(process.execPath, [self, base, token], { stdio: ['pipe', 'pipe', 'inherit'] });
  let out = '';
  c.stdout.on('data', (d) => { out += d; });
  c.stdin.on('error', () => {});
  const closed = new Promise((resolve) => { c.on('close', resolve); });
  await until(() => out.startsWith('asking\n'), { what: 'the prober to be answered' });
  return {
    end: async () => { c.stdin.end(); await within(closed, PATIENCE + secs(5), 'the prober to end'); return JSON.parse(out.split('\n')[1]); },
    kill: () => c.kill('SIGKILL'),
  };
}

// A question that waited for long stands for those that would have been asked meanwhile: else the
// worst moments would be counted the least.
class Tally {
  constructor() {
    this.got = {}; // by status, or by what went wrong
    this.times = [];
  }
  note(what, ms) {
    this.got[what] = (this.got[what] ?? 0) + 1;
    for (let t = ms; what === '200' && t > 0; t -= EVERY) this.times.push(t);
  }
  figures() {
    const sorted = Float64Array.from(this.times).sort();
    const at = (part) => Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0) * 100) / 100;
    return { got: this.got, asked: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
  }
}

async function probe(base, token) {
  const url = new URL(base), host = url.hostname, port = Number(url.port);
  const kept = new Tally(), fresh = new Tally();
  const auth = token ? `authorization: Bearer ${token}\r\n` : '';
  const question = (more) => `GET /v1/health HTTP/1.1\r\nhost: ${url.host}\r\n${auth}${more}\r\n`;
  let over = false;
  process.stdin.on('end', () => { over = true; }).resume();

  const connect = () => new Promise((resolve, reject) => {
    const secure = url.protocol === 'https:';
    const s = secure ? tls.connect({ host, port, rejectUnauthorized: false }) : net.connect({ host, port });
    s.setNoDelay(true);
    s.setTimeout(PATIENCE, () => s.destroy(new Error('timeout')));
    s.on('error', (e) => { s.failure = e.code ?? e.message; });
    s.on('close', () => reject(new Error(s.failure ?? 'closed')));
    s.on(secure ? 'secureConnect' : 'connect', () => resolve(s));
  });
  const ask = (s, text) => new Promise((resolve, reject) => {
    let got = '';
    const onData = (d) => {
      got += d;
      const m = /^HTTP\/1\.1 (\d+)[^]*?\ncontent-length: (\d+)[^]*?\r\n\r\n/.exec(got);
      if (m && got.length >= m[0].length + Number(m[2])) finish(resolve, m[1]);
    };
    const onClose = () => finish(reject, new Error(s.failure ?? 'closed'));
    const finish = (settle, value) => { s.off('data', onData); s.off('close', onClose); settle(value); };
    s.on('data', onData);
    s.on('close', onClose);
    if (s.destroyed) onClose();
    else s.write(text);
  });
  const repeat = async (tally, once) => {
    while (!over) {
      const t0 = performance.now();
      const what = await once().catch((e) => ({ failed: e.message }));
      tally.note(what.failed ?? what.status, performance.now() - (what.since ?? t0));
      await sleep(Math.max(0, EVERY - (performance.now() - t0)));
    }
  };
  let held = null;
  const onKept = async () => {
    try {
      held ??= await connect();
      const since = performance.now();
      return { status: await ask(held, question('')), since };
    } catch (e) {
      held?.destroy();
      held = null;
      throw e;
    }
  };
  const onFresh = async () => {
    const s = await connect();
    try {
      return { status: await ask(s, question('connection: close\r\n')) };
    } finally {
      s.destroy();
    }
  };
  const all = Promise.all([repeat(kept, onKept), repeat(fresh, onFresh)]);
  await until(() => kept.got[200] && fresh.got[200], { what: 'the first answers', last: () => [kept.got, fresh.got] });
  process.stdout.write('asking\n');
  await all;
  held?.destroy();
  process.stdout.write(`${JSON.stringify({ kept: kept.figures(), fresh: fresh.figures() })}\n`);
}
if (process.argv[1] === self) await probe(process.argv[2], process.argv[3]);
