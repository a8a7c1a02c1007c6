// The page as the server gives it: what is loaded, how large it is, and what is kept.
import http from 'node:http';
import { gunzipSync } from 'node:zlib';
import { createHash } from 'node:crypto';
import { bash, define, eq, lacks, match, ok, secs, show, skip, until } from '../lib.mjs';
import { settings } from '../lib/runner.mjs';

const test = define('page');
const KIB = 1024;
const embedded = () => {
  if (settings.uiDir) skip('the page comes from disk');
};

// The parts that the server gave this viewer: path -> bytes of the encoded body.
async function parts(t, v) {
  const paths = new Set(v.requests.map((r) => new URL(r.url)).filter((u) => u.pathname.startsWith('/ui/')).map((u) => u.pathname));
  const sizes = new Map();
  for (const path of paths) {
    const answer = await t.api.get(path, { headers: { 'accept-encoding': 'gzip' } });
    eq(answer.status, 200, path);
    sizes.set(path, answer);
  }
  return sizes;
}
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const total = (answers) => [...answers.values()].reduce((sum, a) => sum + a.buf.length, 0);

// The page asks for nothing twice until it is drawn, and a little later. Its clock goes frame by frame, so
// that the next poll, which would be no waste, is far.
async function asksOnce(t, hash, drawn) {
  const v = await t.viewer();
  await v.page.clock.install();
  await v.page.clock.pauseAt(Date.now() + 1000);
  await v.open(hash);
  await until(async () => { await v.page.clock.runFor(16); return drawn(v); }, { every: 100, what: 'the page to be drawn' });
  await v.page.clock.runFor(200);
  await v.page.evaluate(() => fetch('../healthz')); // a request that was made before this is known by its answer
  const keys = v.requests.map(({ method, url }) => `${method} ${url}`);
  eq(keys.filter((key, i) => keys.indexOf(key) !== i), [], 'asked for more than once');
}

test('no-waste', 'list, log and terminal: all requests go to the server, and none is made twice at load', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const terminal = await t.api.create(bash());
  await asksOnce(t, '#/', (v) => v.row(id).isVisible());
  const v = await t.open();
  await v.go(`#/processes/${id}`);
  await v.logHas('hello');
  await v.go(`#/processes/${terminal.id}`);
  await v.termHas('$');
  // That nothing else was asked, and nothing was complained about, is judged at the end of each case.
}, { check: 1 });

// Embedded, the modules are one scope; a name that nobody imported is missed here only.
const sources = new URL('../../../ui', import.meta.url).pathname;
test('from-sources', 'the page works from its sources as well (--ui-dir), each part of it', async (t) => {
  if (settings.uiDir) skip('all cases do that now');
  const v = await t.open();
  await v.page.getByRole('region', { name: 'Example' }).waitFor(); // what an empty server shows
  const { id } = await t.sh('echo hello; read x', { interactive: true });
  const shell = await t.api.create(bash());
  for (const [hash, testid] of [['#/new', 'new-form'], ['#/run', 'run-form']]) {
    await v.go(hash);
    await v.shown(testid);
  }
  await v.go(`#/processes/${id}`);
  await v.logHas('hello');
  await v.shown('stdin');
  await v.at('search').fill('hel');
  await v.says('search-count', /1/);
  await v.at('copy-curl').click();
  await v.says('copy-curl', /Copied/);
  await v.go(`#/processes/${id}/info`);
  await v.says('detail', /"createdAtMs"/);
  await v.row(id).click({ button: 'right' });
  await v.shown('row-menu');
  await v.press('Escape');
  for (const testid of ['settings', 'help']) {
    await v.click(testid);
    await v.page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  }
  await v.click('kill');
  await v.page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await v.go(`#/processes/${shell.id}`);
  await v.termHas('$');
}, { check: 1, server: { flags: `--ui-dir '${sources}'` } });

test('link-no-waste', 'a link to a process asks for nothing twice', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  await asksOnce(t, `#/processes/${id}`, async (v) => (await v.logText()).includes('hello'));
}, { check: 1 });

