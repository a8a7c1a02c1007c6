// Cross-origin requests.
import { Api, UPGRADE, define, eq, ok, oneOf } from '../lib.mjs';

const cors = define('cors');
const ORIGIN = 'http://app.example:5173',
  OTHER = 'https://two.example';
const TWO = { flags: `--cors-allow-origin ${ORIGIN} --cors-allow-origin ${OTHER}` };
const FULL = {
  flags: `--cors-allow-origin ${ORIGIN} --cors-allow-method GET --cors-allow-method POST --cors-allow-header authorization --cors-allow-header content-type --cors-allow-credentials`,
};
const acao = (r) => r.headers['access-control-allow-origin'];
const items = (v) =>
  (v ?? '')
    .split(',')
    .map((x) => x.trim().toLowerCase())
    .filter(Boolean)
    .sort()
    .join();
const preflight = (api, origin, path = '/v1/processes', h = {}) =>
  api.req('OPTIONS', path, {
    auth: false,
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
      ...h,
    },
  });

cors('compat', 'default-allows-none', 'without flags no origin is allowed', async (ctx) =>
  ctx.kept({}, async (api) => {
    for (const r of [
      await api.get('/v1/health', { headers: { origin: ORIGIN } }),
      await preflight(api, ORIGIN),
      await api.get('/nope', { headers: { origin: ORIGIN } }),
    ])
      eq(acao(r), undefined);
    eq(
      (await api.get('/v1/health', { headers: { origin: ORIGIN } })).status,
      200,
      'the request itself is served',
    );
  }),
);
cors(
  'compat',
  'allowed-origin-echoed',
  'an allowed origin is echoed, every one of several',
  async (ctx) =>
    ctx.kept(TWO, async (api) => {
      for (const o of [ORIGIN, OTHER])
        eq(acao(await api.get('/v1/health', { headers: { origin: o } })), o);
    }),
);
cors(
  'compat',
  'foreign-origin',
  'other origins, null, other case or a trailing slash get no permission',
  async (ctx) =>
    ctx.kept(TWO, async (api) => {
      for (const o of [
        'http://evil.example',
        'null',
        ORIGIN.toUpperCase(),
        `${ORIGIN}/`,
        `${ORIGIN}.evil.example`,
        'http://app.example',
      ])
        eq(acao(await api.get('/v1/health', { headers: { origin: o } })), undefined, o);
    }),
);
cors(
  'compat',
  'preflight',
  'a preflight is answered 200 with all methods and headers by default',
  async (ctx) =>
    ctx.kept(TWO, async (api) => {
      for (const path of ['/v1/processes', '/v1/processes/proc_1/logs', '/nope']) {
        const r = await preflight(api, ORIGIN, path);
        oneOf(r.status, [200, 204], path);
        eq([acao(r), r.buf.length], [ORIGIN, 0], path);
        const m = items(r.headers['access-control-allow-methods']),
          h = items(r.headers['access-control-allow-headers']);
        ok(m === '*' || m.includes('post'), `methods ${m}`);
        ok(
          h === '*' || (h.includes('authorization') && h.includes('content-type')),
          `headers ${h}`,
        );
      }
    }),
);
cors('compat', 'errors-carry-headers', 'error answers carry the CORS headers too', async (ctx) =>
  ctx.kept(TWO, async (api) => {
    for (const [m, p] of [
      ['GET', '/v1/processes/nope'],
      ['GET', '/nope'],
      ['PUT', '/v1/processes'],
      ['GET', '/v1/processes?owner=x'],
    ])
      eq(acao(await api.req(m, p, { headers: { origin: ORIGIN } })), ORIGIN, `${m} ${p}`);
  }),
);
cors('compat', 'vary', 'answers vary on origin', async (ctx) =>
  ctx.kept(TWO, async (api) => {
    for (const h of [{}, { origin: ORIGIN }])
      ok(
        items((await api.get('/v1/health', { headers: h })).headers.vary).includes('origin'),
        'Vary: origin',
      );
  }),
);
cors(
  'compat',
  'lists-and-credentials',
  'method and header lists and credentials are passed on',
  async (ctx) =>
    ctx.kept(FULL, async (api) => {
      const r = await preflight(api, ORIGIN);
      eq(acao(r), ORIGIN);
      eq(r.headers['access-control-allow-credentials'], 'true');
      eq(items(r.headers['access-control-allow-methods']), 'get,post');
      eq(items(r.headers['access-control-allow-headers']), 'authorization,content-type');
      const g = await api.get('/v1/health', { headers: { origin: ORIGIN } });
      eq([acao(g), g.headers['access-control-allow-credentials']], [ORIGIN, 'true']);
    }),
);
cors(
  'compat',
  'stream-and-upgrade',
  'the event stream carries the header; an allowed origin may open a terminal',
  async (ctx) =>
    ctx.kept(TWO, async (api) => {
      const p = await api.sh('echo up; exec cat', { tty: true });
      const s = await api.follow(p.id, '', { headers: { origin: ORIGIN } }).opened();
      eq(s.headers['access-control-allow-origin'], ORIGIN);
      const w = await api.ws(p.id, { headers: { origin: ORIGIN } });
      await w.ready();
    }),
);
cors(
  'compat',
  'preflight-needs-no-token',
  'a preflight needs no token, and a 401 still shows the CORS header',
  async (ctx) =>
    ctx.kept({ token: 'cors-token', ...TWO }, async (api) => {
      eq(acao(await preflight(api, ORIGIN)), ORIGIN);
      const r = await new Api(api.base).get('/v1/health', { headers: { origin: ORIGIN } });
      eq([r.status, acao(r)], [401, ORIGIN]);
    }),
);
// What a page embeds it asks for without Origin, and a line of output may be a script: each answer says
// what it is, and that it is nothing for pages from elsewhere. Twice would be another value.
cors('better', 'not-for-embedding', 'every answer forbids guesses of its type and use by pages from elsewhere', async (ctx) =>
  ctx.kept(TWO, async (api) => {
    const p = await api.sh('echo "text = 1"; exec cat', { tty: true });
    await api.logHas(p.id, 'text');
    const path = `/v1/processes/${p.id}`;
    const followed = (await api.get(path)).headers.etag;
    const follow = await api.follow(p.id).opened();
    const wire = async (request) => api.wire().write(request, 'GET').answer();
    const answers = {
      json: [200, await api.get(path)],
      head: [200, await api.req('HEAD', path)],
      problem: [404, await api.get('/v1/processes/none')],
      'no endpoint': [404, await api.get('/nope')],
      method: [405, await api.req('PUT', path)],
      text: [200, await api.get(`${path}/logs?format=text`)],
      raw: [200, await api.get(`${path}/logs?format=raw`)],
      events: [200, { status: follow.status, headers: follow.headers }],
      upgrade: [101, await api.get(`${path}/terminal/ws`, { headers: UPGRADE })],
      preflight: [200, await preflight(api, ORIGIN)],
      root: [200, await api.get('/')],
      healthz: [200, await api.get('/healthz')],
      malformed: [400, await wire('NONSENSE\r\n\r\n')],
      'large head': [431, await wire(`GET / HTTP/1.1\r\nHost: localhost\r\nx: ${'a'.repeat(40000)}\r\n\r\n`)],
      'other name': [403, await wire('GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n')],
      'allowed page': [200, await api.get(path, { headers: { origin: ORIGIN } })],
      inspector: [[200, 404], await api.get('/ui/')],
      'its redirect': [[308, 404], await api.get('/ui')],
      'not in it': [404, await api.get('/ui/none')],
    };
    if (followed) answers['not modified'] = [304, await api.get(path, { headers: { 'if-none-match': followed } })];
    const list = (await api.get('/v1/processes')).headers.etag;
    if (list) answers['list not modified'] = [304, await api.get('/v1/processes', { headers: { 'if-none-match': list } })];
    await api.kill(p.id, '?waitMs=5000');
    answers.none = [204, await api.del(path)];
    for (const [what, [status, r]] of Object.entries(answers)) {
      oneOf(r.status, [status].flat(), what);
      eq([r.headers['x-content-type-options'], r.headers['cross-origin-resource-policy']], ['nosniff', 'same-origin'], what);
    }
  }),
);
