// One-time tickets.
import { Api, UPGRADE, define, eq, has, keys, match, notFound, ok, problem, until } from '../lib.mjs';
import { reader, say } from '../lib/helpers.mjs';

const tickets = define('tickets');
const TOKENS = {
  token: 'full',
  auth: 'none',
  pre: "printf 'full\\nlook read\\n' >tokens",
  flags: '--token-file tokens',
};
const kept = (fn) => (ctx) => ctx.kept(TOKENS, async (api) => {
  const o = new Api(api.base);
  try {
    await fn(api, o);
  } finally {
    await o.cleanup();
  }
});
const terminal = (id) => `/v1/processes/${id}/terminal/ws`;
const logs = (id) => `/v1/processes/${id}/logs`;
async function ask(api, path, more = {}) {
  const r = await api.post('/v1/tickets', { path, ...more });
  eq(r.status, 201, r.text);
  return r.json;
}
const knock = (o, path, ticket, more = {}) =>
  o.get(`${path}${path.includes('?') ? '&' : '?'}ticket=${ticket}`, { headers: { ...UPGRADE, ...more } });
const denied = (r) => {
  problem(r, { status: 401, type: 'token_invalid', details: { message: 'missing or invalid bearer token' } });
  eq(r.headers['www-authenticate'], 'Bearer');
};

