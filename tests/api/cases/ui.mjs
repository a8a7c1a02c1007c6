// The inspector as a set of files: what is served, as what, and how it is kept; and the list that it
// asks for again and again. What the page does is tested in a browser.
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { createHash } from 'node:crypto';
import { define, eq, has, lacks, match, ok, skip } from '../lib.mjs';
import { quote } from '../lib/server.mjs';

const ui = define('ui');
const GZIP = { 'accept-encoding': 'gzip, deflate' };
const FOREVER = 'public, max-age=31536000, immutable';
const POLICY = {
  'default-src': "'none'", 'script-src': "'self'", 'style-src': "'self' 'unsafe-inline'", 'connect-src': "'self'",
  'img-src': "'self' data:", 'base-uri': "'none'", 'form-action': "'none'", 'frame-ancestors': "'none'",
};
const problem = (r, status, type, detail) => {
  eq([r.status, r.type, r.json?.type], [status, 'application/problem+json', `urn:sandbox-agent:error:${type}`]);
  match(r.json.detail, detail);
};
function secure(r, what) {
  const policy = Object.fromEntries(r.headers['content-security-policy'].split('; ').map((d) => /^(\S+) (.*)$/.exec(d).slice(1)));
  eq(policy, POLICY, `${what}: policy`);
  eq([r.headers['x-content-type-options'], r.headers['referrer-policy']], ['nosniff', 'no-referrer'], what);
}

