// What a client may rightly expect of HTTP: connections that live on, pipelining, Expect, HEAD,
// targets in all their forms.
import {
  conflict,
  define,
  eq,
  includes,
  keys,
  match,
  notFound,
  ok,
  oneOf,
  problem,
  secs,
  until,
  UPGRADE,
} from '../lib.mjs';
import {
  HOST,
  JSON_TYPE,
  BODY,
  HEALTH,
  RUN,
  withLine,
  atOnce,
  byteByByte,
} from '../lib/requests.mjs';

const requests = define('http-requests');

// ------------------------------------------------------------------ connections
requests(
  'compat',
  'http-1.0-keep-alive',
  'HTTP/1.0 stays open when asked to, and says so',
  async ({ api }) => {
    const one = 'GET /v1/health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n';
    const w = api.wire().write(one);
    match((await w.answer()).headers.connection ?? '', /^keep-alive$/i);
    w.write(`${one}GET /v1/health HTTP/1.0\r\n\r\n${one}`);
    eq((await w.answer(3)).json, { status: 'ok' });
    await w.waitEnd();
    eq(w.answers.length, 3, 'nothing after the one that did not ask');
  },
);
requests(
  'compat',
  'http-1.0-stream',
  'an event stream over HTTP/1.0 is not chunked and ends with the connection',
  async ({ api }) => {
    const p = await api.sh('echo one');
    await api.exited(p.id);
    const w = api.wire().write(`GET /v1/processes/${p.id}/logs?follow=true HTTP/1.0\r\n\r\n`);
    const a = await w.answer();
    eq(a.headers['transfer-encoding'], undefined);
    match(a.text, /^event: log\nid: 1\ndata: \{.*\}\n\nevent: exit\ndata: \{.*\}\n\n$/);
  },
);
requests(
  'better',
  'connection-options',
  'close counts wherever it stands in Connection',
  async ({ api }) => {
    for (const c of [
      'close',
      'Close',
      'keep-alive, close',
      'x-other ,CLOSE',
      'close\r\nConnection: keep-alive',
    ]) {
      const w = api
        .wire()
        .write(`GET /v1/health HTTP/1.1\r\n${HOST}Connection: ${c}\r\n\r\n${HEALTH}`);
      eq((await w.answer()).headers.connection, 'close', c);
      await w.waitEnd();
      eq(w.answers.length, 1, `${c}: answers`);
    }
  },
);
const everyKind = (id) => {
  const chunked = `12\r\n${BODY}\r\n0\r\n\r\n`;
  return [
    ['POST', `POST ${id}/stop?waitMs=0 HTTP/1.1\r\n${HOST}\r\n`, 200],
    ['GET', HEALTH, 200],
    ['POST', `POST /v1/processes/run HTTP/1.1\r\n${HOST}\r\n`, 415],
    ['GET', `GET /nope HTTP/1.1\r\n${HOST}\r\n`, 404],
    ['POST', `${RUN}Content-Length: 18\r\n\r\n${BODY}`, 200],
    ['HEAD', `HEAD /v1/health HTTP/1.1\r\n${HOST}\r\n`, 200],
    ['POST', `${RUN}Transfer-Encoding: chunked\r\n\r\n${chunked}`, 200],
    ['OPTIONS', `OPTIONS /v1/processes HTTP/1.1\r\n${HOST}\r\n`, 200],
    ['PUT', `PUT /v1/processes HTTP/1.1\r\n${HOST}Content-Length: 18\r\n\r\n${BODY}`, 405],
    ['GET', `GET ${id}/logs HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`, 200],
    [
      'POST',
      `POST ${id}/kill?waitMs=5000 HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${chunked}`,
      200,
    ],
    ['DELETE', `DELETE ${id} HTTP/1.1\r\n${HOST}\r\n`, 204],
    ['GET', `GET ${id} HTTP/1.1\r\n${HOST}\r\n`, 404],
    ['GET', HEALTH, 200],
  ];
};
requests(
  'better',
  'pipelining',
  'requests of all kinds in one packet are answered in order',
  async ({ api }) => {
    for (const write of [atOnce, byteByByte]) {
      const p = await api.sh('exec sleep 60'),
        list = everyKind(`/v1/processes/${p.id}`);
      const w = await write(api.wire(), list.map((x) => x[1]).join(''), ...list.map((x) => x[0]));
      await w.answer(list.length, secs(20));
      list.forEach(([, req, status], i) =>
        eq(w.answers[i].status, status, `answer ${i + 1} to ${req.split('\r\n')[0]}`),
      );
      includes(w.answers[10].json, { id: p.id, status: 'exited' });
      eq(w.answers.at(-1).json, { status: 'ok' });
    }
  },
);
requests(
  'better',
  'pipelining-keeps-order',
  'a slow answer holds back the ones behind it, and nothing else',
  async ({ api }) => {
    const slow = JSON.stringify({ command: 'sh', args: ['-c', 'sleep 0.5; echo slow'] });
    const w = api
      .wire()
      .write(
        `${RUN}Content-Length: ${slow.length}\r\n\r\n${slow}${HEALTH}${RUN}Content-Length: 18\r\n\r\n${BODY}${HEALTH}`,
        'POST',
        'GET',
        'POST',
        'GET',
      );
    eq((await api.get('/v1/health', { timeout: secs(2) })).status, 200, 'another connection');
    await w.answer(4);
    eq(
      w.answers.map((a) => a.json?.stdout ?? a.json?.status),
      ['slow\n', 'ok', '', 'ok'],
    );
  },
);
requests(
  'better',
  'many-pipelined',
  'two thousand requests in one go are all answered',
  async ({ api }) => {
    const w = api.wire().write(HEALTH.repeat(2000));
    await w.answer(2000, secs(20));
    ok(
      w.answers.every((a) => a.status === 200),
      'all of them',
    );
  },
);
requests(
  'better',
  'body-is-no-request',
  'the body of a refused request is never read as a request',
  async ({ api }) => {
    const inner = `DELETE /v1/processes/none HTTP/1.1\r\n${HOST}\r\n`;
    for (const [what, head, status] of [
      ['unknown path', 'POST /nope', 404],
      ['method', 'PUT /v1/health', 405],
      ['type', 'POST /v1/processes/run', 415],
      ['unknown process', 'POST /v1/processes/none/stop', 404],
      ['GET with a body', 'GET /v1/health', 200],
    ]) {
      const w = api
        .wire()
        .write(
          `${head} HTTP/1.1\r\n${HOST}Content-Type: text/plain\r\nContent-Length: ${inner.length}\r\n\r\n${inner}${HEALTH}`,
        );
      eq((await w.answer()).status, status, what);
      await until(() => w.ended || w.answers.length > 1, { what: 'the next answer or the end' });
      if (w.answers.length > 1)
        eq(w.answers[1].json, { status: 'ok' }, `${what}: the answer after it`);
    }
  },
);
requests(
  'better',
  'half-close',
  'a client that shuts its sending side still gets its answers',
  async ({ api }) => {
    const slow = JSON.stringify({ command: 'sh', args: ['-c', 'sleep 0.3; echo done'] });
    const w = api.wire().write(`${HEALTH}${RUN}Content-Length: ${slow.length}\r\n\r\n${slow}`);
    await w.connected();
    w.s.end();
    eq((await w.answer(2)).json?.stdout, 'done\n');
    await w.waitEnd();
  },
);

