// Where a server listens: several addresses at once, unix sockets, IPv6, and what is refused.
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Api, define, eq, has, here, match, ok, secs, until } from '../lib.mjs';
import { skip } from '../lib/assert.mjs';
import { descriptors } from '../lib/proc.mjs';
import { freePort, hasStore } from '../lib/server.mjs';
import { withCert } from '../lib/tls.mjs';
import { send } from '../lib/tree.mjs';

const group = define('listen');
const listen = (id, title, fn) => group('better', id, title, async (ctx) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sbx-listen-'));
  try {
    return await fn(ctx, path.join(dir, 'agent.sock'), dir);
  } finally { fs.rmSync(dir, { recursive: true, force: true }); }
});
const needKeeper = () => { if (!hasStore()) skip('this server has no keeper'); };
function needIpv6() {
  if (!Object.values(os.networkInterfaces()).flat().some((a) => a.address === '::1')) skip('there is no IPv6 here');
}
// What it says it listens on; the address of --host and --port comes first.
async function told(s, n) {
  const all = () => [...s.out.matchAll(/^listening on (\S+)$/gm)].map((m) => m[1]);
  return until(() => all().length >= n && all(), { what: `${n} addresses`, last: () => s.out });
}
const health = async (api) => (await api.get('/v1/health')).status;
const inode = (f) => fs.statSync(f).ino;
const mode = (f) => (fs.statSync(f).mode & 0o7777).toString(8);
function refused(r, code, ...words) {
  ok(!r.late, 'it started instead');
  eq([r.code, r.signal, r.out], [code, null, ''], r.err);
  for (const w of words) has(r.err, w, 'stderr');
}
const start = (...flags) => ['server', '--no-token', ...flags];

// ------------------------------------------------------------------ several
listen('several', 'each address is told on a line of its own, and is the same server', async (ctx, sock) => {
  needIpv6();
  const flags = `--listen 127.0.0.2:0 --listen [::1]:0 --listen unix:${sock}`;
  await ctx.withServer({ flags }, async (s) => {
    const urls = await told(s, 4);
    eq(urls.map((u) => u.replace(/:\d+$/, ':N')), ['http://127.0.0.1:N', 'http://127.0.0.2:N', 'http://[::1]:N', `unix:${sock}`]);
    const apis = urls.map((u) => new Api(u));
    const ids = [];
    for (const a of apis) ids.push((await a.sh('exec sleep 60')).id);
    for (const a of apis) eq((await a.get('/v1/processes')).json.processes.map((p) => p.id), ids);
    for (const a of apis) await a.cleanup();
  });
});
listen('several-survive', 'all of them survive kill -9 of the server and an upgrade', async (ctx, sock) => {
  needKeeper();
  await ctx.withServer({ flags: `--listen 127.0.0.2:0 --listen unix:${sock}` }, async (s) => {
    const apis = (await told(s, 3)).map((u) => new Api(u)), ino = inode(sock);
    const p = await apis[2].sh('exec sleep 60');
    const check = async (when) => {
      for (const a of apis) eq((await a.info(p.id)).pid, p.pid, `${a.base} ${when}`);
      eq(inode(sock), ino, 'the same file');
    };
    await s.killServer();
    await check('after kill -9');
    const old = s.serverPid();
    s.known = 0;
    send(s.keeperPid(), 'SIGUSR2');
    await s.successor(old);
    await until(() => !here(old), { what: 'the end of the old server' });
    await check('after an upgrade');
    await s.killServer();
    await check('after kill -9 of the new program');
    await apis[2].cleanup();
  });
  ok(!fs.existsSync(sock), 'the file goes with the last of them');
});
listen('twice', 'an address that is given twice is refused; a port that is chosen is none of those named', async (ctx, sock) => {
  refused(await ctx.command(start('--listen', `unix:${sock}`, '--listen', `unix:${sock}`)), 2, 'given twice', sock);
  refused(await ctx.command(start('--listen', '127.0.0.1:9', '--listen', 'localhost:9')), 2, 'given twice');
  refused(await ctx.command(start('--host', '127.0.0.1', '--port', '9', '--listen', '127.0.0.1:9')), 1, '--listen');
  const port = await freePort();
  await ctx.withServer({ flags: `--listen 127.0.0.1:${port}` }, async (s) => eq((await told(s, 2))[1], `http://127.0.0.1:${port}`));
});

