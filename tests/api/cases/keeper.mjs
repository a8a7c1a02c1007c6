// kill -9 of the server: its keeper starts the next one, which has the same processes, with their
// pipes, terminals, logs and exits.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Api, define, descriptors, endHere, eq, fail, has, here, includes, match, ok, oneOf, secs, sleep, stat, until, zombiesOf } from '../lib.mjs';
import { numbered, lineReader, writerSpec } from '../lib/lines.mjs';
import { childrenOf, isSanitized, privateKib, programOf, send } from '../lib/tree.mjs';
import { fileOf, needSqlite, record, sql } from '../lib/store.mjs';
import { contiguous, echoer, reader, say } from '../lib/helpers.mjs';
import { numberOf } from '../lib/programs.mjs';
import { freePort, hasStore } from '../lib/server.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('keeper');
const keeper = (id, title, fn, opts = {}) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server has no keeper');
  return ctx.withServer(opts.server ?? {}, (s, api) => fn(s, api, ctx));
}, opts);
const list = async (api) => (await api.get('/v1/processes')).json.processes;
const MIB = 1024 * 1024;

// What happens while there is no server: the keeper is stopped, so that it takes as long as fn.
async function whileDown(s, fn) {
  const old = s.serverPid(), keep = s.keeperPid();
  ok(old && keep, 'both are there');
  send(keep, 'SIGSTOP');
  try {
    send(old, 'SIGKILL');
    await until(() => !here(old), { what: 'the end of the server' });
    s.known = 0;
    await fn();
  } finally { send(keep, 'SIGCONT'); }
  return s.successor(old);
}
// In a shell: waits for a file of that name in the directory of the server.
const awaits = (name) => `while [ ! -e ${name} ]; do sleep 0.01; done`;
const signal = (s, name) => fs.writeFileSync(path.join(s.dir, name), '');

// ------------------------------------------------------------------ what stays
keeper('same-processes', 'ids, pids, records and configuration are the same', async (s, api) => {
  await api.setConfig({ maxOutputBytes: 5555 });
  const pipe = await echoer(api), tty = await reader(api);
  const done = await api.exited((await api.sh('echo out; echo err >&2; exit 9')).id);
  const before = { list: await list(api), config: await api.config(), logs: await Promise.all([pipe, tty, done].map((p) => api.logs(p.id))) };
  const pids = [pipe.pid, tty.pid];
  for (let i = 0; i < 4; i++) {
    const { pid } = await s.killServer();
    ok(here(pid), 'there is a server');
    eq({ list: await list(api), config: await api.config(), logs: await Promise.all([pipe, tty, done].map((p) => api.logs(p.id))) }, before, `after kill ${i + 1}`);
    eq((await api.get('/v1/health')).json.status, 'ok');
    ok(pids.every(here), 'the processes run');
  }
  eq((await api.sh('true')).id, 'proc_4', 'the counter goes on');
});
keeper('one-child', 'the keeper is the parent of the server, which is the parent of the processes', async (s, api) => {
  const p = await api.sh('exec sleep 60');
  const server = s.serverPid();
  eq([stat(server).ppid, stat(p.pid).ppid], [s.keeperPid(), server]);
  await s.killServer();
  eq([stat(s.serverPid()).ppid, stat(p.pid).ppid], [s.keeperPid(), s.keeperPid()], 'an adopted process is the keeper’s');
});
keeper('no-connection-refused', 'while servers are killed, every connection is taken', async (s, api) => {
  const seen = { taken: 0, errors: [] };
  let going = true;
  const attempt = () => new Promise((done) => {
    const c = net.connect(s.port, '127.0.0.1');
    c.on('connect', () => { seen.taken++; c.destroy(); });
    c.on('error', (e) => seen.errors.push(e.code));
    c.on('close', done);
  });
  const client = (async () => { while (going) { await attempt(); await sleep(1); } })();
  for (let i = 1; i <= 5; i++) {
    await s.killServer();
    await until(() => seen.taken >= 6 * i, { what: 'some connections' });
  }
  going = false;
  await client;
  eq(seen.errors.filter((e) => e !== 'ECONNRESET'), []);
});

