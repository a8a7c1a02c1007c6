// Servers started by the suite, from start to end, with the checks that belong to the end. A server
// is started as the leader of its own process group, in an empty directory of its own with a data
// directory in it, and with a mark in its environment by which everything it started can be found.
//
// What is started is the keeper, `pid`; the server is its child, `serverPid()`. Without a keeper
// both are the same. A server may have several lives: `restart()` ends it and starts it again on
// the same data directory and port, `killServer()` takes the server from under its keeper, and
// `crash()` kills both. A server that was replaced by its keeper without the case's doing is a fault.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Api } from './api.mjs';
import { CaseFailure, secs, sleep, until } from './assert.mjs';
import { MARK, commandLine, descriptors, endHere, here, marked, zombiesOf } from './proc.mjs';
import { childrenOf, programOf } from './tree.mjs';

const SANITIZER =
  /AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|MemorySanitizer|runtime error: /;
const LISTENING = /^listening on (https?:\/\/\S+)$/m;
const LOG_MAX = 1 << 20;

// program: what the system shows a server to run, where `bin` is a script that starts it under another
// program, valgrind for instance.
export const settings = { bin: '', program: process.env.SBX_TEST_PROGRAM ?? '', reference: false };
const running = new Set();
let count = 0;

// An interrupted suite leaves nothing behind.
function endAll() {
  for (const s of running) {
    s.endMarked();
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

// The published server, and builds of ours without a store, have neither data directory nor keeper.
let stores;
export function hasStore() {
  stores ??= !settings.reference && /--data-dir/.test(spawnSync(settings.bin, ['server', '--help']).stdout);
  return stores;
}
function serverCommand(o, port, dir, dataDir, bin) {
  const auth = o.auth === 'none' ? '' : o.token ? `--token ${quote(o.token)}` : '--no-token';
  const home = settings.reference ? `env HOME=${quote(dir)} ` : '';
  const quiet = settings.reference ? '--no-telemetry' : '';
  const data = dataDir === null || !hasStore() ? '' : `--data-dir ${quote(dataDir)}`;
  return `exec ${home}${quote(bin)} server ${auth} --port ${port} ${data} ${quiet} ${o.flags ?? ''}`;
}

class Server {
  constructor(o, port, dir) {
    this.o = { ...o };
    this.dir = dir;
    this.dataDir = o.dataDir === undefined ? path.join(dir, 'data') : o.dataDir;
    this.bin = o.bin ?? settings.bin;
    this.program = settings.program || fs.realpathSync(this.bin);
    this.token = o.token;
    this.port = port;
    this.mark = `${process.pid}-${++count}`;
    this.log = '';
    this.faults = [];
    this.launch();
    running.add(this);
  }
  environment() {
    const env = {
      ...process.env,
      [MARK]: this.mark,
      XDG_DATA_HOME: path.join(this.dir, 'share'),
      ...this.o.env,
    };
    if (!this.o.env?.SANDBOX_AGENT_TOKEN) delete env.SANDBOX_AGENT_TOKEN;
    for (const k of this.o.unsetEnv ?? []) delete env[k];
    return env;
  }
  // Begins a life. What is said on stderr adds up over the lives, what is on stdout does not.
  launch() {
    const { o } = this;
    this.out = '';
    this.exit = null;
    this.killed = this.ending = false;
    this.known = 0;
    const command = serverCommand(o, this.port, this.dir, this.dataDir, this.bin);
    const extra = Array.from({ length: o.fds ?? 0 }, () => 'pipe');
    const child = spawn('/bin/sh', ['-c', `${o.pre ? `${o.pre}\n` : ''}${command}`], {
      cwd: this.dir,
      env: this.environment(),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', ...extra],
    });
    this.child = child;
    this.pid = child.pid;
    child.stdout.on('data', (d) => {
      if (this.child === child) this.out = (this.out + d).slice(-LOG_MAX);
    });
    child.stderr.on('data', (d) => this.note(String(d)));
    this.exited = new Promise((resolve) => {
      const end = (exit) => {
        if (this.child === child) this.exit = exit;
        resolve(exit);
      };
      child.on('error', (e) => {
        this.note(String(e));
        end({ code: -1, signal: null });
      });
      child.on('exit', (code, signal) => end({ code, signal }));
    });
    this.drained = new Promise((resolve) => {
      child.on('close', resolve);
    });
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
  // The keeper: what was started, or what a wrapper around it (o.pre) started.
  keeperPid() {
    const isOurs = (pid) => programOf(pid) === this.program;
    let pid = this.pid;
    while (pid && !isOurs(pid)) pid = childrenOf(pid)[0];
    return pid ?? 0;
  }
  hasKeeper() {
    return hasStore() && !/--no-keeper\b/.test(this.o.flags ?? '');
  }
  // The process that serves; 0 while there is none. While an upgrade is under way there may be two:
  // the newer one counts. (A child that has not started its program yet is the server's, not the
  // keeper's.)
  serverPid() {
    if (!this.hasKeeper()) return this.alive() ? this.keeperPid() || this.pid : 0;
    const keeper = this.keeperPid();
    const list = keeper ? childrenOf(keeper).filter((p) => programOf(p) === programOf(keeper)) : [];
    return list.filter(here).at(-1) ?? 0;
  }
  // Waits for a server other than `old` that answers, and counts it as the one that should be there.
  // It is asked all the time: a connection made meanwhile waits for it. {pid, ms}
  async successor(old, ms = secs(10)) {
    const t0 = performance.now();
    for (let why = ''; performance.now() - t0 < ms; await sleep(1)) {
      if (!this.alive()) throw new CaseFailure(`the keeper ended: ${JSON.stringify(this.exit)}`);
      const answered = await this.answers().catch((e) => {
        why = e.message;
      });
      const took = performance.now() - t0,
        pid = this.serverPid();
      if (!answered || !pid || pid === old) continue;
      this.known = pid;
      return { pid, ms: took, why };
    }
    throw new CaseFailure(`no server after ${old} answered within ${ms}ms: ${this.log.slice(-300)}`);
  }
  async answers() {
    return (await this.api.get('/', { timeout: secs(5) })).status === 200;
  }
  // SIGKILL to the server alone; its keeper starts the next one. {pid, ms}: until that answered.
  async killServer() {
    const old = this.serverPid();
    if (!old) throw new CaseFailure(`there is no server to kill: ${this.log.slice(-300)}`);
    this.known = 0;
    process.kill(old, 'SIGKILL');
    return this.successor(old);
  }
  // SIGKILL to keeper and server at once: what a crash of the machine leaves, but for the processes.
  async crash() {
    const server = this.serverPid(),
      keeper = this.keeperPid();
    if (!server || !keeper) throw new CaseFailure(`there is no server to kill: ${this.log.slice(-300)}`);
    this.killed = true;
    for (const p of new Set([keeper, server])) process.kill(p, 'SIGKILL');
    await this.exited;
    await until(() => !here(server), { what: 'the end of the server' });
  }
  // The next life, on the same data directory and port. opts change those of the first start.
  async again(opts = {}) {
    Object.assign(this.o, opts);
    if (opts.dataDir !== undefined) this.dataDir = opts.dataDir;
    this.launch();
    await this.ready();
  }
  // As an operator would: SIGTERM, and a start when it has ended.
  async restart(opts = {}) {
    await this.end();
    await this.judgeChildren();
    await this.again(opts);
  }
  // With its last words, unless something that outlives it holds the pipe that they come through.
  async waitExit(ms) {
    await Promise.race([this.exited, sleep(ms)]);
    if (this.exit) await Promise.race([this.drained, sleep(secs(1))]);
    return this.exit;
  }
  address(url) {
    if (url === this.url) return;
    this.url = url;
    this.port = Number(new URL(url).port);
    this.api = new Api(url, this.token, this.o.tls);
  }
  // Ready when the line is there and an answer came; the descriptors of that moment are the measure.
  async ready() {
    if (settings.reference) this.address(`http://127.0.0.1:${this.port}`);
    let there = settings.reference;
    await until(
      async () => {
        if (!this.alive()) return true;
        const m = there ? null : LISTENING.exec(this.out);
        if (m) this.address(m[1]);
        there ||= !!m;
        return there && (await this.api.get('/', { timeout: secs(2) })).status === 200;
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
    if (settings.reference) return;
    this.known = this.serverPid();
    this.fds = await steady(() => this.serverPid());
    this.keeperFds = await steady(() => this.keeperPid());
  }
  // What is wrong with a server at rest: descriptors it did not have at first, children not reaped.
  async residue() {
    if (settings.reference || !this.alive()) return [];
    const faults = [];
    const server = () => this.serverPid(),
      keeper = () => this.keeperPid();
    for (const [who, pid, first] of [
      ['server', server, this.fds],
      ['keeper', keeper, this.hasKeeper() ? this.keeperFds : null],
    ]) {
      if (!first) continue;
      // After an upgrade the keeper holds the program that it would start.
      const rest = () => more(descriptors(pid()), first).filter((d) => d.replace(/ \(deleted\)$/, '') !== this.program);
      await until(() => rest().length === 0, { within: secs(5) }).catch(() =>
        faults.push(`descriptors left open in the ${who}: ${rest().join(', ')}`),
      );
      await until(() => zombiesOf(pid()).length === 0, { within: secs(5) }).catch(() =>
        faults.push(`zombies left by the ${who}`),
      );
    }
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
    if (!this.killed) await Promise.race([this.drained, sleep(secs(1))]);
    await this.judgeChildren();
    this.endMarked();
    running.delete(this);
    fs.rmSync(this.dir, { recursive: true, force: true });
    return settings.reference ? [] : this.faults;
  }
  endMarked() {
    for (let left = marked(this.mark); left.length > 0; left = marked(this.mark)) left.forEach(endHere);
  }
  async end() {
    this.judgeServer();
    this.signal('SIGTERM');
    await this.waitExit(secs(6));
    if (this.killed || this.exit?.code === 0) return;
    this.faults.push(
      `exit ${this.ending ?? 'by itself'}: ${this.exit ? JSON.stringify(this.exit) : 'none in time'}`,
    );
  }
  // Is it still the server that should be there? One that crashed has been replaced by its keeper.
  judgeServer() {
    if (!this.known || !this.alive() || this.ending || !this.hasKeeper()) return;
    const now = this.serverPid();
    if (now !== this.known) this.faults.push(`the server died by itself and was replaced (${this.known}, ${now})`);
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
// Those of a list that were not there at first.
function more(list, first) {
  const rest = [...list];
  for (const d of first.map(kind)) {
    const i = rest.findIndex((x) => kind(x) === d);
    if (i >= 0) rest.splice(i, 1);
  }
  return rest;
}
// The connection of the last answer is closed by the server at its own pace.
function steady(pid) {
  let before = '';
  const settled = () => {
    const list = descriptors(pid()),
      now = list.join();
    const same = now === before;
    before = now;
    return same && list;
  };
  return until(settled, { what: 'steady descriptors' });
}

// opts: token, auth ('none': no flag about it, also where a token is given: then `flags` brings it), flags (shell text), env, unsetEnv, pre (shell text
// before the server), tls (how clients connect to one that speaks TLS), fds (inherited pipes), port,
// dataDir (a path, or null for no such flag; else one of its own), bin (another program than the
// suite's), expectDown (neither wait for it to answer nor judge how it ended).
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

// Runs the binary to its end: {code, signal, out, err, ms}. A server that it starts keeps its data
// in a directory that goes with it, unless the case says where.
export async function command(args, { env = {}, cwd, pre, bin = settings.bin, timeout = secs(10) } = {}) {
  const share = fs.mkdtempSync(path.join(os.tmpdir(), 'sbx-cmd-'));
  const full = { ...process.env, XDG_DATA_HOME: share, ...env };
  if (!('SANDBOX_AGENT_TOKEN' in env)) delete full.SANDBOX_AGENT_TOKEN;
  const line = `${pre ? `${pre}\n` : ''}exec ${[bin, ...args].map(quote).join(' ')}`;
  try {
    return await runToEnd(line, { cwd, env: full }, timeout);
  } finally {
    fs.rmSync(share, { recursive: true, force: true });
  }
}
function runToEnd(line, options, timeout) {
  const t0 = Date.now();
  return new Promise((resolve, reject) => {
    const c = spawn('/bin/sh', ['-c', line], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => {
      late = true;
      const servers = childrenOf(c.pid); // of a keeper
      c.kill('SIGKILL');
      servers.forEach(endHere);
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
