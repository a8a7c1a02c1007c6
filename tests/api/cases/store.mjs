// What outlives the server: records, logs, configuration and counters in the file of the data
// directory; where that is, who may read it, what is kept out of it, and what bounds it.
import fs from 'node:fs';
import path from 'node:path';
import { Session, becomesDegraded, bytesOnDisk, fileOf, files, integrity, logText, needSqlite, onDisk, record, recovers, sql, storage } from '../lib/store.mjs';
import { define, eq, has, here, includes, keys, lacks, match, ok, problem, secs, until } from '../lib.mjs';
import { Follower, lineReader, writerSpec } from '../lib/lines.mjs';
import { contiguous, echoer, reader, say, seqs } from '../lib/helpers.mjs';
import { isSanitized, residentKib, send } from '../lib/tree.mjs';
import { hasStore } from '../lib/server.mjs';
import { sha256 } from '../lib/far_reader.mjs';
import { bytesOf } from '../lib/sse.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('store');
// A case with a server of its own, whose file is looked at.
const store = (id, title, fn, opts = {}) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server stores nothing');
  needSqlite();
  const { server = {}, ...rest } = opts;
  if (rest.bare) return fn(ctx);
  return ctx.withServer(server, (s, api) => fn(s, api, ctx));
}, opts);

const KIB = 1024, MIB = 1024 * KIB;
const list = async (api) => (await api.get('/v1/processes')).json.processes;
const sizeOf = (entries) => bytesOf(entries).length;
const mode = (file) => fs.statSync(file).mode & 0o7777;
// `count` lines of 64 bytes.
const lines64 = (count) => `seq -f '%063.0f' 1 ${count}`;
async function exitedWith(api, script, extra) {
  const p = await api.sh(script, extra);
  return api.exited(p.id);
}

