// HTTPS and WSS: certificates and keys, who is let in, what is refused, reloads, and the ends of
// connections.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Api, RawWs, UPGRADE, define, eq, fail, frame, has, here, includes, lacks, match, ok, oneOf, problem, secs, show, skip, text, until, within } from '../lib.mjs';
import { Body } from '../lib/body.mjs';
import { farReader, sha256 } from '../lib/far_reader.mjs';
import { reader } from '../lib/helpers.mjs';
import { cue, onCue, sameBytes } from '../lib/programs.mjs';
import { HEALTH, HOST, JSON_TYPE, bothWays } from '../lib/requests.mjs';
import { quote } from '../lib/server.mjs';
import { isSanitized, residentKib } from '../lib/tree.mjs';
import { clientCert, connected, overSocket, pki, sClient, shown, told, withCert } from '../lib/tls.mjs';

const tls = define('tls');
// A case on a server with that certificate, shared by the cases of a lane.
const on = (cert, options) => (fn) => async (ctx) => ctx.kept(withCert(cert, options), fn);
const ec = on('ec');
const status = (api) => api.get('/v1/health').then((r) => r.status);
const CERTS = ['ec', 'rsa', 'p384'];
const READY = { what: 'the file to be read again' };
// Refused by TLS itself: no answer of HTTP, but an error of the client.
async function refusedBy(promise, what) {
  let r;
  try { r = await promise; } catch (e) { return e; }
  return fail(`${what}: it was let in: ${show(r.status ?? r)}`);
}
async function rawRequest(s, request = HEALTH) {
  let got = '';
  s.on('data', (d) => { got += d.toString('latin1'); });
  s.write(request);
  await until(() => /\r\n\r\n\{.*\}$/s.test(got), { what: 'an answer', last: () => got });
  return got;
}

// ------------------------------------------------------------------ it works
for (const cert of CERTS)
  tls('better', `https-${cert}`, `requests by HTTPS, verified against a private authority (${cert})`, on(cert)(async (api, s) => {
    match(s.out, /^listening on https:\/\/127\.0\.0\.1:\d+$/m, 'stdout');
    eq(await status(api), 200);
    eq((await api.runSh('cat', { env: { A: 'b' } })).exitCode, 0);
    const c = await connected(api, { minVersion: 'TLSv1.2' });
    ok(c.authorized, c.authorizationError);
    eq(c.getPeerCertificate().fingerprint256, await told(s), 'the certificate that is announced');
  }));
tls('better', 'chain', 'the certificates between the server and the root are sent along', on('leaf', { cert: 'chain.pem' })(async (api) => {
  eq(await status(api), 200);
  const r = await sClient(api, '-showcerts -verify_return_error');
  eq([r.code, r.out.match(/-----BEGIN CERTIFICATE-----/g)?.length], [0, 2], r.text);
}));
for (const [name, cert] of [['ec.sec1', 'ec'], ['rsa.pkcs1', 'rsa']])
  tls('better', `key-${name}`, `a key as ${name} is taken like one in PKCS #8`, async (ctx) => ctx.withServer(withCert(cert, { key: `${name}.key` }), async (s, api) => { eq(await status(api), 200); }));
tls('better', 'one-file', 'certificate and key may be in one file', async (ctx) => {
  const p = pki();
  fs.writeFileSync(p.file('both.pem'), p.pem('ec.key') + p.pem('ec.pem'), { mode: 0o600 });
  await ctx.withServer(withCert('ec', { cert: 'both.pem', key: 'both.pem' }), async (s, api) => { eq(await status(api), 200); });
});
tls('better', 'stranger-authority', 'a client that does not know the authority refuses, the server goes on', ec(async (api) => {
  const e = await refusedBy(new Api(api.base, undefined, {}).get('/v1/health'), 'without the authority');
  match(e.code, /^(UNABLE_TO|SELF_SIGNED|DEPTH_ZERO)/);
  eq(await status(api), 200);
}));
tls('better', 'curl', 'curl by HTTPS, and with a pinned key', ec(async (api) => {
  if (spawnSync('curl', ['--version']).status !== 0) skip('there is no curl here');
  const p = pki();
  const curl = (...args) => new Promise((resolve) => {
    const c = spawn('curl', ['-sS', '-m', '20', ...args, `${api.base}/v1/health`]);
    let out = '';
    c.stdout.on('data', (d) => { out += d; });
    c.stderr.on('data', (d) => { out += d; });
    c.on('close', (code) => resolve({ code, out }));
  });
  const key = spawnSync('sh', ['-c', 'openssl x509 -in ec.pem -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64'], { cwd: p.dir, encoding: 'utf8' }).stdout.trim();
  eq(await curl('--cacert', p.file('root.pem')), { code: 0, out: '{"status":"ok"}' });
  eq(await curl('-k', '--pinnedpubkey', `sha256//${key}`), { code: 0, out: '{"status":"ok"}' });
  oneOf((await curl()).code, [60, 77]); // 77: the system has no authorities at all
  eq((await curl('-k', '--pinnedpubkey', `sha256//${'A'.repeat(43)}=`)).code, 90);
}));

