// Kills a server again and again at random moments, while processes write numbered lines and
// readers come back with the last id they have seen. Then everything is accounted for: each line
// once for the reader and once in the log, each exit, and a file that opens after every kill.
import fs from 'node:fs';
import { secs, sleep, until } from './assert.mjs';
import { sameBytes } from './programs.mjs';
import { lineReader, numbered, writer, writerSpec } from './lines.mjs';
import { bytesOf } from './sse.mjs';
import { fileOf, integrity } from './store.mjs';
import { commandLine, marked } from './proc.mjs';

// Numbers that look random and are the same for the same seed (mulberry32).
export function dice(seed) {
  let a = seed >>> 0;
  return (n) => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const SIGNALS = { 9: 'SIGKILL', 15: 'SIGTERM', 6: 'SIGABRT', 10: 'SIGUSR1' };
// What was counted; `faults` is empty if all is well. Throws where a server no longer comes back.
export async function killAtRandom(s, opts) {
  const o = { kills: 100, bytes: 50e6, size: 1e6, atOnce: 6, rate: 4e5, seed: Date.now() % 1e6, progress: () => {}, ...opts };
  const run = new Run(s, o);
  writer();
  await s.api.setConfig({ maxLogBytesPerProcess: Math.ceil(o.size * 4), maxConcurrentProcesses: 64, maxLogBytesTotal: 1 << 30, maxExitedProcesses: 10000 });
  await Promise.all([run.work(), run.kill()]);
  await run.account();
  return run.figures();
}

class Run {
  constructor(s, o) {
    Object.assign(this, { s, o, api: s.api, roll: dice(o.seed) });
    this.all = []; // {tag, spec, want, reader}
    this.live = new Set();
    this.written = 0; // bytes of processes that were started
    this.kills = 0;
    this.times = []; // ms from the kill to the answer of the next server
    this.faults = [];
    this.started = Date.now();
  }
  done() { return this.kills >= this.o.kills && this.written >= this.o.bytes; }

  // ---- processes: as many as there should be, until there were enough kills and bytes
  async work() {
    while (!this.done()) {
      while (this.live.size < this.o.atOnce && !this.done()) this.begin();
      await Promise.race([...this.live, sleep(100)]);
    }
    await Promise.all(this.live);
  }
  begin() {
    const { o, roll } = this;
    const kind = roll(4), code = roll(3) ? roll(256) : -Number(Object.keys(SIGNALS)[roll(4)]);
    const one = { tag: `kills-${o.seed}-${this.all.length}`, tty: kind === 1 || kind === 2, both: kind === 3, code };
    this.all.push(one);
    this.written += o.size * (one.both ? 2 : 1);
    const life = this.live1(one).catch((e) => this.faults.push(`${one.tag}: ${e.message}`)).finally(() => this.live.delete(life));
    this.live.add(life);
  }
  async live1(one) {
    const { o } = this;
    one.id = await this.create({ ...writerSpec({ ...one, bytes: o.size, rate: o.rate * (0.5 + this.roll(100) / 100), seed: this.roll(1e6) }) });
    one.reader = lineReader(this.api, one.id, o.size);
    one.exit = await one.reader.ended(secs(600));
  }
  // Creates it although servers die meanwhile: where the answer was lost, the list tells whether it was.
  async create(spec) {
    for (;;) {
      const r = await this.api.post('/v1/processes', spec).catch(() => null);
      if (r?.status === 200) return r.json.id;
      if (r) throw new Error(`create: ${r.status} ${r.text}`);
      const found = await this.find(spec.args[0]);
      if (found) return found.id;
    }
  }
  async find(tag) {
    const r = await until(() => this.api.get('/v1/processes').catch(() => null), { every: 2, what: 'the list' });
    return r.json.processes.find((p) => p.args[0] === tag);
  }

  // ---- kills
  async kill() {
    const { s, o } = this;
    await until(() => this.all.some((x) => x.reader?.bytes() > 0), { what: 'the first output' });
    while (this.kills < o.kills) {
      await sleep(this.roll(4) ? this.roll(350) : this.roll(5));
      const { ms } = await s.killServer();
      this.times.push(ms);
      this.kills++;
      const state = await integrity(fileOf(s));
      if (state !== 'ok') this.faults.push(`integrity after kill ${this.kills}: ${state}`);
      this.o.progress(this);
    }
  }

  // ---- the account
  async account() {
    const records = (await this.api.get('/v1/processes')).json.processes;
    for (const one of this.all) if (one.exit) await this.check(one, records.find((p) => p.id === one.id));
    const tags = new Set(this.all.map((x) => x.tag));
    const extra = records.filter((p) => !this.all.some((x) => x.id === p.id));
    for (const p of extra) this.faults.push(`${p.id} was started twice (${p.args[0]}, known: ${tags.has(p.args[0])})`);
    for (const pid of marked(this.s.mark)) if (commandLine(pid).includes(`kills-${this.o.seed}-`)) this.faults.push(`process ${pid} is left: ${commandLine(pid)}`);
  }
  async check(one, record) {
    const fault = (what) => this.faults.push(`${one.tag} (${one.id}): ${what}`);
    const want = one.code < 0 ? { exitSignal: SIGNALS[-one.code] } : { exitCode: one.code };
    for (const [where, e] of [['exit event', one.exit], ['record', record]])
      for (const [k, v] of Object.entries(want)) if (e?.[k] !== v) fault(`${where}: ${k} is ${e?.[k]} instead of ${v}`);
    if (JSON.stringify(one.exit) !== JSON.stringify(record)) fault('the record differs from the exit event');
    const { reader } = one;
    one.verdict = reader.verdict();
    if (one.verdict.length !== (one.both ? 2 : 1)) fault(`${one.verdict.length} streams`);
    for (const v of one.verdict) if (v.lost || v.repeated || v.damaged || v.bytes !== numbered(this.o.size).length) fault(`lines: ${JSON.stringify(v)}`);
    if (reader.faults.length) fault(`sequence: ${reader.faults.slice(0, 3).join('; ')}`);
    if (reader.gaps.length) fault(`gaps: ${JSON.stringify(reader.gaps.slice(0, 3))}`);
    if (reader.refused) fault(`${reader.refused} connections refused`);
    await this.stored(one, fault);
  }
  // The log as it is at the end, fetched at once.
  async stored(one, fault) {
    const { entries } = await this.api.logs(one.id);
    const hole = entries.findIndex((e, i) => e.sequence !== i + 1);
    if (hole >= 0) fault(`stored entry ${hole + 1} has sequence ${entries[hole].sequence}`);
    for (const stream of new Set(entries.map((e) => e.stream))) {
      try { sameBytes(bytesOf(entries.filter((e) => e.stream === stream)), numbered(this.o.size), `stored ${stream}`); } catch (e) { fault(e.message); }
    }
  }
  figures() {
    const sorted = this.times.toSorted((a, b) => a - b);
    const at = (part) => Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0) * 10) / 10;
    const verdicts = this.all.flatMap((x) => x.verdict ?? []);
    const sum = (k) => verdicts.reduce((n, v) => n + v[k], 0);
    return {
      seed: this.o.seed,
      kills: this.kills,
      seconds: Math.round((Date.now() - this.started) / 100) / 10,
      processes: this.all.length,
      terminals: this.all.filter((x) => x.tty).length,
      bytes: sum('bytes'),
      lines: verdicts.length * (numbered(this.o.size).toString('latin1').split('\n').length - 1),
      lost: sum('lost'),
      repeated: sum('repeated'),
      damaged: sum('damaged'),
      reconnects: this.all.reduce((n, x) => n + (x.reader?.breaks ?? 0), 0),
      restartMs: { median: at(0.5), p95: at(0.95), max: at(1) },
      fileBytes: fs.statSync(fileOf(this.s)).size,
      faults: this.faults,
    };
  }
}