// ------------------------------------------------------------------ output
keeper('output-complete', 'a reader that comes back with Last-Event-ID has every line once, of pipes and terminals', async (s, api) => {
  await api.setConfig({ maxLogBytesPerProcess: 64 * MIB });
  const bytes = 2 * MIB, hold = path.join(s.dir, 'end');
  const specs = [{ code: 0 }, { tty: true, code: 7 }, { both: true, code: 3 }, { code: -6 }];
  const readers = [];
  for (const [i, o] of specs.entries()) {
    const p = await api.create(writerSpec({ bytes, rate: 2 * MIB, seed: i + 1, hold, ...o }));
    readers.push([lineReader(api, p.id, bytes), o]);
  }
  for (let i = 0; i < 4; i++) {
    await Promise.all(readers.map(([f]) => f.seen(f.last + 20)));
    await s.killServer();
  }
  fs.writeFileSync(hold, '');
  for (const [f, o] of readers) {
    const e = await f.ended();
    eq(o.code < 0 ? e.exitSignal : e.exitCode, o.code < 0 ? 'SIGABRT' : o.code);
    eq([f.faults, f.gaps, f.refused], [[], [], 0]);
    eq(f.verdict(), Array.from({ length: o.both ? 2 : 1 }, () => ({ bytes: numbered(bytes).length, lost: 0, repeated: 0, damaged: 0 })));
    const { entries } = await api.logs(f.id);
    eq([entries[0].sequence, entries.length], [1, f.last], 'and so has the log');
    contiguous(entries);
  }
  ok(readers.some(([f]) => f.breaks >= 2), 'readers were cut off');
});
keeper('output-while-down', 'what is written while there is no server is in the log; a full pipe waits', async (s, api) => {
  const small = await api.sh(`echo before; ${awaits('go')}; echo during; echo error >&2; : >wrote; ${awaits('more')}; echo after`);
  const tty = await api.sh(`echo before; ${awaits('go')}; seq 1 200; ${awaits('more')}; echo after`, { tty: true });
  const big = await api.sh(`echo before; ${awaits('go')}; seq 1 200000; echo end`);
  for (const p of [small, tty, big]) await api.logHas(p.id, 'before');
  await whileDown(s, async () => {
    signal(s, 'go');
    await until(() => fs.existsSync(path.join(s.dir, 'wrote')), { what: 'the process to write' });
  });
  signal(s, 'more');
  for (const p of [small, tty, big]) eq((await api.exited(p.id)).exitCode, 0);
  eq(await api.logText(small.id, '?stream=stdout'), 'before\nduring\nafter\n');
  eq(await api.logText(small.id, '?stream=stderr'), 'error\n');
  const numbers = (n) => Array.from({ length: n }, (_, i) => `${i + 1}\n`).join('');
  eq(await api.logText(tty.id), `before\n${numbers(200)}after\n`.replaceAll('\n', '\r\n'));
  ok((await api.logText(big.id)) === `before\n${numbers(200000)}end\n`, 'the long output');
});
keeper('exits-while-down', 'codes and signals of processes that end while there is no server are exact', async (s, api) => {
  const ends = [['exit 0', { exitCode: 0 }], ['exit 7', { exitCode: 7 }], ['exit 255', { exitCode: 255 }], ['kill -9 $$', { exitSignal: 'SIGKILL' }],
    ['kill -TERM $$', { exitSignal: 'SIGTERM' }], ['kill -SEGV $$', { exitSignal: 'SIGSEGV' }]];
  const all = [];
  for (const tty of [false, true])
    for (const [end, want] of ends) all.push([await api.sh(`ulimit -c 0; echo up; ${awaits('go')}; echo last words; ${end}`, { tty }), want]);
  for (const [p] of all) await api.logHas(p.id, 'up');
  const t0 = Date.now();
  await whileDown(s, async () => {
    signal(s, 'go');
    await until(() => all.every(([p]) => !here(p.pid)), { what: 'the processes to end' });
  });
  for (const [p, want] of all) {
    const e = await api.exited(p.id);
    includes(e, want, p.args[1]);
    ok(!('exitReason' in e) || e.exitReason !== 'lost', 'not lost');
    ok(e.exitedAtMs >= t0 - 1000 && e.exitedAtMs <= Date.now() + 1000, 'the time of it');
    eq((await api.logText(p.id)).replaceAll('\r', ''), 'up\nlast words\n');
  }
  await until(() => zombiesOf(s.keeperPid()).length === 0, { within: secs(5), what: 'the keeper to reap them' });
});
keeper('exits-at-the-moment', 'exits in the same moments as kills are exact', async (s, api) => {
  for (let round = 0; round < 6; round++) {
    const all = [];
    for (let i = 0; i < 8; i++) all.push(await api.sh(`read x; echo bye; exit ${i + 10 * round}`, { tty: i % 2 === 1 }));
    const inputs = all.map((p) => api.input(p.id, '\n').catch(() => null));
    if (round % 2 === 0) await Promise.all(inputs);
    await s.killServer();
    const answers = await Promise.all(inputs);
    for (const [i, p] of all.entries()) {
      if (!answers[i]) await api.input(p.id, '\n');
      eq((await api.exited(p.id)).exitCode, i + 10 * round);
      has(await api.logText(p.id), 'bye');
    }
  }
});
keeper('exit-code-of-adopted', 'a process that ends after it was adopted has its exact end too, and is reaped', async (s, api) => {
  const all = [];
  for (const tty of [false, true]) for (const end of ['exit 41', 'kill -USR1 $$']) all.push(await api.sh(`echo up; read x; ${end}`, { tty }));
  for (const p of all) await api.logHas(p.id, 'up');
  await s.killServer();
  for (const [i, p] of all.entries()) {
    await api.input(p.id, '\n');
    includes(await api.exited(p.id), i % 2 ? { exitSignal: 'SIGUSR1' } : { exitCode: 41 });
    await until(() => !stat(p.pid), { within: secs(3), what: 'the zombie to be reaped' });
  }
});

