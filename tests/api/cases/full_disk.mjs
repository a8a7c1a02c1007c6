// A disk that is full: the server and its processes go on, health tells why nothing is stored, and
// storing resumes by itself.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { define, eq, here, match, ok, secs, until } from '../lib.mjs';
import { becomesDegraded, fileOf, integrity, needSqlite, recovers, sql, storage } from '../lib/store.mjs';
import { Follower } from '../lib/lines.mjs';
import { contiguous } from '../lib/helpers.mjs';
import { hasStore } from '../lib/server.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('full_disk');
const MIB = 1024 * 1024;
const disk = (id, title, fn) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server stores nothing');
  needSqlite();
  return fn(ctx);
}, { timeout: 120 });

// A file system of that size, for the time of fn.
async function withDisk(bytes, fn) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sbx-disk-'));
  const r = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=0700`, 'tmpfs', dir]);
  try {
    if (r.status !== 0) skip('no file system can be mounted here');
    await fn(dir);
  } finally {
    if (r.status === 0) spawnSync('umount', ['-l', dir]);
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
// Takes all that is left. Returns how much that was.
function fill(dir) {
  const fd = fs.openSync(path.join(dir, 'ballast'), 'a');
  let n = 0;
  for (let piece = MIB; piece >= 512; piece /= 2) {
    try { for (;;) n += fs.writeSync(fd, Buffer.alloc(piece)); } catch (e) { if (e.code !== 'ENOSPC') throw e; }
  }
  fs.closeSync(fd);
  return n;
}
// About 400 KB a second of lines with a number each.
const PULSE = 'i=0; while :; do i=$((i+1)); printf "%08189d\\n" $i; sleep 0.02; done';

// A follower that checks that the numbered lines come without a hole.
function pulseReader(api, id) {
  const seen = { lines: 0, broken: '' };
  let rest = '';
  const f = new Follower(api, id, { onEntry: (e) => {
    const all = (rest + Buffer.from(e.data, 'base64')).split('\n');
    rest = all.pop();
    for (const l of all) if (Number(l) !== ++seen.lines) { seen.broken ||= `${l.slice(-10)} instead of ${seen.lines}`; seen.lines = Number(l); }
  } });
  f.pulse = seen;
  f.goesOn = async (n = 20) => { const from = seen.lines; await until(() => seen.lines >= from + n, { what: 'further lines', last: () => seen }); eq([seen.broken, f.gaps, f.faults], ['', [], []]); };
  return f;
}
// The server does what it does, while nothing can be stored.
async function serves(api) {
  const p = await api.sh('echo new; exit 6', { tty: false });
  eq([(await api.exited(p.id)).exitCode, await api.logText(p.id)], [6, 'new\n']);
  eq((await api.run({ command: 'echo', args: ['alive'] })).stdout, 'alive\n');
  eq((await api.get('/v1/processes')).status, 200);
  return p;
}
// What the file has of a log: its entries, and gaps where there are none.
async function storedWhole(s, id) {
  const rows = await sql(fileOf(s), `select sequence, bytes from logs where process_id = '${id}' order by sequence`);
  const gaps = await sql(fileOf(s), `select first_sequence as a, last_sequence as b from gaps where process_id = '${id}'`);
  let next = rows[0].sequence;
  for (const { sequence } of rows) {
    while (sequence !== next) {
      const g = gaps.find((x) => x.a <= next && x.b >= next);
      ok(g, () => `${next} to ${sequence - 1} is neither stored nor recorded as missing (gaps ${JSON.stringify(gaps)})`);
      next = g.b + 1;
      ok(next <= sequence, () => `gap to ${g.b} over stored ${sequence}`);
    }
    next++;
  }
  const [n] = await sql(fileOf(s), `select log_bytes as told, (select sum(bytes) from logs where process_id = '${id}') as there from processes where id = '${id}'`);
  eq(n.told, n.there, 'log_bytes');
  return { rows, gaps, last: next - 1 };
}

disk('fills-up', 'a full disk degrades storage and nothing else; with room again storing resumes', (ctx) => withDisk(16 * MIB, async (dir) => {
  await ctx.withServer({ dataDir: path.join(dir, 'data') }, async (s, api) => {
    await api.setConfig({ maxLogBytesPerProcess: 4 * MIB });
    const p = await api.sh(PULSE), quiet = await api.sh('read x; exit 3');
    const f = pulseReader(api, p.id);
    await f.goesOn();
    ok(fill(dir) > MIB, 'there was room to fill');
    const { reason } = await becomesDegraded(api, secs(40));
    match(reason, /full|space/i);
    await f.goesOn(40);
    const made = await serves(api);
    eq((await api.del(`/v1/processes/${(await api.exited((await api.sh('true')).id)).id}`)).status, 204);
    await api.input(quiet.id, '\n');
    eq((await api.exited(quiet.id)).exitCode, 3);
    ok(here(p.pid), 'processes run');
    const upgrade = await ctx.command(['upgrade', '--data-dir', s.dataDir]);
    eq([upgrade.code, upgrade.out], [1, ''], 'upgrade');
    match(upgrade.err, /cannot leave now/);
    eq((await storage(api)).degraded, true, 'still');
    fs.rmSync(path.join(dir, 'ballast'));
    await recovers(api);
    await f.goesOn();
    const { last } = f;
    await until(async () => (await sql(fileOf(s), `select max(sequence) as n from logs where process_id = '${p.id}'`))[0].n >= last, { what: 'the new output in the file' });
    await storedWhole(s, p.id);
    eq(await integrity(fileOf(s)), 'ok');
    const before = await api.info(made.id);
    await api.kill(p.id, '?waitMs=5000');
    const log = await api.logs(p.id);
    f.close();
    await s.restart();
    eq(await api.info(made.id), before, 'what was made meanwhile');
    eq([await api.logText(made.id), (await api.info(quiet.id)).exitCode], ['new\n', 3]);
    eq((await api.logs(p.id)).entries.at(-1), log.entries.at(-1), 'the log after a restart');
  });
}));
disk('full-from-the-start', 'a data directory on a full disk is refused, or served degraded; with room it is served', (ctx) => withDisk(4 * MIB, async (dir) => {
  fs.mkdirSync(path.join(dir, 'data'), { mode: 0o700 });
  fill(dir);
  const r = await ctx.startServer({ dataDir: path.join(dir, 'data'), expectDown: true });
  await until(() => !r.alive() || /^listening on (\S+)$/m.test(r.out), { what: 'a decision' });
  if (!r.alive()) {
    eq(r.exit.code, 1);
    match(r.log, /full|space/i);
  } else {
    r.address(/^listening on (\S+)$/m.exec(r.out)[1]);
    eq((await storage(r.api)).degraded, true);
    await serves(r.api);
  }
  await r.stop();
  fs.rmSync(path.join(dir, 'ballast'));
  await ctx.withServer({ dataDir: path.join(dir, 'data') }, async (s, api) => { await serves(api); eq((await storage(api)).degraded, false); });
}));
disk('killed-while-full', 'kill -9 while the disk is full loses nothing that the keeper holds', (ctx) => withDisk(16 * MIB, async (dir) => {
  await ctx.withServer({ dataDir: path.join(dir, 'data') }, async (s, api) => {
    const p = await api.sh('i=0; while read l; do i=$((i+1)); echo "$i:$l"; done; exit 5');
    await api.input(p.id, 'before\n');
    await api.logHas(p.id, '1:before\n');
    const filler = await api.sh(PULSE);
    fill(dir);
    await becomesDegraded(api, secs(40));
    await api.kill(filler.id, '?waitMs=5000');
    await api.input(p.id, 'while full\n');
    await api.logHas(p.id, '2:while full\n');
    await s.killServer();
    eq(await api.logText(p.id), '1:before\n2:while full\n');
    await api.input(p.id, 'after\n');
    await api.logHas(p.id, '3:after\n');
    fs.rmSync(path.join(dir, 'ballast'));
    await recovers(api);
    await api.post(`/v1/processes/${p.id}/input`, { eof: true });
    eq((await api.exited(p.id)).exitCode, 5);
    const { entries } = await api.logs(p.id);
    contiguous(entries);
    await s.restart();
    eq((await api.logs(p.id)).entries, entries);
  });
}));
disk('file-size-limit', 'a limit on the size of files is a full disk by another name', async (ctx) => {
  if (spawnSync('prlimit', ['--version']).status !== 0) skip('no prlimit to lift the limit again');
  await ctx.withServer({ pre: 'ulimit -S -f 16384' }, async (s, api) => { // 8 or 16 MiB, by the shell
    await api.setConfig({ maxLogBytesPerProcess: 64 * MIB });
    const p = await api.sh('read x; head -c 30000000 /dev/zero | tr "\\0" x; echo END; exec sleep 60');
    const f = new Follower(api, p.id);
    await api.input(p.id, '\n');
    const { reason } = await becomesDegraded(api, secs(40));
    ok(reason.length > 0, 'a reason');
    await api.logHas(p.id, 'END', { query: '?tail=2', ms: secs(30) });
    eq(f.faults, []);
    await serves(api);
    ok(here(s.serverPid()) && here(p.pid), 'both run');
    for (const pid of [s.serverPid(), s.keeperPid()]) eq(spawnSync('prlimit', ['--pid', String(pid), '--fsize=unlimited']).status, 0);
    await recovers(api);
    const q = await api.sh('echo stored again; exec sleep 60');
    await api.logHas(q.id, 'again');
    eq((await sql(fileOf(s), `select text from logs where process_id = '${q.id}'`)).map((r) => r.text), ['stored again\n']);
    await storedWhole(s, p.id);
  });
});