test('size', 'at most 24 KiB for list and log, 8 more for the forms, at most 130 with the terminal, all of it gzip', async (t) => {
  embedded();
  const log = await t.sh('echo hello; sleep 60');
  const terminal = await t.api.create(bash());
  const v = await t.open(`#/processes/${log.id}`);
  await v.logHas('hello');
  const first = await parts(t, v);
  for (const hash of ['#/new', '#/run']) {
    await v.go(hash);
    await v.shown(hash === '#/new' ? 'new-form' : 'run-form');
  }
  const forms = await parts(t, v);
  await v.go(`#/processes/${terminal.id}`);
  await v.termHas('$');
  const after = await parts(t, v);
  for (const [path, answer] of after) {
    eq(answer.headers['content-encoding'], 'gzip', `content-encoding of ${path}`);
    const plain = await t.api.get(path, { headers: { 'accept-encoding': 'identity' } });
    // A client that takes no gzip gets the same text; large parts are there as gzip alone.
    if (plain.status === 406) match(path, /\/xterm|\/addon/, 'part that is there as gzip alone');
    else eq(sha256(gunzipSync(answer.buf)), sha256(plain.buf), `content of ${path}`);
    ok(answer.headers.etag, `${path} has no ETag`);
    const again = await t.api.get(path, { headers: { 'accept-encoding': 'gzip', 'if-none-match': answer.headers.etag } });
    eq([again.status, again.buf.length], [304, 0], `${path} once more`);
  }
  const list = (answers) => [...answers].map(([p, a]) => `${p.split('/').at(-1) || 'index'} ${a.buf.length}`).join(', ');
  const sizes = () => `${total(first)} bytes at first (${list(first)}), ${total(forms)} with the forms, ${total(after)} in all (${list(after)})`;
  ok(total(first) <= 24 * KIB && total(forms) <= 32 * KIB && total(after) <= 130 * KIB, sizes);
}, { check: 2 });

test('cache', 'a reload transfers less than 2 KiB of the page: parts with hashed names are kept', async (t) => {
  embedded();
  const { id } = await t.api.create(bash());
  const v = await t.open(`#/processes/${id}`);
  await v.termHas('$');
  const first = v.answers.length;
  await v.reload();
  await v.termHas('$');
  let bytes = 0;
  for (const response of v.answers.slice(first)) {
    const url = new URL(response.url());
    if (!url.pathname.startsWith('/ui/')) continue;
    const sizes = await response.request().sizes();
    if (!(await response.request().response()).fromServiceWorker()) bytes += sizes.responseBodySize;
  }
  const timing = await v.page.evaluate(() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter((e) => new URL(e.name).pathname.startsWith('/ui/')).map((e) => [e.name, e.transferSize]));
  const transferred = timing.reduce((sum, [, size]) => sum + size, 0);
  ok(transferred < 2 * KIB, () => `transferred ${transferred} (bodies ${bytes}): ${show(timing)}`);
}, { check: 3 });

test('unknown-part', 'a part that does not exist is 404, and no HTML', async (t) => {
  embedded();
  for (const path of ['/ui/assets/x.js', '/ui/assets/', '/ui/nope.js', '/ui/assets/%2e%2e/index.html']) {
    const answer = await t.api.get(path);
    eq(answer.status, 404, path);
    lacks(answer.type, 'html', `type of ${path}`);
  }
}, { check: 3 });