// ------------------------------------------------------------------ input
keeper('input-goes-on', 'input and its end reach adopted processes; terminals are resized', async (s, api) => {
  const cat = await api.create({ command: 'cat' }), wc = await api.create({ command: 'wc', args: ['-c'] });
  const tty = await reader(api), half = await api.create({ command: 'cat' });
  await api.input(cat.id, 'one\n');
  await api.input(wc.id, 'x'.repeat(1000));
  eq((await api.post(`/v1/processes/${half.id}/input`, { data: 'x', encoding: 'utf8', eof: true })).status, 200);
  await api.exited(half.id);
  await s.killServer();
  eq((await api.input(cat.id, 'two\n')).json.bytesWritten, 4);
  await api.logHas(cat.id, 'one\ntwo\n');
  for (const p of [cat, wc]) eq((await api.post(`/v1/processes/${p.id}/input`, { eof: true })).status, 200);
  for (const p of [cat, wc]) eq((await api.exited(p.id)).exitCode, 0, p.command);
  eq(await api.logText(wc.id), '1000\n');
  eq((await api.post(`/v1/processes/${tty.id}/terminal/resize`, { cols: 101, rows: 31 })).status, 200);
  await until(async () => (await api.run({ command: 'stty', args: ['-F', `/proc/${tty.pid}/fd/0`, 'size'] })).stdout === '31 101\n', { what: 'the size' });
  await api.input(tty.id, 'typed\n');
  await api.logHas(tty.id, 'got:typed');
});
keeper('closed-input-stays-closed', 'input that was closed before is closed after', async (s, api) => {
  const p = await api.sh('cat; echo "$(date) eof" >/dev/null; echo ended; exec sleep 60');
  await api.post(`/v1/processes/${p.id}/input`, { data: 'x\n', encoding: 'utf8', eof: true });
  await api.logHas(p.id, 'ended');
  const q = await api.create({ command: 'cat' });
  await s.killServer();
  eq((await api.input(p.id, 'more')).status, 409);
  await api.post(`/v1/processes/${q.id}/input`, { eof: true });
  eq((await api.exited(q.id)).exitCode, 0, 'the keeper holds no end of the pipe either');
});
keeper('input-queued', 'an answer tells what still waits; what was dropped is in the record, to the byte', async (s, api) => {
  const p = await api.sh(`${awaits('go')}; wc -c`);
  const free = await api.create({ command: 'cat' });
  includes((await api.input(free.id, 'x\n')).json, { bytesWritten: 2 });
  let sent = 0, queued = 0;
  for (let i = 0; i < 6; i++) {
    const r = await api.input(p.id, 'y'.repeat(60000));
    eq([r.status, r.json.bytesWritten], [200, 60000]);
    ({ bytesQueued: queued } = r.json);
    sent += 60000;
  }
  ok(Number.isInteger(queued) && queued > 0 && queued < sent, `bytesQueued ${queued}`);
  await s.killServer();
  const [, dropped] = Object.entries(await api.info(p.id)).find(([k]) => /dropped/i.test(k)) ?? fail(`nothing dropped in ${JSON.stringify(await api.info(p.id))}`);
  ok(dropped > 0, `${dropped} bytes dropped`);
  signal(s, 'go');
  eq((await api.post(`/v1/processes/${p.id}/input`, { data: 'last', encoding: 'utf8', eof: true })).status, 200);
  await api.exited(p.id);
  eq(Number(await api.logText(p.id)), sent - dropped + 4, 'delivered and dropped make up what was sent');
});

