// Tokens that change while the server runs, and where they must never be seen.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Api, define, eq, has, here, lacks, match, ok, until } from '../lib.mjs';
import { skip } from '../lib/assert.mjs';
import { hasStore, quote } from '../lib/server.mjs';
import { send } from '../lib/tree.mjs';
import { onDisk } from '../lib/store.mjs';

const group = define('secrets');
const secrets = (id, title, fn) => group('better', id, title, fn);
const ask = async (s, token) => (await new Api(s.url, token).get('/v1/processes')).status;
function tokenFile(s, text) {
  const f = path.join(s.dir, 'tokens');
  fs.writeFileSync(f, text, { mode: 0o600 });
  return f;
}
// A server with a token file: its directory has to be there first, so it is that of another one.
const withTokens = (ctx, text, fn) => ctx.withServer({}, async (home) => {
  const f = tokenFile(home, text);
  return ctx.withServer({ auth: 'none', flags: `--token-file ${quote(f)}` }, (s) => fn(s, (t) => tokenFile(home, t), f));
});
// SIGHUP, and the answer to it on stderr.
async function hangup(s, re) {
  const from = s.log.length;
  s.signal('SIGHUP');
  return until(() => re.exec(s.log.slice(from))?.[0], { what: `${re} on stderr`, last: () => s.log.slice(from) });
}

secrets('reload', 'SIGHUP: tokens that were added are valid, those that were removed are not, scopes are as they are now', async (ctx) =>
  withTokens(ctx, 'first\nsecond read\n', async (s, put) => {
    const all = async () => Promise.all(['first', 'second', 'third', 'fourth'].map((t) => ask(s, t)));
    const create = async (t) => (await new Api(s.url, t).post('/v1/processes/run', { command: 'true' })).status;
    eq(await all(), [200, 200, 401, 401]);
    eq(await create('second'), 403, 'read');
    put('# those of today\nsecond full\n\nthird\tread\r\nfourth');
    await hangup(s, /tokens were read again/);
    eq(await all(), [401, 200, 200, 200]);
    eq([await create('second'), await create('third'), await create('fourth')], [200, 403, 200]);
    if (s.hasKeeper()) {
      s.api.token = 'fourth';
      await s.killServer();
      eq(await all(), [401, 200, 200, 200], 'and so they are in the next server');
    }
  }));
secrets('reload-bad', 'SIGHUP with a bad file keeps the old tokens; the message names the line, and none of its text', async (ctx) =>
  withTokens(ctx, 'first\nsecond read\n', async (s, put, f) => {
    const same = async (why) => eq([await ask(s, 'first'), await ask(s, 'second'), await ask(s, 'hush1')], [200, 200, 401], why);
    for (const [text, says] of [
      ['hush1\n\nhush2 write\n', 'line 3'],
      ['hush1\nhush1\n', 'line 2'],
      [`hush1\n${'hush'.repeat(300)}\n`, 'line 2'],
      ['hush1\nhu\0sh\n', 'line 2'],
      ['# hush\n', 'no token'],
      ['', 'no token'],
      [`hush1\n${'#hush\n'.repeat(40000)}`, 'too large'],
    ]) {
      put(text);
      const said = await hangup(s, /SIGHUP: .*tokens stay/);
      has(said, f);
      has(said, says);
      lacks(said, 'hush');
      await same(says);
    }
    fs.unlinkSync(f);
    has(await hangup(s, /SIGHUP: .*tokens stay/), 'No such file');
    await same('no file');
    put('first\n');
    await hangup(s, /tokens were read again/);
    eq([await ask(s, 'first'), await ask(s, 'second')], [200, 401]);
  }));