// ------------------------------------------------------------------ Expect
const expecting = (n, more = '') =>
  `${RUN}Expect: 100-continue\r\n${more}Content-Length: ${n}\r\n\r\n`;
requests(
  'compat',
  'expect',
  '100 Continue comes before the body, the answer after it',
  async ({ api }) => {
    const w = api.wire().write(expecting(18));
    await until(() => w.interim.length, { what: '100 Continue' });
    eq([w.interim[0].status, w.answers.length], [100, 0]);
    w.write(BODY);
    eq((await w.answer()).json?.exitCode, 0);
    eq(w.interim.filter((a) => a.status === 100).length, 1, 'one of them');
  },
);
requests(
  'better',
  'expect-chunked',
  'a chunked body is waited for in the same way',
  async ({ api }) => {
    const w = api.wire().write(`${RUN}Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n`);
    await until(() => w.interim.length, { what: '100 Continue' });
    w.write(`12\r\n${BODY}\r\n0\r\n\r\n`);
    eq((await w.answer()).json?.exitCode, 0);
  },
);
requests(
  'better',
  'expect-refused',
  'a request refused by its head gets the refusal instead of 100',
  async (ctx) =>
    ctx.authed(async (api, token) => {
      const bearer = `Authorization: Bearer ${token}\r\n`;
      for (const [what, head, status] of [
        ['no token', expecting(18), 401],
        ['too long', expecting(3 << 20, bearer), 413],
        ['type', expecting(18, bearer).replace('application/json', 'text/plain'), 415],
        ['unknown path', expecting(18, bearer).replace('/run', '/run/x'), 404],
      ]) {
        const w = api.wire().write(head);
        eq((await w.answer()).status, status, what);
        eq(w.interim.length, 0, `${what}: interim answers`);
      }
    }),
);
requests('better', 'expect-other', 'any other expectation is 417', async ({ api }) => {
  for (const e of ['200-ok', '100-continue, x', '']) {
    const w = api.wire().write(`${RUN}Expect: ${e}\r\nContent-Length: 18\r\n\r\n${BODY}`);
    problem(await w.answer(), {
      status: 417,
      type: 'invalid_request',
      title: 'Expectation Failed',
    });
  }
});
requests(
  'better',
  'expect-ignored',
  'without a body to come, or in HTTP/1.0, there is no 100',
  async ({ api }) => {
    for (const r of [
      withLine('Expect: 100-continue'),
      `POST /v1/processes/run HTTP/1.0\r\n${JSON_TYPE}Expect: 100-continue\r\nContent-Length: 18\r\n\r\n${BODY}`,
    ]) {
      const w = api.wire().write(r);
      eq((await w.answer()).status, 200);
      eq(w.interim.length, 0, 'interim answers');
    }
  },
);