// ------------------------------------------------------------------ over a restart
const QUERIES = ['', '?stream=stdout', '?stream=stderr', '?tail=3', '?since=2', '?since=2&tail=1', '?since=100000', '?stream=pty'];
async function everything(api) {
  const shown = { list: await list(api), config: await api.config(), logs: {} };
  for (const p of shown.list) for (const q of QUERIES) shown.logs[p.id + q] = await api.logs(p.id, q);
  return shown;
}
store('restart-keeps-all', 'exited records, logs with every filter, and the configuration are the same after a restart', async (s, api) => {
  const specs = [
    [{ command: 'sh', args: ['-c', 'for i in 1 2 3 4 5 6; do echo out$i; echo err$i >&2; sleep 0.01; done; exit 7'], cwd: '/usr' }],
    [{ command: 'sh', args: ['-c', 'printf "\\000\\377\\r\\nno newline"; kill -9 $$'] }],
    [{ command: 'sh', args: ['-c', 'echo in a terminal; exit 3', 'arg with "quotes"', 'ünï \u{1f600}', ''], tty: true, cols: 100, rows: 30, interactive: true }],
    [{ command: 'true', args: [] }],
  ];
  for (const [spec] of specs) await api.exited((await api.create(spec)).id);
  const stopped = await api.sh('exec sleep 60');
  await api.stop(stopped.id, '?waitMs=5000');
  await api.setConfig({ maxOutputBytes: 4321, defaultRunTimeoutMs: 1234 });
  const before = await everything(api);
  for (let i = 0; i < 2; i++) {
    await s.restart();
    eq(await everything(api), before, `after restart ${i + 1}`);
  }
  includes(before.config, { maxOutputBytes: 4321, defaultRunTimeoutMs: 1234 });
});
store('restart-replays', 'a stream and a terminal of an exited process show all of it after a restart, then the exit', async (s, api) => {
  const p = await exitedWith(api, 'seq 1 20000; exit 4'), t = await exitedWith(api, 'seq 1 5000; exit 5', { tty: true });
  const before = { p: await api.logs(p.id), t: await api.logs(t.id) };
  await s.restart();
  const f = await api.follow(p.id).opened();
  await f.waitEnd();
  eq([f.log(), f.events.at(-1).event, f.events.at(-1).json], [before.p.entries, 'exit', p]);
  const late = await api.follow(p.id, '', { headers: { 'last-event-id': '2' } }).opened();
  await late.waitEnd();
  eq(late.log(), before.p.entries.slice(2));
  const w = await api.ws(t.id);
  await w.waitClose();
  eq([w.output().equals(bytesOf(before.t.entries)), w.ctl('exit')[0]], [true, { type: 'exit', exitCode: 5 }]);
});
store('ids-go-on', 'an id is never used twice, also when the newest was deleted before the restart', async (s, api) => {
  const ids = [];
  for (let i = 0; i < 3; i++) ids.push((await exitedWith(api, 'true')).id);
  eq(ids, ['proc_1', 'proc_2', 'proc_3']);
  for (const id of ids.slice(1)) eq((await api.del(`/v1/processes/${id}`)).status, 204);
  await s.restart();
  eq((await list(api)).map((p) => p.id), ['proc_1']);
  eq((await api.sh('true')).id, 'proc_4');
  eq((await api.post('/v1/processes', { command: 'no-such-program' })).status, 502);
  await s.restart();
  ok(['proc_5', 'proc_6'].includes((await api.sh('true')).id), 'a failed start may use one up');
});
store('shutdown-is-recorded', 'what a running process says and how it ends at SIGTERM is in its record', async (s, api) => {
  const p = await api.sh("trap 'echo last words; exit 12' TERM; echo up; while :; do sleep 0.02; done");
  const q = await api.sh('echo up; exec sleep 300', { tty: true });
  for (const x of [p, q]) await api.logHas(x.id, 'up');
  await s.restart();
  const [a, b] = [await api.info(p.id), await api.info(q.id)];
  eq([a.status, a.exitCode], ['exited', 12]);
  match(await api.logText(p.id), /^up\n(Terminated\n)?last words\n(Terminated\n)?$/);
  eq([b.status, b.exitSignal, await api.logText(q.id)], ['exited', 'SIGTERM', 'up\r\n']);
});
store('lost', 'after kill -9 of server and keeper, running processes are lost, and what is left of them is ended', async (s, api) => {
  const done = await exitedWith(api, 'echo done; exit 6');
  const pipe = await api.sh('echo up; exec sleep 300'), tty = await api.sh('echo up; trap "" HUP; while :; do sleep 0.1; done', { tty: true });
  const gone = await api.sh('echo up; trap "" TERM HUP; while :; do sleep 0.1; done');
  for (const p of [pipe, tty, gone]) await api.logHas(p.id, 'up');
  await s.crash();
  send(gone.pid, 'SIGKILL');
  await until(() => !here(gone.pid), { what: 'the end of one process' });
  await s.again();
  eq(await api.info(done.id), done, 'one that had ended');
  for (const p of [pipe, tty, gone]) {
    const now = await api.info(p.id);
    includes(now, { status: 'exited', exitReason: 'lost', createdAtMs: p.createdAtMs });
    for (const k of ['exitCode', 'exitSignal', 'pid']) ok(!(k in now), () => `${k} in ${JSON.stringify(now)}`);
    match(await api.logText(p.id), /^up\r?\n$/, 'its log');
    await until(() => !here(p.pid), { what: `the end of process ${p.pid}` });
    eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
  }
});
store('lost-is-not-another', 'a lost process whose number another process has now is left alone', async (s, api) => {
  const p = await api.sh('echo up; exec sleep 300');
  await api.logHas(p.id, 'up');
  const t0 = Date.now();
  await until(() => Date.now() - t0 > 2500, { what: 'a start that is clearly another' });
  const bystander = await api.sh('echo up; exec sleep 300');
  await api.logHas(bystander.id, 'up');
  await s.crash();
  // The record of the first now names the pid of the second, which started at another time.
  await sql(fileOf(s), `update process_records set pid = ${bystander.pid} where number = 1; delete from process_records where number = 2`);
  await s.again();
  eq((await api.info(p.id)).exitReason, 'lost');
  ok(here(bystander.pid), 'another process was ended');
  for (const x of [p, bystander]) if (here(x.pid)) send(x.pid, 'SIGKILL');
});

