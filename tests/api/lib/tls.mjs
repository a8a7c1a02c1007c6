// Certificates of every kind that the cases about TLS need, made by the openssl command when the first
// of them asks, and a client that can speak what Node cannot: `openssl s_client`.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { CaseFailure, secs, skip, until } from './assert.mjs';
import { quote, settings } from './server.mjs';

const NAMES = 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1';
const LEAF = `basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\n`;
const CA = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n';
const EXTENSIONS = {
  root: CA,
  middle: CA,
  server: `${LEAF}extendedKeyUsage=serverAuth\n${NAMES}\n`,
  client: `${LEAF}extendedKeyUsage=clientAuth\n`,
};
const KEYS = {
  ec: '-algorithm EC -pkeyopt ec_paramgen_curve:P-256',
  p384: '-algorithm EC -pkeyopt ec_paramgen_curve:P-384',
  rsa: '-algorithm RSA -pkeyopt rsa_keygen_bits:2048',
};
// What `openssl ca` wants to be told; it alone can sign for times in the past in every version.
const CONFIG = `[ca]
default_ca=it
[it]
dir=.
database=./index
new_certs_dir=.
default_md=sha256
policy=any
rand_serial=yes
unique_subject=no
[any]
commonName=supplied
`;

// In the directory of the certificates. Its stdout, or a failure that says what it said.
function openssl(dir, line, options = {}) {
  const r = spawnSync('openssl', line.split(' '), { cwd: dir, encoding: 'utf8', ...options });
  if (r.status !== 0) throw new CaseFailure(`openssl ${line}: ${r.error ?? r.stderr}`);
  return r.stdout;
}
const there = () => spawnSync('openssl', ['version']).status === 0;
let hasTls;
function builtWithTls() {
  hasTls ??= /--tls-cert/.test(spawnSync(settings.bin, ['server', '--help'], { encoding: 'utf8' }).stdout) &&
    !/tls: none/.test(spawnSync(settings.bin, ['--version'], { encoding: 'utf8' }).stdout);
  return hasTls;
}

let made;
// {dir, file(name), pem(name)}; skips the case where it cannot run.
export function pki() {
  if (!builtWithTls()) skip('this server was built without TLS');
  if (!there()) skip('there is no openssl command here');
  made ??= makeAll();
  return made;
}
function makeAll() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sbx-tls-'));
  process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
  const file = (name) => path.join(dir, name);
  const pem = (name) => fs.readFileSync(file(name), 'utf8');
  const write = (name, text) => fs.writeFileSync(file(name), text, { mode: 0o600 });
  write('config', CONFIG);
  write('index', '');
  for (const [kind, text] of Object.entries(EXTENSIONS)) write(`${kind}.ext`, text);

  // name.key and name.pem; by: who signs, itself if nobody; from, to: validity, where not usual.
  const issue = (name, kind, { by = name, key = 'ec', from, to } = {}) => {
    openssl(dir, `genpkey ${KEYS[key]} -out ${name}.key`);
    openssl(dir, `req -new -key ${name}.key -subj /CN=${name} -out ${name}.csr`);
    const when = from ? `-startdate ${from} -enddate ${to}` : '-days 30';
    const signer = by === name ? `-selfsign -keyfile ${name}.key` : `-cert ${by}.pem -keyfile ${by}.key`;
    openssl(dir, `ca -batch -notext -config config ${signer} -extfile ${kind}.ext ${when} -in ${name}.csr -out ${name}.pem`);
  };
  const past = { from: '20200101000000Z', to: '20210101000000Z' };
  issue('root', 'root');
  issue('middle', 'middle', { by: 'root' });
  issue('ec', 'server', { by: 'root' });
  issue('rsa', 'server', { by: 'root', key: 'rsa' });
  issue('p384', 'server', { by: 'root', key: 'p384' });
  issue('other', 'server', { by: 'root' });
  issue('leaf', 'server', { by: 'middle' });
  issue('late', 'server', { by: 'root', ...past });
  issue('clients', 'root');
  issue('client', 'client', { by: 'clients' });
  issue('client-rsa', 'client', { by: 'clients', key: 'rsa' });
  issue('client-server', 'server', { by: 'clients' });
  issue('client-late', 'client', { by: 'clients', ...past });
  issue('strangers', 'root');
  issue('stranger', 'client', { by: 'strangers' });
  write('chain.pem', pem('leaf.pem') + pem('middle.pem'));
  openssl(dir, 'pkey -in ec.key -aes256 -passout pass:secret -out locked.key');
  openssl(dir, 'ec -in ec.key -out ec.sec1.key');
  openssl(dir, 'rsa -in rsa.key -traditional -out rsa.pkcs1.key');
  write('garbage.pem', 'this is no certificate\n');
  write('broken.pem', pem('ec.pem').replace(/\n(.{20})/, '\n####$1'));
  write('empty.pem', '');
  return { dir, file, pem };
}