// The page, or the end of the case where this program has none; then with `lite`, without a terminal.
async function page(api) {
  const r = await api.get('/ui/');
  if (r.status === 404 && /built without the inspector/.test(r.json?.detail)) skip('this server was built without the inspector');
  eq(r.status, 200);
  return { html: r.text, answer: r, lite: /name="terminal" content="none"/.test(r.text) };
}
// The files that the page and its terminal name, as paths below /ui/.
async function files(api) {
  const { html, lite } = await page(api);
  const own = [...html.matchAll(/(?:href|src)="(assets\/[^"]+)"/g)].map((m) => m[1]);
  ok(own.some((f) => /\/app\.js$/.test(f)) && own.some((f) => /\/style\.css$/.test(f)), `the page names ${own}`);
  if (lite) return { own, vendor: [] };
  own.push(own[0].replace(/[^/]+$/, 'terminal.js'));
  const { text } = await api.get(`/ui/${own.at(-1)}`);
  const vendor = [...text.matchAll(/["']\.\.\/([0-9a-f]{12}\/[\w.-]+)["']/g)].map((m) => `assets/${m[1]}`);
  ok(vendor.some((f) => /xterm\.mjs$/.test(f)), `terminal.js names ${vendor}`);
  return { own, vendor };
}
const TYPES = { html: 'text/html', js: 'text/javascript', mjs: 'text/javascript', css: 'text/css', txt: 'text/plain' };
const typed = (file) => `${TYPES[/\w+$/.exec(file || '.html')[0]]}; charset=utf-8`;

// ------------------------------------------------------------------ what is served
ui('better', 'page', 'the page is HTML of this version, with a policy, and asked for again each time', async ({ api, command }) => {
  const { html, answer } = await page(api);
  eq([answer.type, answer.headers['cache-control']], ['text/html; charset=utf-8', 'no-cache']);
  match(html, /^<!doctype html>/i);
  const version = /^sandbox-agent (\S+)/.exec((await command(['--version'])).out)[1];
  has(html, `name="version" content="${version}"`);
  lacks(html, 'app/main.js', 'sources');
  secure(answer, '/ui/');
});
ui('better', 'redirect', '/ui leads to /ui/ wherever it is, and keeps the query', async ({ api }) => {
  await page(api);
  for (const [from, to] of [['/ui', 'ui/'], ['/ui?test=1', 'ui/?test=1']]) {
    const r = await api.get(from);
    eq([r.status, r.headers.location, r.text], [308, to, ''], from);
    secure(r, from);
  }
});
ui('better', 'files', 'every file has its type, its policy, and a place for ever below its hash', async ({ api }) => {
  const { own, vendor } = await files(api);
  for (const f of [...own, ...vendor]) {
    match(f, /^assets\/[0-9a-f]{12}\/[\w.-]+$/);
    const r = await api.get(`/ui/${f}`, { headers: GZIP });
    eq([r.status, r.type, r.headers['cache-control']], [200, typed(f), FOREVER], f);
    secure(r, f);
  }
});
ui('better', 'licences', 'the licence of whatever the page has from others is told', async ({ api }) => {
  const { lite } = await page(api);
  const r = await api.get('/ui/licenses.txt');
  eq([r.status, r.type, r.headers['cache-control']], [200, 'text/plain; charset=utf-8', 'no-cache']);
  has(r.text, 'Apache License, Version 2.0');
  if (lite) lacks(r.text, 'xterm', 'of what is not there');
  else for (const word of ['@xterm/xterm 6.', '@xterm/addon-fit ', '@xterm/addon-unicode11 ', '@xterm/addon-web-links ', 'Permission is hereby granted']) has(r.text, word);
});
ui('better', 'not-found', 'what is not there is a problem and not the page', async ({ api }) => {
  const { own } = await files(api);
  const gone = own[0].replace(/[0-9a-f]{12}/, '000000000000');
  for (const p of ['x', 'assets/x.js', 'assets/', 'assets', gone, `${own[0]}/`, `${own[0]}.gz`, 'index.html', '/', '%69ndex.html', '..', '../v1/health', '%ff']) {
    const r = await api.get(`/ui/${p}`);
    problem(r, 404, 'not_found', /no file/);
    secure(r, p);
  }
  problem(await api.get('/uix'), 404, 'invalid_request', /endpoint not found/);
});
ui('better', 'methods', 'HEAD is GET without a body, and nothing but GET is allowed', async ({ api }) => {
  const { own } = await files(api);
  for (const p of ['/ui/', `/ui/${own[0]}`]) {
    const [get, head] = [await api.get(p, { headers: GZIP }), await api.req('HEAD', p, { headers: GZIP })];
    const same = ({ date, ...h }) => h;
    eq([head.status, head.buf.length, same(head.headers)], [200, 0, same(get.headers)], p);
    for (const m of ['POST', 'PUT', 'DELETE']) {
      const r = await api.req(m, p);
      eq([r.status, r.headers.allow], [405, 'GET,HEAD'], `${m} ${p}`);
    }
  }
});
ui('better', 'no-token', 'with a token the page needs none, and what it asks for does', async ({ authed }) => authed(async (api) => {
  const { own } = await files(api);
  for (const p of ['/ui/', `/ui/${own[0]}`, '/ui/licenses.txt']) eq((await api.get(p, { auth: false })).status, 200, p);
  eq((await api.get('/ui', { auth: false })).status, 308);
  eq((await api.get('/v1/processes', { auth: false })).status, 401);
}));
ui('better', 'host', 'a name that is not ours is refused here, too', async ({ api }) => {
  for (const p of ['/ui', '/ui/', '/ui/x']) problem(await api.get(p, { headers: { host: 'evil.example' } }), 403, 'permission_denied', /evil\.example/);
});

// ------------------------------------------------------------------ in which form
ui('better', 'encodings', 'gzip is for those who take it, and is the same file', async ({ api }) => {
  const { own } = await files(api);
  for (const p of ['/ui/', '/ui/licenses.txt', ...own.map((f) => `/ui/${f}`)]) {
    const plain = await api.get(p), packed = await api.get(p, { headers: GZIP });
    eq([plain.headers['content-encoding'], packed.headers['content-encoding']], [undefined, 'gzip'], p);
    ok(zlib.gunzipSync(packed.buf).equals(plain.buf), `${p}: unpacked it is another file`);
    ok(plain.headers.etag !== packed.headers.etag, `${p}: two forms with one tag`);
    for (const r of [plain, packed]) {
      match(r.headers.etag, /^"[\w-]+"$/, p);
      match(r.headers.vary, /(^|, )accept-encoding($|,)/, p);
      match(r.headers.vary, /(^|, )origin($|,)/, p);
      eq(r.headers['content-length'], String(r.buf.length), p);
    }
  }
});
ui('better', 'accept-encoding', 'what Accept-Encoding says is done', async ({ api }) => {
  await page(api);
  const given = { '': undefined, identity: undefined, br: undefined, gzip: 'gzip', 'X-GZIP': 'gzip', 'br, gzip;q=0.1': 'gzip', '*': 'gzip',
    'gzip;q=0': undefined, 'gzip; q=0, *': undefined, '*;q=0, gzip': 'gzip', 'gzip;q=0.5, identity': undefined, 'gzip;q=0.5, identity;q=0.4': 'gzip' };
  for (const [value, coding] of Object.entries(given)) {
    const r = await api.get('/ui/', { headers: { 'accept-encoding': value } });
    eq([r.status, r.headers['content-encoding']], [200, coding], JSON.stringify(value));
  }
  const refused = await api.get('/ui/', { headers: { 'accept-encoding': 'br, *;q=0' } });
  problem(refused, 406, 'not_acceptable', /Accept-Encoding/);
  match(refused.headers.vary, /accept-encoding/);
});
ui('better', 'gzip-only', 'the terminal is gzip alone: told so, not sent in a form that is not understood', async ({ api }) => {
  const { vendor } = await files(api);
  if (!vendor.length) skip('this server has no terminal');
  for (const f of vendor) {
    for (const value of ['identity', 'gzip;q=0', 'br'])
      problem(await api.get(`/ui/${f}`, { headers: { 'accept-encoding': value } }), 406, 'not_acceptable', /gzip/);
    const [asked, silent] = [await api.get(`/ui/${f}`, { headers: GZIP }), await api.get(`/ui/${f}`)];
    eq([silent.status, silent.headers['content-encoding']], [200, 'gzip'], f);
    ok(silent.buf.equals(asked.buf) && zlib.gunzipSync(asked.buf).length > 500, f);
  }
});
ui('better', 'hashes', 'what the paths and the tags say of the contents is true', async ({ api }) => {
  const { own, vendor } = await files(api);
  for (const f of [...own, ...vendor]) {
    const r = await api.get(`/ui/${f}`, { headers: GZIP });
    eq(r.headers.etag, `"${createHash('sha256').update(r.buf).digest('hex').slice(0, 24)}"`, f);
  }
  eq(new Set(own.map((f) => f.split('/')[1])).size, 1, 'one hash for what is ours');
});

// ------------------------------------------------------------------ what is kept
ui('better', 'not-modified', 'who has it gets 304, with what a cache needs and no body', async ({ api }) => {
  const { own } = await files(api);
  for (const p of ['/ui/', `/ui/${own[0]}`]) {
    for (const headers of [{}, GZIP]) {
      const { etag, 'cache-control': cache } = (await api.get(p, { headers })).headers;
      for (const value of [etag, `W/${etag}`, `"a,b" , ${etag}`, `"x",W/"y",${etag},"z"`, '*']) {
        for (const method of ['GET', 'HEAD']) {
          const r = await api.req(method, p, { headers: { ...headers, 'if-none-match': value } });
          eq([r.status, r.buf.length, r.type, r.headers.etag, r.headers['cache-control'], r.headers['content-length']], [304, 0, '', etag, cache, undefined], `${method} ${p} ${value}`);
          match(r.headers.vary, /accept-encoding/); secure(r, value);
        }
      }
      for (const value of ['"x"', etag.slice(1, -1), `${etag.slice(0, -1)}`, '', `"${etag}`])
        eq((await api.get(p, { headers: { ...headers, 'if-none-match': value } })).status, 200, `${p} ${value}`);
    }
    const plain = (await api.get(p)).headers.etag;
    eq((await api.get(p, { headers: { ...GZIP, 'if-none-match': plain } })).status, 200, 'the tag of the other form');
  }
});
ui('better', 'keep-alive', 'a 304 ends where its head ends: the next answer follows', async ({ api }) => {
  const { answer } = await page(api);
  const ask = (more) => `GET /ui/ HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;
  const { text } = await api.raw(ask(`If-None-Match: ${answer.headers.etag}\r\n`) + ask('Connection: close\r\n'));
  match(text, /^HTTP\/1\.1 304 Not Modified\r\n(?:[^\r]+\r\n)+\r\nHTTP\/1\.1 200 OK\r\n/);
});

// ------------------------------------------------------------------ settings
ui('better', 'switched-off', '--no-ui leaves nothing of it', async ({ kept }) => kept({ flags: '--no-ui' }, async (api) => {
  for (const p of ['/ui', '/ui/', '/ui/licenses.txt', '/ui/assets/x.js']) problem(await api.get(p), 404, 'not_found', /--no-ui/);
  eq((await api.get('/v1/health')).status, 200);
}));
function source(dir, name = 'page') {
  const at = path.join(dir, name);
  fs.mkdirSync(path.join(at, 'app', 'deep'), { recursive: true });
  fs.writeFileSync(path.join(at, 'index.html'), '<!doctype html><p>from disk');
  fs.writeFileSync(path.join(at, 'app', 'main.js'), 'export const a = 1;\n');
  fs.writeFileSync(path.join(at, 'app', 'deep', 'x.css'), 'p {}\n');
  fs.writeFileSync(path.join(at, '.hidden'), 'hidden');
  fs.writeFileSync(path.join(dir, 'secret.txt'), 'secret');
  return at;
}
ui('better', 'from-disk', '--ui-dir serves what is in the directory now', async (ctx) => {
  const own = await ctx.startServer({});
  const at = source(own.dir);
  await ctx.withServer({ flags: `--ui-dir ${quote(at)}` }, async (s, api) => {
    const r = await api.get('/ui/');
    eq([r.status, r.text, r.type, r.headers['cache-control']], [200, '<!doctype html><p>from disk', 'text/html; charset=utf-8', 'no-cache']);
    secure(r, 'the page');
    eq((await api.get('/ui')).headers.location, 'ui/');
    eq((await api.get('/ui/index.html')).text, r.text);
    const js = await api.get('/ui/app/main.js?v=1', { headers: GZIP });
    eq([js.text, js.type, js.headers['content-encoding']], ['export const a = 1;\n', 'text/javascript; charset=utf-8', undefined]);
    eq((await api.get('/ui/app/deep/x.css')).type, 'text/css; charset=utf-8');
    const head = await api.req('HEAD', '/ui/app/main.js');
    eq([head.status, head.headers['content-length'], head.buf.length], [200, '20', 0]);
    fs.writeFileSync(path.join(at, 'app', 'main.js'), 'export const a = 22;\n');
    fs.writeFileSync(path.join(at, 'app', 'new.js'), '');
    eq((await api.get('/ui/app/main.js')).text, 'export const a = 22;\n');
    eq([(await api.get('/ui/app/new.js')).status, (await api.get('/ui/app/new.js')).text], [200, '']);
    fs.writeFileSync(path.join(at, 'big.txt'), Buffer.alloc(4 << 20, 'x'));
    eq((await api.get('/ui/big.txt')).buf.length, 4 << 20);
    fs.appendFileSync(path.join(at, 'big.txt'), 'x');
    problem(await api.get('/ui/big.txt'), 404, 'not_found', /cannot be read/);
  });
});
ui('better', 'from-disk-alone', '--ui-dir serves nothing else: no way up, no link out, no device', async (ctx) => {
  const own = await ctx.startServer({});
  const at = source(own.dir);
  fs.symlinkSync('../secret.txt', path.join(at, 'link.txt'));
  fs.symlinkSync('..', path.join(at, 'up'));
  fs.symlinkSync('main.js', path.join(at, 'app', 'inside.js'));
  fs.mkdirSync(path.join(at, 'directory.js'));
  await ctx.withServer({ flags: `--ui-dir ${quote(at)}` }, async (s, api) => {
    await api.runSh(`mkfifo ${quote(path.join(at, 'pipe.js'))}`);
    const targets = ['../secret.txt', '..', '../', './index.html', 'app/../index.html', 'app/../../secret.txt', '%2e%2e/secret.txt',
      '..%2fsecret.txt', '%2e%2e%2fsecret.txt', 'app%2fmain.js', 'app//main.js', '/app/main.js', '/index.html', `/${own.dir}/secret.txt`, '.hidden',
      'app/', 'app', 'app/deep', 'link.txt', 'up/secret.txt', 'up/page/index.html', 'app/inside.js', 'directory.js', 'pipe.js', 'app\\main.js',
      'index.html%00', 'index.html/', `${'a/'.repeat(3000)}x`, 'x'.repeat(300), '%ff', 'nothing.js'];
    for (const t of targets) {
      const { text } = await api.raw(`GET /ui/${t} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      match(text, /^HTTP\/1\.1 404 /, t);
      has(text, 'urn:sandbox-agent:error:not_found', t);
      lacks(text, '\r\n\r\nsecret', t);
    }
  });
});
ui('better', 'from-disk-kept', 'a next server serves the directory, too', async (ctx) => {
  const own = await ctx.startServer({});
  const at = source(own.dir);
  await ctx.withServer({ flags: `--ui-dir ${quote(at)}` }, async (s, api) => {
    await s.killServer();
    eq((await api.get('/ui/')).text, '<!doctype html><p>from disk');
  });
});
ui('better', 'wrong-settings', 'a directory that is none is told at the start', async (ctx) => {
  const own = await ctx.startServer({});
  const at = source(own.dir);
  fs.mkdirSync(path.join(own.dir, 'empty'));
  fs.mkdirSync(path.join(own.dir, 'odd', 'index.html'), { recursive: true });
  const start = (...args) => ctx.command(['server', '--port', '0', '--no-token', '--data-dir', ':memory:', ...args]);
  for (const [args, ...words] of [
    [['--ui-dir', path.join(own.dir, 'none')], '--ui-dir', 'none', 'No such file'],
    [['--ui-dir', path.join(at, 'index.html')], '--ui-dir', 'Not a directory'],
    [['--ui-dir', path.join(own.dir, 'empty')], '--ui-dir', 'index.html'],
    [['--ui-dir', path.join(own.dir, 'odd')], '--ui-dir', 'index.html'],
    [['--ui-dir', at, '--no-ui'], '--ui-dir', '--no-ui'],
  ]) {
    const r = await start(...args);
    eq([r.late ?? false, r.code, r.out, r.err.trimEnd().split('\n').length], [false, 1, '', 1], `${args}: ${r.err}`);
    for (const w of words) has(r.err, w);
  }
});