// ------------------------------------------------------------------ HTTP inside
tls('better', 'sdk', 'the SDK in a program of its own, by https and wss, with NODE_EXTRA_CA_CERTS', async (ctx) => ctx.kept({ ...withCert('ec'), token: 'secret' }, async (api) => {
  const child = fileURLToPath(new URL('../lib/tls_sdk.mjs', import.meta.url));
  const run = (env) => new Promise((resolve) => {
    const c = spawn(process.execPath, [child, api.base, 'secret'], { env: { ...process.env, ...env } });
    let out = '', err = '';
    c.stdout.on('data', (d) => { out += d; });
    c.stderr.on('data', (d) => { err += d; });
    c.on('close', (code) => resolve({ code, out, err }));
    api.open.add({ close: () => c.kill('SIGKILL') });
  });
  const r = await within(run({ NODE_EXTRA_CA_CERTS: pki().file('root.pem') }), secs(30), 'the program to end');
  eq([r.code, r.out], [0, 'run terminal follow wss:\n'], r.err);
  const bad = await within(run({}), secs(30), 'the program to end');
  ok(bad.code !== 0 && /certificate/.test(bad.err), () => `without the authority: ${show(bad)}`);
}));
tls('better', 'terminal', 'a terminal by wss: input, output, size, exit', ec(async (api) => {
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  w.send({ type: 'input', data: 'one\n' });
  await w.waitOut('got:one');
  w.send({ type: 'resize', cols: 101, rows: 31 });
  w.send({ type: 'input', data: 'quit 7\n' });
  includes(await w.wait('exit'), { type: 'exit', exitCode: 7 });
  eq((await w.waitClose()).code, 1000);
}));
tls('better', 'frames-in-pieces', 'a WebSocket whose frames come in a record for each byte', ec(async (api) => {
  const p = await reader(api);
  const w = new RawWs(api, p.id);
  await w.wait((f) => f.op === 1, 'ready');
  for (const b of frame(1, JSON.stringify({ type: 'input', data: 'bytes\n' }))) {
    w.s.write(Buffer.from([b]));
    await new Promise(setImmediate);
  }
  await until(() => Buffer.concat(w.frames.filter((f) => f.op === 2).map((f) => f.data)).includes('got:bytes'), { what: 'the output' });
}));
// What is at port 80 of our name, or on the way to it, is not what is behind our certificate.
tls('better', 'origin-in-clear-text', 'a page of our own name in clear text is not our own page, for POST and WebSocket', async (ctx) => ctx.kept(withCert('ec', { flags: '--allow-host agent.example' }), async (api) => {
  const p = await api.sh('exec cat', { tty: true });
  const forbidden = { status: 403, type: 'permission_denied' };
  const upgrade = Object.entries(UPGRADE).map(([k, v]) => `${k}: ${v}\r\n`).join('');
  const asked = (lines, origin, host) => api.wire().write(`${lines} HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\n${lines[0] === 'G' ? upgrade : 'Content-Length: 0\r\n'}\r\n`, 'GET').answer();
  for (const port of ['', `:${api.port}`]) {
    for (const [lines, status] of [['POST /v1/processes/none/kill', 404], [`GET /v1/processes/${p.id}/terminal/ws`, 101]]) {
      const host = `agent.example${port}`;
      problem(await asked(lines, `http://${host}`, host), forbidden);
      eq((await asked(lines, `https://${host}`, host)).status, status, `https: ${lines}`);
      eq((await asked(lines, 'http://localhost:3000', host)).status, status, `a page of this machine: ${lines}`);
    }
  }
}));
tls('better', 'follow', 'an event stream, replayed and live, and its end', ec(async (api) => {
  const p = await api.sh('echo old; while read l; do echo "$l"; done');
  const f = await api.follow(p.id).opened();
  await f.waitText('old\n');
  for (let i = 0; i < 20; i++) {
    await api.input(p.id, `line ${i}\n`);
    await f.waitText(`line ${i}\n`);
  }
  await api.post(`/v1/processes/${p.id}/input`, { data: '', encoding: 'utf8', eof: true });
  await api.kill(p.id);
  await f.waitEnd();
}));
tls('better', 'in-order', 'one connection for many requests, pipelined, at once and a record for each byte', ec(async (api) => {
  const three = `${HEALTH}GET /v1/nothing HTTP/1.1\r\n${HOST}\r\n${HEALTH}`;
  await bothWays(api, three, ['GET', 'GET', 'GET'], async (w) => {
    await w.answer(3);
    eq(w.answers.map((a) => a.status), [200, 404, 200]);
    w.write(HEALTH, 'GET');
    eq((await w.answer(4)).status, 200);
    ok(!w.ended, 'it stays open');
    w.close();
  });
  const w = api.wire();
  const n = 300;
  w.write(HEALTH.repeat(n), ...Array(n).fill('GET'));
  await w.answer(n);
  eq(new Set(w.answers.map((a) => a.status)), new Set([200]));
}));
tls('better', 'sizes', 'answers around the size of a record, byte for byte', ec(async (api) => {
  for (const n of [1, 16383, 16384, 16385, 32768, 50000, 131072, 1000000]) {
    const r = await api.runSh(`head -c ${n} /dev/zero | tr '\\0' x`);
    eq(r.stdout.length, n, 'length');
    ok(r.stdout === 'x'.repeat(n), `the bytes of ${n}`);
  }
}));
tls('better', 'upload', 'a body of 24 MB arrives byte for byte', async (ctx) => ctx.withServer(withCert('ec'), async (s, api) => {
  await api.setConfig({ maxInputBytesPerRequest: 64e6 });
  const bytes = Buffer.alloc(24e6);
  for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE((i * 2654435761) >>> 0, i);
  const p = await api.sh(`head -c ${bytes.length} | sha256sum`);
  const r = await api.post(`/v1/processes/${p.id}/input`, { data: bytes.toString('base64'), encoding: 'base64' }, { timeout: secs(40) });
  eq(r.status, 200, r.text);
  await api.exited(p.id, secs(40));
  has(await api.logText(p.id), sha256(bytes));
}), { timeout: 120 });
tls('better', 'download', '64 MB by a follower that is fast and one that is slow, byte for byte', async (ctx) => ctx.withServer(withCert('ec'), async (s, api) => {
  const n = 64e6;
  await api.setConfig({ maxLogBytesPerProcess: 2 * n });
  const p = await onCue(api, `head -c ${n} /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null`);
  const body = new Body(api, `/v1/processes/${p.id}/logs?format=raw&stream=stdout&follow=true`);
  await body.opened();
  const slow = await farReader(api, p.id, 'sse', { pace: 2 });
  await cue(api, p.id);
  await api.exited(p.id, secs(60));
  await body.waitEnd(secs(60));
  const hash = (await api.runSh(`{ echo ready; head -c ${n} /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null; } | sha256sum`)).stdout.slice(0, 64);
  eq([body.complete, body.bytes().length, sha256(body.bytes())], [true, n + 6, hash], 'the fast one');
  includes(await slow.result(secs(90)), { bytes: n + 6, sha256: hash, gaps: [], unbroken: true }, 'the slow one');
}), { timeout: 200, slow: true });
tls('better', 'back-pressure', 'a reader that stops costs no memory, and has it all when it goes on', async (ctx) => ctx.withServer(withCert('ec'), async (s, api) => {
  const n = 48e6;
  await api.setConfig({ maxLogBytesPerProcess: 8e6 });
  const p = await onCue(api, `head -c ${n} /dev/zero; echo end`);
  const stopped = await Promise.all(Array.from({ length: 8 }, () => new Body(api, `/v1/processes/${p.id}/logs?format=raw&stream=stdout&follow=true`, { paused: true }).opened()));
  const before = residentKib(s.serverPid());
  await cue(api, p.id);
  await api.exited(p.id, secs(60));
  const grown = residentKib(s.serverPid()) - before;
  if (!isSanitized(s.serverPid())) ok(grown < 40000, `memory grew by ${grown} KiB`);
  for (const b of stopped) b.start();
  await Promise.all(stopped.map((b) => b.waitEnd(secs(60))));
  for (const b of stopped) ok(b.complete ? b.bytes().subarray(-5).includes('end\n') : true, 'the end of it');
}), { timeout: 120 });

