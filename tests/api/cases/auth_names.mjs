// Who is asked, who asks, and how often: Host, Origin, wrong tokens, and what needs no token.
import os from 'node:os';
import { Api, UPGRADE, define, eq, ok, problem, until } from '../lib.mjs';

const names = define('names');
const forbidden = (r, message) =>
  problem(r, { status: 403, type: 'permission_denied', title: 'Permission Denied', detail: `permission denied: ${message}`, details: { message } });
const notHere = (r, name) => forbidden(r, `host ${name} is not served here; the flag --allow-host ${name} would allow it`);
const asked = (api, host, { method = 'GET', path = '/v1/health', more = '' } = {}) =>
  api.wire().write(`${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${api.authLine()}${more}\r\n`, method).answer();
const FOREIGN = ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', '127.1', '2130706433', '0.0.0.1', '192.0.2.1', '[::2]', '[2001:db8::1]'];

names('better', 'host-foreign', 'a name that is not ours is 403, on every path and by every method', async ({ api }) => {
  for (const host of FOREIGN) for (const port of ['', ':2468', `:${api.port}`]) notHere(await asked(api, host + port), host);
  const upgrade = Object.entries(UPGRADE).map(([k, v]) => `${k}: ${v}\r\n`).join('');
  for (const [method, path, more] of [
    ['GET', '/', ''], ['GET', '/healthz', ''], ['GET', '/nope', ''], ['OPTIONS', '/v1/processes', 'Origin: http://evil.example\r\n'],
    ['POST', '/v1/processes', 'Content-Length: 0\r\n'], ['PUT', '/v1/processes', ''], ['GET', '/v1/processes/x/terminal/ws', upgrade],
    ['GET', '/v1/processes/x/terminal/ws', `${upgrade}Origin: http://evil.example\r\n`],
  ])
    notHere(await asked(api, 'evil.example', { method, path, more }), 'evil.example');
});
names('better', 'host-ours', 'loopback names and addresses are ours with any port', async ({ api }) => {
  for (const host of ['localhost', 'LOCALHOST', 'localhost.', '127.0.0.1', '127.9.9.9', '0.0.0.0', '[::]', '[::1]', '[0:0:0:0:0:0:0:1]'])
    for (const port of ['', ':1', `:${api.port}`]) eq((await asked(api, host + port)).status, 200, host + port);
  eq((await asked(api, '')).status, 200, 'an empty one');
  eq((await api.wire().write('GET / HTTP/1.0\r\n\r\n', 'GET').answer()).status, 200, 'none in HTTP/1.0');
});
names('better', 'host-before-token', 'who believes to talk to somebody else learns nothing about tokens', async (ctx) => ctx.authed(async (api) => {
  const o = new Api(api.base);
  for (const a of [api, o]) notHere(await asked(a, 'evil.example'), 'evil.example');
  await o.cleanup();
}));
names('better', 'host-keeps-order', 'a refused name in the middle of others is answered in its place', async ({ api }) => {
  const one = (host) => `GET /v1/health HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const w = api.wire().write(one('localhost') + one('evil.example') + one('127.0.0.1'), 'GET', 'GET', 'GET');
  await w.answer(3);
  eq(w.answers.map((a) => a.status), [200, 403, 200]);
});
names('better', 'host-allowed', '--allow-host lets names in, with their port, below a name, or all', async (ctx) => {
  await ctx.kept({ flags: "--allow-host agent.example --allow-host other.example:8443 --allow-host '*.below.example'" }, async (api) => {
    for (const host of ['agent.example', 'Agent.Example.:80', 'other.example:8443', 'a.below.example', 'a.b.below.example:1', 'localhost'])
      eq((await asked(api, host)).status, 200, host);
    for (const [host, name] of [['x.agent.example', 'x.agent.example'], ['other.example:8444', 'other.example'], ['below.example', 'below.example']])
      notHere(await asked(api, host), name);
  });
  await ctx.kept({ flags: "--allow-host '*'" }, async (api) => {
    for (const host of FOREIGN) eq((await asked(api, host)).status, 200, host);
  });
});
const outside = () => Object.values(os.networkInterfaces()).flat().find((a) => a.family === 'IPv4' && !a.internal)?.address;
names('better', 'host-of-an-address', 'where a connection did not come over loopback, every address is ours, and no other name', async (ctx) => {
  const address = outside();
  if (!address) return;
  await ctx.withServer({ token: 'outside', flags: '--host 0.0.0.0' }, async (s) => {
    const far = new Api(`http://${address}:${s.port}`, 'outside');
    for (const host of [`${address}:${s.port}`, '192.0.2.1', '[2001:db8::1]:1', 'localhost']) eq((await asked(far, host)).status, 200, host);
    notHere(await asked(far, 'evil.example'), 'evil.example');
    const near = new Api(`http://127.0.0.1:${s.port}`, 'outside');
    notHere(await asked(near, address), address);
    for (const a of [far, near]) await a.cleanup();
  });
});
// A target in absolute form says by itself whom it is for (RFC 9112, 3.2.2).
names('better', 'host-in-the-target', 'the name in a target takes the place of Host, for names and for pages', async ({ api }) => {
  const sent = (lines, method = 'GET') => api.wire().write(`${lines}\r\n${api.authLine()}\r\n`, method).answer();
  for (const scheme of ['http', 'https', 'HTTP']) for (const port of ['', ':1'])
    notHere(await sent(`GET ${scheme}://evil.example${port}/v1/health HTTP/1.1\r\nHost: localhost`), 'evil.example');
  notHere(await sent('GET http://evil.example/v1/health HTTP/1.0'), 'evil.example');
  notHere(await sent('GET http://evil.example HTTP/1.1\r\nHost: localhost'), 'evil.example');
  eq((await sent('GET http://localhost/v1/health HTTP/1.1\r\nHost: evil.example')).status, 200, 'and the other way round');
  eq((await sent('GET http://localhost/v1/health HTTP/1.1')).status, 400, 'Host is missed all the same');
  const before = (await api.get('/v1/processes')).json.processes.length;
  const body = JSON.stringify({ command: 'sleep', args: ['60'] });
  const post = (target, origin) => `POST ${target}/v1/processes HTTP/1.1\r\nHost: localhost\r\nOrigin: ${origin}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  notHere(await api.wire().write(post('http://evil.example', 'http://localhost'), 'POST').answer(), 'evil.example');
  eq((await api.get('/v1/processes')).json.processes.length, before, 'nothing was started');
});

// ------------------------------------------------------------------ Origin
names('better', 'origin-is-not-host', 'a name that leads here does not make a page ours', async (ctx) => {
  const page = (host) => ({ method: 'POST', path: '/v1/processes/x/kill', more: `Origin: http://${host}\r\nContent-Length: 0\r\n` });
  await ctx.kept({}, async (api) => notHere(await asked(api, 'rebound.example:2468', page('rebound.example:2468')), 'rebound.example'));
  await ctx.kept({ flags: '--allow-host agent.example' }, async (api) => {
    eq((await asked(api, 'agent.example', page('agent.example'))).status, 404, 'the page of an allowed name');
    forbidden(await asked(api, 'agent.example', page('evil.example')), 'origin http://evil.example is not allowed; the flag --cors-allow-origin would allow it');
  });
});
names('better', 'origin-of-tickets', 'a page from elsewhere gets no ticket, and opens nothing with one', async (ctx) => ctx.authed(async (api) => {
  const p = await api.sh('exec cat', { tty: true });
  const path = `/v1/processes/${p.id}/terminal/ws`;
  const evil = { origin: 'http://evil.example' };
  eq((await api.post('/v1/tickets', { path }, { headers: evil })).status, 403);
  const { ticket } = (await api.post('/v1/tickets', { path })).json;
  eq((await new Api(api.base).get(`${path}?ticket=${ticket}`, { headers: { ...UPGRADE, ...evil } })).status, 403);
}));