// ------------------------------------------------------------------ the list
const unchanged = async (api, etag, p = '/v1/processes') => (await api.get(p, { headers: { 'if-none-match': etag } })).status;
ui('better', 'list-tag', 'the list has a tag: who has the list as it is gets 304', async (ctx) => ctx.withServer({}, async (s, api) => {
  const one = await api.get('/v1/processes');
  match(one.headers.etag, /^W\/"[0-9a-f]{16}"$/);
  eq(one.headers['cache-control'], 'private, no-cache');
  for (const value of [one.headers.etag, one.headers.etag.slice(2), `"x", ${one.headers.etag}`, '*']) {
    for (const method of ['GET', 'HEAD']) {
      const r = await api.req(method, '/v1/processes', { headers: { 'if-none-match': value } });
      eq([r.status, r.buf.length, r.type, r.headers.etag, r.headers['cache-control']], [304, 0, '', one.headers.etag, 'private, no-cache'], `${method} ${value}`);
    }
  }
  eq(await unchanged(api, one.headers.etag, '/v1/process'), 304, 'by its other name');
  eq(await unchanged(api, '"x"'), 200);
  eq((await api.req('HEAD', '/v1/processes')).headers.etag, one.headers.etag, 'HEAD');
}));
ui('better', 'list-tag-changes', 'the tag changes with whatever the list shows, and with nothing else', async (ctx) => ctx.withServer({}, async (s, api) => {
  const tag = async () => (await api.get('/v1/processes')).headers.etag;
  const tags = [await tag()];
  const p = await api.sh('read x; exit 3', { tty: true });
  tags.push(await tag());
  await api.input(p.id, '\n');
  await api.exited(p.id);
  tags.push(await tag());
  const q = await api.sh('echo much; exec sleep 60');
  tags.push(await tag());
  await api.logHas(q.id, 'much');
  eq(await unchanged(api, tags.at(-1)), 304, 'output changes nothing');
  await api.kill(q.id);
  tags.push(await tag());
  await api.del(`/v1/processes/${p.id}`);
  tags.push(await tag());
  eq(new Set(tags).size, tags.length, `${tags}`);
  await api.del(`/v1/processes/${q.id}`);
  eq(await tag(), tags[0], 'empty as at first');
}));
ui('better', 'list-tag-token', 'a tag opens nothing', async ({ authed }) => authed(async (api) => {
  const { etag } = (await api.get('/v1/processes')).headers;
  eq((await api.get('/v1/processes', { auth: false, headers: { 'if-none-match': etag } })).status, 401);
  eq(await unchanged(api, etag), 304);
}));
