// The file of a server, looked at from outside as its users do: with the sqlite3 shell.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fail, ok, secs, skip, until } from './assert.mjs';

export const DB = 'sandbox-agent.db';
export const fileOf = (s) => path.join(s.dataDir, DB);
export const numberOfId = (id) => Number(id.replace('proc_', ''));

let shell;
export function needSqlite() {
  shell ??= spawnSync('sqlite3', ['-json', ':memory:', 'select 1 as one']).stdout?.toString().trim() === '[{"one":1}]';
  if (!shell) skip('no sqlite3 shell with -json here');
}

// Runs sqlite3 FILE SQL: its rows as objects. A reader waits for nobody: the file is in WAL mode.
export async function sql(file, query) {
  needSqlite();
  const { code, out, err } = await run(['-batch', '-json', file, query]);
  ok(code === 0 && err === '', () => `sqlite3 ${query}: exit ${code}: ${err}`);
  return out.trim() ? JSON.parse(out) : [];
}
// Runs the shell as a person would type it: { code, out, err }.
export function run(args) {
  return new Promise((resolve, reject) => {
    const c = spawn('sqlite3', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const out = [], err = [];
    c.stdout.on('data', (d) => out.push(d));
    c.stderr.on('data', (d) => err.push(d));
    c.on('error', reject);
    c.on('close', (code) => resolve({ code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }));
  });
}
export async function integrity(file) {
  const rows = await sql(file, 'PRAGMA integrity_check');
  return rows.map((r) => r.integrity_check).join('; ');
}

// A sqlite3 that stays open, for transactions that last.
export class Session {
  constructor(file) {
    needSqlite();
    this.out = '';
    this.err = '';
    this.turn = 0;
    this.c = spawn('sqlite3', ['-batch', file], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.c.stdout.on('data', (d) => { this.out += d; });
    this.c.stderr.on('data', (d) => { this.err += d; });
  }
  // Returns what these statements printed, when they are done.
  async run(statements) {
    const mark = `-- done ${++this.turn}`, from = this.out.length;
    this.c.stdin.write(`${statements}\n.print '${mark}'\n`);
    await until(() => this.out.includes(mark), { within: secs(20), what: `sqlite3 to run ${statements}`, last: () => this.err });
    if (this.err) fail(`sqlite3 ${statements}: ${this.err}`);
    return this.out.slice(from).replace(`${mark}\n`, '');
  }
  close() {
    this.c.kill('SIGKILL');
  }
}
export async function withSession(file, fn) {
  const s = new Session(file);
  try { return await fn(s); } finally { s.close(); }
}

// ------------------------------------------------------------------ the raw files
export const files = (s) => fs.readdirSync(s.dataDir).filter((f) => f.startsWith(DB)).map((f) => path.join(s.dataDir, f));
export const bytesOnDisk = (s) => files(s).reduce((n, f) => n + (fs.statSync(f, { throwIfNoEntry: false })?.size ?? 0), 0);
// Is this text anywhere in the data directory, also where no query would show it?
export const onDisk = (s, text) => fs.readdirSync(s.dataDir).some((f) => fs.readFileSync(path.join(s.dataDir, f)).includes(text));

// ------------------------------------------------------------------ what the views say
export const logRows = (s, id) => sql(fileOf(s), `select process_id, sequence, stream, time, bytes, text from logs where process_id = '${id}' order by sequence`);
export const logText = async (s, id) => (await logRows(s, id)).map((r) => r.text).join('');
export async function record(s, id) {
  return (await sql(fileOf(s), `select * from processes where id = '${id}'`))[0];
}

// ------------------------------------------------------------------ what health says
// {degraded, reason}: the reason is told in words beside the state.
export async function storage(api) {
  const { json } = await api.get('/v1/health');
  const { status, storage: state, ...rest } = json;
  if (status !== 'ok') fail(`status ${status}`);
  return { degraded: state === 'degraded', reason: Object.values(rest).find((v) => typeof v === 'string') ?? '' };
}
export const becomesDegraded = (api, ms = secs(20)) => until(async () => {
  const now = await storage(api);
  return now.degraded && now;
}, { within: ms, what: 'health to tell that storage is degraded' });
export const recovers = (api, ms = secs(20)) => {
  let last;
  return until(async () => { last = await storage(api); return !last.degraded; }, { within: ms, what: 'storage to be healthy again', last: () => last });
};
