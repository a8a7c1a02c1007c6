// Requests that are refused, as the published server refuses them.
import {
  define,
  eq,
  has,
  invalid,
  keys,
  match,
  notFound,
  ok,
  oneOf,
  problem,
  UPGRADE,
} from '../lib.mjs';

const J = { 'content-type': 'application/json' };
const post = (api, p, body, headers = J) => api.req('POST', p, { body, headers });
const ENDPOINT_404 = {
  status: 404,
  type: 'invalid_request',
  title: 'Not Found',
  detail: 'endpoint not found',
};

const errors = define('errors');

errors('compat', 'unknown-path', 'an unknown path is a 404 problem', async ({ api }) => {
  for (const p of [
    '/nope',
    '/v1',
    '/v1/',
    '/v1/nope',
    '/v1/processes/',
    '/v1/health/',
    '/V1/health',
    '//v1/health',
    '/v1/processes/a/b/c',
  ]) {
    const b = problem(await api.get(p), ENDPOINT_404);
    keys(b, ['type', 'title', 'status', 'detail'], `${p} members`);
  }
});
errors(
  'compat',
  'wrong-method',
  'a known path with another method is 405 with Allow',
  async ({ api }) => {
    for (const [m, p, allow] of [
      ['POST', '/v1/health', 'GET,HEAD'],
      ['PUT', '/v1/processes', 'GET,HEAD,POST'],
      ['DELETE', '/v1/processes', 'GET,HEAD,POST'],
      ['PATCH', '/v1/processes/x', 'DELETE,GET,HEAD'],
      ['GET', '/v1/processes/run', 'POST'],
      ['DELETE', '/v1/processes/config', 'GET,HEAD,POST'],
      ['GET', '/v1/processes/x/stop', 'POST'],
      ['GET', '/v1/processes/x/kill', 'POST'],
      ['GET', '/v1/processes/x/input', 'POST'],
      ['POST', '/v1/processes/x/logs', 'GET,HEAD'],
      ['GET', '/v1/processes/x/terminal/resize', 'POST'],
      ['POST', '/v1/processes/x/terminal/ws', 'GET,HEAD'],
    ]) {
      const r = await api.req(m, p);
      eq(r.status, 405, `${m} ${p}`);
      const got = (r.headers.allow ?? '')
        .split(/\s*,\s*/)
        .filter(Boolean)
        .filter((x) => x !== 'OPTIONS')
        .sort()
        .join();
      ok(
        got === allow ||
          got === allow.replace('GET,HEAD', 'GET') ||
          got === allow.replace(',HEAD', ''),
        `${m} ${p}: Allow ${r.headers.allow}`,
      );
    }
  },
);
errors(
  'compat',
  'run-and-config-are-reserved',
  'run and config are not process ids',
  async ({ api }) => {
    notFound(await api.get('/v1/processes/run/logs'), 'run');
    notFound(await api.req('POST', '/v1/processes/config/stop'), 'config');
  },
);
errors(
  'compat',
  'process-not-found',
  'every per-process endpoint answers 404 for an unknown id',
  async ({ api }) => {
    const id = 'proc_99999999';
    notFound(await api.get(`/v1/processes/${id}`), id);
    notFound(await api.del(`/v1/processes/${id}`), id);
    notFound(await api.stop(id), id);
    notFound(await api.kill(id), id);
    notFound(await api.get(`/v1/processes/${id}/logs`), id);
    notFound(await api.get(`/v1/processes/${id}/logs?follow=true`), id);
    notFound(await api.input(id, 'x'), id);
    notFound(await api.post(`/v1/processes/${id}/terminal/resize`, { cols: 80, rows: 24 }), id);
    notFound(await api.get(`/v1/processes/${id}/terminal/ws`, { headers: UPGRADE }), id);
  },
);
errors(
  'compat',
  'id-is-percent-decoded',
  'the id in the path is percent-decoded before the look-up',
  async ({ api }) => {
    notFound(await api.get('/v1/processes/a%20b%2Fc%22%3C'), 'a b/c"<');
  },
);
errors(
  'compat',
  'problem-member-order-free',
  'problem bodies are plain JSON objects without instance',
  async ({ api }) => {
    const r = await api.get('/v1/processes/nope');
    keys(r.json, ['type', 'title', 'status', 'detail', 'details']);
    eq(Number(r.headers['content-length']), r.buf.length, 'content-length');
  },
);
errors('compat', 'json-syntax', 'a body that is not JSON is 400', async ({ api }) => {
  for (const b of [
    '',
    '{',
    '{"command":}',
    '{"command":"true"',
    'nope',
    '\ufeff{"command":"true"}',
    '{"command":"\\ud800"}',
    "{'command':'true'}",
  ]) {
    eq((await post(api, '/v1/processes', b)).status, 400, `create with ${JSON.stringify(b)}`);
    eq((await post(api, '/v1/processes/run', b)).status, 400, `run with ${JSON.stringify(b)}`);
  }
  for (const p of [
    '/v1/processes/config',
    '/v1/processes/x/input',
    '/v1/processes/x/terminal/resize',
  ])
    eq((await post(api, p, '{')).status, 400, p);
});
errors('compat', 'json-invalid-utf8', 'a body with broken UTF-8 is 400', async ({ api }) => {
  const b = Buffer.concat([
    Buffer.from('{"command":"tr'),
    Buffer.from([0xff]),
    Buffer.from('ue"}'),
  ]);
  eq((await post(api, '/v1/processes/run', b)).status, 400);
});
errors('compat', 'missing-field', 'a missing required field is 422', async ({ api }) => {
  eq((await api.post('/v1/processes', {})).status, 422, 'create');
  eq((await api.post('/v1/processes/run', { args: [] })).status, 422, 'run');
  eq((await api.post('/v1/processes/x/input', {})).status, 422, 'input');
  eq((await api.post('/v1/processes/x/terminal/resize', { cols: 1 })).status, 422, 'resize');
});
errors('compat', 'wrong-type', 'a field of the wrong JSON type is 422', async ({ api }) => {
  for (const b of [
    null,
    'x',
    5,
    { command: 5 },
    { command: null },
    { command: 'true', args: 'x' },
    { command: 'true', args: [1] },
    { command: 'true', args: null },
    { command: 'true', env: [] },
    { command: 'true', env: { A: 1 } },
    { command: 'true', env: null },
    { command: 'true', tty: 'yes' },
    { command: 'true', tty: null },
    { command: 'true', interactive: 1 },
    { command: 'true', cwd: 1 },
  ]) {
    eq(
      (await api.req('POST', '/v1/processes', { body: JSON.stringify(b), headers: J })).status,
      422,
      JSON.stringify(b),
    );
  }
  for (const b of [
    { command: 'true', timeoutMs: -1 },
    { command: 'true', timeoutMs: 1.5 },
    { command: 'true', timeoutMs: '5' },
    { command: 'true', maxOutputBytes: -1 },
    { command: 'true', maxOutputBytes: {} },
  ]) {
    eq((await api.post('/v1/processes/run', b)).status, 422, JSON.stringify(b));
  }
  eq(
    (await post(api, '/v1/processes/run', '{"command":"true","timeoutMs":18446744073709551616}'))
      .status,
    422,
    'past 64 bits',
  );
  for (const b of [{ data: 5 }, { data: null }, { data: '', encoding: 1 }])
    eq((await api.post('/v1/processes/x/input', b)).status, 422, JSON.stringify(b));
});
errors('compat', 'unknown-fields-ignored', 'unknown members are ignored', async ({ api }) => {
  const p = await api.create({
    command: 'true',
    bogus: { deep: [1] },
    owner: 'system',
    id: 'mine',
  });
  eq(p.owner, 'user');
  ok(p.id !== 'mine', 'id chosen by the server');
  eq((await api.run({ command: 'true', bogus: 1, tty: true })).exitCode, 0);
});
errors(
  'compat',
  'content-type',
  'only a JSON content type is taken: others are 415',
  async ({ api }) => {
    const b = '{"command":"true"}';
    for (const h of [
      {},
      { 'content-type': 'text/plain' },
      { 'content-type': 'application/x-www-form-urlencoded' },
      { 'content-type': 'application/octet-stream' },
    ]) {
      eq((await post(api, '/v1/processes/run', b, h)).status, 415, JSON.stringify(h));
    }
    for (const t of [
      'application/json',
      'application/json; charset=utf-8',
      'APPLICATION/JSON',
      'application/vnd.x+json',
    ]) {
      eq((await post(api, '/v1/processes/run', b, { 'content-type': t })).status, 200, t);
    }
    eq((await api.req('POST', '/v1/processes')).status, 415, 'no body at all');
  },
);
errors('compat', 'empty-command', 'an empty or blank command is a 400 problem', async ({ api }) => {
  for (const command of ['', '   ', '\t\n']) {
    invalid(await api.post('/v1/processes', { command }), 'command must not be empty');
    invalid(await api.post('/v1/processes/run', { command }), 'command must not be empty');
  }
});
errors(
  'compat',
  'command-not-found',
  'a command that does not exist is a 502 stream_error problem',
  async ({ api }) => {
    for (const p of ['/v1/processes', '/v1/processes/run']) {
      for (const command of ['no-such-program-anywhere', '/no/such/dir/prog']) {
        const b = problem(await api.post(p, { command }), {
          status: 502,
          type: 'stream_error',
          title: 'Stream Error',
          detail: /^stream error: failed to spawn process: .*No such file or directory/,
        });
        eq(b.detail, `stream error: ${b.details.message}`, 'details.message');
      }
    }
    problem(await api.post('/v1/processes', { command: 'no-such-program-anywhere', tty: true }), {
      status: 502,
      type: 'stream_error',
      detail: /No such file or directory/,
    });
  },
);
errors(
  'compat',
  'command-not-executable',
  'a file that may not be executed is a 502 problem',
  async ({ api }) => {
    for (const command of ['/etc/passwd', '/tmp']) {
      problem(await api.post('/v1/processes', { command }), {
        status: 502,
        type: 'stream_error',
        detail: /Permission denied/,
      });
      problem(await api.post('/v1/processes/run', { command }), {
        status: 502,
        type: 'stream_error',
        detail: /Permission denied/,
      });
    }
  },
);
errors(
  'compat',
  'bad-cwd',
  'a working directory that does not exist is a 502 problem',
  async ({ api }) => {
    for (const extra of [{}, { tty: true }])
      problem(await api.post('/v1/processes', { command: 'true', cwd: '/no/such/dir', ...extra }), {
        status: 502,
        type: 'stream_error',
      });
    problem(await api.post('/v1/processes/run', { command: 'true', cwd: '/no/such/dir' }), {
      status: 502,
      type: 'stream_error',
    });
    problem(await api.post('/v1/processes/run', { command: 'true', cwd: '' }), {
      status: 502,
      type: 'stream_error',
    });
  },
);
errors(
  'compat',
  'nul-bytes-refused',
  'NUL inside command, args, cwd or env is refused, never cut short',
  async ({ api }) => {
    for (const b of [
      { command: 'true\u0000x' },
      { command: 'true', args: ['a\u0000b'] },
      { command: 'true', cwd: '/\u0000' },
      { command: 'true', env: { A: 'x\u0000y' } },
      { command: 'true', env: { 'A\u0000B': 'x' } },
    ]) {
      for (const p of ['/v1/processes', '/v1/processes/run']) {
        const r = await api.post(p, b);
        oneOf(r.status, [400, 422, 502], `${p} ${JSON.stringify(b)}`);
        problem(r, { status: r.status });
      }
    }
  },
);
errors(
  'compat',
  'argument-list-too-long',
  'an argument the kernel refuses is a 502 problem',
  async ({ api }) => {
    problem(await api.post('/v1/processes/run', { command: 'true', args: ['x'.repeat(200000)] }), {
      status: 502,
      type: 'stream_error',
      detail: /Argument list too long/,
    });
  },
);
errors(
  'compat',
  'failed-create-leaves-nothing',
  'a create that failed leaves no process behind',
  async ({ api }) => {
    const marker = `no-such-${Date.now()}`;
    await api.post('/v1/processes', { command: marker });
    await api.post('/v1/processes', { command: 'true', args: [marker], cwd: '/no/such/dir' });
    const l = (await api.get('/v1/processes')).json.processes;
    ok(!l.some((p) => p.command === marker || p.args.includes(marker)), 'not listed');
  },
);
errors(
  'compat',
  'body-limit',
  'a body past 2 MiB is 413, one just below is read',
  async ({ api }) => {
    const pad = (n) => {
      const head = '{"command":"true","pad":"';
      return `${head}${'y'.repeat(n - head.length - 2)}"}`;
    };
    eq((await post(api, '/v1/processes/run', pad(2 * 1024 * 1024))).status, 200, 'exactly 2 MiB');
    const r = await post(api, '/v1/processes/run', pad(2 * 1024 * 1024 + 1)).catch((e) => e);
    ok(
      r.status === 413 || ['EPIPE', 'ECONNRESET'].includes(r.code),
      `past 2 MiB: ${r.status ?? r}`,
    );
  },
);
errors('compat', 'chunked-body', 'a chunked request body is read', async ({ api }) => {
  const r = await api.raw(
    `POST /v1/processes/run HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"com\r\ne;x=y\r\nmand":"true"  \r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n`,
    { until: (t) => t.includes('exitCode') },
  );
  match(r.text, /^HTTP\/1\.1 200 /);
  has(r.text, '"exitCode":0');
});
errors(
  'compat',
  'expect-continue',
  'Expect: 100-continue is answered before the body is sent',
  async ({ api }) => {
    const r = await api.raw(
      `POST /v1/processes/run HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 18\r\n\r\n`,
      { until: (t) => t.includes('\r\n\r\n') },
    );
    match(r.text, /^HTTP\/1\.1 100 /);
  },
);
errors(
  'compat',
  'malformed-http',
  'broken requests are refused with 4xx and do no harm',
  async ({ api }) => {
    const P =
      'POST /v1/processes/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    for (const [what, bytes] of [
      ['no request line', 'HELLO\r\n\r\n'],
      ['header without colon', 'GET / HTTP/1.1\r\nbad header\r\n\r\n'],
      [
        'two content lengths',
        `${P}Content-Length: 18\r\nContent-Length: 5\r\n\r\n{"command":"true"}`,
      ],
      ['negative length', `${P}Content-Length: -1\r\n\r\n`],
      ['length not a number', `${P}Content-Length: 1x\r\n\r\n{"command":"true"}`],
    ]) {
      const r = await api.raw(bytes, { until: (t) => t.includes('\r\n\r\n') });
      match(r.text, /^HTTP\/1\.[01] 4\d\d /, what);
    }
    eq((await api.get('/v1/health')).status, 200, 'still healthy');
  },
);
errors(
  'compat',
  'oversized-head',
  'absurd headers and paths are refused with 4xx',
  async ({ api }) => {
    const head = await api.raw(
      `GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(600000)}\r\n\r\n`,
      { until: (t) => t.includes('\r\n') },
    );
    ok(
      /^HTTP\/1\.[01] 4\d\d /.test(head.text) || /closed|error/.test(head.why),
      `huge header: ${head.text.slice(0, 80)} ${head.why}`,
    );
    const uri = await api.raw(
      `GET /v1/processes/${'a'.repeat(100000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      { until: (t) => t.includes('\r\n') },
    );
    ok(
      /^HTTP\/1\.[01] 4\d\d /.test(uri.text) || /closed|error/.test(uri.why),
      `huge path: ${uri.text.slice(0, 80)} ${uri.why}`,
    );
    eq((await api.get('/v1/health')).status, 200, 'still healthy');
  },
);
errors(
  'compat',
  'invalid-query-values',
  'query values that do not parse are 400',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    const base = `/v1/processes/${p.id}`;
    for (const q of [
      'tail=-1',
      'tail=abc',
      'tail=',
      'tail=1.5',
      'tail=99999999999999999999',
      'since=-1',
      'since=abc',
      'since=',
      'stream=bogus',
      'stream=',
      'stream=STDOUT',
      'follow=1',
      'follow=yes',
      'follow=',
      'tail=1&tail=2',
    ]) {
      eq((await api.get(`${base}/logs?${q}`)).status, 400, `logs?${q}`);
    }
    for (const q of [
      'waitMs=abc',
      'waitMs=-1',
      'waitMs=',
      'waitMs=1.5',
      'waitMs=18446744073709551616',
    ]) {
      eq((await api.stop(p.id, `?${q}`)).status, 400, `stop?${q}`);
      eq((await api.kill(p.id, `?${q}`)).status, 400, `kill?${q}`);
    }
    for (const q of ['owner=bogus', 'owner=', 'owner=USER'])
      eq((await api.get(`/v1/processes?${q}`)).status, 400, `list?${q}`);
    eq((await api.info(p.id)).status, 'running', 'a refused stop or kill sends no signal');
  },
);
errors(
  'compat',
  'options',
  'OPTIONS is answered 200 with an empty body, also for unknown paths',
  async ({ api }) => {
    for (const p of ['/v1/processes', '/v1/health', '/nope']) {
      const r = await api.req('OPTIONS', p, { auth: false });
      oneOf(r.status, [200, 204], p);
      eq(r.buf.length, 0, `${p} body`);
    }
  },
);
errors('compat', 'head-404', 'HEAD of an unknown path is 404 without a body', async ({ api }) => {
  const r = await api.req('HEAD', '/nope');
  eq(r.status, 404);
  eq(r.buf.length, 0);
});
