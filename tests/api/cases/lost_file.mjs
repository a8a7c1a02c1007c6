// The database is deleted, replaced or out of reach, and the server is killed on top of it: what runs
// goes on, with its id, pid, output and exit, and what is known is stored as soon as that is possible.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { define, eq, has, here, includes, match, ok, secs, until } from '../lib.mjs';
import { fileOf, integrity, needSqlite, record, recovers, sql, storage } from '../lib/store.mjs';
import { contiguous, echoer, reader } from '../lib/helpers.mjs';
import { hasStore } from '../lib/server.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('lost_file');
const lost = (id, title, fn, opts = {}) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server stores nothing');
  needSqlite();
  return ctx.withServer(opts.server ?? {}, (s, api) => fn(s, api, ctx));
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
const NOTE = 'its record was lost; the command is what the system showed of it';
const wal = (s) => `${fileOf(s)}-wal`;
const identity = (s) => sql(fileOf(s), "select value from counters where name = 'file'");
const trouble = (api, why) => until(async () => why.test((await storage(api)).reason), { what: String(why), secs: 15 });
// All that was shown of it is in the file, when everything was killed.
async function keepsAll(s, api, p) {
  await sql(fileOf(s), 'select id from processes'); // as a person would: where nobody holds a lock, its end removes the log
  await goesOn(api, p, 'after a look');
  const { entries } = await api.logs(p.id);
  await s.crash();
  eq(await integrity(fileOf(s)), 'ok');
  eq(await sql(fileOf(s), `select count(*) as n, max(sequence) as last from logs where process_id = '${p.id}'`),
    [{ n: entries.length, last: entries.at(-1).sequence }]);
  await s.again();
  eq((await api.logs(p.id)).entries.map((e) => e.sequence), entries.map((e) => e.sequence));
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
  await until(async () => { await goesOn(api, pipe, 'two'); return fs.existsSync(fileOf(s)); }, { what: 'a new file', within: secs(15) });
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
  includes(await api.exited(pipe.id), { exitCode: 7, exitNote: NOTE });
  eq((await record(s, pipe.id)).exit_note, NOTE);
  eq((await api.sh('true')).id, 'proc_4', 'the counter goes on');
  await s.killServer();
  eq([(await api.info(pipe.id)).exitNote, (await record(s, tty.id)).exit_note], [NOTE, NOTE], 'it stays said');
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
lost('known-better', 'what a file that comes back has of a process is better than what the system showed of it', async (s, api) => {
  const spec = (script) => ({ command: 'sh', args: ['-c', script], cwd: '/tmp', env: { NAME: 'x' } });
  const runs = await api.create(spec('echo on; exec sleep 300')), ends = await api.create(spec('echo off; read x; exit 6'));
  await api.logHas(runs.id, 'on');
  await api.logHas(ends.id, 'off');
  const before = await Promise.all([runs, ends].map((p) => record(s, p.id)));
  const away = takeAway(s);
  await notices(api);
  await api.input(ends.id, 'x\n');
  const ended = await api.exited(ends.id);
  await s.killServer();
  eq(await Promise.all([runs, ends].map(async ({ id }) => { const p = await api.info(id); return [p.command, p.cwd, p.exitNote]; })),
    [['sleep', undefined, undefined], ['(unknown)', undefined, NOTE]]);
  bringBack(s, away);
  await recovers(api);
  eq(await Promise.all([runs, ends].map((p) => api.info(p.id))), [runs, ended]);
  const now = await Promise.all([runs, ends].map((p) => record(s, p.id)));
  const told = (r) => [r.command, r.args, r.cwd, r.env_names, r.created_at, r.exit_note];
  eq(now.map(told), before.map(told));
  eq(now.map((r) => [r.status, r.exit_code]), [['running', null], ['exited', 6]]);
  await s.killServer();
  eq(await Promise.all([runs, ends].map((p) => api.info(p.id))), [runs, ended]);
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
lost('directory-removed', 'a directory that is deleted: nothing is stored until somebody makes it, then everything', async (s, api) => {
  const pipe = await echoer(api), done = await api.exited((await api.sh('exit 9')).id);
  await goesOn(api, pipe, 'one');
  fs.rmSync(within(s), { recursive: true });
  await notices(api);
  await trouble(api, /data directory/);
  const before = await list(api);
  fs.mkdirSync(within(s));
  ok((await stored(s, api)).includes(`${done.id} exited`));
  const other = spawnSync(s.bin, ['server', '--no-token', '--port', '0', '--data-dir', s.dataDir], { encoding: 'utf8', timeout: 10000 });
  eq(other.status, 1);
  match(other.stderr, new RegExp(`in use by another server, pid ${s.keeperPid()}`), 'it has a new lock');
  await s.killServer();
  eq(await list(api), before);
  await goesOn(api, pipe, 'two');
  ok(!(await storage(api)).degraded, 'the next server has the lock, too');
});
lost('second-server', 'a directory that another server has taken meanwhile is left to it', async (s, api, ctx) => {
  const pipe = await echoer(api);
  await goesOn(api, pipe, 'one');
  fs.rmSync(within(s), { recursive: true });
  await notices(api);
  const mine = (await list(api)).map((p) => [p.id, p.status, p.pid]);
  let theirs;
  await ctx.withServer({ dataDir: s.dataDir }, async (other, otherApi) => {
    const ps = [await reader(otherApi), await reader(otherApi), await reader(otherApi)];
    await trouble(api, new RegExp(`in use by another server, pid ${other.keeperPid()}`));
    await s.killServer();
    await trouble(api, /in use by another server/);
    eq((await list(otherApi)).map((p) => [p.status, p.pid]), ps.map((p) => ['running', p.pid]));
    ok(ps.every((p) => here(p.pid)), 'they live');
    eq(await sql(fileOf(other), 'select number, pid, exited from process_records order by number'),
      ps.map((p, i) => ({ number: i + 1, pid: p.pid, exited: 0 })));
    theirs = await identity(other);
  });
  await trouble(api, /not the file that this server/);
  eq(await identity(s), theirs, 'and theirs is left alone');
  await goesOn(api, pipe, 'two');
  remove(s);
  has(await stored(s, api), `${pipe.id} running`);
  eq((await list(api)).filter((p) => p.status === 'running').map((p) => [p.id, p.status, p.pid]),
    mine.filter(([, status]) => status === 'running'));
});
lost('other-file', 'the file of another server in its place is refused, with what it says of processes', async (s, api, ctx) => {
  const pipe = await echoer(api);
  await goesOn(api, pipe, 'one');
  await ctx.withServer({}, async (other, otherApi) => {
    const ps = [await reader(otherApi), await reader(otherApi), await reader(otherApi)];
    const copy = path.join(s.dir, 'copy');
    await sql(fileOf(other), `.backup ${copy}`);
    remove(s);
    const bytes = fs.readFileSync(copy);
    fs.renameSync(copy, fileOf(s));
    await notices(api);
    await trouble(api, /not the file that this server/);
    await goesOn(api, pipe, 'two');
    await s.killServer();
    match((await storage(api)).reason, /not the file that this server/);
    await goesOn(api, pipe, 'three');
    ok(ps.every((p) => here(p.pid)), 'its processes live');
    ok(bytes.equals(fs.readFileSync(fileOf(s))), 'it is as it was');
    eq((await list(api)).filter((p) => p.status === 'running').map((p) => [p.id, p.pid]), [[pipe.id, pipe.pid]]);
  });
  remove(s);
  has(await stored(s, api), `${pipe.id} running`);
  eq((await goesOn(api, pipe, 'four'))[0].sequence, 1);
});
lost('log-removed', 'without its write-ahead log the file is opened anew, and nothing that was shown is missing', async (s, api) => {
  const p = await echoer(api);
  await goesOn(api, p, 'one');
  fs.rmSync(wal(s));
  await until(async () => { await goesOn(api, p, 'two'); return fs.existsSync(wal(s)); }, { what: 'a new log', secs: 15 });
  await recovers(api);
  await keepsAll(s, api, p);
});
lost('moved-and-back', 'a directory that was moved away for a moment is the same as before', async (s, api) => {
  const p = await echoer(api);
  await goesOn(api, p, 'one');
  fs.renameSync(within(s), `${within(s)}.away`);
  await notices(api);
  await goesOn(api, p, 'two');
  fs.renameSync(`${within(s)}.away`, within(s));
  await recovers(api);
  await keepsAll(s, api, p);
});
lost('record-of-nobody', 'a running process that only a file that comes back tells of is lost, and nobody is ended for it', async (s, api) => {
  const p = await echoer(api);
  await goesOn(api, p, 'one');
  const away = takeAway(s);
  await notices(api);
  await s.killServer();
  const file = path.join(away, 'sandbox-agent.db');
  await sql(file, 'create temp table one as select * from process_records where number = 1; update one set number = 50; insert into process_records select * from one');
  eq(await sql(file, 'select pid, exited from process_records where number = 50'), [{ pid: p.pid, exited: 0 }]);
  bringBack(s, away);
  await recovers(api);
  includes(await api.info('proc_50'), { status: 'exited', exitReason: 'lost' });
  includes(await api.info(p.id), { status: 'running', pid: p.pid });
  await goesOn(api, p, 'two');
  eq((await api.sh('true')).id, 'proc_51');
});
lost('ids', 'no id is given twice after a file was begun anew', async (s, api) => {
  const p = await echoer(api);
  await api.exited((await api.sh('true')).id);
  const last = await api.exited((await api.sh('true')).id);
  eq((await api.del(`/v1/processes/${last.id}`)).status, 204);
  remove(s);
  await until(async () => { await goesOn(api, p, 'one'); return fs.existsSync(fileOf(s)); }, { what: 'a new file', within: secs(15) });
  await recovers(api);
  await s.restart();
  eq((await api.sh('true')).id, 'proc_4');
});
lost('ids-of-a-dead-server', 'nor after the server died together with its file', async (s, api) => {
  const last = await api.exited((await api.sh('true')).id);
  eq((await api.del(`/v1/processes/${last.id}`)).status, 204);
  remove(s);
  await s.killServer();
  await s.restart();
  eq((await api.sh('true')).id, 'proc_2');
});
lost('stopped', 'a server that has nothing to do when its file is deleted stores everything when it ends', async (s, api) => {
  const done = await api.exited((await api.sh('exit 9')).id);
  await api.setConfig({ maxOutputBytes: 5555 });
  const before = await list(api);
  remove(s);
  await s.restart();
  eq(await list(api), before);
  eq((await api.config()).maxOutputBytes, 5555);
  eq((await api.sh('true')).id, `proc_${Number(done.id.slice(5)) + 1}`);
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