// ------------------------------------------------------------------ seen means stored
store('seen-is-stored', 'what a client has been shown is in the file at that moment', async (s, api) => {
  const p = await api.sh('while read l; do echo "$l"; done'), t = await reader(api);
  eq((await record(s, p.id)).id, p.id, 'a record, when it was created');
  const f = await api.follow(p.id).opened(), w = await api.ws(t.id);
  await w.ready();
  for (let i = 0; i < 10; i++) {
    await api.input(p.id, `line ${i}\n`);
    await until(() => f.text().endsWith(`line ${i}\n`), { every: 1, what: 'the event' });
    has(await logText(s, p.id), `line ${i}\n`, 'after an event');
    say(w, `word ${i}`);
    await until(() => w.output().includes(`got:word ${i}\r\n`), { every: 1, what: 'the frame' });
    has(await logText(s, t.id), `got:word ${i}\r\n`, 'after a frame');
  }
  const unseen = await api.sh('seq 1 100; read x; exit 3');
  const seen = await until(async () => (await api.logText(unseen.id)).slice(0, -1), { every: 1, what: 'some output' });
  ok((await logText(s, unseen.id)).startsWith(seen), 'after a fetch');
  await api.input(unseen.id, '\n');
  const e = await api.exited(unseen.id);
  const row = await record(s, unseen.id);
  eq([row.status, row.exit_code], ['exited', e.exitCode], 'an exit');
  await api.setConfig({ maxOutputBytes: 777 });
  has(JSON.stringify(await sql(fileOf(s), 'select * from config')), '777', 'the configuration');
  eq((await api.del(`/v1/processes/${unseen.id}`)).status, 204);
  eq(await record(s, unseen.id), undefined, 'a delete');
});
store('seen-survives', 'what a follower has seen is there after kill -9 of everything in the same moment', async (s, api) => {
  for (let round = 0; round < 4; round++) {
    const bytes = 8 * MIB, hold = path.join(s.dir, 'never');
    const p = await api.create(writerSpec({ bytes, rate: 2e6, seed: round + 1, hold }));
    const f = lineReader(api, p.id, bytes);
    await f.seen(20 + 60 * round);
    await s.crash();
    f.close();
    const { last } = f;
    eq(await integrity(fileOf(s)), 'ok');
    await s.again();
    const { entries } = await api.logs(p.id);
    contiguous(entries);
    ok(entries[0].sequence === 1 && entries.at(-1).sequence >= last, () => `seen ${last}, stored ${entries[0]?.sequence} to ${entries.at(-1)?.sequence}`);
    eq((await api.info(p.id)).exitReason, 'lost');
  }
});
store('queries-while-writing', 'the shell reads while the server writes, and never disturbs it', async (s, api) => {
  const hold = path.join(s.dir, 'end');
  const p = await api.create(writerSpec({ bytes: 3 * MIB, rate: 3e6, hold }));
  const f = lineReader(api, p.id, 3 * MIB);
  let n = 0, before = 0;
  while (!f.exit) { // at least four times, and at least as long as it writes
    const [{ rows }] = await sql(fileOf(s), `select count(*) as rows from logs where process_id = '${p.id}'`);
    ok(rows >= before, `${rows} rows after ${before}`);
    before = rows;
    if (++n === 4) fs.writeFileSync(hold, '');
  }
  await f.ended();
  eq([f.verdict()[0], f.gaps, (await storage(api)).degraded], [{ bytes: f.bytes(), lost: 0, repeated: 0, damaged: 0 }, [], false]);
});

