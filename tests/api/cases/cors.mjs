// Cross-origin requests.
import { Api, define, eq, ok, oneOf } from '../lib.mjs';

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