// ------------------------------------------------------------------ not TLS
tls('better', 'plain-http', 'HTTP to the port gets a 400 that says what to do, and the end of the connection', ec(async (api) => {
  const plain = new Api(api.base.replace('https:', 'http:'));
  const r = await plain.get('/v1/health');
  const p = problem(r, { status: 400, type: 'invalid_request' });
  match(p.detail, /https:\/\//);
  eq(r.headers.connection, 'close');
  for (const request of ['POST /v1/processes HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345', '\r\nGET / HTTP/1.1\r\n\r\n', `${HEALTH}${HEALTH}`, 'G']) {
    const a = await plain.raw(request, { timeout: secs(5) });
    eq([a.why, a.text.match(/HTTP\/1\.1 \d+/g)], ['closed', ['HTTP/1.1 400']], request);
  }
  eq((await api.get('/v1/processes')).json.processes, []);
}));
tls('better', 'plain-websocket', 'ws:// to the port is refused with that answer', ec(async (api) => {
  const plain = new Api(api.base.replace('https:', 'http:'));
  const p = await reader(api);
  const w = await plain.ws(p.id);
  await w.opened().then(() => fail('it was opened'), () => {});
  eq(w.rejected?.status, 400);
}));
tls('better', 'noise', 'what is neither TLS nor HTTP ends the connection and nothing else', ec(async (api) => {
  const plain = new Api(api.base.replace('https:', 'http:'));
  const noise = [
    Buffer.from([0]), Buffer.from('ssh-2.0-x\r\n'), Buffer.alloc(70000, 0xff), Buffer.from([22]),
    Buffer.from([22, 3, 1, 0xff, 0xff, ...Array(300).fill(1)]), Buffer.from([22, 3, 1, 0, 0]), Buffer.from([22, 3, 1, 0, 5, 1, 0, 0, 1, 0]),
    Buffer.from([21, 3, 1, 0, 2, 1, 0]), Buffer.from([23, 3, 3, 0, 1, 0]), Buffer.from([20, 3, 3, 0, 1, 1]),
    Buffer.from([0x80, 0x2e, 1, 0, 2]), // SSL 2
  ];
  for (const bytes of noise) {
    const s = net.connect(plain.port, plain.host);
    let closed = false;
    s.on('error', () => {});
    s.on('close', () => { closed = true; });
    s.resume();
    s.end(bytes);
    await until(() => closed, { what: `the end after ${bytes.subarray(0, 12).toString('hex')}`, within: secs(20) });
  }
  eq(await status(api), 200);
}));

tls('better', 'unix-stays-plain', 'a unix socket beside it has no TLS', async (ctx) => {
  const p = pki();
  const socketPath = path.join(fs.mkdtempSync(path.join(p.dir, 'unix-')), 'agent.sock');
  const o = withCert('ec');
  await ctx.withServer({ ...o, flags: `${o.flags} --listen unix:${quote(socketPath)}` }, async (s, api) => {
    eq(await status(api), 200);
    eq(await status(new Api(`unix:${socketPath}`)), 200);
  });
});

// ------------------------------------------------------------------ who is let in
const MUTUAL = () => ({ flags: `--tls-client-ca ${quote(pki().file('clients.pem'))}` });
const mutual = (fn) => async (ctx) => ctx.kept({ ...withCert('ec', MUTUAL()), tls: { ca: pki().pem('root.pem'), ...clientCert('client') } }, fn);
const as = (api, name) => new Api(api.base, undefined, { ca: pki().pem('root.pem'), ...(name ? clientCert(name) : {}) });
tls('better', 'mutual', 'with --tls-client-ca a certificate of that authority is let in', mutual(async (api) => {
  eq(await status(api), 200);
  eq(await status(as(api, 'client-rsa')), 200);
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  w.send({ type: 'input', data: 'quit 0\n' });
  await w.wait('exit');
}));
for (const [name, why] of [[null, 'none'], ['stranger', 'of another authority'], ['client-late', 'that has expired'], ['client-server', 'for servers only']])
  tls('better', `mutual-${name ?? 'none'}`, `with --tls-client-ca a client with a certificate ${why} is not`, mutual(async (api) => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      const other = as(api, name);
      other.tls.maxVersion = maxVersion;
      const e = await refusedBy(other.get('/v1/health'), maxVersion);
      match(e.code, /^(ERR_SSL_|ECONNRESET|EPIPE|EPROTO)/, `${maxVersion}: ${e.message}`);
    }
    eq(await status(api), 200);
  }));
tls('better', 'mutual-resumed', 'a session of a client that was let in is resumed, one of another server is not', mutual(async (api) => {
  const cert = '-cert client.pem -key client.key -tls1_2';
  const file = `session-${api.port}`;
  const first = await sClient(api, `${cert} -sess_out ${file}`, { input: HEALTH, stop: /"status":"ok"/ });
  match(first.out, /^New, TLSv1\.2/m);
  const again = await sClient(api, `${cert} -sess_in ${file}`, { input: HEALTH, stop: /"status":"ok"/ });
  match(again.out, /^Reused, TLSv1\.2/m);
}));