// ------------------------------------------------------------------ ends
keeper('stop-kill-delete', 'adopted processes are stopped, killed with their trees, and deleted', async (s, api) => {
  for (const tty of [false, true]) {
    const polite = await api.sh("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.02; done", { tty });
    const tree = await api.sh('setsid sh -c \'echo "child=$$"; exec sleep 300\' & (sh -c "trap \\"\\" TERM HUP; echo grand=\\$\\$; while :; do sleep 0.1; done") & wait', { tty });
    await api.logHas(polite.id, 'up');
    const said = await api.logHas(tree.id, /child=\d+[^]*grand=\d+|grand=\d+[^]*child=\d+/);
    const others = [numberOf('child', said), numberOf('grand', said)];
    await s.killServer();
    const conflict = await api.del(`/v1/processes/${polite.id}`);
    eq(conflict.status, 409, 'still running');
    const stopped = (await api.stop(polite.id, '?waitMs=5000')).json;
    includes(stopped, { status: 'exited', exitCode: 5 });
    has(await api.logText(polite.id), 'bye');
    try {
      includes((await api.kill(tree.id, '?waitMs=5000')).json, { status: 'exited', exitSignal: 'SIGKILL' });
      for (const c of others) await until(() => !here(c), { what: `the end of descendant ${c}` });
    } finally { others.forEach(endHere); }
    for (const p of [polite, tree]) {
      eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
      await until(() => !stat(p.pid), { what: 'nothing to be left' });
    }
  }
});
keeper('term-stops-all', 'SIGTERM to the keeper ends adopted processes as it ends others, and their last words are kept', async (s, api) => {
  const p = await api.sh("trap 'echo last words; exit 0' TERM; echo up; while :; do sleep 0.02; done");
  const tty = await api.sh('echo up; exec sleep 300', { tty: true });
  const stubborn = await api.sh('trap "" TERM HUP; echo up; while :; do sleep 0.02; done');
  for (const x of [p, tty, stubborn]) await api.logHas(x.id, 'up');
  await s.killServer();
  await s.restart();
  for (const x of [p, tty, stubborn]) ok(!here(x.pid), `${x.id} has ended`);
  match(await api.logText(p.id), /^up\n(Terminated\n)?last words\n(Terminated\n)?$/); // of the shell's own sleep
  const [a, b, c] = await list(api);
  eq([a.exitCode, b.exitSignal, c.exitSignal], [0, 'SIGTERM', 'SIGKILL']);
});
keeper('term-to-both', 'SIGTERM to keeper and server at once, as service managers send it, leaves processes their grace', async (s, api) => {
  const p = await api.sh("trap 'echo last words; exit 5' TERM; echo up; while :; do sleep 0.02; done");
  await api.logHas(p.id, 'up');
  for (const pid of [s.keeperPid(), s.serverPid()]) send(pid, 'SIGTERM');
  eq(await s.waitExit(secs(6)), { code: 0, signal: null });
  await s.again();
  const e = await api.info(p.id);
  eq([e.exitCode, e.exitReason], [5, 'stopped']);
});
keeper('run-dies-with-its-client', 'a run under way ends with the server, and so does all it started', async (s, api) => {
  const script = 'sh -c "echo child=\\$\\$ >child; exec sleep 300" & echo "self=$$" >self; wait';
  const pending = api.runSh(script).then(() => 'answered', (e) => e.code ?? e.message);
  const pidIn = (name, key) => until(() => {
    const f = path.join(s.dir, name);
    return fs.existsSync(f) && numberOf(key, fs.readFileSync(f, 'latin1'));
  }, { what: `the pid in ${name}` });
  const pids = [await pidIn('child', 'child'), await pidIn('self', 'self')];
  ok(pids.every(here), 'both run');
  await s.killServer();
  oneOf(await pending, ['ECONNRESET', 'EPIPE', 'socket hang up'], 'the answer');
  try { for (const p of pids) await until(() => !here(p), { within: secs(5), what: `the end of ${p}` }); } finally { pids.forEach(endHere); }
  eq((await api.runSh('exit 3')).exitCode, 3);
  eq(await list(api), []);
});