// ------------------------------------------------------------------ where it is
store('nowhere', '--data-dir :memory: leaves no file and keeps nothing', async (ctx) => {
  await ctx.withServer({ dataDir: ':memory:' }, async (s, api) => {
    await exitedWith(api, 'echo text; exit 1');
    eq((await storage(api)).degraded, false);
    eq(fs.readdirSync(s.dir), [], 'files');
    await s.restart();
    eq(await list(api), []);
  });
}, { bare: true });
store('default-place', 'without --data-dir it is in XDG_DATA_HOME, else below HOME', async (ctx) => {
  await ctx.withServer({ dataDir: null }, async (s, api) => {
    eq(fs.readdirSync(path.join(s.dir, 'share')), ['sandbox-agent']);
    eq(fs.existsSync(path.join(s.dir, 'share/sandbox-agent/sandbox-agent.db')), true);
    eq((await exitedWith(api, 'exit 2')).exitCode, 2);
    await s.restart();
    eq((await list(api)).map((p) => p.exitCode), [2]);
  });
  const home = await ctx.startServer({ dataDir: null, unsetEnv: ['XDG_DATA_HOME'], pre: 'export HOME="$PWD/home"; mkdir "$HOME"' });
  eq(fs.existsSync(path.join(home.dir, 'home/.local/share/sandbox-agent/sandbox-agent.db')), true, 'below HOME');
  const empty = await ctx.startServer({ dataDir: null, env: { XDG_DATA_HOME: '' }, pre: 'export HOME="$PWD/home"; mkdir "$HOME"' });
  eq(fs.existsSync(path.join(empty.dir, 'home/.local/share/sandbox-agent/sandbox-agent.db')), true, 'an empty variable is none');
}, { bare: true });
store('modes', 'the directory is made for its owner alone, and so is every file in it', async (ctx) => {
  await ctx.withServer({ pre: 'umask 000' }, async (s, api) => {
    await exitedWith(api, 'echo text');
    eq(mode(s.dataDir).toString(8), '700', 'directory');
    for (const f of fs.readdirSync(s.dataDir)) eq(mode(path.join(s.dataDir, f)).toString(8), '600', f);
    await s.restart();
    for (const f of fs.readdirSync(s.dataDir)) eq(mode(path.join(s.dataDir, f)).toString(8), '600', `${f} after a restart`);
  });
}, { bare: true });
store('nested-place', 'a data directory is made with its parents, or refused by name', async (ctx) => {
  await ctx.withServer({}, async (own) => {
    const deep = path.join(own.dir, 'a/b c/data');
    await ctx.withServer({ dataDir: deep }, async () => eq(fs.existsSync(path.join(deep, 'sandbox-agent.db')), true));
    const file = path.join(own.dir, 'file');
    fs.writeFileSync(file, '');
    const r = await ctx.command(['server', '--port', '0', '--no-token', '--data-dir', file]);
    eq([r.code, r.out, r.late], [1, '', false]);
    has(r.err, file);
  });
}, { bare: true });
store('one-server', 'a second server on the directory is refused, with the pid of the first', async (s, api, ctx) => {
  const second = () => ctx.command(['server', '--port', '0', '--no-token', '--data-dir', s.dataDir]);
  for (const prepare of [async () => {}, () => s.killServer()]) {
    await prepare();
    const r = await second();
    eq([r.code, r.out, r.late], [1, '', false], r.err);
    const named = (r.err.match(/\d+/g) ?? []).map(Number);
    ok([s.keeperPid(), s.serverPid()].some((p) => named.includes(p)), () => `${s.keeperPid()} or ${s.serverPid()} in ${r.err}`);
    has(r.err, s.dataDir);
    eq((await exitedWith(api, 'exit 9')).exitCode, 9, 'the first goes on');
  }
  await s.restart();
  eq((await list(api)).length, 2, 'free again after the end');
});

// ------------------------------------------------------------------ what is kept out
store('persist-false', 'output of a process with "persist": false is readable, and nowhere in the files', async (s, api) => {
  const secret = `sec${'ret'.repeat(5)}-${process.pid}`;
  const script = `echo "$SECRET"; echo "$SECRET" >&2; read x; echo "$SECRET"`;
  const env = { SECRET: secret };
  const p = await api.sh(script, { persist: false, env }), t = await api.sh(script, { persist: false, env, tty: true });
  for (const x of [p, t]) {
    await api.logHas(x.id, secret);
    await api.input(x.id, '\n');
    await api.exited(x.id);
    const f = await api.follow(x.id).opened();
    await f.waitEnd();
    eq(f.text().split(secret).length - 1, 3, 'it is readable');
  }
  const shown = await list(api);
  eq(onDisk(s, secret), false, 'while it runs');
  await s.killServer();
  await s.restart();
  eq(onDisk(s, secret), false, 'after a restart');
  eq(await list(api), shown, 'the records are there');
  eq((await api.logs(p.id)).entries, []);
  const other = await api.sh('echo plain; exec sleep 60', { persist: true });
  await api.logHas(other.id, 'plain');
  ok(await until(() => onDisk(s, 'plain\n'), { what: 'others to be stored' }));
  problem(await api.post('/v1/processes', { command: 'true', persist: 'no' }), { status: 422, detail: /persist/ });
});
store('environment', 'names of the environment are stored, values are not', async (s, api) => {
  const value = `value-${process.pid}-${Date.now()}`;
  const p = await api.sh('echo up; exec sleep 60', { env: { NAME_OF_IT: value, ANOTHER_NAME: '' } });
  await api.logHas(p.id, 'up');
  eq([onDisk(s, value), onDisk(s, 'NAME_OF_IT'), onDisk(s, 'ANOTHER_NAME')], [false, true, true]);
  lacks(JSON.stringify(await api.info(p.id)), value);
});
store('token-is-not-stored', 'the token of the server is in no file', async (s, api) => {
  await exitedWith(api, 'env');
  await s.killServer();
  eq(onDisk(s, s.token), false);
}, { server: { token: 'token-that-nobody-stores' } });

