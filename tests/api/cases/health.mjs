// The root, the health check, and connections that live on.
import { define, eq, has, match, ok } from '../lib.mjs';

const health = define('health');

health('compat', 'root', 'GET / describes the server in JSON', async ({ api }) => {
  const r = await api.get('/', { auth: false });
  eq(r.status, 200);
  match(r.type, /^application\/json/);
  ok(typeof r.json.name === 'string' && r.json.name, 'name');
  ok(typeof r.json.docs === 'string' && r.json.docs, 'docs');
});
health('compat', 'health', 'GET /v1/health answers {"status":"ok"}', async ({ api }) => {
  const r = await api.get('/v1/health');
  eq(r.status, 200);
  match(r.type, /^application\/json/);
  eq(r.json, { status: 'ok' });
});
health(
  'compat',
  'health-ignores-query',
  'an unknown query parameter is ignored',
  async ({ api }) => {
    eq((await api.get('/v1/health?x=1&y')).json, { status: 'ok' });
  },
);
health('compat', 'head', 'HEAD works wherever GET does, without a body', async ({ api }) => {
  for (const p of ['/', '/v1/health', '/v1/processes', '/v1/processes/config']) {
    const r = await api.req('HEAD', p);
    eq(r.status, 200, p);
    eq(r.buf.length, 0, `${p} body`);
    match(r.type, /^application\/json/, p);
  }
});
health(
  'compat',
  'keep-alive',
  'one connection serves several requests, also pipelined',
  async ({ api }) => {
    const one = `GET /v1/health HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}\r\n`;
    const r = await api.raw(one + one + one, {
      until: (t) => t.split('{"status":"ok"}').length === 4,
    });
    eq(r.why, 'matched', `three answers on one connection, got ${JSON.stringify(r.text)}`);
  },
);
health('compat', 'connection-close', 'Connection: close is honoured', async ({ api }) => {
  const r = await api.raw(
    `GET /v1/health HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}Connection: close\r\n\r\n`,
  );
  eq(r.why, 'closed');
  match(r.text, /^HTTP\/1\.1 200 /);
  has(r.text, '{"status":"ok"}');
});
health(
  'compat',
  'http-1.0',
  'an HTTP/1.0 request is answered and the connection closed',
  async ({ api }) => {
    const r = await api.raw(`GET /v1/health HTTP/1.0\r\n${api.authLine()}\r\n`);
    eq(r.why, 'closed');
    match(r.text, /^HTTP\/1\.[01] 200 /);
    has(r.text, '{"status":"ok"}');
  },
);