// ------------------------------------------------------------------ the keeper itself
keeper('keeper-killed', 'when the keeper is killed the server says so and goes on', async (s, api) => {
  const p = await echoer(api), adopted = await echoer(api);
  await s.killServer();
  const later = await echoer(api);
  const server = s.serverPid(), said = s.log.length;
  s.killed = true;
  send(s.keeperPid(), 'SIGKILL');
  await s.exited;
  await until(() => /keeper/i.test(s.log.slice(said)), { what: 'a line about it', last: () => s.log.slice(said) });
  ok(here(server), 'the server is there');
  for (const x of [p, adopted, later]) await x.say('still here');
  await api.input(later.id, 'quit 6\n');
  eq((await api.exited(later.id)).exitCode, 6);
  eq((await api.exited((await api.sh('exit 8')).id)).exitCode, 8);
  await api.input(p.id, 'quit 7\n');
  const e = await api.exited(p.id);
  ok(e.exitCode === 7 || (e.exitReason === 'lost' && !('exitCode' in e)), () => `of an adopted one: ${JSON.stringify(e)}`);
  send(server, 'SIGTERM');
  await until(() => !here(server), { within: secs(6), what: 'the end of the server' });
  ok(![p, adopted, later].some((x) => here(x.pid)), 'and of the processes');
  await s.again();
  eq((await api.info(later.id)).exitCode, 6);
});
keeper('no-keeper', '--no-keeper is one process, and a kill loses what runs', async (s, api) => {
  const p = await api.sh('echo up; exec sleep 300');
  await api.logHas(p.id, 'up');
  eq(childrenOf(s.pid).filter((c) => programOf(c) === programOf(s.pid)), []);
  eq(stat(p.pid).ppid, s.pid);
  eq((await api.exited((await api.sh('exit 4')).id)).exitCode, 4);
  await s.crash();
  await s.again();
  includes(await api.info(p.id), { status: 'exited', exitReason: 'lost' });
  eq(await api.logText(p.id), 'up\n');
  await until(() => !here(p.pid), { what: 'the end of what was left' });
}, { server: { flags: '--no-keeper' } });
keeper('hangup', 'SIGHUP ends nothing', async (s, api) => {
  const p = await echoer(api), before = [s.keeperPid(), s.serverPid()];
  for (let i = 0; i < 3; i++) {
    send(s.keeperPid(), 'SIGHUP');
    send(s.serverPid(), 'SIGHUP');
    await p.say(`after hangup ${i}`);
  }
  eq([s.keeperPid(), s.serverPid()], before);
});
keeper('reload', 'SIGHUP to the keeper makes the server read its token file again', async (s, api, ctx) => {
  const file = path.join(s.dir, 'token');
  fs.writeFileSync(file, 'first\n', { mode: 0o600 });
  await ctx.withServer({ auth: 'none', flags: `--token-file '${file}'` }, async (t) => {
    const status = async (token) => (await new Api(t.url, token).get('/v1/health')).status;
    eq([await status('first'), await status('second')], [200, 401]);
    fs.writeFileSync(file, 'second\n');
    send(t.keeperPid(), 'SIGHUP');
    await until(async () => (await status('second')) === 200, { what: 'the new token to hold' });
    eq(await status('first'), 401);
    await t.killServer();
    eq([await status('first'), await status('second')], [401, 200], 'after a crash');
  });
});
keeper('server-told-to-end', 'SIGTERM to the server itself ends all, with status 0', async (s, api) => {
  const p = await echoer(api);
  s.ending = 'SIGTERM to the server';
  send(s.serverPid(), 'SIGTERM');
  eq(await s.waitExit(secs(6)), { code: 0, signal: null });
  ok(!here(p.pid), 'the process has ended');
});
keeper('cannot-start', 'a server that cannot start ends with its message and status, once', async (s, api, ctx) => {
  const r = await ctx.command(['server', '--no-token', '--port', String(s.port)]);
  eq([r.code, r.out, r.late], [1, '', false], r.err);
  eq(r.err.trimEnd().split('\n').filter((l) => /in use/i.test(l)).length, 1, r.err);
});
keeper('again-and-again', 'many crashes in a row leave the server serving', async (s, api) => {
  const p = await echoer(api);
  for (let i = 0; i < 12; i++) {
    const old = await until(() => s.serverPid(), { every: 1, what: 'a server' });
    s.known = 0;
    send(old, 'SIGKILL');
    await until(() => { const now = s.serverPid(); return now && now !== old; }, { every: 1, what: 'the next server' });
  }
  await s.successor(0, secs(30));
  await p.say('still here');
}, { timeout: 90 });
keeper('many-processes', 'fifty processes with pipes and fifty with terminals are adopted', async (s, api) => {
  await api.setConfig({ maxConcurrentProcesses: 200 });
  const all = await Promise.all(Array.from({ length: 100 }, (_, i) => api.sh(`${i % 2 ? 'stty -echo; ' : ''}echo up; while read l; do echo "got:$l"; done; exit ${i}`, { tty: i % 2 === 1 })));
  for (const p of all) await api.logHas(p.id, 'up');
  await s.killServer();
  await Promise.all(all.map(async (p, i) => {
    await api.input(p.id, `${i}\n`);
    await api.logHas(p.id, `got:${i}`);
    await api.post(`/v1/processes/${p.id}/input`, { eof: true });
    eq((await api.exited(p.id)).exitCode, i);
  }));
});
keeper('nothing-accumulates', 'neither keeper nor server holds anything of processes that were deleted', async (s, api) => {
  const count = () => [s.keeperPid(), s.serverPid()].map((p) => descriptors(p).length);
  const first = count();
  for (let round = 0; round < 3; round++) {
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => api.sh('echo up; exec sleep 300', { tty: i % 2 === 1 })));
    if (round) await s.killServer();
    for (const p of all) { await api.kill(p.id, '?waitMs=5000'); eq((await api.del(`/v1/processes/${p.id}`)).status, 204); }
    await until(() => count().every((n, i) => n <= first[i]), { what: 'the descriptors of before', last: () => [first, count()] });
  }
});
keeper('children-see-nothing', 'a process sees descriptors 0, 1 and 2 only, also one that a later server started', async (s, api) => {
  await s.killServer();
  for (const tty of [false, true]) {
    const p = await api.sh('echo up; read never', { tty }); // a program that is being loaded has its libraries open
    await api.logHas(p.id, 'up');
    eq(descriptors(p.pid).length, 3, `tty ${tty}: ${descriptors(p.pid)}`);
    const env = fs.readFileSync(`/proc/${p.pid}/environ`, 'latin1');
    ok(!/SANDBOX_AGENT_/.test(env), 'nothing of the keeper in the environment');
  }
  const { stdout } = await api.run({ command: 'ls', args: ['/proc/self/fd'] });
  eq(stdout, '0\n1\n2\n3\n', 'of ls, with the directory it lists');
});
keeper('weight', 'the keeper weighs less than 300 KiB', async (s, api) => {
  const keep = s.keeperPid();
  if (isSanitized(keep)) skip('sanitizers weigh more');
  const check = (what) => { const n = privateKib(keep); ok(n < 300, `${n} KiB ${what}`); };
  check('at the start');
  await Promise.all(Array.from({ length: 30 }, (_, i) => api.sh('exec sleep 60', { tty: i % 2 === 0 })));
  check('with thirty processes');
  await s.killServer();
  check('after a crash');
});
for (const [id, server] of [['token-of-a-flag', { token: 'from-flag' }], ['token-of-the-environment', { auth: 'none', env: { SANDBOX_AGENT_TOKEN: 'from-environment' } }]])
  keeper(id, 'the token holds for the next server', async (s) => {
    const api = new Api(s.url, server.token ?? server.env.SANDBOX_AGENT_TOKEN);
    await s.killServer();
    eq([(await api.get('/v1/health')).status, (await api.get('/v1/health', { auth: false })).status], [200, 401]);
  }, { server });
