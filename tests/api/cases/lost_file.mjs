// The database is deleted, replaced or out of reach, and the server is killed on top of it: what runs
// goes on, with its id, pid, output and exit, and what is known is stored as soon as that is possible.
import fs from 'node:fs';
import path from 'node:path';
import { define, eq, has, here, includes, match, ok, until } from '../lib.mjs';
import { fileOf, integrity, needSqlite, recovers, sql, storage } from '../lib/store.mjs';
import { contiguous, echoer, reader } from '../lib/helpers.mjs';
import { hasStore } from '../lib/server.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('lost_file');
const lost = (id, title, fn, opts = {}) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server stores nothing');
  needSqlite();
  return ctx.withServer(opts.server ?? {}, (s, api) => fn(s, api));
}, { timeout: 60, ...opts });

const NAMES = ['', '-wal', '-shm'].map((end) => `sandbox-agent.db${end}`);
const within = (s) => path.dirname(fileOf(s));
const remove = (s) => { for (const n of NAMES) fs.rmSync(path.join(within(s), n), { recursive: true, force: true }); };
// Out of reach: there is a directory in the file's place.
function takeAway(s) {
  const away = fs.mkdtempSync(path.join(s.dir, 'away-'));
  for (const n of NAMES.filter((f) => fs.existsSync(path.join(within(s), f))))
    fs.renameSync(path.join(within(s), n), path.join(away, n));
  fs.mkdirSync(fileOf(s));
  return away;
}
function bringBack(s, away) {
  fs.rmdirSync(fileOf(s));
  for (const n of fs.readdirSync(away)) fs.renameSync(path.join(away, n), path.join(within(s), n));
}
// It looks for its file when it writes, once a second.
const notices = (api) => until(async () => {
  await api.exited((await api.sh('true')).id);
  return (await storage(api)).degraded;
}, { what: 'the loss to be noticed' });
const list = async (api) => (await api.get('/v1/processes')).json.processes;
const stored = async (s, api) => {
  await recovers(api);
  eq(await integrity(fileOf(s)), 'ok');
  return (await sql(fileOf(s), 'select id, status from processes order by length(id), id')).map((r) => `${r.id} ${r.status}`);
};
// It takes input, and its log goes on where it was.
async function goesOn(api, p, word) {
  await api.input(p.id, `${word}\n`);
  await api.logHas(p.id, word);
  const { entries } = await api.logs(p.id);
  contiguous(entries);
  return entries;
}