tickets('better', 'answer', 'the answer has the ticket, its path and its end', kept(async (api) => {
  const p = await api.sh('exec cat', { tty: true });
  const before = Date.now();
  for (const [more, ttl] of [[{}, 30000], [{ ttlMs: null }, 30000], [{ ttlMs: 1 }, 1], [{ ttlMs: 3600000, other: 1 }, 3600000]]) {
    const t = await ask(api, terminal(p.id), more);
    keys(t, ['ticket', 'path', 'expiresAtMs', 'ttlMs']);
    match(t.ticket, /^[A-Za-z0-9_-]{43}$/);
    eq([t.path, t.ttlMs], [terminal(p.id), ttl]);
    ok(t.expiresAtMs >= before + ttl && t.expiresAtMs <= Date.now() + ttl, `the end ${t.expiresAtMs}`);
  }
}));
tickets('better', 'terminal-once', 'a ticket opens a terminal, once', kept(async (api, o) => {
  const p = await reader(api);
  const { ticket } = await ask(api, terminal(p.id));
  const w = await o.ws(p.id, { query: `?replay=0&ticket=${ticket}` });
  await w.ready();
  say(w, 'in');
  await w.waitOut('got:in');
  denied(await knock(o, terminal(p.id), ticket));
}));
tickets('better', 'stream-once', 'a ticket opens an event stream, once, by either name of the path', kept(async (api, o) => {
  const p = await api.sh('echo seen');
  await api.exited(p.id);
  for (const path of [logs(p.id), `/v1/process/${p.id}/logs`]) {
    const { ticket } = await ask(api, path);
    const s = await o.sse(`${path}?follow=true&ticket=${ticket}`).opened();
    await until(() => s.ended, { what: 'the end of the stream' });
    eq(s.status, 200);
    has(s.rawText, 'event: exit');
    denied(await o.get(`${path}?follow=true&ticket=${ticket}`));
  }
}));
tickets('better', 'only-for-streams', 'what is no stream and no WebSocket is not opened, and leaves the ticket', kept(async (api, o) => {
  const p = await api.sh('echo seen');
  await api.exited(p.id);
  const { ticket } = await ask(api, logs(p.id));
  for (const q of ['', '&follow=false', '&follow=1', '&xfollow=true']) denied(await o.get(`${logs(p.id)}?ticket=${ticket}${q}`));
  denied({ ...(await o.req('POST', `${logs(p.id)}?follow=true&ticket=${ticket}`)) });
  eq((await o.req('HEAD', `${logs(p.id)}?follow=true&ticket=${ticket}`)).status, 401, 'HEAD opens nothing');
  denied(await o.get(`/v1/processes?follow=true&ticket=${ticket}`));
  eq((await o.get(`${logs(p.id)}?follow=true&ticket=${ticket}`)).status, 200);
}));
tickets('better', 'wrong-path', 'on another path it is no ticket, and stays one for its own', kept(async (api, o) => {
  const a = await reader(api),
    b = await reader(api);
  const { ticket } = await ask(api, terminal(a.id));
  denied(await knock(o, terminal(b.id), ticket));
  denied(await knock(o, `${logs(a.id)}?follow=true`, ticket));
  denied(await knock(o, terminal(a.id).replace('_', '%5F'), ticket));
  eq((await knock(o, terminal(a.id), ticket)).status, 101);
}));
tickets('better', 'encoded-path', 'the path is kept with the escapes that it was given with', kept(async (api, o) => {
  const p = await reader(api);
  const path = terminal(p.id).replace('_', '%5f');
  const { ticket, path: kept } = await ask(api, path);
  eq(kept, path);
  denied(await knock(o, terminal(p.id), ticket));
  eq((await knock(o, path, ticket)).status, 101);
}));
tickets('better', 'expires', 'after its time it is none', kept(async (api, o) => {
  const p = await reader(api);
  const t = await ask(api, terminal(p.id), { ttlMs: 50 });
  await until(() => Date.now() > t.expiresAtMs + 20, { what: 'the end of the ticket' });
  denied(await knock(o, terminal(p.id), t.ticket));
}));
tickets('better', 'of-a-reader', 'a token that may only read gets tickets that may only read', kept(async (api, o) => {
  const p = await reader(api);
  const { ticket } = await ask(new Api(api.base, 'look'), terminal(p.id));
  const w = await o.ws(p.id, { query: `?ticket=${ticket}` });
  await w.ready();
  say(w, 'x');
  eq((await w.wait('error')).message, 'permission denied: this token may only read');
}));
tickets('better', 'beside-a-token', 'a right token is enough, and leaves the ticket; a wrong one does not spoil it', kept(async (api, o) => {
  const p = await reader(api);
  const { ticket } = await ask(api, terminal(p.id));
  eq((await knock(o, terminal(p.id), ticket, { authorization: 'Bearer full' })).status, 101);
  eq((await knock(o, terminal(p.id), ticket, { authorization: 'Bearer wrong' })).status, 101);
  denied(await knock(o, terminal(p.id), ticket));
}));
tickets('better', 'wrong-ticket', 'what is no ticket is 401', kept(async (api, o) => {
  const p = await reader(api);
  const { ticket } = await ask(api, terminal(p.id));
  for (const t of ['', 'x', `${ticket}A`, ticket.slice(1), `${ticket.slice(0, -1)}%00`]) denied(await knock(o, terminal(p.id), t));
  denied(await o.get(`${terminal(p.id)}?Ticket=${ticket}`, { headers: UPGRADE }));
}));
tickets('better', 'which-paths', 'there are tickets for terminals and logs of processes that exist', kept(async (api) => {
  const p = await api.sh('true');
  for (const path of ['', '/', '/v1/processes', `/v1/processes/${p.id}`, `/v1/processes/${p.id}/logs?follow=true`, `/v1/processes/${p.id}/logs/`,
    `/v1/processes/${p.id}/input`, `http://localhost${logs(p.id)}`, '/v1/tickets', `/v1/processes/${p.id}?/logs`])
    problem(await api.post('/v1/tickets', { path }), { status: 400, type: 'invalid_request', detail: /path must be that of a process's logs or terminal/ });
  problem(await api.post('/v1/tickets', { path: logs('x'.repeat(600)) }), { status: 400, detail: /longer than 512 bytes/ });
  notFound(await api.post('/v1/tickets', { path: logs('proc_none') }), 'proc_none');
  notFound(await api.post('/v1/tickets', { path: terminal('a%20b') }), 'a b');
}));
tickets('better', 'body', 'the body is checked like others', kept(async (api, o) => {
  const p = await api.sh('true');
  for (const json of [{}, { path: 1 }, { path: logs(p.id), ttlMs: 0 }, { path: logs(p.id), ttlMs: 3600001 }, { path: logs(p.id), ttlMs: '1' }, []])
    problem(await api.post('/v1/tickets', json), { status: 422, type: 'invalid_request' });
  problem(await api.req('POST', '/v1/tickets', { body: '{', headers: { 'content-type': 'application/json' } }), { status: 400 });
  problem(await api.req('POST', '/v1/tickets', { body: '{}' }), { status: 415 });
  denied(await o.post('/v1/tickets', { path: logs(p.id) }));
  denied(await o.post(`/v1/tickets?ticket=${(await ask(api, logs(p.id))).ticket}`, { path: logs(p.id) }));
}));
tickets('better', 'without-tokens', 'a server without tokens gives tickets, and needs none', async ({ api }) => {
  const p = await reader(api);
  const { ticket } = await ask(api, terminal(p.id));
  for (let i = 0; i < 2; i++) eq((await knock(api, terminal(p.id), ticket)).status, 101);
});
// So many tickets asked for on one connection.
function askMany(api, id, n) {
  const body = JSON.stringify({ path: logs(id) });
  const one = `POST /v1/tickets HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  return api.wire().write(one.repeat(n), ...Array(n).fill('POST'));
}
tickets('better', 'limit-for-readers', 'tokens that may only read get half of them, and are told which half', async (ctx) => ctx.withServer(TOKENS, async (s) => {
  const api = new Api(s.url, 'full'), look = new Api(s.url, 'look');
  const p = await api.sh('exec cat');
  const w = askMany(look, p.id, 513);
  await w.answer(513);
  eq(w.answers.map((a) => a.status), [...Array(512).fill(201), 429]);
  problem(w.answers[512], { status: 429, type: 'conflict', detail: 'conflict: 512 tickets of tokens that may only read are waiting to be used (limit)' });
  const x = askMany(api, p.id, 513);
  await x.answer(513);
  eq(x.answers.map((a) => a.status), [...Array(512).fill(201), 429], 'the others');
  for (const a of [api, look]) problem(await a.post('/v1/tickets', { path: logs(p.id) }), { status: 429, detail: 'conflict: 1024 tickets are waiting to be used (limit)' });
  for (const a of [look, api]) await a.cleanup();
}), { timeout: 60 });
tickets('better', 'limit', 'no more than 1024 wait to be used', async (ctx) => ctx.withServer({ token: 'full' }, async (s, api) => {
  const p = await api.sh('exec cat');
  const w = askMany(api, p.id, 1026);
  await w.answer(1026);
  eq(w.answers.map((a) => a.status), [...Array(1024).fill(201), 429, 429]);
  eq(new Set(w.answers.map((a) => a.json.ticket)).size, 1025, 'all are different');
  problem(w.answers[1024], { status: 429, type: 'conflict', detail: /1024 tickets/ });
  const s1 = await new Api(api.base).follow(p.id, `ticket=${w.answers[500].json.ticket}`).opened();
  eq(s1.status, 200);
  s1.close();
  await ask(api, logs(p.id));
}), { timeout: 60 });
