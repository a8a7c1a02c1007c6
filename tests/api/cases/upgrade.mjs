// The binary at the path of a running server is replaced, and the server by it: no connection
// attempt is lost, processes and terminals go on.
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { define, eq, has, here, match, ok, oneOf, secs, sleep, until } from '../lib.mjs';
import { lineReader, writerSpec } from '../lib/lines.mjs';
import { echoer, reader, say } from '../lib/helpers.mjs';
import { inodeOfProgram, send } from '../lib/tree.mjs';
import { hasStore, settings } from '../lib/server.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('upgrade');
const MIB = 1024 * 1024;
// A server that runs from a copy of the binary; replace(bytes) puts another file in its place.
const upgrade = (id, title, fn, opts = {}) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server has no keeper');
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sbx-upgrade-'));
  try {
    const bin = path.join(dir, 'sandbox-agent');
    fs.copyFileSync(settings.bin, bin);
    const replace = (content = fs.readFileSync(settings.bin)) => {
      fs.writeFileSync(`${bin}.new`, content, { mode: 0o755 });
      fs.renameSync(`${bin}.new`, bin);
      return fs.statSync(bin).ino;
    };
    await ctx.withServer({ bin, ...opts.server }, (s, api) => fn(s, api, { ctx, bin, replace }));
  } finally { fs.rmSync(dir, { recursive: true, force: true }); }
}, opts);
const command = (s, ctx, extra = {}) => ctx.command(['upgrade', '--data-dir', s.dataDir], { bin: s.bin, ...extra });
const WAYS = [
  ['the command', async (s, ctx) => {
    const r = await command(s, ctx);
    eq([r.code, r.err], [0, ''], 'upgrade');
    eq(r.out, `upgraded: the server (pid ${s.serverPid()}) runs ${s.bin}\n`);
    ok(await s.answers(), 'it serves when the command ends');
  }],
  ['SIGUSR2', async (s) => { send(s.keeperPid(), 'SIGUSR2'); }],
];
async function upgraded(s, ctx, way) {
  const old = s.serverPid();
  s.known = 0;
  await way(s, ctx);
  const next = await s.successor(old);
  await until(() => !here(old), { within: secs(10), what: 'the end of the old server' });
  return next;
}