// ------------------------------------------------------------------ HEAD and methods
requests(
  'better',
  'head-is-get',
  'HEAD has the status and the headers of GET, and no body, everywhere',
  async ({ api }) => {
    const p = await api.sh('echo hello');
    await api.exited(p.id);
    const id = `/v1/processes/${p.id}`;
    for (const path of [
      '/',
      '/v1/health',
      '/v1/openapi.json',
      '/v1/processes',
      '/v1/processes?owner=x',
      '/v1/processes/config',
      id,
      `${id}/logs`,
      `${id}/logs?tail=x`,
      '/v1/processes/none',
      '/v1/processes/none/logs',
      '/nope',
    ]) {
      const w = api
        .wire()
        .write(
          `GET ${path} HTTP/1.1\r\n${HOST}\r\nHEAD ${path} HTTP/1.1\r\n${HOST}\r\n${HEALTH}`,
          'GET',
          'HEAD',
          'GET',
        );
      await w.answer(3);
      const [g, h, next] = w.answers;
      const plain = (a) =>
        Object.fromEntries(Object.entries(a.headers).filter(([k]) => k !== 'date'));
      eq([h.status, plain(h)], [g.status, plain(g)], path);
      eq(next.json, { status: 'ok' }, `${path}: the answer after it`);
    }
  },
);
requests(
  'better',
  'head-where-get-is-not',
  'HEAD is 405 where GET is, with Allow and without a body',
  async ({ api }) => {
    for (const p of ['/v1/processes/run', '/v1/processes/x/stop', '/v1/processes/x/input']) {
      const w = api.wire().write(`HEAD ${p} HTTP/1.1\r\n${HOST}\r\n${HEALTH}`, 'HEAD', 'GET');
      await w.answer(2);
      eq(
        [w.answers[0].status, w.answers[0].headers.allow, w.answers[1].status],
        [405, 'POST', 200],
        p,
      );
    }
  },
);
requests(
  'better',
  'head-of-a-stream',
  'HEAD of a follow request has the headers of the stream and ends',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    const w = api
      .wire()
      .write(
        `HEAD /v1/processes/${p.id}/logs?follow=true HTTP/1.1\r\n${HOST}\r\n${HEALTH}`,
        'HEAD',
        'GET',
      );
    const r = await w.answer();
    eq(r.status, 200);
    match(r.type, /^text\/event-stream/);
    await until(() => w.ended || w.answers.length > 1, { what: 'the next answer or the end' });
  },
);
requests(
  'better',
  'head-of-a-terminal',
  'HEAD of a terminal with upgrade headers is 405',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60', { tty: true });
    eq(
      (await api.req('HEAD', `/v1/processes/${p.id}/terminal/ws`, { headers: UPGRADE })).status,
      405,
    );
  },
);
requests(
  'better',
  'odd-methods',
  'unknown methods are 405 on a known path and 404 elsewhere',
  async ({ api }) => {
    for (const m of ['FOO', 'get', 'Get', 'PATCH', 'TRACE', 'PROPFIND', 'A'.repeat(20)]) {
      const w = api
        .wire()
        .write(`${m} /v1/health HTTP/1.1\r\n${HOST}\r\n${m} /nope HTTP/1.1\r\n${HOST}\r\n`);
      await w.answer(2);
      problem(w.answers[0], { status: 405, type: 'invalid_request', title: 'Method Not Allowed' });
      eq(w.answers[0].headers.allow, 'GET,HEAD', m);
      problem(w.answers[1], { status: 404, type: 'invalid_request', detail: 'endpoint not found' });
    }
  },
);
requests(
  'better',
  'connect-and-asterisk',
  'CONNECT opens nothing; OPTIONS * is answered',
  async ({ api }) => {
    const c = api.wire().write(`CONNECT localhost:80 HTTP/1.1\r\n${HOST}\r\n`);
    oneOf((await c.answer()).status, [400, 404, 405, 501], 'CONNECT');
    eq(
      (await api.wire().write(`OPTIONS * HTTP/1.1\r\n${HOST}\r\n`).answer()).status,
      200,
      'OPTIONS *',
    );
  },
);

