// --user: what root was needed for is had first, then keeper, server and processes are somebody else
// for good. --no-new-privs.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Api, define, eq, has, here, lacks, match, ok, until } from '../lib.mjs';
import { skip } from '../lib/assert.mjs';
import { hasStore, quote, settings } from '../lib/server.mjs';
import { send } from '../lib/tree.mjs';
import { withCert } from '../lib/tls.mjs';

const group = define('user');
const NAME = 'nobody';
const account = () => {
  const line = fs.readFileSync('/etc/passwd', 'utf8').split('\n').map((l) => l.split(':')).find(([n]) => n === NAME);
  return line && { uid: Number(line[2]), gid: Number(line[3]), home: line[5] };
};
const user = (id, title, fn) => group('better', id, title, async (ctx) => {
  if (process.getuid() !== 0) skip('only root can become somebody else');
  if (!account()) skip(`there is no account ${NAME} here`);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sbx-user-'));
  try {
    return await fn(ctx, { ...account(), dir });
  } finally { fs.rmSync(dir, { recursive: true, force: true }); }
});
// Its directory is that user's, and sockets and data are in it. The leak check of a sanitizer needs
// the rights to trace, which are gone.
const NO_LEAK_CHECK = { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:detect_leaks=0` };
const asNobody = (o, { uid }) => ({
  pre: `chown ${uid} .`,
  ...o,
  env: { ...NO_LEAK_CHECK, ...o.env },
  flags: `--user ${NAME} ${o.flags ?? ''}`,
});
const statusOf = (pid) => Object.fromEntries(fs.readFileSync(`/proc/${pid}/status`, 'utf8').split('\n').map((l) => l.split(/:\s*/)));
const fields = (line) => line.split(/\s+/).filter(Boolean).map(Number);
// All four of each, and nothing left of the rights of root.
function isNobody(pid, { uid, gid }, what) {
  const s = statusOf(pid);
  eq([fields(s.Uid), fields(s.Gid)], [Array(4).fill(uid), Array(4).fill(gid)], what);
  ok(fields(s.Groups).every((g) => g === gid || g !== 0), `${what}: groups ${s.Groups}`);
  ok(!fields(s.Groups).includes(0), `${what} is not in the group of root`);
  eq([s.CapPrm, s.CapEff], Array(2).fill('0000000000000000'), `${what}: capabilities`);
}
let port = 1024; // the last one that was tried
async function privilegedPort() {
  while (--port > 600) {
    const mine = port;
    const s = net.createServer();
    const free = await new Promise((r) => { s.once('error', () => r(false)); s.listen(mine, '127.0.0.1', () => r(true)); });
    if (!free) continue;
    await new Promise((r) => { s.close(r); });
    return mine;
  }
  return skip('no port below 1024 is free');
}
const owned = (f, { uid }, mode) => {
  const st = fs.statSync(f);
  eq([st.uid, (st.mode & 0o777).toString(8)], [uid, mode], f);
};

user('all-of-it', 'keeper, server and processes are that user, in its groups alone, without capabilities', async (ctx, who) => {
  await ctx.withServer(asNobody({}, who), async (s, api) => {
    const pipe = await api.sh('exec sleep 60'), tty = await api.sh('exec sleep 60', { tty: true });
    const all = async (when) => {
      for (const [what, pid] of [['keeper', s.keeperPid()], ['server', s.serverPid()], ['process', pipe.pid], ['terminal', tty.pid]])
        isNobody(pid, who, `${what} ${when}`);
      const r = await api.runSh('id -u; id -g; id -G; echo "$HOME|$USER|$LOGNAME"');
      const [uid, gid, groups, names] = r.stdout.split('\n');
      eq([Number(uid), Number(gid), names], [who.uid, who.gid, `${who.home}|${NAME}|${NAME}`], when);
      lacks(` ${groups} `, ' 0 ', 'groups');
    };
    await all('at first');
    if (!s.hasKeeper()) return;
    await s.killServer();
    await all('after kill -9');
    eq((await api.info(pipe.id)).status, 'running');
  });
});
user('no-way-back', 'a process cannot become root, read what is root’s, or signal what is root’s', async (ctx, who) => {
  const secret = path.join(who.dir, 'secret');
  fs.writeFileSync(secret, 'of root', { mode: 0o600 });
  await ctx.withServer(asNobody({}, who), async (s, api) => {
    const tries = [`cat ${secret}`, `kill -0 ${process.pid}`, 'chown 0 .', 'command -v setpriv >/dev/null && setpriv --reuid 0 true'];
    for (const t of tries) ok((await api.runSh(t)).exitCode !== 0, t);
  });
});
user('files', 'the data directory, the lock and a unix socket are its own', async (ctx, who) => {
  await ctx.withServer(asNobody({ flags: '--listen unix:agent.sock' }, who), async (s) => {
    const sock = path.join(s.dir, 'agent.sock');
    owned(sock, who, '600');
    eq((await new Api(`unix:${sock}`).get('/v1/health')).status, 200);
    if (s.hasKeeper()) {
      owned(s.dataDir, who, '700');
      for (const f of fs.readdirSync(s.dataDir)) eq(fs.statSync(path.join(s.dataDir, f)).uid, who.uid, f);
    }
    s.signal('SIGTERM');
    await s.exited;
    ok(!fs.existsSync(sock), 'the socket is removed at the end');
  });
});
user('socket-of-root', 'a socket in a directory of root is replaced at the next start', async (ctx, who) => {
  const sock = path.join(who.dir, 'agent.sock');
  fs.chmodSync(who.dir, 0o755);
  await ctx.withServer(asNobody({ flags: `--listen unix:${sock}` }, who), async (s) => {
    owned(sock, who, '600');
    if (s.hasKeeper()) await s.restart();
    owned(sock, who, '600');
    eq((await new Api(`unix:${sock}`).get('/v1/health')).status, 200);
  });
});
user('privileged-port', 'a port below 1024 is had, and stays after kill -9', async (ctx, who) => {
  const own = await privilegedPort();
  await ctx.withServer(asNobody({ port: own }, who), async (s, api) => {
    eq(s.url, `http://127.0.0.1:${own}`);
    isNobody(s.serverPid(), who, 'server');
    if (s.hasKeeper()) await s.killServer();
    eq((await api.get('/v1/health')).status, 200);
  });
});
user('without-keeper', 'all the same without a keeper', async (ctx, who) => {
  if (!hasStore()) skip('this server has no keeper');
  const own = await privilegedPort();
  await ctx.withServer(asNobody({ port: own, flags: '--no-keeper --listen unix:agent.sock' }, who), async (s, api) => {
    isNobody(s.serverPid(), who, 'server');
    eq((await api.runSh('id -u')).stdout, `${who.uid}\n`);
    eq((await new Api(`unix:${path.join(s.dir, 'agent.sock')}`).get('/v1/health')).status, 200);
  });
});
user('files-of-root', 'a token file and a TLS key that only root may read are read; SIGHUP, the next server and an upgrade keep what was in them', async (ctx, who) => {
  const cert = withCert('ec'), tokens = path.join(who.dir, 'tokens'), bin = path.join(who.dir, 'sandbox-agent');
  fs.chmodSync(who.dir, 0o755);
  fs.copyFileSync(settings.bin, bin);
  fs.chmodSync(bin, 0o755);
  fs.writeFileSync(tokens, 'sesame\nlooker read\n', { mode: 0o600 });
  await ctx.withServer(asNobody({ bin, ...cert, token: undefined, auth: 'none', flags: `${cert.flags} --token-file ${quote(tokens)}`, env: {}, pre: `chown ${who.uid} .` }, who), async (s) => {
    const ask = async (token) => (await new Api(s.url, token, s.o.tls).get('/v1/processes')).status;
    const same = async (when) => eq([await ask(), await ask('sesame'), await ask('looker')], [401, 200, 200], when);
    await same('at first');
    has(s.log, 'none can run as somebody else, unless by sudo or setuid files\n');
    for (const f of [tokens, 'ec.key']) match(s.log, new RegExp(`warn --user: .*${f} cannot be read as ${NAME}`), 'what that costs');
    fs.writeFileSync(tokens, 'other\n');
    s.signal('SIGHUP');
    await until(() => /tokens stay/.test(s.log) && /certificate stays/.test(s.log), { what: 'the messages', last: () => s.log });
    has(s.log, 'Permission denied');
    for (const word of ['sesame', 'looker', 'other\n']) lacks(s.log, word);
    await same('after SIGHUP');
    if (!s.hasKeeper()) return;
    s.api.token = 'sesame';
    await s.killServer();
    await same('after kill -9');
    for (const time of ['an upgrade', 'another one']) {
      const old = s.serverPid(), from = s.log.length;
      s.known = 0;
      send(s.keeperPid(), 'SIGUSR2');
      await s.successor(old);
      await until(() => !here(old), { what: 'the end of the old server' });
      await until(() => s.log.includes('upgraded', from), { what: 'the message', last: () => s.log });
      has(s.log.slice(from), 'the tokens of before stay');
      await until(() => s.log.slice(from).includes('the certificate of before stays'), { what: 'the message', last: () => s.log.slice(from) });
      await same(`after ${time}`);
    }
    isNobody(s.serverPid(), who, 'the new server');
  });
});
user('upgrade', 'an upgrade keeps user, port, socket and token', async (ctx, who) => {
  if (!hasStore()) skip('this server has no keeper');
  const bin = path.join(who.dir, 'sandbox-agent'), own = await privilegedPort();
  fs.chmodSync(who.dir, 0o755);
  fs.copyFileSync(settings.bin, bin);
  fs.chmodSync(bin, 0o755);
  await ctx.withServer(asNobody({ bin, port: own, token: 'sesame', flags: '--no-new-privs --listen unix:agent.sock' }, who), async (s, api) => {
    has(s.log, 'none can run as somebody else\n');
    const p = await api.sh('exec sleep 60'), old = s.serverPid();
    s.known = 0;
    send(s.keeperPid(), 'SIGUSR2');
    await s.successor(old);
    await until(() => !here(old), { what: 'the end of the old server' });
    await until(() => /upgraded/.test(s.log), { what: 'the message', last: () => s.log });
    isNobody(s.serverPid(), who, 'the new server');
    eq(statusOf(s.serverPid()).NoNewPrivs, '1');
    eq(new URL(s.url).port, String(own));
    for (const a of [api, new Api(`unix:${path.join(s.dir, 'agent.sock')}`, 'sesame')]) eq((await a.info(p.id)).pid, p.pid);
    eq((await new Api(s.url).get('/v1/processes')).status, 401);
    eq((await api.runSh('id -u; echo "$HOME"')).stdout, `${who.uid}\n${who.home}\n`);
  });
});
// What the lock file says is what a process of the server may have written there.
user('lock-file-that-names-another', 'an upgrade by root signals nobody but a process of the user that the lock file belongs to', async (ctx, who) => {
  if (!hasStore()) skip('this server has no keeper');
  const victim = spawn('sleep', ['60']), ended = new Promise((r) => { victim.on('exit', r); });
  try {
    await ctx.withServer(asNobody({}, who), async (s, api) => {
      const lock = path.join(s.dataDir, 'sandbox-agent.lock'), text = fs.readFileSync(lock);
      const ask = () => ctx.command(['upgrade', '--data-dir', s.dataDir], { env: NO_LEAK_CHECK });
      eq((await api.runSh(`echo ${victim.pid} > ${quote(lock)}`)).exitCode, 0);
      const r = await ask();
      eq([r.code, r.out], [1, '']);
      match(r.err, new RegExp(`process ${victim.pid}, .* does not belong to user ${who.uid}`));
      // A link to a lock file of root names processes of root.
      const other = path.join(who.dir, 'of-root');
      fs.writeFileSync(other, `${victim.pid}\n`);
      eq((await api.runSh(`mv ${quote(lock)} ${quote(lock)}.mine && ln -s ${quote(other)} ${quote(lock)}`)).exitCode, 0);
      const linked = await ask();
      eq([linked.code, linked.out], [1, ''], linked.err);
      fs.rmSync(lock);
      fs.renameSync(`${lock}.mine`, lock);
      fs.writeFileSync(lock, text);
      eq([victim.exitCode, victim.signalCode, here(victim.pid)], [null, null, true], 'nothing was sent');
      s.known = 0;
      const good = await ask();
      eq([good.code, good.err], [0, '']);
      isNobody(s.serverPid(), who, 'the new server');
      s.known = s.serverPid();
    });
  } finally {
    victim.kill('SIGKILL');
    await ended;
  }
});
user('refused', 'an account that does not exist, and root, are refused; nothing is left of the attempt', async (ctx, who) => {
  const sock = path.join(who.dir, 'agent.sock'), data = path.join(who.dir, 'data');
  const run = (...flags) => ctx.command(['server', '--no-token', '--data-dir', data, '--listen', `unix:${sock}`, ...flags]);
  for (const [name, why] of [['no-such-account', 'no such account'], ['root', 'root'], ['0', 'root'], ['', '--user'], [`${NAME}:no-such-group`, 'no such group']]) {
    const r = await run('--user', name);
    eq([r.code, r.out], [1, ''], r.err);
    has(r.err, `--user "${name}"`);
    has(r.err, why);
    ok(!fs.existsSync(sock) && !fs.existsSync(data), `${name}: nothing was made`);
  }
  // The directory is root's: it cannot be made as that user.
  const r = await run('--user', NAME);
  eq([r.code, r.out], [1, ''], r.err);
  has(r.err, 'Permission denied');
});
group('better', 'not-root', 'whoever is not root is told so', async (ctx) => {
  if (process.getuid() === 0 || !account()) skip('only for those who are not root');
  const r = await ctx.command(['server', '--no-token', '--port', '0', '--user', NAME]);
  eq([r.code, r.out], [1, ''], r.err);
  match(r.err, /cannot become user nobody: .*not permitted/);
});

// ------------------------------------------------------------------ --no-new-privs
group('better', 'no-new-privs', 'with the flag no process gains rights by exec, in every life of the server; without it as it was', async (ctx) => {
  const look = async (api) => (await api.runSh('grep NoNewPrivs /proc/self/status')).stdout;
  const own = statusOf(process.pid).NoNewPrivs;
  if (own === undefined) skip('this system does not show it');
  await ctx.withServer({}, async (s, api) => eq(await look(api), `NoNewPrivs:\t${own}\n`, 'without the flag'));
  await ctx.withServer({ flags: '--no-new-privs' }, async (s, api) => {
    const p = await api.sh('exec sleep 60', { tty: true });
    for (const pid of [s.keeperPid(), s.serverPid(), p.pid]) eq(statusOf(pid).NoNewPrivs, '1');
    if (s.hasKeeper()) await s.killServer();
    eq(await look(api), 'NoNewPrivs:\t1\n');
  });
});