// The next server, one way or the other: it is there, and the one before is not any more.
const NEXT = [
  ['kill', 'kill -9', (s) => s.killServer()],
  ['upgrade', 'an upgrade', async (s) => {
    const old = s.serverPid(), from = s.log.length;
    s.known = 0;
    send(s.keeperPid(), 'SIGUSR2');
    await s.successor(old);
    await until(() => !here(old), { what: 'the end of the old server' });
    await until(() => s.log.includes('upgraded', from), { what: 'the message', last: () => s.log });
  }],
];
for (const [name, what, next] of NEXT) secrets(`reload-kept-${name}`, `what SIGHUP read is valid after ${what}, though the file is gone; what it revoked is not`, async (ctx) => {
  if (!hasStore()) skip('this server has no keeper');
  await withTokens(ctx, 'first\nsecond read\n', async (s, put, f) => {
    const all = async () => Promise.all(['first', 'second', 'third', 'fourth'].map((t) => ask(s, t)));
    const create = async (t) => (await new Api(s.url, t).post('/v1/processes/run', { command: 'true' })).status;
    const same = async (when) => {
      eq(await all(), [401, 401, 200, 200], when);
      eq([await create('third'), await create('fourth')], [200, 403], when);
    };
    put('third\nfourth read\n');
    await hangup(s, /tokens were read again/);
    fs.unlinkSync(f);
    s.api.token = 'third';
    for (const time of ['once', 'twice']) {
      const from = s.log.length;
      await next(s);
      await same(time);
      await until(() => s.log.includes('No such file or directory; the tokens of before stay', from), { what: 'the message', last: () => s.log });
    }
    put('# broken\nsecond write\n');
    await next(s);
    await same('with a bad file');
    await until(() => s.log.includes('line 2 is neither full nor read; the tokens of before stay'), { what: 'the message', last: () => s.log });
    put('first\n');
    s.api.token = 'first';
    await next(s);
    eq(await all(), [200, 401, 401, 401], 'a file that is there counts');
    fs.unlinkSync(f);
    await next(s);
    eq(await all(), [200, 401, 401, 401], 'and then what was in it');
  });
});
secrets('flag-kept', 'a token of --token with blanks, and one of the environment, are valid in every next server', async (ctx) => {
  if (!hasStore()) skip('this server has no keeper');
  for (const o of [{ flags: `--token ${quote('open sesame # now')}` }, { env: { SANDBOX_AGENT_TOKEN: 'open sesame # now' } }])
    await ctx.withServer({ auth: 'none', ...o }, async (s) => {
      s.api.token = 'open sesame # now';
      for (const [, what, next] of NEXT) {
        await next(s);
        eq([await ask(s), await ask(s, 'open'), await ask(s, 'open sesame # now')], [401, 401, 200], what);
      }
    });
});
secrets('environment-and-file', 'a token of the environment is no token where there is a token file', async (ctx) => ctx.withServer({}, async (home) => {
  const f = tokenFile(home, 'of-file\n');
  await ctx.withServer({ auth: 'none', env: { SANDBOX_AGENT_TOKEN: 'of-environment' }, flags: `--token-file ${quote(f)}` }, async (s) => {
    eq([await ask(s, 'of-environment'), await ask(s, 'of-file')], [401, 200]);
  });
}));
secrets('start-bad', 'a bad file at the start is a message of one line and status 1', async (ctx) => ctx.withServer({}, async (home) => {
  const f = tokenFile(home, 'fine\nhush hush hush\n');
  const r = await ctx.command(['server', '--token-file', f]);
  eq([r.code, r.out], [1, ''], r.err);
  has(r.err, `${f}, line 2`);
  lacks(r.err, 'hush');
  eq(r.err.trimEnd().split('\n').length, 1);
}));
secrets('pipe', 'the token may come through a pipe, from a program that is slower than the server', async (ctx) => {
  const pre = 'mkfifo tokens; exec 4<>tokens; (sleep 0.3; echo from-pipe >&4) &';
  await ctx.withServer({ auth: 'none', pre, flags: '--token-file tokens 4<&-' }, async (s, api) => {
    eq([await ask(s), await ask(s, 'from-pipe')], [401, 200]);
    if (!s.hasKeeper()) return;
    api.token = 'from-pipe';
    await s.killServer();
    eq([await ask(s), await ask(s, 'from-pipe')], [401, 200], 'which is not there for the next server');
  });
});

// ------------------------------------------------------------------ where it must not be seen
const SECRET = 'hidden7token';
const read = (f) => { try { return fs.readFileSync(f, 'latin1'); } catch { return ''; } };
async function unseen(s, api, when) {
  const p = await api.sh('env; exec sleep 60'), t = await api.sh('env; exec sleep 60', { tty: true });
  const seen = (await api.runSh('env; cat /proc/$PPID/environ /proc/$PPID/cmdline')).stdout + await api.logText(p.id) + await api.logText(t.id);
  lacks(seen, SECRET, `what children see, ${when}`);
  for (const pid of new Set([s.keeperPid(), s.serverPid(), p.pid, t.pid]))
    for (const name of ['cmdline', 'environ']) {
      ok(here(pid), `${pid} is there`);
      lacks(read(`/proc/${pid}/${name}`), SECRET, `${name} of ${pid}, ${when}`);
    }
  lacks(spawnSync('ps', ['-eww', '-o', 'pid,args']).stdout?.toString() ?? '', SECRET, `ps, ${when}`);
  lacks(s.log + s.out, SECRET, `log, ${when}`);
  if (s.hasKeeper()) ok(!onDisk(s, SECRET), `the data directory, ${when}`);
  await api.cleanup();
}
for (const [way, o] of [
  ['flag', { token: SECRET }],
  ['flag-attached', { auth: 'none', flags: `--token=${SECRET}` }],
  ['letter', { auth: 'none', flags: `-t${SECRET}` }],
  ['environment', { auth: 'none', env: { SANDBOX_AGENT_TOKEN: SECRET } }],
  ['file', { auth: 'none', pre: `umask 077; (printf '%s' hidden7; echo token) >tokens`, flags: '--token-file tokens' }],
]) secrets(`unseen-${way}`, `a token by ${way} is in no command line, environment, message or file of ours, in any life of the server`, async (ctx) =>
  ctx.withServer({ ...o, flags: `${o.flags ?? ''} --log-level debug` }, async (s) => {
    const api = new Api(s.url, SECRET);
    s.api.token = SECRET;
    eq([await ask(s), await ask(s, `${SECRET}x`), await ask(s, SECRET)], [401, 401, 200]);
    await api.get(`/v1/processes?access_token=${SECRET}`);
    await unseen(s, api, 'at first');
    if (!hasStore()) return;
    await s.killServer();
    await unseen(s, api, 'after kill -9');
    const old = s.serverPid();
    s.known = 0;
    send(s.keeperPid(), 'SIGUSR2');
    await s.successor(old);
    await until(() => !here(old), { what: 'the end of the old server' });
    await unseen(s, api, 'after an upgrade');
  }));