// ------------------------------------------------------------------ what needs no token
names('better', 'healthz', 'GET /healthz needs no token and tells nothing but alive', async (ctx) => ctx.authed(async (api) => {
  const o = new Api(api.base);
  for (const a of [api, o]) {
    const r = await a.get('/healthz');
    eq([r.status, r.json], [200, { status: 'ok' }]);
  }
  const head = await o.req('HEAD', '/healthz');
  eq([head.status, head.headers['content-length']], [200, '15']);
  eq((await o.get('/healthz', { headers: { authorization: 'Bearer wrong' } })).status, 200);
  const put = await o.req('PUT', '/healthz');
  eq([put.status, put.headers.allow], [405, 'GET,HEAD']);
  eq((await o.get('/healthz/')).status, 404);
}));

// ------------------------------------------------------------------ wrong tokens, again and again
const ask = (token, path = '/v1/health', more = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${token ? `Authorization: Bearer ${token}\r\n` : ''}${more}\r\n`;
const GUESSED = (fn) => (ctx) => ctx.withServer({ token: 'right' }, (s, api) => fn(api));
const guess = (api, n) => api.wire().write(ask('wrong').repeat(n), ...Array(n).fill('GET'));
// Those beyond the first five are answered later than anything that is asked meanwhile.
async function slowed(api) {
  const w = guess(api, 9);
  await w.answer(5);
  return w;
}

names('better', 'guesses-stay-401', 'repeated wrong tokens stay 401 and are answered in order, on a connection that goes on', GUESSED(async (api) => {
  const w = api.wire().write(ask('wrong').repeat(7) + ask('right') + ask('wrong') + ask('right', '/v1/processes'), ...Array(10).fill('GET'));
  await w.answer(10);
  eq(w.answers.map((a) => a.status), [...Array(7).fill(401), 200, 401, 200]);
  for (const a of w.answers.filter((x) => x.status === 401)) {
    problem(a, { status: 401, type: 'token_invalid' });
    eq(a.headers['www-authenticate'], 'Bearer');
  }
  ok(!w.ended, 'the connection is open');
}));
names('better', 'guesses-delay-nobody-else', 'whoever has the token is answered while wrong ones wait', GUESSED(async (api) => {
  const w = await slowed(api);
  const before = w.answers.length;
  for (let i = 0; i < 20; i++) eq((await api.get('/v1/health')).status, 200);
  eq((await new Api(api.base).get('/v1/health')).status, 401, 'and who shows none is told at once');
  ok(w.answers.length < 9, `${before}, then ${w.answers.length} of 9 wrong ones were answered meanwhile`);
  await w.answer(9);
  eq(w.answers.map((a) => a.status), Array(9).fill(401));
}));
names('better', 'guesses-with-a-body', 'what was sent along with a wrong token is skipped', GUESSED(async (api) => {
  await guess(api, 5).answer(5);
  const body = '{"command":"true"}';
  const post = `POST /v1/processes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\nContent-Type: application/json\r\n`;
  const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const w = api.wire().write(`${post}Content-Length: ${body.length}\r\n\r\n${body}${ask('right', '/v1/processes')}`, 'POST', 'GET');
  await w.answer(2);
  eq(w.answers.map((a) => a.status), [401, 200]);
  eq(w.answers[1].json, { processes: [] });
  const c = api.wire().write(`${post}Transfer-Encoding: chunked\r\n\r\n${chunked}`, 'POST');
  eq((await c.answer()).status, 401);
  await c.waitEnd();
}));
names('better', 'guesses-that-leave', 'a peer that leaves while it waits leaves nothing behind', GUESSED(async (api) => {
  await guess(api, 5).answer(5);
  const all = Array.from({ length: 10 }, () => guess(api, 1));
  await Promise.all(all.map((w) => w.connected()));
  eq((await api.get('/v1/health')).status, 200);
  for (const w of all) w.close();
}));
names('better', 'guesses-too-many', 'when too many answers wait the next guess is 429 and the connection closes', GUESSED(async (api) => {
  await guess(api, 11).answer(11); // from here on each one waits for two seconds
  const all = [];
  const refused = () => all.find((w) => w.answers.some((a) => a.status === 429));
  await until(() => {
    for (let i = 0; i < 10 && all.length < 200; i++) all.push(guess(api, 1));
    return refused();
  }, { what: 'a 429', last: () => all.length });
  const w = refused();
  problem(w.answers[0], { status: 429, type: 'token_invalid', title: 'Too Many Requests', details: { message: 'too many wrong tokens from this address' } });
  eq([w.answers[0].headers['retry-after'], w.answers[0].headers.connection], ['2', 'close']);
  await w.waitEnd();
  eq((await api.get('/v1/health')).status, 200, 'the owner');
  ok(all.filter((x) => x.answers.length === 0).length >= 32, 'thirty-two wait');
}), { slow: true });
names('better', 'guesses-by-ticket', 'a wrong ticket and a wrong subprotocol are guesses too', GUESSED(async (api) => {
  const upgrade = Object.entries(UPGRADE).map(([k, v]) => `${k}: ${v}\r\n`).join('');
  const path = '/v1/processes/x/terminal/ws';
  const each = [ask('', `${path}?ticket=x`, upgrade), ask('', `${path}?access_token=x`, upgrade), ask('', path, `${upgrade}Sec-WebSocket-Protocol: bearer.x\r\n`)];
  const w = api.wire().write(each.join('').repeat(3), ...Array(9).fill('GET'));
  await w.answer(5);
  eq((await api.get('/v1/health')).status, 200);
  ok(w.answers.length < 9, `${w.answers.length} of 9 were answered at once`);
  await w.answer(9);
  eq(w.answers.map((a) => a.status), Array(9).fill(401));
}));