// ------------------------------------------------------------------ what is offered
for (const old of ['-tls1', '-tls1_1'])
  tls('better', `version${old.slice(1)}`, `${old.slice(1)} is refused with an alert`, ec(async (api) => {
    const r = await sClient(api, `${old} -cipher ALL:@SECLEVEL=0`);
    ok(r.code !== 0, 'it was let in');
    match(r.text, /protocol version|unsupported protocol|no protocols available/i);
    match(r.out, /Cipher is \(NONE\)/);
  }));
const SUITES = [
  ['CBC', 'ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA384'],
  ['RSA key exchange', 'AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA'],
  ['finite fields', 'DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384'],
  ['a shared key', 'PSK-AES128-GCM-SHA256:ECDHE-PSK-AES128-CBC-SHA'],
  ['nothing at all', 'NULL:eNULL:aNULL'],
  ['CCM', 'ECDHE-ECDSA-AES128-CCM:ECDHE-ECDSA-AES128-CCM8'],
];
for (const cert of ['ec', 'rsa'])
  tls('better', `suites-${cert}`, 'suites without forward secrecy or authenticated encryption are refused, the others work', on(cert)(async (api) => {
    for (const [what, suites] of SUITES) {
      const r = await sClient(api, `-tls1_2 -cipher ${suites}:@SECLEVEL=0`);
      ok(r.code !== 0 && /Cipher is \(NONE\)/.test(r.out), `${what}: ${r.out.match(/Cipher is .*/)}`);
    }
    const auth = cert === 'rsa' ? 'RSA' : 'ECDSA';
    for (const suite of ['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305']) {
      const r = await sClient(api, `-tls1_2 -cipher ECDHE-${auth}-${suite}`, { input: HEALTH, stop: /"status":"ok"/ });
      has(r.out, `New, TLSv1.2, Cipher is ECDHE-${auth}-${suite}`);
    }
  }));
tls('better', 'curves', 'each curve that is offered works, others are not taken', on('rsa')(async (api) => {
  for (const curve of ['X25519', 'P-256', 'P-384']) {
    const r = await sClient(api, `-tls1_2 -curves ${curve}`, { input: HEALTH, stop: /"status":"ok"/ });
    has(r.text, '"status":"ok"', curve);
    match(r.out, new RegExp(`Temp Key: (ECDH, )?${{ 'P-256': 'prime256v1', 'P-384': 'secp384r1' }[curve] ?? curve}`), curve);
  }
  const r = await sClient(api, '-tls1_2 -curves P-521');
  ok(r.code !== 0, 'P-521 alone');
}));
tls('better', 'alpn', 'http/1.1 is chosen where the client asks, and a client of HTTP/2 alone is refused', ec(async (api) => {
  const c = await connected(api, { ALPNProtocols: ['h2', 'http/1.1'] });
  eq(c.alpnProtocol, 'http/1.1');
  await rawRequest(c);
  await refusedBy(connected(api, { ALPNProtocols: ['h2'] }), 'h2');
  eq((await connected(api)).alpnProtocol, false);
}));
tls('better', 'any-name', 'the name that a client asks for changes nothing', ec(async (api) => {
  for (const servername of ['localhost', 'example.org', 'x'.repeat(63)]) await rawRequest(await connected(api, { servername, rejectUnauthorized: false }));
}));
tls('better', 'resumption', 'a session is resumed: by ticket, in TLS 1.2 and where there is 1.3 in it too', ec(async (api) => {
  for (const version of ['1_2', '1_3']) {
    const file = `session-${api.port}-${version}`;
    const first = await sClient(api, `-tls${version} -sess_out ${file}`, { input: HEALTH, stop: /"status":"ok"/ });
    if (version === '1_3' && first.code !== 0) continue;
    match(first.out, /^New, TLSv1/m);
    match(first.text, /"status":"ok"/);
    const again = await sClient(api, `-tls${version} -sess_in ${file}`, { input: HEALTH, stop: /"status":"ok"/ });
    match(again.out, /^Reused, TLSv1/m);
    match(again.text, /"status":"ok"/);
  }
}));
tls('better', 'renegotiation', 'renegotiation is refused, and there is no compression', ec(async (api) => {
  const r = await sClient(api, '-tls1_2', { input: 'R\n', stop: /error|alert|no renegotiation/i });
  has(r.out, 'Secure Renegotiation IS supported');
  has(r.out, 'Compression: NONE');
  match(r.text, /no renegotiation|alert|error/i);
  eq(r.out.match(/^Server certificate$/gm)?.length, 1, 'handshakes');
}));