// ------------------------------------------------------------------ limits
const MEMBERS = ['maxConcurrentProcesses', 'defaultRunTimeoutMs', 'maxRunTimeoutMs', 'maxOutputBytes', 'maxLogBytesPerProcess', 'maxInputBytesPerRequest'];
const NEW = ['maxLogBytesTotal', 'maxExitedProcesses'];
store('config-members', 'two limits are new: shown once they are not the defaults, settable, left as they are where a request does not name them', async (s, api) => {
  const first = await api.config();
  keys(first, MEMBERS);
  const six = Object.fromEntries(MEMBERS.map((k) => [k, first[k]]));
  const set = await api.post('/v1/processes/config', { ...six, maxLogBytesTotal: 5 * MIB, maxExitedProcesses: 7 });
  eq([set.status, set.json], [200, { ...first, maxLogBytesTotal: 5 * MIB, maxExitedProcesses: 7 }]);
  eq((await api.post('/v1/processes/config', six)).json, set.json, 'a body of six');
  for (const [k, v, status] of [['maxLogBytesTotal', 0, 400], ['maxExitedProcesses', 0, 400], ['maxLogBytesTotal', '1', 422], ['maxExitedProcesses', -1, 422]])
    problem(await api.post('/v1/processes/config', { ...first, [k]: v }), { status, type: 'invalid_request' });
  await s.restart();
  eq(await api.config(), set.json, 'after a restart');
  eq((await api.post('/v1/processes/config', { ...six, maxLogBytesTotal: 1024 * MIB, maxExitedProcesses: 1000 })).json, first, 'the defaults');
});
store('log-cap', 'the log of one process keeps to its cap in the file too, also over a restart', async (s, api) => {
  await api.setConfig({ maxLogBytesPerProcess: 256 * KIB });
  const p = await exitedWith(api, lines64(32768)); // 2 MiB
  const check = async (what) => {
    const { entries } = await api.logs(p.id);
    contiguous(entries);
    const n = sizeOf(entries);
    ok(n > 192 * KIB && n <= 256 * KIB, `${n} bytes ${what}`);
    eq(bytesOf(entries).subarray(-64).toString(), `${'32768'.padStart(63, '0')}\n`, what);
    return entries;
  };
  const before = await check('before');
  await s.restart();
  eq(await check('after the restart'), before);
  const f = await api.follow(p.id, 'since=1').opened();
  await f.waitEnd();
  const gap = f.events[0];
  eq([gap.event, gap.json.fromSequence, gap.json.toSequence], ['gap', 2, before[0].sequence - 1], 'what is gone is told');
});
store('total-cap', 'the cap of all logs takes the oldest output of exited processes first', async (s, api) => {
  await api.setConfig({ maxLogBytesTotal: MIB });
  const live = await api.sh(`echo live; ${lines64(1600)}; echo end; exec sleep 60`);
  await api.logHas(live.id, 'end\n');
  const liveLog = await api.logText(live.id);
  const done = [];
  for (let i = 0; i < 5; i++) done.push(await exitedWith(api, lines64(6400))); // 400 KiB
  const total = async () => {
    let n = 0;
    for (const p of [live, ...done]) n += sizeOf((await api.logs(p.id)).entries);
    return n;
  };
  await until(async () => (await total()) <= MIB, { what: 'the total', last: () => bytesOnDisk(s) });
  ok((await total()) > MIB / 2, 'and not far below it');
  eq(await api.logText(live.id), liveLog, 'a running process keeps what it has');
  eq((await api.logs(done[0].id)).entries, [], 'the oldest lost all');
  eq(sizeOf((await api.logs(done[4].id)).entries), 6400 * 64, 'the newest lost nothing');
  eq((await list(api)).length, 6, 'records stay');
  const f = await api.follow(done[0].id, 'since=1').opened();
  await f.waitEnd();
  eq(f.events.map((e) => e.event), ['gap', 'exit'], 'what is gone is told');
  const before = await everything(api);
  await s.restart();
  eq((await list(api)).length, 6);
  for (const p of done) eq(await api.logs(p.id), before.logs[p.id], 'after the restart');
});
store('exited-cap', 'the oldest exited records are dropped over maxExitedProcesses, running ones never', async (s, api) => {
  const live = await api.sh('exec sleep 60');
  await api.setConfig({ maxExitedProcesses: 3 });
  const ids = [];
  for (let i = 0; i < 6; i++) ids.push((await exitedWith(api, `echo ${i}`)).id);
  const now = [live.id, ...ids.slice(3)];
  await until(async () => (await list(api)).length === 4, { what: 'four records' });
  eq((await list(api)).map((p) => p.id), now);
  for (const id of ids.slice(0, 3)) eq([(await api.get(`/v1/processes/${id}`)).status, await record(s, id)], [404, undefined], id);
  await api.setConfig({ maxExitedProcesses: 1 });
  await until(async () => (await list(api)).length === 2, { what: 'two records' });
  eq((await list(api)).map((p) => p.id), [live.id, ids[5]], 'a lower limit holds at once');
  await s.restart();
  eq((await list(api)).map((p) => p.id).at(-1), live.id, 'the process that ended last is the one that stays');
  eq((await list(api)).length, 1);
});
store('space-given-back', 'the files shrink when logs are deleted', async (s, api) => {
  const done = [];
  for (let i = 0; i < 4; i++) done.push(await exitedWith(api, lines64(100000))); // 6 MiB
  await until(() => bytesOnDisk(s) > 16 * MIB, { what: 'the logs to be stored', last: () => bytesOnDisk(s) });
  for (const p of done) eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
  await until(() => bytesOnDisk(s) < 4 * MIB, { within: secs(30), what: 'smaller files', last: () => files(s).map((f) => [path.basename(f), fs.statSync(f).size]) });
  eq(await integrity(fileOf(s)), 'ok');
});
store('space-after-restart', 'space that was still to be given back when the server stopped is given back by the next, which has nothing to write', async (s, api) => {
  const done = [];
  for (let i = 0; i < 4; i++) done.push(await exitedWith(api, lines64(100000))); // 6 MiB
  await until(() => bytesOnDisk(s) > 16 * MIB, { what: 'the logs to be stored', last: () => bytesOnDisk(s) });
  await Promise.all(done.map((p) => api.del(`/v1/processes/${p.id}`)));
  s.signal('SIGTERM');
  await s.waitExit(secs(6));
  ok(bytesOnDisk(s) > 8 * MIB, 'it was stopped before that was done');
  await s.again();
  await until(() => bytesOnDisk(s) < 4 * MIB, { within: secs(30), what: 'smaller files', last: () => files(s).map((f) => [path.basename(f), fs.statSync(f).size]) });
  eq([await list(api), await sql(fileOf(s), 'select count(*) as n from forgotten'), await integrity(fileOf(s))], [[], [{ n: 0 }], 'ok']);
});
// Workers that each create a process after the other, 4 MB of output each; deleted, or dropped over the limit.
async function churn(s, api, { workers, count, remove }) {
  let left = count, most = 0;
  const look = () => { most = Math.max(most, fs.statSync(fileOf(s)).size); };
  await Promise.all(Array.from({ length: workers }, async () => {
    while (left-- > 0) {
      const p = await api.create({ command: 'head', args: ['-c', '4000000', '/dev/zero'] });
      await until(async () => (await api.get(`/v1/processes/${p.id}`)).json.status !== 'running', { what: `the exit of ${p.id}` });
      look();
      if (remove) eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
    }
  }));
  return most;
}
for (const [id, remove] of [['dropped', false], ['deleted', true]])
  store(`churn-${id}`, `the file keeps its bound when records are ${id} faster than their logs can be taken out in between`, async (s, api) => {
    await api.setConfig({ maxLogBytesTotal: 8 * MIB, maxExitedProcesses: remove ? 1000 : 1 });
    const most = await churn(s, api, { workers: 8, count: 60, remove });
    ok(most > MIB && most < 40 * MIB, `${most} bytes`);
    eq(await integrity(fileOf(s)), 'ok');
  }, { timeout: 120 });