test('headers', 'the page forbids all that it does not need', async (t) => {
  const answer = await t.api.get('/ui/');
  eq(answer.status, 200, 'status');
  match(answer.type, /^text\/html/, 'type');
  const policy = answer.headers['content-security-policy'] ?? '';
  for (const part of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
    ok(policy.includes(part), () => `the policy lacks ${part}: ${policy}`);
  lacks(policy, "script-src 'self' 'unsafe", 'policy');
  eq(answer.headers['x-content-type-options'], 'nosniff', 'x-content-type-options');
  eq(answer.headers['referrer-policy'], 'no-referrer', 'referrer-policy');
});

test('injection', 'script of a process that reaches the page as text is not run, whatever the page shows', async (t) => {
  const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>';
  await t.api.create({ command: 'sh', args: ['-c', 'printf %s "$1"; sleep 60', 'sh', evil], env: { X: evil } });
  const v = await t.viewer();
  let dialogs = 0;
  v.page.on('dialog', (d) => { dialogs++; d.dismiss(); });
  await v.open('#/processes/proc_1');
  await v.logHas('<script>alert(2)</script>');
  await v.go('#/processes/proc_1/info');
  await v.says('detail', '<script>alert(2)');
  eq(await v.page.locator('body img, body script:not([src])').count(), 0, 'elements made of text');
  eq(dialogs, 0, 'dialogs');
});

// An empty page of somebody else.
async function elsewhere(t) {
  const server = http.createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<!doctype html><title>elsewhere</title><link rel="icon" href="data:,">');
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => { server.close(); server.closeAllConnections(); });
  return server.address().port;
}
test('embedding', 'output that a page from elsewhere embeds as its script is not run; what is allowed with CORS can be read; links lead here', async (t) => {
  const port = await elsewhere(t);
  const allowed = `http://localhost:${port}`;
  const server = await t.startServer({ flags: `--cors-allow-origin ${allowed}` });
  const { id } = await server.api.sh('echo "secret = 42"; sleep 60');
  await server.api.logHas(id, 'secret');
  const logs = `${server.url}/v1/processes/${id}/logs?stream=stdout&format=`;
  for (const from of [allowed, `http://127.0.0.1:${port}`]) {
    const v = (await t.viewer({}, server)).expect(/request to another host/, /ERR_BLOCKED|ERR_FAILED|MIME type|CORS policy/);
    await v.page.goto(from);
    for (const format of ['raw', 'text']) {
      const got = await v.page.evaluate((src) => new Promise((done) => {
        const script = Object.assign(document.createElement('script'), { src, onload: () => done(['run', typeof window.secret]), onerror: () => done(['refused', typeof window.secret]) });
        document.head.append(script);
      }), logs + format);
      eq(got, ['refused', 'undefined'], `${format} as a script of ${from}`);
    }
    const read = await v.page.evaluate((url) => fetch(url).then((r) => r.text(), () => 'refused'), `${logs}raw`);
    eq(read, from === allowed ? 'secret = 42\n' : 'refused', `read by ${from}`);
    await v.page.evaluate((href) => { document.body.append(Object.assign(document.createElement('a'), { href, textContent: 'agent' })); }, `${server.url}/ui/`);
    await v.page.getByRole('link', { name: 'agent' }).click();
    await v.connected();
  }
});

test('https', 'all of it over TLS, the terminal with it', async (t) => {
  const server = await t.startServer({ flags: '--tls-self-signed', tls: { rejectUnauthorized: false } });
  const { id } = await server.api.create(bash());
  const v = await t.viewer({ ignoreHTTPSErrors: true }, server);
  await v.open(`#/processes/${id}`);
  await v.termHas('$');
  await v.focusTerminal();
  await v.typeLine('echo $((40+2))');
  await v.termHas(/^42$/m);
  match(v.sockets[0].url, /^wss:/, 'address of the terminal');
});

test('licences', 'the licence of what is not our own can be read', async (t) => {
  embedded();
  const answer = await t.api.get('/ui/licenses.txt');
  eq(answer.status, 200, 'status');
  match(answer.type, /^text\/plain/, 'type');
  const text = answer.headers['content-encoding'] === 'gzip' ? gunzipSync(answer.buf).toString() : answer.text;
  match(text, /xterm/i, 'text');
  match(text, /Permission is hereby granted/, 'text');
});

test('title', 'the title of the window names the process and how it is', async (t) => {
  const { id } = await t.sh('exit 3');
  await t.api.exited(id);
  const v = await t.open(`#/processes/${id}`);
  await until(async () => /exited 3.*sh/.test(await v.page.title()) || /exit 3.*sh/.test(await v.page.title()), { what: 'the title', within: secs(5) });
});
