// Servers started by the suite: one life from start to end, with the checks that belong to its
// end. A server is started as the leader of its own process group, in an empty directory of its
// own, and with a mark in its environment by which everything it started can be found.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Api } from './api.mjs';
import { secs, sleep, until } from './assert.mjs';
import { MARK, commandLine, descriptors, endHere, marked, zombiesOf } from './proc.mjs';

const SANITIZER =
  /AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|MemorySanitizer|runtime error: /;
const LISTENING = /^listening on (http:\/\/\S+)$/m;
const LOG_MAX = 1 << 20;

export const settings = { bin: '', reference: false };
const running = new Set();
let count = 0;

// An interrupted suite leaves nothing behind.
function endAll() {
  for (const s of running) {
    for (const p of marked(s.mark)) endHere(p);
    fs.rmSync(s.dir, { recursive: true, force: true });
  }
}
process.on('exit', endAll);
for (const sig of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(sig, () => process.exit(130));

export const quote = (s) => `'${String(s).replaceAll("'", `'\\''`)}'`;

// A port that was free a moment ago, for those who have to know it beforehand.
export function freePort() {
  return new Promise((resolve, reject) => {
    const s = net.createServer();
    s.once('error', reject);
    s.listen({ port: 0, host: '127.0.0.1' }, () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });
}

function serverCommand(o, port, dir) {
  const auth = o.token ? `--token ${quote(o.token)}` : o.auth === 'none' ? '' : '--no-token';
  const home = settings.reference ? `env HOME=${quote(dir)} ` : '';
  const quiet = settings.reference ? '--no-telemetry' : '';
  return `exec ${home}${quote(settings.bin)} server ${auth} --port ${port} ${quiet} ${o.flags ?? ''}`;
}

class Server {
  constructor(o, port, dir) {
    this.o = o;
    this.dir = dir;
    this.token = o.token;
    this.port = port;
    this.mark = `${process.pid}-${++count}`;
    this.out = '';
    this.log = '';
    this.exit = null;
    this.faults = [];
    const env = { ...process.env, [MARK]: this.mark, ...o.env };
    delete env.SANDBOX_AGENT_TOKEN;
    Object.assign(env, o.env);
    for (const k of o.unsetEnv ?? []) delete env[k];
    const line = `${o.pre ? `${o.pre}\n` : ''}${serverCommand(o, port, dir)}`;
    const extra = Array.from({ length: o.fds ?? 0 }, () => 'pipe');
    this.child = spawn('/bin/sh', ['-c', line], {
      cwd: dir,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', ...extra],
    });
    this.pid = this.child.pid;
    this.child.stdout.on('data', (d) => {
      this.out = (this.out + d).slice(-LOG_MAX);
    });
    this.child.stderr.on('data', (d) => this.note(String(d)));
    this.exited = new Promise((resolve) => {
      this.child.on('error', (e) => {
        this.note(String(e));
        this.exit = { code: -1, signal: null };
        resolve(this.exit);
      });
      this.child.on('exit', (code, signal) => {
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
    this.drained = new Promise((resolve) => {
      this.child.on('close', resolve);
    });
    running.add(this);
  }
  note(d) {
    this.log = (this.log + d).slice(-LOG_MAX);
    const m = SANITIZER.exec(this.log);
    if (m && !this.sanitizer) {
      this.sanitizer = true;
      this.faults.push(`sanitizer report on stderr: ${m[0]}`);
    }
  }
  alive() {
    return this.exit === null;
  }
  // A case that ends the server by signal has its exit judged like any other.
  signal(sig) {
    if (!this.alive()) return;
    if (sig === 'SIGKILL') this.killed = true;
    else if (['SIGTERM', 'SIGINT'].includes(sig)) this.ending = `after ${sig}`;
    process.kill(this.pid, sig);
  }
  async waitExit(ms) {
    await Promise.race([this.exited, sleep(ms)]);
    return this.exit;
  }
  address(url) {
    this.url = url;
    this.port = Number(new URL(url).port);
    this.api = new Api(url, this.token);
  }
  // Ready when the line is there and an answer came; the descriptors of that moment are the measure.
  async ready() {
    if (settings.reference) this.address(`http://127.0.0.1:${this.port}`);
    await until(
      async () => {
        if (!this.alive()) return true;
        const m = this.api ? null : LISTENING.exec(this.out);
        if (m) this.address(m[1]);
        return this.api && (await this.api.get('/', { timeout: secs(2) })).status === 200;
      },
      {
        within: secs(20),
        what: 'the server to listen and answer',
        last: () => ({ out: this.out.slice(-200), log: this.log.slice(-300) }),
      },
    );
    if (!this.alive())
      throw new Error(
        `server exited at start (${JSON.stringify(this.exit)}): ${this.log.slice(-500)}`,
      );
    if (!settings.reference) await this.settle();
  }
  // The connection of the last answer is closed by the server at its own pace.
  async settle() {
    let before = '';
    this.fds = await until(
      () => {
        const list = descriptors(this.pid),
          now = list.join();
        const same = now === before;
        before = now;
        return same && list;
      },
      { what: 'steady descriptors' },
    );
  }
  // What is wrong with a server at rest: descriptors it did not have at first, children not reaped.
  async residue() {
    if (settings.reference || !this.alive()) return [];
    const faults = [];
    const extra = () => {
      const rest = descriptors(this.pid);
      for (const d of this.fds.map(kind)) {
        const i = rest.findIndex((x) => kind(x) === d);
        if (i >= 0) rest.splice(i, 1);
      }
      return rest;
    };
    await until(() => extra().length === 0, { within: secs(5) }).catch(() =>
      faults.push(`descriptors left open: ${extra().join(', ')}`),
    );
    await until(() => zombiesOf(this.pid).length === 0, { within: secs(5) }).catch(() =>
      faults.push('zombies left'),
    );
    return faults;
  }
  // For a case's own server: with the case's things cleared away it must be at rest again.
  async atRest() {
    if (settings.reference || !this.alive() || this.ending) return [];
    await this.api.cleanup();
    return this.residue();
  }
  // Ends the server as an operator would and returns what was wrong with that end.
  async stop() {
    if (!running.has(this)) return this.faults;
    if (settings.reference) await this.api?.cleanup().catch(() => {});
    this.api?.open.forEach((x) => x.close());
    if (!this.o.expectDown) await this.end();
    if (this.alive()) {
      this.killed = true;
      process.kill(this.pid, 'SIGKILL');
      await this.exited;
    }
    await Promise.race([this.drained, sleep(secs(1))]);
    await this.judgeChildren();
    for (const p of marked(this.mark)) endHere(p);
    running.delete(this);
    fs.rmSync(this.dir, { recursive: true, force: true });
    return settings.reference ? [] : this.faults;
  }
  async end() {
    this.signal('SIGTERM');
    await this.waitExit(secs(6));
    if (this.killed || this.exit?.code === 0) return;
    this.faults.push(
      `exit ${this.ending ?? 'by itself'}: ${this.exit ? JSON.stringify(this.exit) : 'none in time'}`,
    );
  }
  async judgeChildren() {
    if (settings.reference || this.killed) return;
    await until(() => marked(this.mark).length === 0, { within: secs(2) }).catch(() => {
      this.faults.push(
        `children left: ${marked(this.mark)
          .map((p) => `${p} ${commandLine(p)}`)
          .join('; ')}`,
      );
    });
  }
}
// Descriptors are compared by what they are, since the numbers of inodes differ.
const kind = (link) => link.replace(/\[\d+\]$/, '').replace(/^\/dev\/pts\/\d+$/, 'pts');