// ------------------------------------------------------------------ ends of connections
tls('better', 'close-notify-from-us', 'what ends as it should ends with close_notify', ec(async (api) => {
  const requests = [
    `GET /v1/health HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
    `GET /v1/health HTTP/1.0\r\n${HOST}\r\n`,
    'NONSENSE\r\n\r\n',
    `POST /v1/processes/run HTTP/1.1\r\n${HOST}Content-Length: x\r\n\r\n`,
  ];
  for (const input of requests) for (const version of ['-tls1_2', '']) {
    const r = await sClient(api, version, { input });
    match(r.out, /HTTP\/1\.1 (200|400|422)/, input);
    lacks(r.text, 'unexpected eof', input);
    eq(r.code, 0, r.err);
  }
}));
tls('better', 'close-notify-from-them', 'a client that says goodbye is let go, with all that it asked for', ec(async (api, s) => {
  const w = api.wire();
  w.write(HEALTH.repeat(3), 'GET', 'GET', 'GET');
  w.s.end(); // close_notify behind the requests
  await w.answer(3);
  await w.waitEnd();
  eq(w.answers.map((a) => a.status), [200, 200, 200]);
  const p = await api.sh('exec sleep 60');
  const f = await api.follow(p.id).opened();
  f.close();
  await api.cleanup();
  eq(await s.residue(), []);
}));
tls('better', 'truncation', 'a request that is cut off without close_notify is not handled', ec(async (api, s) => {
  const body = JSON.stringify({ command: 'touch', args: [path.join(s.dir, 'was-run')] });
  const cases = [
    [`POST /v1/processes HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: ${body.length}\r\n\r\n${body.slice(0, -1)}`],
    [`POST /v1/processes HTTP/1.1\r\n${HOST}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n`],
    [`POST /v1/processes HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: ${body.length}\r\n`],
  ];
  for (const [request] of cases) {
    const { secure, socket } = await overSocket(api, net.connect(api.port, api.host));
    let ended = false;
    socket.on('close', () => { ended = true; });
    secure.resume();
    await new Promise((resolve) => { secure.write(request, resolve); });
    socket.end(); // FIN, and no word of TLS before it
    await until(() => ended, { what: 'the server to close' });
  }
  eq((await api.get('/v1/processes')).json.processes, []);
  eq(fs.existsSync(path.join(s.dir, 'was-run')), false);
}));
tls('better', 'torn-apart', 'connections that are reset at any byte of handshake and request', ec(async (api, s) => {
  // What one exchange takes on the wire, and then less and less of it.
  for (let n = 1; n < 900; n += 37) {
    const out = net.connect(api.port, api.host);
    out.on('error', () => {});
    await new Promise((resolve) => { out.once('connect', resolve); });
    const through = net.createServer((c) => {
      let left = n;
      c.on('error', () => {});
      out.on('data', (d) => c.write(d));
      c.on('data', (d) => {
        out.write(d.subarray(0, left));
        left -= Math.min(left, d.length);
        if (left === 0) { out.resetAndDestroy(); c.destroy(); }
      });
    });
    await new Promise((resolve) => { through.listen(0, '127.0.0.1', resolve); });
    const near = new Api(`https://127.0.0.1:${through.address().port}`, undefined, api.tls);
    await near.get('/v1/health').catch(() => {});
    out.destroy();
    through.close();
  }
  eq(await status(api), 200);
  eq(await s.residue(), []);
}));
tls('better', 'tampered', 'a record that was changed on its way ends the connection, and is not handled', ec(async (api, s) => {
  const body = JSON.stringify({ command: 'touch', args: [path.join(s.dir, 'was-run')] });
  // Bytes 1 and 2 are a version that means nothing any more (RFC 8446, 5.1).
  for (const at of [0, 3, 4, 5, 13, 20, 100, -1]) {
    let open = false;
    const through = net.createServer((c) => {
      const out = net.connect(api.port, api.host);
      c.on('error', () => {});
      out.on('error', () => {});
      out.on('data', (d) => c.write(d));
      out.on('close', () => c.end());
      c.on('data', (d) => {
        const changed = Buffer.from(d);
        if (open) changed[(at + d.length) % d.length] ^= 1;
        out.write(changed);
      });
      c.on('close', () => out.destroy());
    });
    await new Promise((resolve) => { through.listen(0, '127.0.0.1', resolve); });
    try {
      const near = new Api(`https://127.0.0.1:${through.address().port}`, undefined, api.tls);
      const c = await connected(near);
      let got = '', ended = false;
      c.on('data', (d) => { got += d; });
      c.on('error', () => { ended = true; });
      c.on('close', () => { ended = true; });
      open = true;
      c.write(`POST /v1/processes HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: ${body.length}\r\n\r\n${body}`);
      // A length that has become longer waits for the rest, which does not come.
      if (at === 3 || at === 4) c.end();
      await until(() => ended, { what: `the end, byte ${at} changed` });
      eq(got, '', `byte ${at}`);
      near.open.forEach((x) => x.close());
    } finally {
      through.close();
    }
  }
  eq((await api.get('/v1/processes')).json.processes, []);
  eq(fs.existsSync(path.join(s.dir, 'was-run')), false);
}));
tls('better', 'stuck', '200 handshakes that stop half way delay nobody and are ended at their deadline', async (ctx) => ctx.withServer(withCert('ec'), async (s, api) => {
  const hello = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
  let closed = 0;
  const t0 = Date.now();
  const stuck = Array.from({ length: 200 }, (_, i) => {
    const c = net.connect(api.port, api.host);
    c.on('error', () => {});
    c.on('close', () => { closed++; });
    c.resume();
    if (i % 2) c.write(hello.subarray(0, 1 + (i % hello.length)));
    return c;
  });
  try {
    for (let i = 0; i < 20; i++) eq(await status(api), 200);
    eq(closed, 0, 'twenty answers came while all were stuck'); // and none before its time
    await until(() => closed === stuck.length, { within: secs(30), what: 'the end of all that are stuck', last: () => closed });
    ok(Date.now() - t0 >= 5000, 'a slow client has five seconds at least');
  } finally {
    for (const c of stuck) c.destroy();
  }
}), { slow: true });
tls('better', 'dripping', 'a handshake that comes byte by byte is completed', ec(async (api) => {
  const through = net.createServer((c) => {
    const out = net.connect({ port: api.port, host: api.host, noDelay: true });
    c.on('error', () => {});
    out.on('error', () => {});
    out.on('data', (d) => c.write(d));
    out.on('end', () => c.end());
    c.on('data', (d) => { for (const b of d) out.write(Buffer.from([b])); });
    c.on('close', () => out.destroy());
  });
  await new Promise((resolve) => { through.listen(0, '127.0.0.1', resolve); });
  try {
    const near = new Api(`https://127.0.0.1:${through.address().port}`, undefined, api.tls);
    eq(await status(near), 200);
  } finally {
    through.close();
  }
}));
tls('better', 'many', '100 clients that connect at once all get an answer', ec(async (api) => {
  eq(new Set(await Promise.all(Array.from({ length: 100 }, () => status(api)))), new Set([200]));
}));