// ------------------------------------------------------------------ targets
requests(
  'compat',
  'absolute-form',
  'a target in absolute form is read like its path',
  async ({ api }) => {
    for (const [t, want] of [
      ['http://localhost/v1/health', { status: 'ok' }],
      ['HTTP://localhost:81/v1/health?x=y', { status: 'ok' }],
      ['http://localhost/v1/health?', { status: 'ok' }],
    ]) {
      eq((await api.wire().write(`GET ${t} HTTP/1.1\r\n${HOST}\r\n`).answer()).json, want, t);
    }
  },
);
requests(
  'better',
  'absolute-form-without-path',
  'an absolute target without a path is the root',
  async ({ api }) => {
    keys((await api.wire().write(`GET http://localhost HTTP/1.1\r\n${HOST}\r\n`).answer()).json, [
      'name',
      'docs',
    ]);
  },
);
requests(
  'compat',
  'percent-decoding',
  'ids and query values are percent-decoded, each once',
  async ({ api }) => {
    const p = await api.sh('echo one; sleep 0.1; echo two');
    await api.exited(p.id);
    const enc = (s) =>
      [...Buffer.from(s)].map((b) => `%${b.toString(16).padStart(2, '0')}`).join('');
    eq((await api.info(enc(p.id))).id, p.id);
    eq((await api.info(enc(p.id).toUpperCase())).id, p.id);
    eq((await api.logs(p.id, `?tail=${enc('1')}`)).entries.length, 1, 'a value');
    eq((await api.logs(p.id, `?${enc('tail')}=1`)).entries.length, 1, 'a name');
    for (const [raw, id] of [
      ['%2570roc_1', '%70roc_1'],
      ['%ZZ', '%ZZ'],
      ['a%2', 'a%2'],
      ['a%', 'a%'],
      ['a+b', 'a+b'],
      ['%c3%a9', '\u00e9'],
      ['a%2fb', 'a/b'],
      ['..', '..'],
      ['%2e%2e', '..'],
    ])
      notFound(await api.get(`/v1/processes/${raw}`), id);
  },
);
requests('better', 'odd-ids', 'ids that are no text are refused without harm', async ({ api }) => {
  for (const raw of ['%ff%fe', '%00', 'a%00b', '%c3', '%ed%a0%80']) {
    const r = await api.get(`/v1/processes/${raw}`);
    oneOf(r.status, [400, 404], raw);
    problem(r, { status: r.status });
  }
});
requests(
  'better',
  'query-shapes',
  'empty pairs and unknown parameters are nothing, repeated known ones an error',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    for (const q of ['?', '?&&', '?=', '?x', '?x&x=1&x=2', '?tail=1&', '?&tail=1', '?Tail=x'])
      eq((await api.get(`/v1/processes/${p.id}/logs${q}`)).status, 200, q);
    for (const q of [
      'tail=1&tail=1',
      'since=1&since=2',
      'stream=pty&stream=pty',
      'follow=true&follow=false',
    ]) {
      problem(await api.get(`/v1/processes/${p.id}/logs?${q}`), {
        status: 400,
        type: 'invalid_request',
        detail: `invalid request: query parameter ${q.split('=')[0]} is given twice`,
      });
    }
    problem(await api.stop(p.id, '?waitMs=0&waitMs=0'), {
      status: 400,
      detail: 'invalid request: query parameter waitMs is given twice',
    });
    conflict(
      await api.del(`/v1/processes/${p.id}`),
      'process is still running; stop or kill it before delete',
    );
  },
);