// ------------------------------------------------------------------ unix sockets
listen('unix', 'requests, streams and terminals over a unix socket that only its owner may use', async (ctx, sock) => {
  await ctx.withServer({ pre: 'umask 0', flags: `--listen unix:${sock}` }, async (s) => {
    const api = new Api((await told(s, 2))[1]);
    eq(mode(sock), '600');
    eq((await api.run({ command: 'echo', args: ['x'] })).stdout, 'x\n');
    const p = await api.sh('echo one; read l; echo "got:$l"', { tty: true });
    const f = await api.follow(p.id).opened(), t = await api.ws(p.id);
    await t.ready();
    t.send({ type: 'input', data: 'typed\n' });
    await t.waitOut('got:typed');
    await api.exited(p.id);
    await f.waitEnd();
    await api.cleanup();
  });
  ok(!fs.existsSync(sock), 'the file is removed at the end');
});
listen('unix-any-host', 'no browser gets there, so any Host is right; a token is needed all the same', async (ctx, sock) => {
  await ctx.withServer({ token: 'sesame', flags: `--listen unix:${sock}` }, async (s) => {
    const ask = async (token) => (await new Api(`unix:${sock}`, token).get('/v1/processes', { headers: { host: 'anything.example' } })).status;
    eq([await ask(), await ask('wrong'), await ask('sesame')], [401, 401, 200]);
  });
});
listen('unix-without-tls', 'with --tls-* a unix socket speaks plain HTTP', async (ctx, sock) => {
  await ctx.withServer(withCert('ec', { flags: `--listen unix:${sock}` }), async (s, api) => {
    const urls = await told(s, 2);
    match(urls[0], /^https:/);
    eq([urls[1], await health(api), await health(new Api(urls[1]))], [`unix:${sock}`, 200, 200]);
  });
});
listen('unix-stale', 'after kill -9 of keeper and server the file is replaced at the next start', async (ctx, sock) => {
  needKeeper();
  await ctx.withServer({ flags: `--listen unix:${sock}` }, async (s) => {
    const old = inode(sock);
    await s.crash();
    eq(inode(sock), old, 'left by the crash');
    fs.chmodSync(sock, 0o666);
    await s.again();
    eq([mode(sock), await health(new Api(`unix:${sock}`))], ['600', 200]);
  });
  ok(!fs.existsSync(sock), 'removed at the end');
});
listen('unix-live', 'a file that somebody listens on is refused by its name, and left', async (ctx, sock) => {
  await ctx.withServer({ flags: `--listen unix:${sock}` }, async () => {
    const old = inode(sock);
    refused(await ctx.command(start('--listen', `unix:${sock}`)), 1, `cannot listen on unix:${sock}: `, 'another server listens there');
    eq([inode(sock), await health(new Api(`unix:${sock}`))], [old, 200]);
  });
});
listen('unix-no-socket', 'a file that is no socket is refused and untouched', async (ctx, sock, dir) => {
  fs.writeFileSync(sock, 'words');
  refused(await ctx.command(start('--listen', `unix:${sock}`)), 1, `unix:${sock}`);
  eq(fs.readFileSync(sock, 'utf8'), 'words');
  refused(await ctx.command(start('--listen', `unix:${dir}/none/agent.sock`)), 1, `unix:${dir}/none/agent.sock`, 'No such file');
});
listen('unix-path', 'a path that does not fit is refused with the limit; the longest that fits is used', async (ctx, sock, dir) => {
  const of = (n) => path.join(dir, 'x'.repeat(n - dir.length - 1));
  for (const n of [108, 200]) refused(await ctx.command(start('--listen', `unix:${of(n)}`)), 2, 'at most 107 bytes');
  refused(await ctx.command(start('--listen', 'unix:')), 2, 'path');
  await ctx.withServer({ flags: `--listen unix:${of(107)}` }, async () => eq(await health(new Api(`unix:${of(107)}`)), 200));
});
listen('unix-connection-waits', 'while there is no server a connection is taken, and answered by the next one', async (ctx, sock) => {
  needKeeper();
  await ctx.withServer({ flags: `--listen unix:${sock}` }, async (s) => {
    const old = s.serverPid(), keep = s.keeperPid();
    let answer;
    send(keep, 'SIGSTOP');
    try {
      send(old, 'SIGKILL');
      await until(() => !here(old), { what: 'the end of the server' });
      s.known = 0;
      const w = new Api(`unix:${sock}`).wire().write('GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
      await w.connected();
      eq([w.error, w.ended], [null, false], 'connected');
      answer = w.answer();
    } finally { send(keep, 'SIGCONT'); }
    await s.successor(old);
    eq((await answer).status, 200);
  });
});
listen('unix-file-gone', 'a file that was removed is made anew by the next server; where it cannot be, the rest goes on', async (ctx, sock, dir) => {
  needKeeper();
  await ctx.withServer({ flags: `--listen unix:${sock}` }, async (s, api) => {
    fs.unlinkSync(sock);
    await s.killServer();
    eq([mode(sock), await health(new Api(`unix:${sock}`))], ['600', 200]);
    fs.rmSync(dir, { recursive: true });
    await s.killServer();
    eq(await health(api), 200);
    await until(() => s.log.includes(`cannot listen on unix:${sock}`), { what: 'the message', last: () => s.log });
  });
});

// ------------------------------------------------------------------ IPv6
listen('ipv6', 'a bracketed address is listened on, alone', async (ctx) => {
  needIpv6();
  await ctx.withServer({ flags: '--host ::1' }, async (s, api) => {
    match(s.url, /^http:\/\/\[::1\]:\d+$/);
    eq(await health(api), 200);
    // Not by a connection: somebody else may have that port of 127.0.0.1.
    const pid = s.serverPid(), own = descriptors(pid);
    const rows = (table) => fs.readFileSync(`/proc/${pid}/net/${table}`, 'latin1').trim().split('\n').slice(1).map((line) => line.trim().split(/\s+/));
    const listens = (table) => rows(table)
      .filter(([, , , state, , , , , , inode]) => state === '0A' && own.includes(`socket:[${inode}]`))
      .map(([, local]) => ({ any: /^0+:/.test(local), port: parseInt(local.split(':')[1], 16) }));
    eq([listens('tcp'), listens('tcp6')], [[], [{ any: false, port: s.port }]]);
  });
});
listen('ipv6-any', '[::] takes IPv4 as well', async (ctx) => {
  needIpv6();
  await ctx.withServer({ flags: '--listen [::]:0' }, async (s) => {
    const port = /^http:\/\/\[::\]:(\d+)$/.exec((await told(s, 2))[1])[1];
    eq([await health(new Api(`http://127.0.0.1:${port}`)), await health(new Api(`http://[::1]:${port}`))], [200, 200]);
  });
});

// ------------------------------------------------------------------ who else could reach it
listen('others-need-a-token', 'one address among several that others can reach needs a token, or the wish to have none', async (ctx, sock) => {
  for (const address of ['0.0.0.0:0', '[::]:0']) {
    const r = await ctx.command(['server', '--listen', `unix:${sock}`, '--listen', '127.0.0.1:0', '--listen', address]);
    refused(r, 1, `${address} can be reached by others`, '--token', '--token-file', '--no-token');
    ok(!fs.existsSync(sock), 'nothing was bound');
  }
  for (const o of [{}, { token: 'sesame' }])
    await ctx.withServer({ ...o, flags: '--listen 0.0.0.0:0' }, async (s) => {
      const [, url] = await told(s, 2);
      eq((await new Api(url.replace('0.0.0.0', '127.0.0.1'), o.token).get('/v1/processes')).status, 200);
    });
});
listen('loopback-needs-none', 'loopback and unix sockets need no token', async (ctx, sock) => {
  await ctx.withServer({ auth: 'none', flags: `--listen 127.0.0.2:0 --listen unix:${sock}` }, async (s) => {
    for (const url of await told(s, 3)) eq((await new Api(url).get('/v1/processes')).status, 200, url);
  });
});

// ------------------------------------------------------------------ what cannot be had
listen('port-in-use', 'a port that is taken is named', async (ctx) => {
  const other = net.createServer();
  await new Promise((r) => { other.listen(0, '127.0.0.1', r); });
  const { port } = other.address();
  try {
    for (const flags of [['--port', port], ['--listen', `127.0.0.1:${port}`], ['--no-keeper', '--listen', `127.0.0.1:${port}`]])
      refused(await ctx.command(start(...flags)), 1, `cannot listen on 127.0.0.1:${port}: `, 'in use');
  } finally { other.close(); }
});
listen('no-such-address', 'an address of another machine, and one that is none, are named', async (ctx) => {
  refused(await ctx.command(start('--listen', '192.0.2.1:0')), 1, '192.0.2.1:0');
  for (const bad of ['agent.example:80', '127.0.0.1', '::1:80', '[::1]', ':80', '127.0.0.1:x', '127.0.0.1:65536'])
    refused(await ctx.command(start('--listen', bad)), 2, `--listen "${bad}"`);
});