store('long-records', 'records with long arguments are kept up to 64 MiB of them, the newest in any case', async (s, api) => {
  const args = Array(18).fill('x'.repeat(100000)), made = [];
  for (let i = 0; i < 42; i++) {
    const p = await api.create({ command: 'true', args });
    await api.exited(p.id);
    made.push(p.id);
  }
  const ids = async () => (await list(api)).map((p) => p.id);
  const kept = await ids();
  eq(kept, made.slice(-37), 'the newest 64 MiB');
  await s.restart();
  eq(await ids(), kept, 'after the restart');
}, { timeout: 120 });
store('memory-is-bounded', 'stored logs cost no memory: not when they are written, at a start, or while they are read', async (s, api) => {
  if (isSanitized(s.serverPid())) skip('a sanitizer keeps what was freed');
  const done = [];
  for (let i = 0; i < 4; i++) done.push(await exitedWith(api, 'head -c 10000000 /dev/zero'));
  await until(() => bytesOnDisk(s) > 38e6, { what: 'the logs to be stored', last: () => bytesOnDisk(s) });
  await s.restart();
  eq((await list(api)).length, 4);
  const before = residentKib(s.serverPid());
  ok(before < 30000, `${before} KiB with 40 MB of logs`);
  let peak = before;
  for (const p of done) {
    const seen = { bytes: 0 };
    const f = new Follower(api, p.id, { onEntry: (e) => { seen.bytes += Buffer.byteLength(e.data, 'base64'); } });
    while (!f.exit && !f.stopped) { peak = Math.max(peak, residentKib(s.serverPid())); await until(() => true); await new Promise((r) => setTimeout(r, 5)); }
    eq([seen.bytes, f.gaps, f.faults], [10000000, [], []]);
  }
  ok(peak - before < 6000, `${before} KiB before, ${peak} KiB while reading`);
}, { timeout: 120 });
store('many-records', 'ten thousand records are served after a start', async (s, api) => {
  await api.setConfig({ maxExitedProcesses: 20000 });
  const p = await exitedWith(api, 'echo text; exit 5');
  s.signal('SIGTERM');
  eq(await s.waitExit(secs(6)), { code: 0, signal: null });
  await multiply(fileOf(s), 10000);
  await s.again();
  const all = await list(api);
  eq(all.length, 10000);
  eq(all.map((x) => x.id), Array.from({ length: 10000 }, (_, i) => `proc_${i + 1}`));
  eq(all[9999], { ...p, id: 'proc_10000' });
  eq((await exitedWith(api, 'true')).id, 'proc_10001');
  await api.setConfig({ maxExitedProcesses: 10 });
  await until(async () => (await list(api)).length === 10, { within: secs(30), what: 'ten records', last: async () => (await list(api)).length });
  eq((await list(api)).map((x) => x.id), Array.from({ length: 10 }, (_, i) => `proc_${i + 9992}`));
  eq(await sql(fileOf(s), 'select count(*) as n from process_records'), [{ n: 10 }]);
}, { timeout: 120 });
// Copies the only process of the file until there are n.
async function multiply(file, n) {
  const columns = (await sql(file, 'pragma table_info(process_records)')).map((c) => c.name).filter((c) => c !== 'number');
  await sql(file, `with recursive more(n) as (select 2 union all select n + 1 from more where n < ${n})
    insert into process_records (number, ${columns.join()}) select n, ${columns.join()} from process_records, more where number = 1;
    update counters set value = ${n} where name = 'process'`);
}