// ------------------------------------------------------------------ bad files at start
const START = ['server', '--no-token', '--port', '0'];
async function badStart(ctx, files, code, ...words) {
  const r = await ctx.command([...START, ...files]);
  eq([code.includes(r.code), r.out, r.late], [true, '', false], `exit ${r.code} with ${r.err}`);
  eq(r.err.trimEnd().split('\n').length, 1, `lines on stderr: ${r.err}`);
  for (const w of words) has(r.err, w, 'stderr');
}
for (const [id, cert, key, says] of [
  ['no-certificate', 'missing.pem', 'ec.key', ['--tls-cert', 'missing.pem', 'No such file']],
  ['no-key', 'ec.pem', 'missing.key', ['--tls-key', 'missing.key', 'No such file']],
  ['garbage-certificate', 'garbage.pem', 'ec.key', ['--tls-cert', 'garbage.pem']],
  ['broken-certificate', 'broken.pem', 'ec.key', ['--tls-cert', 'broken.pem']],
  ['empty-certificate', 'empty.pem', 'ec.key', ['--tls-cert', 'empty.pem', 'empty']],
  ['garbage-key', 'ec.pem', 'garbage.pem', ['--tls-key', 'garbage.pem']],
  ['certificate-as-key', 'ec.pem', 'ec.pem', ['--tls-key', 'ec.pem']],
  ['key-as-certificate', 'ec.key', 'ec.key', ['--tls-cert', 'ec.key']],
  ['key-of-another', 'ec.pem', 'other.key', ['--tls-key', 'other.key', 'ec.pem']],
  ['key-of-another-kind', 'ec.pem', 'rsa.key', ['--tls-key', 'rsa.key', 'ec.pem']],
  ['encrypted-key', 'ec.pem', 'locked.key', ['--tls-key', 'locked.key', 'encrypted']],
])
  tls('better', `start-${id}`, 'a bad file at the start is an error that names flag and file', async (ctx) => {
    const p = pki();
    await badStart(ctx, ['--tls-cert', p.file(cert), '--tls-key', p.file(key)], [1], ...says);
  });
tls('better', 'start-client-ca', 'a bad file of --tls-client-ca is an error too', async (ctx) => {
  const p = pki();
  const pair = ['--tls-cert', p.file('ec.pem'), '--tls-key', p.file('ec.key')];
  for (const file of ['missing.pem', 'garbage.pem', 'broken.pem', 'empty.pem', 'ec.key']) await badStart(ctx, [...pair, '--tls-client-ca', p.file(file)], [1], '--tls-client-ca', file);
});
tls('better', 'start-flags', 'flags that do not go together are refused', async (ctx) => {
  const p = pki();
  const cert = ['--tls-cert', p.file('ec.pem')], key = ['--tls-key', p.file('ec.key')];
  await badStart(ctx, cert, [1, 2], '--tls-key');
  await badStart(ctx, key, [1, 2], '--tls-cert');
  await badStart(ctx, ['--tls-client-ca', p.file('clients.pem')], [1, 2], '--tls-client-ca');
  await badStart(ctx, [...cert, ...key, '--tls-self-signed'], [1, 2], '--tls-self-signed');
});
tls('better', 'expired', 'a certificate that has expired is served: the clients are to judge it', async (ctx) => ctx.withServer({ ...withCert('late'), tls: { rejectUnauthorized: false } }, async (s, api) => {
  const e = await refusedBy(connected(new Api(api.base, undefined, { ca: pki().pem('root.pem') })), 'expired');
  eq(e.code, 'CERT_HAS_EXPIRED');
  eq(await status(api), 200);
}));

