// Tokens.
import { Api, define, eq, notFound, oneOf, problem, UPGRADE } from '../lib.mjs';

const auth = define('auth');
const denied = (r) =>
  problem(r, {
    status: 401,
    type: 'token_invalid',
    title: 'Token Invalid',
    detail: 'token invalid',
    details: { message: 'missing or invalid bearer token' },
  });
const open = (api) => new Api(api.base); // same server, no token

auth('compat', 'root-is-open', 'GET / needs no token', async (ctx) =>
  ctx.authed(async (api) => {
    eq((await open(api).get('/')).status, 200);
  }),
);
auth('compat', 'required', 'every /v1 endpoint without a token is a 401 problem', async (ctx) =>
  ctx.authed(async (api) => {
    const o = open(api);
    for (const [m, p] of [
      ['GET', '/v1/health'],
      ['GET', '/v1/processes'],
      ['POST', '/v1/processes'],
      ['POST', '/v1/processes/run'],
      ['GET', '/v1/processes/config'],
      ['POST', '/v1/processes/config'],
      ['GET', '/v1/processes/x'],
      ['DELETE', '/v1/processes/x'],
      ['POST', '/v1/processes/x/stop'],
      ['POST', '/v1/processes/x/kill'],
      ['GET', '/v1/processes/x/logs'],
      ['GET', '/v1/processes/x/logs?follow=true'],
      ['POST', '/v1/processes/x/input'],
      ['POST', '/v1/processes/x/terminal/resize'],
    ])
      denied(await o.req(m, p));
    denied(await o.get('/v1/processes/x/terminal/ws', { headers: UPGRADE }));
  }),
);
auth('compat', 'bearer', 'the right bearer token opens', async (ctx) =>
  ctx.authed(async (api) => {
    eq((await api.get('/v1/health')).json, { status: 'ok' });
    eq((await api.run({ command: 'true' })).exitCode, 0);
  }),
);
auth(
  'compat',
  'wrong-token',
  'wrong, cut, extended or empty tokens and other schemes are refused',
  async (ctx) =>
    ctx.authed(async (api, token) => {
      const o = open(api);
      for (const a of [
        'Bearer wrong',
        'Bearer',
        'Bearer ',
        `Bearer ${token.slice(0, -1)}`,
        `Bearer ${token}x`,
        `Bearer ${token.toUpperCase()}X`,
        `Basic ${Buffer.from(`u:${token}`).toString('base64')}`,
        token,
        `Token ${token}`,
      ])
        denied(await o.get('/v1/health', { headers: { authorization: a } }));
    }),
);
auth(
  'compat',
  'checked-before-body',
  'the token is checked before the body is looked at',
  async (ctx) =>
    ctx.authed(async (api) => {
      denied(
        await open(api).req('POST', '/v1/processes', {
          body: '{',
          headers: { 'content-type': 'application/json' },
        }),
      );
    }),
);
auth('compat', 'unknown-path', 'an unknown path is 404 with and without token', async (ctx) =>
  ctx.authed(async (api) => {
    for (const a of [api, open(api)])
      for (const p of ['/nope', '/v1/nope']) eq((await a.get(p)).status, 404, p);
  }),
);
auth('compat', 'head-and-options', 'HEAD needs the token, OPTIONS does not', async (ctx) =>
  ctx.authed(async (api) => {
    const o = open(api);
    eq((await o.req('HEAD', '/v1/health')).status, 401);
    oneOf((await o.req('OPTIONS', '/v1/processes')).status, [200, 204]);
  }),
);
auth(
  'compat',
  'query-token-not-for-http',
  'access_token in the query counts for the terminal only',
  async (ctx) =>
    ctx.authed(async (api, token) => {
      const o = open(api),
        q = `access_token=${encodeURIComponent(token)}`;
      for (const p of [
        `/v1/health?${q}`,
        `/v1/processes?${q}`,
        `/v1/processes/x/logs?${q}`,
        `/v1/processes/x/logs?follow=true&${q}`,
      ])
        denied(await o.get(p));
      denied(await o.req('POST', `/v1/processes/x/terminal/resize?${q}`));
    }),
);
const term = async (api) => {
  const p = await api.sh('echo up; exec cat', { tty: true });
  await api.logHas(p.id, 'up');
  return p;
};
auth(
  'compat',
  'terminal-by-query-token',
  'the terminal opens with access_token, percent-decoded',
  async (ctx) =>
    ctx.authed(async (api, token) => {
      const p = await term(api);
      const every = [...Buffer.from(token)]
        .map((b) => `%${b.toString(16).padStart(2, '0')}`)
        .join('');
      for (const v of [encodeURIComponent(token), every]) {
        const w = await api.ws(p.id, { auth: false, query: `?access_token=${v}` });
        await w.ready();
        w.send({ type: 'input', data: 'x\n' });
        await w.waitOut('x');
      }
    }),
);
auth('compat', 'terminal-by-header', 'the terminal opens with the bearer header too', async (ctx) =>
  ctx.authed(async (api) => {
    const p = await term(api);
    const w = await api.ws(p.id);
    await w.ready();
  }),
);
auth('compat', 'terminal-refused', 'the terminal stays shut without the right token', async (ctx) =>
  ctx.authed(async (api) => {
    const p = await term(api);
    const o = open(api);
    for (const q of ['', '?access_token=', '?access_token=wrong', '?token=x'])
      denied(await o.get(`/v1/processes/${p.id}/terminal/ws${q}`, { headers: UPGRADE }));
  }),
);
auth(
  'compat',
  'terminal-either-suffices',
  'a right access_token is enough beside a wrong header',
  async (ctx) =>
    ctx.authed(async (api, token) => {
      notFound(
        await open(api).get(
          `/v1/processes/nope/terminal/ws?access_token=${encodeURIComponent(token)}`,
          { headers: { ...UPGRADE, authorization: 'Bearer wrong' } },
        ),
        'nope',
      );
    }),
);
auth(
  'compat',
  'no-token-mode',
  'with --no-token any or no Authorization header is fine',
  async (ctx) =>
    ctx.kept({}, async (api) => {
      for (const h of [{}, { authorization: 'Bearer anything' }, { authorization: 'garbage' }])
        eq((await api.get('/v1/health', { headers: h })).status, 200);
    }),
);