keeper('database-is-whole', 'the file opens after every kill', async (s, api) => {
  needSqlite();
  const hold = path.join(s.dir, 'end');
  const p = await api.create(writerSpec({ bytes: 3 * MIB, rate: 3 * MIB, hold }));
  const f = lineReader(api, p.id, 3 * MIB);
  for (let i = 0; i < 5; i++) {
    await f.seen(f.last + 10);
    await s.killServer();
    eq((await sql(fileOf(s), 'pragma integrity_check'))[0].integrity_check, 'ok');
  }
  fs.writeFileSync(hold, '');
  await f.ended();
  eq((await record(s, p.id)).status, 'exited');
});

// The shell that is to become the keeper starts itself again in a PID namespace of its own.
const AS_PID_1 = 'if [ $$ != 1 ]; then exec unshare --pid --fork --kill-child --mount-proc sh -c "$(tr "\\000" "\\n" </proc/$$/cmdline | tail -n +3)"; fi';
keeper('as-pid-1', 'as PID 1 the keeper does the same, and reaps every orphan', async (s, api, ctx) => {
  if (spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status !== 0) skip('no PID namespaces here');
  await ctx.withServer({ pre: AS_PID_1 }, async (t, inside) => {
    const p = await echoer(inside), tty = await reader(inside);
    for (let i = 0; i < 3; i++) {
      await inside.runSh('(sh -c "sleep 0.05; exit 42" & sh -c "exit 41" &) >/dev/null 2>&1');
      await t.killServer();
      await p.say(`after ${i}`);
    }
    const w = await inside.ws(tty.id);
    await w.ready();
    say(w, 'typed');
    await w.waitOut('got:typed');
    await inside.input(p.id, 'quit 33\n');
    eq((await inside.exited(p.id)).exitCode, 33);
    await until(() => zombiesOf(t.keeperPid()).length === 0, { within: secs(5), what: 'all orphans to be reaped' });
    t.ending = 'SIGTERM';
    send(t.keeperPid(), 'SIGTERM');
    eq(await t.waitExit(secs(5)), { code: 0, signal: null });
  });
});
// What stands where the lost ones stood: as many as pids were given out there, started at about the same time.
const STRANGERS = 'i=0; while [ $i -lt 40 ]; do setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $! >>strangers; i=$((i + 1)); done';
keeper('another-container', 'a container that is started again on the same directory: whoever has the pids of lost processes is left alone', async (s, api, ctx) => {
  if (spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status !== 0) skip('no PID namespaces here');
  await ctx.withServer({ pre: AS_PID_1 }, async (t, inside) => {
    const lost = [await echoer(inside), await reader(inside)];
    t.killed = true;
    send(t.keeperPid(), 'SIGKILL'); // and the rest of the namespace with it
    await t.exited;
    await t.again({ pre: `${AS_PID_1}\n${STRANGERS}` });
    const now = (await list(t.api)).map((p) => [p.id, p.status, p.exitReason, p.exitNote]);
    eq(now, lost.map((p) => [p.id, 'exited', 'lost', undefined]));
    const { stdout } = await t.api.runSh('while read p; do grep -q sleep /proc/$p/cmdline && echo $p; done <strangers');
    const left = stdout.trim().split('\n').map(Number);
    eq(left.length, 40, 'all strangers are there');
    for (const p of lost) ok(left.includes(p.pid), () => `${p.pid} is none of ${left}`);
    t.ending = 'SIGTERM';
    send(t.keeperPid(), 'SIGTERM');
    eq(await t.waitExit(secs(5)), { code: 0, signal: null });
  });
});
keeper('same-port', 'a server on a chosen port has it after a kill, too', async (s, api, ctx) => {
  const port = await freePort();
  await ctx.withServer({ port }, async (t, mine) => {
    await t.killServer();
    eq([(await mine.get('/v1/health')).status, mine.port], [200, port]);
    match(t.log, /start|died|kill|ended/i, 'the keeper says what happened');
  });
});