// ------------------------------------------------------------------ SIGHUP
// A server whose files are its own, so that they can be replaced: put(certificate, key).
async function replaceable(ctx, fn, extra = '') {
  const p = pki();
  const dir = fs.mkdtempSync(path.join(p.dir, 'own-'));
  const cert = path.join(dir, 'cert.pem'), key = path.join(dir, 'key.pem'), ca = path.join(dir, 'ca.pem');
  const put = (c, k) => { fs.writeFileSync(cert, p.pem(c)); fs.writeFileSync(key, p.pem(k), { mode: 0o600 }); };
  put('ec.pem', 'ec.key');
  fs.writeFileSync(ca, p.pem('clients.pem'));
  const flags = `--log-level info --tls-cert ${quote(cert)} --tls-key ${quote(key)} ${extra.replaceAll('CA', quote(ca))}`;
  await ctx.withServer({ flags, tls: { ca: p.pem('root.pem'), ...(extra ? clientCert('client') : {}) } }, (s, api) => fn({ s, api, put, cert, key, ca, p }));
}
const fingerprint = (p, name) => spawnSync('openssl', ['x509', '-in', p.file(name), '-noout', '-fingerprint', '-sha256'], { encoding: 'utf8' }).stdout.trim().split('=')[1];
tls('better', 'reload', 'SIGHUP: new connections get the new certificate, those that are open go on', async (ctx) => replaceable(ctx, async ({ s, api, put, p }) => {
  const kept = api.wire().write(HEALTH, 'GET');
  await kept.answer(1);
  const proc = await api.sh('while read l; do echo "$l"; done');
  const stream = await api.follow(proc.id).opened();
  const shell = await reader(api);
  const w = await api.ws(shell.id);
  await w.ready();
  eq((await shown(api)).fingerprint256, fingerprint(p, 'ec.pem'));
  for (const name of ['rsa', 'other', 'ec']) {
    put(`${name}.pem`, `${name}.key`);
    s.signal('SIGHUP');
    await until(async () => (await shown(api)).fingerprint256 === fingerprint(p, `${name}.pem`), READY);
    await api.input(proc.id, `${name}\n`);
    await stream.waitText(`${name}\n`);
    w.send({ type: 'input', data: `${name}\n` });
    await w.waitOut(`got:${name}`);
    kept.write(HEALTH, 'GET');
    eq((await kept.answer(kept.answers.length + 1)).status, 200);
    await until(() => s.log.includes(fingerprint(p, `${name}.pem`)), { what: 'the fingerprint on stderr', last: () => s.log });
  }
}));
tls('better', 'reload-bad', 'SIGHUP with a bad file: the old certificate stays, and stderr says why', async (ctx) => replaceable(ctx, async ({ s, api, put, cert, key, p }) => {
  const was = fingerprint(p, 'ec.pem');
  const bad = [
    [() => put('ec.pem', 'other.key'), key],
    [() => put('garbage.pem', 'ec.key'), cert],
    [() => put('ec.pem', 'locked.key'), key],
    [() => put('empty.pem', 'ec.key'), cert],
    [() => { put('ec.pem', 'ec.key'); fs.rmSync(cert); }, cert],
    [() => { put('ec.pem', 'ec.key'); fs.rmSync(key); fs.mkdirSync(key); }, key],
  ];
  for (const [spoil, named] of bad) {
    spoil();
    const from = s.log.length;
    s.signal('SIGHUP');
    await until(() => /the old certificate stays/.test(s.log.slice(from)), { what: 'a line on stderr', last: () => s.log.slice(from) });
    has(s.log.slice(from), named);
    eq((await shown(api)).fingerprint256, was);
    eq(await status(api), 200);
  }
  fs.rmdirSync(key);
  put('rsa.pem', 'rsa.key');
  s.signal('SIGHUP');
  await until(async () => (await shown(api)).fingerprint256 === fingerprint(p, 'rsa.pem'), READY);
}));
tls('better', 'reload-client-ca', 'SIGHUP with another client authority: its clients get in, those of the old one do not, nor by a ticket', async (ctx) => replaceable(ctx, async ({ s, api, ca, p }) => {
  const cert = '-tls1_2 -cert client.pem -key client.key', file = `session-${api.port}`;
  await sClient(api, `${cert} -sess_out ${file}`, { input: HEALTH, stop: /"status":"ok"/ });
  match((await sClient(api, `${cert} -sess_in ${file}`, { input: HEALTH, stop: /"status":"ok"/ })).out, /^Reused/m);
  const kept = api.wire().write(HEALTH, 'GET');
  await kept.answer(1);
  fs.writeFileSync(ca, p.pem('strangers.pem'));
  s.signal('SIGHUP');
  await until(async () => (await status(as(api, 'stranger')).catch(() => 0)) === 200, READY);
  await refusedBy(status(as(api, 'client')), 'the old authority');
  const r = await sClient(api, `${cert} -sess_in ${file}`, { input: HEALTH, stop: /"status":"ok"/ });
  lacks(r.out, '"status":"ok"');
  kept.write(HEALTH, 'GET');
  eq((await kept.answer(2)).status, 200, 'a connection that was let in');
  fs.writeFileSync(ca, p.pem('clients.pem'));
  s.signal('SIGHUP');
  await until(async () => (await status(api).catch(() => 0)) === 200, READY);
}, '--tls-client-ca CA'));
tls('better', 'reload-kept', 'the certificate and the client authority that SIGHUP read are those of the next servers, though the files are gone', async (ctx) => replaceable(ctx, async ({ s, api, put, cert, key, ca, p }) => {
  if (!s.hasKeeper()) skip('this server has no keeper');
  put('rsa.pem', 'rsa.key');
  fs.writeFileSync(ca, p.pem('strangers.pem'));
  s.signal('SIGHUP');
  await until(async () => (await status(as(api, 'stranger')).catch(() => 0)) === 200, READY);
  for (const f of [cert, key, ca]) fs.rmSync(f);
  Object.assign(s.api.tls, clientCert('stranger'));
  for (const [what, next] of [['kill -9', () => s.killServer()], ['an upgrade', async () => {
    const old = s.serverPid();
    s.known = 0;
    s.signal('SIGUSR2');
    await s.successor(old);
    await until(() => !here(old), { what: 'the end of the old server' });
  }]]) {
    const from = s.log.length;
    await next();
    await until(() => s.log.slice(from).includes('the certificate of before stays'), { what: `the message after ${what}`, last: () => s.log.slice(from) });
    eq((await shown(as(api, 'stranger'))).fingerprint256, fingerprint(p, 'rsa.pem'), what);
    eq(await status(as(api, 'stranger')), 200, what);
    await refusedBy(status(as(api, 'client')), `the old authority after ${what}`);
  }
}, '--tls-client-ca CA'));
tls('better', 'reload-often', 'many reloads under load leave nothing behind', async (ctx) => replaceable(ctx, async ({ s, api, put }) => {
  let going = true, answers = 0;
  const ask = async () => { while (going) { eq(await status(api), 200); answers++; } };
  const hands = [ask(), ask(), ask()];
  try {
    for (let i = 0; i < 40; i++) {
      const name = ['ec', 'rsa', 'other'][i % 3], want = answers + 2;
      put(`${name}.pem`, `${name}.key`);
      s.signal('SIGHUP');
      await until(() => answers >= want, { every: 2, what: 'answers in between' });
    }
  } finally {
    going = false;
  }
  await Promise.all(hands);
  eq(await s.residue(), []);
}));
tls('better', 'next-server', 'a server that the keeper starts anew has certificate and key, whatever became of the files', async (ctx) => replaceable(ctx, async ({ s, api, cert, key, p }) => {
  if (!s.hasKeeper()) skip('there is no keeper');
  fs.rmSync(cert);
  fs.writeFileSync(key, 'garbage');
  await s.killServer();
  eq((await shown(api)).fingerprint256, fingerprint(p, 'ec.pem'));
}));

// A fork has the state of every generator that its parent had begun to use.
const share = async (api, version) => {
  const r = await sClient(api, `-tls${version} -groups X25519:P-256 -msg -ign_eof`, { input: `GET / HTTP/1.0\r\n${HOST}\r\n` });
  const hex = r.out.replace(/^(?:<<<|>>>).*$/gm, '|').replace(/\s+/g, '');
  return (/00330024001d0020([0-9a-f]{64})/.exec(hex.split('|').find((m) => m.startsWith('02')) ?? '') ?? /\|0c0000[0-9a-f]{2}03001d20([0-9a-f]{64})/.exec(hex))?.[1] ?? fail(`no key share: ${r.text.slice(0, 300)}`);
};
for (const [id, flags] of [['files', () => withCert('ec')], ['self-signed', () => (pki(), { flags: '--tls-self-signed', tls: { rejectUnauthorized: false } })]])
  tls('better', `fresh-keys-${id}`, 'no server uses the ephemeral keys of another one that the keeper started', async (ctx) => ctx.withServer(flags(), async (s, api) => {
    if (!s.hasKeeper()) skip('there is no keeper');
    const seen = [];
    for (let life = 0; life < 3; life++) {
      if (life > 0) await s.killServer();
      for (let i = 0; i < 10; i++) seen.push(await share(api, '1_2'));
      if (life === 0) ok(new Set(seen).size === seen.length, 'keys of one server');
      for (let i = 0; i < 10; i++) seen.push(await share(api, '1_3').catch(() => `${seen.length}`));
    }
    eq(new Set(seen).size, seen.length, 'different keys');
  }), { timeout: 120 });