for (const [what, way] of WAYS) {
  upgrade(`replaces-by-${what.replace(/^the /, '').toLowerCase()}`, `after ${what} the new binary runs, with everything that was`, async (s, api, { ctx, replace }) => {
    const pipe = await echoer(api), tty = await reader(api);
    const before = (await api.get('/v1/processes')).json;
    await api.setConfig({ maxOutputBytes: 3333 });
    for (let i = 0; i < 2; i++) {
      const ino = replace();
      await upgraded(s, ctx, way);
      eq(inodeOfProgram(s.serverPid()), ino, 'the program of the server');
      eq((await api.get('/v1/processes')).json, before);
      eq((await api.config()).maxOutputBytes, 3333);
      await pipe.say(`after upgrade ${i}`);
      const w = await api.ws(tty.id);
      await w.ready();
      say(w, `typed ${i}`);
      await w.waitOut(`got:typed ${i}`);
      w.close();
    }
    await api.input(pipe.id, 'quit 44\n');
    eq((await api.exited(pipe.id)).exitCode, 44);
    eq((await api.exited((await api.sh('exit 45')).id)).exitCode, 45);
    await s.killServer();
    await api.input(tty.id, 'quit 46\n');
    eq((await api.exited(tty.id)).exitCode, 46, 'after a crash of the new server');
  });
}
upgrade('no-connection-lost', 'during upgrades no connection is refused, and nearly every request is answered', async (s, api, { ctx, replace }) => {
  const seen = { answered: 0, errors: [] };
  let going = true;
  const attempt = () => new Promise((done) => {
    const c = net.connect(s.port, '127.0.0.1');
    let got = '';
    c.on('connect', () => c.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'));
    c.on('data', (d) => { got += d; });
    c.on('error', (e) => seen.errors.push(e.code));
    c.on('close', () => { if (got.startsWith('HTTP/1.1 200')) seen.answered++; else seen.errors.push(`answer ${JSON.stringify(got.slice(0, 20))}`); done(); });
  });
  const client = async () => { while (going) { await attempt(); await sleep(1); } };
  const clients = [client(), client(), client()];
  for (let i = 1; i <= 4; i++) {
    replace();
    await upgraded(s, ctx, WAYS[i % 2][1]);
    await until(() => seen.answered >= 60 * i, { what: 'answers', last: () => seen });
  }
  going = false;
  await Promise.all(clients);
  eq(seen.errors.filter((e) => e === 'ECONNREFUSED'), [], 'refused');
  ok(seen.errors.length <= seen.answered / 10, () => JSON.stringify(seen));
});
upgrade('output-goes-on', 'output during upgrades comes once and whole', async (s, api, { ctx, replace }) => {
  await api.setConfig({ maxLogBytesPerProcess: 64 * MIB });
  const readers = [], hold = path.join(s.dir, 'end');
  for (const o of [{ code: 5 }, { tty: true, code: 6 }]) readers.push([lineReader(api, (await api.create(writerSpec({ bytes: 2 * MIB, rate: 2 * MIB, hold, ...o }))).id, 2 * MIB), o.code]);
  for (let i = 0; i < 3; i++) {
    await Promise.all(readers.map(([f]) => f.seen(f.last + 20)));
    replace();
    await upgraded(s, ctx, WAYS[i % 2][1]);
  }
  fs.writeFileSync(hold, '');
  for (const [f, code] of readers) {
    eq((await f.ended()).exitCode, code);
    const [v] = f.verdict();
    eq([f.faults, f.gaps, f.refused, v.lost, v.repeated, v.damaged], [[], [], 0, 0, 0, 0]);
  }
});
upgrade('broken-binary', 'a new binary that does not run changes nothing, and that is said', async (s, api, { ctx, replace }) => {
  const p = await echoer(api);
  const broken = { 'no program': 'this is no program\n', 'one that ends at once': '#!/bin/sh\nexit 3\n' };
  for (const [what, content] of Object.entries(broken)) {
    const said = s.log.length;
    replace(content);
    send(s.keeperPid(), 'SIGUSR2');
    await until(() => s.log.slice(said).includes('\n'), { what: `a line about ${what}` });
    match(s.log.slice(said), /upgrade|replac|new/i, what);
    await until(() => s.answers(), { what: 'an answer' });
    await p.say(`still here with ${what}`);
  }
  s.known = s.serverPid();
  fs.rmSync(s.bin);
  send(s.keeperPid(), 'SIGUSR2');
  await p.say('and without any');
  const ino = replace();
  await upgraded(s, ctx, WAYS[0][1]);
  eq(inodeOfProgram(s.serverPid()), ino);
  await p.say('replaced after all');
}, { server: {} });
upgrade('command-tells-failure', 'upgrade exits with 1 and the reason where nothing was replaced', async (s, api, { ctx, bin, replace }) => {
  const p = await echoer(api);
  const fails = async (why, what) => {
    s.known = 0;
    const r = await command(s, ctx, { bin: settings.bin });
    eq([r.code, r.out, r.err.trimEnd().split('\n').length], [1, '', 1], `${what}: ${r.err}`);
    match(r.err, why);
    await until(() => s.answers(), { what: 'an answer' });
    await p.say(`still here with ${what}`);
  };
  replace('#!/bin/sh\nexit 3\n');
  await fails(/ended with exit code 3 before it was ready/, 'a program that ends at once');
  replace('this is no program\n');
  await fails(/ended with exit code 127 before it was ready/, 'no program');
  fs.chmodSync(bin, 0o600);
  await fails(/cannot upgrade to .*: Permission denied/, 'a file that is not executable');
  fs.rmSync(bin);
  await fails(/cannot upgrade to .*: No such file/, 'no file');
  const ino = replace();
  await upgraded(s, ctx, WAYS[0][1]);
  eq(inodeOfProgram(s.serverPid()), ino);
  await p.say('replaced after all');
}, { server: {} });
upgrade('command-awaits-the-one-before', 'an upgrade that is asked for while another is under way begins after that', async (s, api, { ctx, replace }) => {
  replace('#!/bin/sh\necho begun >&2\nexec sleep 1000\n');
  s.known = 0;
  const first = command(s, ctx, { bin: settings.bin });
  await until(() => s.log.includes('begun'), { what: 'the first one' });
  const ino = replace();
  const second = await command(s, ctx, { bin: settings.bin });
  eq([second.code, second.err], [0, '']);
  oneOf((await first).code, [0, 1], 'the first may not look before the second has begun');
  s.known = 0;
  eq(inodeOfProgram(s.serverPid()), ino);
  await until(() => s.answers(), { what: 'an answer' });
  s.known = s.serverPid();
}, { server: {} });
upgrade('command-and-the-end', 'a server that is stopped instead is told, not waited for', async (s, api, { ctx, replace }) => {
  replace('#!/bin/sh\necho begun >&2\nexec sleep 1000\n');
  s.known = 0;
  const asked = command(s, ctx, { bin: settings.bin });
  await until(() => s.log.includes('begun'), { what: 'the upgrade' });
  await s.stop();
  const r = await asked;
  eq([r.code, r.out], [1, '']);
  match(r.err, /before it was ready|no server uses the directory/);
}, { server: {} });
upgrade('hanging-binary', 'a new binary that never becomes ready is given up, and the old one goes on', async (s, api, { replace }) => {
  const p = await echoer(api);
  replace('#!/bin/sh\nexec sleep 1000\n');
  s.known = s.serverPid();
  const said = s.log.length;
  send(s.keeperPid(), 'SIGUSR2');
  await until(() => /going back/.test(s.log.slice(said)), { within: secs(15), what: 'the keeper to go back' });
  await until(() => s.answers(), { what: 'an answer' });
  await p.say('still here');
  s.known = s.serverPid();
}, { server: {} });
upgrade('lock-file-without-a-pid', 'a lock file that names nobody is an error, and no signal is sent to anybody', async (s, api, { ctx }) => {
  const lock = path.join(s.dataDir, 'sandbox-agent.lock'), text = fs.readFileSync(lock, 'utf8');
  fs.truncateSync(lock);
  const r = await ctx.command(['upgrade', '--data-dir', s.dataDir]);
  fs.writeFileSync(lock, text);
  eq([r.code, r.signal, r.out], [1, null, '']);
  has(r.err, 'lock file');
});
upgrade('nobody-there', 'without a server there is nothing to upgrade: one line, exit 1', async (s, api, { ctx }) => {
  const r = await ctx.command(['upgrade', '--data-dir', path.join(s.dir, 'nothing')]);
  eq([r.code, r.out], [1, '']);
  eq(r.err.trimEnd().split('\n').length, 1);
  has(r.err, path.join(s.dir, 'nothing'));
  oneOf((await ctx.command(['upgrade', '--bogus'])).code, [2]);
});
upgrade('with-a-token', 'the token holds after an upgrade, and no child sees it', async (s, api, { ctx, replace }) => {
  replace();
  await upgraded(s, ctx, WAYS[1][1]);
  eq([(await api.get('/v1/health')).status, (await api.get('/v1/health', { auth: false })).status], [200, 401]);
  const { stdout } = await api.runSh('env; cat /proc/$PPID/cmdline | tr "\\0" " "');
  ok(!stdout.includes('SANDBOX_AGENT_'), 'nothing of it in the environment');
}, { server: { token: 'kept-over-upgrades' } });