// ------------------------------------------------------------------ files that are not as they should be
store('damaged', 'a damaged file is moved aside, said, and a new one begun', async (s, api) => {
  const damages = {
    'not a database': (f) => fs.writeFileSync(f, 'this is no database '.repeat(1000)),
    'a broken header': (f) => { const b = fs.readFileSync(f); b.fill(0x5a, 0, 100); fs.writeFileSync(f, b); },
    'cut short': (f) => fs.truncateSync(f, 3000),
  };
  for (const [what, damage] of Object.entries(damages)) {
    await exitedWith(api, 'echo text');
    s.signal('SIGTERM');
    await s.waitExit(secs(6));
    for (const f of files(s)) if (f !== fileOf(s)) fs.rmSync(f);
    damage(fileOf(s));
    const bytes = sha256(fs.readFileSync(fileOf(s))), said = s.log.length;
    await s.again();
    eq(await list(api), [], what);
    match(s.log.slice(said), /damaged|corrupt/i, `stderr: ${what}`);
    const aside = files(s).filter((f) => sha256(fs.readFileSync(f)) === bytes);
    eq(aside.length, 1, `${what}: the old file is kept`);
    has(s.log.slice(said), path.basename(aside[0]), 'and named');
    eq([mode(aside[0]).toString(8), (await exitedWith(api, 'exit 3')).exitCode, await integrity(fileOf(s))], ['600', 3, 'ok']);
  }
});
store('newer', 'a file of a newer version is refused, and not touched', async (s, api) => {
  await exitedWith(api, 'echo text');
  s.signal('SIGTERM');
  await s.waitExit(secs(6));
  const [{ user_version: version }] = await sql(fileOf(s), 'pragma user_version');
  ok(version > 0, 'a version');
  await sql(fileOf(s), `pragma user_version = ${version + 1}`);
  const image = () => fs.readdirSync(s.dataDir).filter((f) => f.endsWith('.db')).map((f) => [f, sha256(fs.readFileSync(path.join(s.dataDir, f)))]);
  const before = image();
  const port = s.port;
  s.launch();
  eq(await s.waitExit(secs(6)), { code: 1, signal: null });
  match(s.log, /newer/i);
  has(s.log, fileOf(s));
  eq(image(), before, 'the files');
  await sql(fileOf(s), `pragma user_version = ${version}`);
  await s.again();
  eq([(await list(api)).length, s.port], [1, port]);
});