// ------------------------------------------------------------------ --tls-self-signed
const self = (fn, o = {}) => async (ctx) => {
  pki();
  return ctx.withServer({ tls: { rejectUnauthorized: false }, ...o, flags: `--tls-self-signed ${o.flags ?? ''}` }, (s, api) => fn(s, api, ctx));
};
const modes = (s) => fs.readdirSync(s.dataDir).filter((f) => f.startsWith('tls-')).map((f) => [f, (fs.statSync(path.join(s.dataDir, f)).mode & 0o777).toString(8)]);
const trusting = (s) => new Api(s.url, undefined, { ca: fs.readFileSync(path.join(s.dataDir, 'tls-cert.pem'), 'utf8') });
tls('better', 'self-signed', 'a certificate of its own: announced, served, and its own authority', self(async (s, api) => {
  const c = await shown(api);
  eq(c.fingerprint256, await told(s));
  eq(modes(s), [['tls-cert.pem', '600'], ['tls-key.pem', '600']]);
  for (const name of ['DNS:localhost', 'IP Address:127.0.0.1', 'IP Address:0:0:0:0:0:0:0:1']) has(c.subjectaltname, name);
  eq(await status(trusting(s)), 200);
  const days = (new Date(c.valid_to) - Date.now()) / 86400e3;
  ok(days > 800 && days < 826, `valid for ${days} days`);
  lacks(s.out + s.log, 'PRIVATE', 'what it says');
}));
tls('better', 'self-signed-names', 'addresses listened on and --allow-host are in it', self(async (s, api) => {
  const c = await shown(api);
  for (const name of ['DNS:box.example.org', 'IP Address:127.0.0.2', 'IP Address:127.0.0.1']) has(c.subjectaltname, name);
}, { flags: '--allow-host box.example.org --listen 127.0.0.2:0' }));
tls('better', 'self-signed-kept', 'it stays the same over restarts, kills and SIGHUP', self(async (s, api) => {
  const was = await told(s);
  const file = fs.readFileSync(path.join(s.dataDir, 'tls-key.pem'), 'utf8');
  await s.restart();
  eq([await told(s), (await shown(s.api)).fingerprint256], [was, was], 'after a restart');
  if (s.hasKeeper()) await s.killServer();
  eq((await shown(s.api)).fingerprint256, was, 'after kill -9 of the server');
  if (s.hasKeeper()) {
    const old = s.serverPid();
    s.signal('SIGUSR2');
    await s.successor(old);
    eq((await shown(s.api)).fingerprint256, was, 'after an upgrade');
  }
  await s.crash();
  await s.again();
  eq([await told(s), (await shown(s.api)).fingerprint256], [was, was], 'after kill -9 of both');
  s.signal('SIGHUP');
  eq(await status(s.api), 200);
  eq((await shown(s.api)).fingerprint256, was, 'after SIGHUP');
  eq(fs.readFileSync(path.join(s.dataDir, 'tls-key.pem'), 'utf8'), file);
  eq(modes(s).map(([, m]) => m), ['600', '600']);
}));
tls('better', 'self-signed-renewed', 'a name that is new is a new certificate for the same key', self(async (s) => {
  const was = await told(s);
  const key = fs.readFileSync(path.join(s.dataDir, 'tls-key.pem'), 'utf8');
  await s.restart({ flags: '--tls-self-signed --allow-host new.example.org' });
  const c = await shown(s.api);
  has(c.subjectaltname, 'DNS:new.example.org');
  ok(c.fingerprint256 !== was, 'another certificate');
  eq(fs.readFileSync(path.join(s.dataDir, 'tls-key.pem'), 'utf8'), key);
  await s.restart({ flags: '--tls-self-signed' });
  eq((await shown(s.api)).fingerprint256, c.fingerprint256, 'one with more names than needed stays');
}));
tls('better', 'self-signed-broken', 'broken files are replaced', self(async (s) => {
  const was = await told(s);
  for (const [file, text] of [['tls-cert.pem', 'garbage\n'], ['tls-key.pem', 'garbage\n'], ['tls-cert.pem', pki().pem('ec.pem')]]) {
    fs.writeFileSync(path.join(s.dataDir, file), text);
    await s.restart();
    eq((await shown(s.api)).fingerprint256, await told(s));
    eq(await status(trusting(s)), 200);
  }
  ok((await told(s)) !== was, 'another one');
}));
tls('better', 'self-signed-mutual', 'with --tls-client-ca too', async (ctx) => {
  const p = pki();
  await ctx.withServer({ flags: `--tls-self-signed --tls-client-ca ${quote(p.file('clients.pem'))}`, tls: { rejectUnauthorized: false, ...clientCert('client') } }, async (s, api) => {
    eq(await status(api), 200);
    await refusedBy(status(new Api(api.base, undefined, { rejectUnauthorized: false })), 'without a certificate');
  });
});

// ------------------------------------------------------------------ secrets
tls('better', 'key-stays-inside', 'children have neither the key nor a descriptor of its file', ec(async (api) => {
  const key = pki().pem('ec.key').split('\n')[1];
  const r = await api.runSh('env; ls -l /proc/self/fd; cat /proc/self/cmdline');
  lacks(r.stdout, key.slice(0, 20));
  lacks(r.stdout, 'ec.key');
}));