lost('deleted', 'a file that is deleted while it is in use is begun anew, with all that is known', async (s, api) => {
  const pipe = await echoer(api), tty = await reader(api);
  const done = await api.exited((await api.sh('echo out; exit 9')).id);
  await api.setConfig({ maxOutputBytes: 5555 });
  await goesOn(api, pipe, 'one');
  const before = await list(api);
  remove(s);
  await until(async () => { await goesOn(api, pipe, 'two'); return fs.existsSync(fileOf(s)); }, { what: 'a new file', secs: 15 });
  eq(await stored(s, api), [`${pipe.id} running`, `${tty.id} running`, `${done.id} exited`]);
  eq(await list(api), before);
  await s.killServer();
  eq(await list(api), before);
  eq((await api.config()).maxOutputBytes, 5555);
  eq((await goesOn(api, pipe, 'three'))[0].sequence, 1, 'what was in memory is in the new file');
});
lost('deleted-and-killed', 'a file that is deleted just before the server dies: what runs is taken over all the same', async (s, api) => {
  const pipe = await echoer(api), tty = await reader(api, 'stty cols 91 rows 17;');
  const script = 'echo not for the file; read never';
  const secret = await api.create({ command: 'sh', args: ['-c', script], persist: false });
  await goesOn(api, pipe, 'one');
  await api.logHas(secret.id, 'not for');
  remove(s);
  await s.killServer();
  const after = await list(api);
  eq(after.map((p) => [p.id, p.status, p.pid, p.tty, p.interactive, p.command, p.args]),
    [pipe, tty, secret].map((p) => [p.id, 'running', p.pid, p.tty, p.interactive, p.command, p.args]));
  for (const [i, p] of [pipe, tty, secret].entries())
    ok(Math.abs(after[i].createdAtMs - p.createdAtMs) < 1000, `${after[i].createdAtMs}, not about ${p.createdAtMs}`);
  await goesOn(api, pipe, 'two');
  eq(await stored(s, api), [pipe, tty, secret].map((p) => `${p.id} running`));
  eq(await sql(fileOf(s), `select count(*) as n from logs where process_id = '${secret.id}'`), [{ n: 0 }]);
  eq((await sql(fileOf(s), `select cols, rows from process_records where number = 2`)), [{ cols: 91, rows: 17 }]);
  match(s.log, /3 processes are in no record/);
  await api.input(pipe.id, 'quit7\n');
  includes(await api.exited(pipe.id), { exitCode: 7 });
  eq((await api.sh('true')).id, 'proc_4', 'the counter goes on');
});
lost('out-of-reach', 'a file that cannot be opened when the server is restarted: it goes on in memory until it can', async (s, api) => {
  const pipe = await echoer(api), gone = await api.exited((await api.sh('echo early; exit 3')).id);
  const unwanted = await api.exited((await api.sh('exit 4')).id);
  await api.setConfig({ maxOutputBytes: 5555 });
  await goesOn(api, pipe, 'one');
  const away = takeAway(s);
  await s.killServer();
  const { degraded, reason } = await storage(api);
  ok(degraded, 'it says so');
  match(reason, /sandbox-agent\.db/);
  eq((await list(api)).map((p) => [p.id, p.status, p.pid]), [[pipe.id, 'running', pipe.pid]]);
  await goesOn(api, pipe, 'two');
  const late = await api.exited((await api.sh('echo late; exit 5')).id);
  eq(late.id, 'proc_4', 'no number is given twice');
  await s.killServer(); // and once more
  eq((await list(api)).map((p) => [p.id, p.status, p.exitCode]),
    [[pipe.id, 'running', undefined], [late.id, 'exited', 5]]);
  await goesOn(api, pipe, 'three');
  bringBack(s, away);
  eq(await stored(s, api),
    [`${pipe.id} running`, `${gone.id} exited`, `${unwanted.id} exited`, `${late.id} exited`]);
  eq((await list(api)).map((p) => p.id), [pipe.id, gone.id, unwanted.id, late.id]);
  eq((await api.config()).maxOutputBytes, 5555);
  has(await api.logText(gone.id), 'early');
  has(await api.logText(late.id), 'late');
  const entries = await goesOn(api, pipe, 'four');
  eq(entries[0].sequence, 1);
  await s.killServer();
  eq((await goesOn(api, pipe, 'five')).length, entries.length + 1);
});
lost('deleted-meanwhile', 'what is deleted while the file is out of reach does not come back with it', async (s, api) => {
  const pipe = await echoer(api);
  const away = takeAway(s);
  await notices(api);
  await s.killServer();
  await api.kill(pipe.id, '?waitMs=5000');
  eq((await api.del(`/v1/processes/${pipe.id}`)).status, 204);
  bringBack(s, away);
  ok(!(await stored(s, api)).some((p) => p.startsWith(`${pipe.id} `)), 'it is not in the file');
  await s.killServer();
  eq((await list(api)).filter((p) => p.id === pipe.id), []);
});
lost('created-meanwhile', 'a process that was created while nothing could be stored is there after a kill', async (s, api) => {
  const away = takeAway(s);
  await notices(api);
  const p = await echoer(api);
  await goesOn(api, p, 'one');
  await s.killServer();
  eq((await list(api)).filter((x) => x.status === 'running').map((x) => [x.id, x.pid]), [[p.id, p.pid]]);
  ok(here(p.pid));
  eq((await goesOn(api, p, 'two'))[0].sequence, 1);
  bringBack(s, away);
  has(await stored(s, api), `${p.id} running`);
});
lost('newer-meanwhile', 'a file that a newer program has taken over is left alone, and nothing is ended for it', async (s, api) => {
  const p = await echoer(api);
  await sql(fileOf(s), 'pragma user_version = 99');
  await s.killServer();
  const { degraded, reason } = await storage(api);
  eq([degraded, (await list(api)).map((x) => x.id)], [true, [p.id]]);
  match(reason, /schema version 99/);
  await goesOn(api, p, 'one');
  eq(await sql(fileOf(s), 'pragma user_version'), [{ user_version: 99 }]);
});
lost('no-file', 'with --data-dir :memory: what runs is taken over, and what has ended is forgotten', async (s, api) => {
  const pipe = await echoer(api), tty = await reader(api);
  await api.exited((await api.sh('exit 9')).id);
  await goesOn(api, pipe, 'one');
  await s.killServer();
  eq((await list(api)).map((p) => [p.id, p.status, p.pid]), [pipe, tty].map((p) => [p.id, 'running', p.pid]));
  eq((await goesOn(api, pipe, 'two'))[0].sequence, 1);
  ok(!(await storage(api)).degraded, 'nothing is missing');
  await api.input(pipe.id, 'quit7\n');
  includes(await api.exited(pipe.id), { exitCode: 7 });
  eq((await api.exited((await api.sh('true')).id)).id, 'proc_4', 'the counter goes on');
  await s.killServer();
  eq((await list(api)).map((p) => p.id), [tty.id]);
}, { server: { dataDir: ':memory:' } });