// ------------------------------------------------------------------ a person at the file
const WAL_MOST = 80 * MIB; // the bound of the write-ahead log, one transaction, and the file itself
const pulse = (bytes, every = 0.01) => `i=0; while :; do i=$((i+1)); printf '%0${bytes - 1}d\\n' $i; sleep ${every}; done`;
store('long-read', 'a read transaction that somebody forgot does not let the files grow without end', async (s, api) => {
  await api.setConfig({ maxLogBytesPerProcess: 2 * MIB, maxLogBytesTotal: 4 * MIB });
  await exitedWith(api, 'echo before');
  const person = new Session(fileOf(s));
  try {
    await person.run('begin; select count(*) from logs;');
    const p = await api.sh(`head -c 150000000 /dev/zero | tr '\\0' x; echo END; ${pulse(1024)}`);
    const f = await api.follow(p.id).opened();
    let most = 0;
    await until(() => {
      most = Math.max(most, bytesOnDisk(s));
      f.events.splice(0, Math.max(0, f.events.length - 50));
      f.blocks.length = 0;
      f.rawText = '';
      return f.text().includes('END');
    }, { within: secs(90), every: 50, what: '150 MB to be written', last: () => most });
    ok(most < WAL_MOST, `${most} bytes of files`);
    const { reason } = await becomesDegraded(api);
    ok(reason.length > 0, 'with a reason');
    eq((await api.run({ command: 'echo', args: ['alive'] })).stdout, 'alive\n');
    await person.run('commit;');
    await recovers(api);
    const last = (await api.logs(p.id, '?tail=1')).entries[0].sequence;
    await until(async () => (await sql(fileOf(s), `select max(sequence) as n from logs where process_id = '${p.id}'`))[0].n > last, { what: 'newer output in the file' });
    await until(() => bytesOnDisk(s) < 32 * MIB, { within: secs(30), what: 'the files to shrink', last: () => bytesOnDisk(s) });
    eq(await integrity(fileOf(s)), 'ok');
  } finally { person.close(); }
}, { timeout: 180, slow: true });
store('write-lock', 'a write lock that somebody holds stops storing, not the server; then all is stored', async (s, api) => {
  const p = await echoer(api), f = await api.follow(p.id).opened();
  const person = new Session(fileOf(s));
  try {
    await person.run('begin immediate;');
    await api.input(p.id, 'while locked\n');
    await f.waitText('while locked\n');
    const { reason } = await becomesDegraded(api);
    match(reason, /lock|busy|another/i);
    const created = await api.sh('echo made while locked; exit 8');
    eq([(await api.exited(created.id)).exitCode, await api.logText(created.id)], [8, 'made while locked\n']);
    const gone = await exitedWith(api, 'true');
    eq((await api.del(`/v1/processes/${gone.id}`)).status, 204);
    await person.run('rollback;');
    await recovers(api);
    await p.say('after');
    eq(await logText(s, p.id), 'ready\nwhile locked\nafter\n');
    const row = await record(s, created.id);
    eq([row.status, row.exit_code, await logText(s, created.id), await record(s, gone.id)], ['exited', 8, 'made while locked\n', undefined]);
    eq(seqs(f.log()), [1, 2, 3]);
    const before = await api.info(created.id);
    await s.restart();
    eq(await api.info(created.id), before);
  } finally { person.close(); }
});