// opts: token, auth ('none': no flag about it), flags (shell text), env, unsetEnv, pre (shell text
// before the server), fds (inherited pipes), port, expectDown (neither wait for it to answer nor
// judge how it ended).
export async function startServer(o = {}) {
  const port = o.port ?? (settings.reference ? await freePort() : 0);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sbx-api-'));
  const s = new Server(o, port, dir);
  if (o.expectDown) return s;
  try {
    await s.ready();
  } catch (e) {
    await s.stop();
    throw e;
  }
  return s;
}

// Runs the binary to its end: {code, signal, out, err, ms}.
export function command(args, { env = {}, cwd, pre, timeout = secs(10) } = {}) {
  const full = { ...process.env, ...env };
  if (!('SANDBOX_AGENT_TOKEN' in env)) delete full.SANDBOX_AGENT_TOKEN;
  const line = `${pre ? `${pre}\n` : ''}exec ${[settings.bin, ...args].map(quote).join(' ')}`;
  const t0 = Date.now();
  return new Promise((resolve, reject) => {
    const c = spawn('/bin/sh', ['-c', line], { cwd, env: full, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => {
      late = true;
      c.kill('SIGKILL');
    }, timeout);
    let out = '',
      err = '',
      late = false;
    c.stdout.on('data', (d) => {
      out += d;
    });
    c.stderr.on('data', (d) => {
      err += d;
    });
    c.on('error', reject);
    c.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, out, err, late, ms: Date.now() - t0 });
    });
  });
}