// The flags for a server with that certificate, and how a client that trusts the root connects.
export function withCert(name = 'ec', { key = `${name}.key`, cert = `${name}.pem`, flags = '', client = {} } = {}) {
  const p = pki();
  return {
    flags: `--tls-cert ${quote(p.file(cert))} --tls-key ${quote(p.file(key))} ${flags}`,
    tls: { ca: p.pem('root.pem'), ...client },
  };
}
// The files of a client certificate as tls.connect() takes them.
export const clientCert = (name) => ({ cert: pki().pem(`${name}.pem`), key: pki().pem(`${name}.key`) });

// A TLS connection that is open, or the error that came instead. opts: those of tls.connect().
export function connected(api, opts = {}) {
  return new Promise((resolve, reject) => {
    const s = api.dial(opts);
    api.open.add({ close: () => s.destroy() });
    s.once('secureConnect', () => resolve(s));
    s.once('error', reject);
  });
}
// The certificate that a new connection is shown, verified or not: {fingerprint256, subject, ...}.
export async function shown(api) {
  const s = await connected(api, { rejectUnauthorized: false });
  const c = s.getPeerCertificate();
  s.destroy();
  return c;
}
// A TLS connection over a socket that the case holds itself: {secure, socket}.
export async function overSocket(api, socket) {
  const secure = tls.connect({ ...api.tls, socket, host: api.host });
  api.open.add({ close: () => socket.destroy() });
  secure.on('error', () => {});
  await new Promise((resolve, reject) => {
    secure.once('secureConnect', resolve);
    secure.once('error', reject);
  });
  return { secure, socket };
}

// `openssl s_client` with these options: {code, out, err, text}. `input` is written when it is
// connected, and its input stays open until the server ends the connection or `until` matches what it
// said.
export function sClient(api, options, { input = '', stop, ms = secs(15) } = {}) {
  const p = pki();
  return new Promise((resolve, reject) => {
    const args = ['s_client', '-connect', `${api.host}:${api.port}`, '-CAfile', 'root.pem', ...options.split(' ').filter(Boolean)];
    const c = spawn('openssl', args, { cwd: p.dir });
    let out = '', err = '', late = false;
    const timer = setTimeout(() => { late = true; c.kill('SIGKILL'); }, ms);
    const look = () => { if (stop?.test(out + err)) c.stdin.end(); };
    c.stdin.on('error', () => {});
    c.stdout.on('data', (d) => { out += d; look(); });
    c.stderr.on('data', (d) => { err += d; look(); });
    c.on('error', reject);
    c.on('close', (code) => {
      clearTimeout(timer);
      if (late) reject(new CaseFailure(`openssl ${args.join(' ')} did not end: ${(out + err).slice(-400)}`));
      else resolve({ code, out, err, text: out + err });
    });
    c.stdin.write(input);
    if (!stop && !input) c.stdin.end();
  });
}

// The fingerprint that a server with --tls-self-signed says on stdout.
export const told = (s) => until(() => /^certificate SHA-256 ([0-9A-F:]{95})$/m.exec(s.out)?.[1], { what: 'the line with the fingerprint', last: () => s.out });
