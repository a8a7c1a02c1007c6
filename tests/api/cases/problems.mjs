// The error model: every kind of error that the process API can meet, with its exact type, title,
// status, detail and extensions.
import { define, eq, keys, match, ok, oneOf, problem, until, UPGRADE } from '../lib.mjs';

const problems = define('problems');
const J = { 'content-type': 'application/json' };
const ORIGIN = { origin: 'http://evil.example' };
const MEMBERS = ['type', 'title', 'status', 'detail'];
const post = (api, p, body, headers = J) =>
  api.req('POST', p, { body: typeof body === 'string' ? body : JSON.stringify(body), headers });

// type, title, status, detail as they must be; members in their order; details only where the kind
// has them. For kinds with details.message the detail is a prefix and that message.
function exact(r, status, type, title, detail, details) {
  problem(r, { status, type, title, detail, details });
  eq(Object.keys(r.json), details === undefined ? MEMBERS : [...MEMBERS, 'details'], 'members');
  eq(Number(r.headers['content-length']), r.buf.length, 'content-length');
}
function withMessage(r, status, type, title, prefix, message) {
  problem(r, { status, type, title });
  eq(Object.keys(r.json), [...MEMBERS, 'details'], 'members');
  keys(r.json.details, ['message'], 'details');
  eq(r.json.detail, `${prefix}: ${r.json.details.message}`, 'detail');
  if (message instanceof RegExp) match(r.json.details.message, message, 'message');
  else if (message) eq(r.json.details.message, message, 'message');
}
const badRequest = (r, message) =>
  exact(
    r,
    400,
    'invalid_request',
    'Invalid Request',
    typeof message === 'string' ? `invalid request: ${message}` : message,
  );
const unprocessable = (r, message) =>
  exact(
    r,
    422,
    'invalid_request',
    'Unprocessable Content',
    typeof message === 'string' ? `invalid request: ${message}` : message,
  );

problems('compat', 'endpoint-not-found', '404 for an unknown path', async ({ api }) => {
  for (const [m, p] of [
    ['GET', '/nope'],
    ['POST', '/v1/nope'],
    ['DELETE', '/v1/processes/'],
  ])
    exact(await api.req(m, p), 404, 'invalid_request', 'Not Found', 'endpoint not found');
});
problems(
  'compat',
  'process-not-found',
  '404 for an unknown process, with its id',
  async ({ api }) => {
    for (const [raw, id] of [
      ['proc_0', 'proc_0'],
      ['a%20%22b%22%0a', 'a "b"\n'],
      ['x'.repeat(3000), 'x'.repeat(3000)],
    ])
      exact(
        await api.get(`/v1/processes/${raw}`),
        404,
        'not_found',
        'Not Found',
        `not found: process ${id}`,
        { id, resource: 'process' },
      );
  },
);
problems(
  'better',
  'method-not-allowed',
  '405 names the method and the allowed ones',
  async ({ api }) => {
    for (const [m, p, allow] of [
      ['PUT', '/v1/processes', 'GET,HEAD,POST'],
      ['POST', '/v1/health', 'GET,HEAD'],
      ['GET', '/v1/processes/run', 'POST'],
      ['POST', '/v1/processes/x/logs', 'GET,HEAD'],
    ]) {
      const r = await api.req(m, p);
      exact(
        r,
        405,
        'invalid_request',
        'Method Not Allowed',
        `method not allowed: ${m}; allowed: ${allow}`,
      );
      eq(r.headers.allow, allow, `${m} ${p}: Allow`);
    }
  },
);
problems('better', 'token-invalid', '401 with the challenge', async (ctx) =>
  ctx.authed(async (api) => {
    for (const headers of [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: 'Basic eDp5' },
    ]) {
      const r = await api.get('/v1/health', { auth: false, headers });
      exact(r, 401, 'token_invalid', 'Token Invalid', 'token invalid', {
        message: 'missing or invalid bearer token',
      });
      match(r.headers['www-authenticate'], /^Bearer\b/);
    }
  }),
);
problems(
  'better',
  'permission-denied',
  '403 for a foreign origin, naming the flag that would allow it',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60', { tty: true });
    for (const r of [
      await api.req('POST', `/v1/processes/${p.id}/kill`, { headers: ORIGIN }),
      await api.del(`/v1/processes/${p.id}`, { headers: ORIGIN }),
      await api.get(`/v1/processes/${p.id}/terminal/ws`, { headers: { ...UPGRADE, ...ORIGIN } }),
    ]) {
      withMessage(
        r,
        403,
        'permission_denied',
        'Permission Denied',
        'permission denied',
        /--cors-allow-origin/,
      );
      ok(r.json.detail.includes(ORIGIN.origin), 'names the origin');
    }
    eq((await api.info(p.id)).status, 'running');
  },
);
problems('better', 'media-type', '415 names what came', async ({ api }) => {
  for (const p of [
    '/v1/processes',
    '/v1/processes/run',
    '/v1/processes/config',
    '/v1/processes/x/input',
    '/v1/processes/x/terminal/resize',
  ]) {
    withMessage(
      await post(api, p, '{}', { 'content-type': 'text/plain' }),
      415,
      'unsupported_media_type',
      'Unsupported Media Type',
      'unsupported media type',
      'expected application/json, got "text/plain"',
    );
    withMessage(
      await post(api, p, '{}', {}),
      415,
      'unsupported_media_type',
      'Unsupported Media Type',
      'unsupported media type',
      /^expected application\/json/,
    );
  }
});
problems('better', 'bad-json', '400 for what is no JSON', async ({ api }) => {
  for (const b of [
    '',
    '{',
    '{"command":"true"} junk',
    '{"command":"true"}{}',
    '{"command":"tr\u0001ue"}',
    '{"command":"\\x"}',
    '{"command":"true",}',
    '{"timeoutMs":01,"command":"true"}',
    '\ufeff{}',
    '{"a":NaN}',
  ]) {
    for (const p of [
      '/v1/processes',
      '/v1/processes/run',
      '/v1/processes/config',
      '/v1/processes/x/input',
      '/v1/processes/x/terminal/resize',
    ])
      badRequest(await post(api, p, b), /^invalid request: ./);
  }
  const broken = Buffer.concat([
    Buffer.from('{"command":"tr'),
    Buffer.from([0xff]),
    Buffer.from('ue"}'),
  ]);
  badRequest(
    await api.req('POST', '/v1/processes/run', { body: broken, headers: J }),
    /^invalid request: .*UTF-8/i,
  );
});
problems(
  'better',
  'wrong-shape',
  '422 names the member, what was expected and what came',
  async ({ api }) => {
    const run = (b) => post(api, '/v1/processes/run', b);
    unprocessable(
      await run({ command: 'true', timeoutMs: 'x' }),
      'timeoutMs: expected an unsigned integer, got a string',
    );
    unprocessable(
      await run({ command: 'true', maxOutputBytes: {} }),
      /^invalid request: maxOutputBytes: expected an unsigned integer, got /,
    );
    for (const [b, member] of [
      [{}, 'command'],
      [{ command: 5 }, 'command'],
      [{ command: 'x', args: 'y' }, 'args'],
      [{ command: 'x', args: ['y', 1] }, 'args[1]'],
      [{ command: 'x', cwd: 1 }, 'cwd'],
      [{ command: 'x', env: [] }, 'env'],
      [{ command: 'x', timeoutMs: -1 }, 'timeoutMs'],
      [{ command: 'x', timeoutMs: 1.5 }, 'timeoutMs'],
      [{ command: 'x', stdoutEncoding: 'hex' }, 'stdoutEncoding'],
      [{ command: 'x', stdoutEncoding: 1 }, 'stdoutEncoding'],
    ]) {
      const r = await run(b);
      unprocessable(r, /^invalid request: /);
      ok(
        r.json.detail.startsWith(`invalid request: ${member}: `),
        `${JSON.stringify(b)}: ${r.json.detail}`,
      );
    }
    unprocessable(await run({ command: 'x', env: { KEY: 1 } }), /^invalid request: env\.KEY: /);
    unprocessable(
      await run('{"command":"x","timeoutMs":18446744073709551616}'),
      /^invalid request: timeoutMs: /,
    );
    unprocessable(await run('["true"]'), /^invalid request: ./);
    unprocessable(
      await post(api, '/v1/processes', { command: 'x', tty: 'yes' }),
      /^invalid request: tty: /,
    );
    unprocessable(await post(api, '/v1/processes/config', {}), /^invalid request: \w+: /);
    unprocessable(await post(api, '/v1/processes/x/input', {}), /^invalid request: data: /);
  },
);
problems(
  'better',
  'given-twice',
  '422 for a known member given twice, and for a repeated key of env',
  async ({ api }) => {
    unprocessable(
      await post(api, '/v1/processes/run', '{"command":"false","command":"true"}'),
      'command: given twice',
    );
    unprocessable(
      await post(api, '/v1/processes/run', '{"command":"true","env":{"A":"1","A":"2"}}'),
      /^invalid request: env\.A: given twice$/,
    );
    unprocessable(
      await post(api, '/v1/processes/x/input', '{"data":"","data":""}'),
      'data: given twice',
    );
    eq(
      (await post(api, '/v1/processes/run', '{"command":"true","x":1,"x":2}')).status,
      200,
      'an unknown one',
    );
  },
);
problems(
  'better',
  'sizes',
  '422 for a terminal size of zero or beyond 16 bits',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60', { tty: true });
    const resize = (b) => post(api, `/v1/processes/${p.id}/terminal/resize`, b);
    unprocessable(await resize({ cols: 0, rows: 24 }), 'cols: must be between 1 and 65535, got 0');
    unprocessable(await resize({ cols: 80, rows: 0 }), 'rows: must be between 1 and 65535, got 0');
    unprocessable(
      await resize({ cols: 80, rows: 65536 }),
      'rows: must be between 1 and 65535, got 65536',
    );
    unprocessable(
      await post(api, '/v1/processes', { command: 'true', tty: true, cols: 0 }),
      'cols: must be between 1 and 65535, got 0',
    );
    unprocessable(
      await post(api, '/v1/processes', { command: 'true', tty: true, rows: 70000 }),
      'rows: must be between 1 and 65535, got 70000',
    );
  },
);
problems('better', 'query', '400 for query values that do not parse', async ({ api }) => {
  const p = await api.sh('exec sleep 60');
  const logs = (q) => api.get(`/v1/processes/${p.id}/logs?${q}`);
  badRequest(await logs('tail=abc'), 'query parameter tail: "abc" is not an unsigned integer');
  badRequest(await logs('since=%22'), /^invalid request: query parameter since: /);
  badRequest(await logs('tail=1&tail=2'), 'query parameter tail is given twice');
  badRequest(await logs('stream=x'), /^invalid request: query parameter stream: "x" /);
  badRequest(await logs('follow=1'), /^invalid request: query parameter follow: "1" /);
  badRequest(
    await api.get('/v1/processes?owner=x'),
    /^invalid request: query parameter owner: "x" /,
  );
  badRequest(
    await api.stop(p.id, '?waitMs=-1'),
    'query parameter waitMs: "-1" is not an unsigned integer',
  );
  badRequest(
    await api.get(`/v1/processes/${p.id}/logs`, { headers: { 'last-event-id': 'x' } }),
    'Last-Event-ID must be a positive integer',
  );
});
problems('better', 'bad-content', '400 for values that cannot be used', async ({ api }) => {
  for (const p of ['/v1/processes', '/v1/processes/run']) {
    badRequest(await post(api, p, { command: ' ' }), 'command must not be empty');
    badRequest(await post(api, p, { command: 'a\0b' }), 'command: contains a NUL byte');
    badRequest(
      await post(api, p, { command: 'true', args: ['x', 'a\0b'] }),
      'args[1]: contains a NUL byte',
    );
    badRequest(await post(api, p, { command: 'true', cwd: '/\0' }), 'cwd: contains a NUL byte');
    badRequest(
      await post(api, p, { command: 'true', env: { A: '\0' } }),
      /^invalid request: env.*: contains a NUL byte$/,
    );
  }
  badRequest(
    await post(api, '/v1/processes/x/input', { data: '', encoding: 'hex' }),
    'encoding must be one of: base64, utf8, text',
  );
  badRequest(
    await post(api, '/v1/processes/x/input', { data: '@@@@' }),
    /^invalid request: invalid base64 input: /,
  );
  for (const [k, why] of [
    ['maxConcurrentProcesses', 'maxConcurrentProcesses must be greater than 0'],
    ['maxRunTimeoutMs', 'timeouts must be greater than 0'],
    ['maxOutputBytes', 'byte limits must be greater than 0'],
  ]) {
    badRequest(await api.post('/v1/processes/config', { ...(await api.config()), [k]: 0 }), why);
  }
});
problems(
  'better',
  'spawn-failure',
  '502 names the command or the directory, and the reason',
  async ({ api }) => {
    const fails = async (spec, message) => {
      const body =
        spec.tty === undefined ? ['/v1/processes', '/v1/processes/run'] : ['/v1/processes'];
      for (const p of body)
        withMessage(
          await post(api, p, spec),
          502,
          'stream_error',
          'Stream Error',
          'stream error',
          message,
        );
    };
    await fails(
      { command: 'no-such-program' },
      'failed to spawn process: command "no-such-program": No such file or directory (os error 2)',
    );
    await fails(
      { command: 'no-such-program', tty: true },
      'failed to spawn tty process: command "no-such-program": No such file or directory (os error 2)',
    );
    await fails(
      { command: '/etc/passwd' },
      'failed to spawn process: command "/etc/passwd": Permission denied (os error 13)',
    );
    await fails(
      { command: 'true', cwd: '/no/such/dir' },
      'failed to spawn process: cwd "/no/such/dir": No such file or directory (os error 2)',
    );
    await fails(
      { command: 'true', cwd: '/no/such/dir', tty: true },
      'failed to spawn tty process: cwd "/no/such/dir": No such file or directory (os error 2)',
    );
    await fails(
      { command: 'true', cwd: '/etc/passwd' },
      'failed to spawn process: cwd "/etc/passwd": Not a directory (os error 20)',
    );
    await fails(
      { command: 'true', args: ['x'.repeat(200000)] },
      /^failed to spawn process: .*Argument list too long \(os error 7\)$/,
    );
  },
);
problems(
  'compat',
  'conflicts',
  '409 for what the state of a process does not allow',
  async ({ api }) => {
    const is = (r, message) => withMessage(r, 409, 'conflict', 'Conflict', 'conflict', message);
    const pipe = await api.sh('exec sleep 60'),
      done = await api.sh('exit 0', { tty: true });
    await api.exited(done.id);
    is(
      await api.del(`/v1/processes/${pipe.id}`),
      'process is still running; stop or kill it before delete',
    );
    is(
      await post(api, `/v1/processes/${pipe.id}/terminal/resize`, { cols: 1, rows: 1 }),
      'process is not running in tty mode',
    );
    is(
      await api.get(`/v1/processes/${pipe.id}/terminal/ws`, { headers: UPGRADE }),
      'process is not running in tty mode',
    );
    is(await api.input(done.id, 'x'), 'process is not running');
    is(
      await post(api, `/v1/processes/${done.id}/terminal/resize`, { cols: 1, rows: 1 }),
      'PTY resize handle unavailable',
    );
  },
);
problems('better', 'stdin-closed', '409 for input after its end was sent', async ({ api }) => {
  const p = await api.sh('cat >/dev/null; exec sleep 60');
  eq((await api.post(`/v1/processes/${p.id}/input`, { eof: true })).json, { bytesWritten: 0 });
  withMessage(
    await api.input(p.id, 'x'),
    409,
    'conflict',
    'Conflict',
    'conflict',
    'process stdin is closed',
  );
});
problems(
  'better',
  'queue-full',
  '429 for input beyond the queue, of which then nothing is taken',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    let r,
      taken = 0;
    for (let i = 0; i < 40 && (r = await api.input(p.id, 'x'.repeat(65536))).status === 200; i++)
      taken += r.json.bytesWritten;
    withMessage(
      r,
      429,
      'conflict',
      'Too Many Requests',
      'conflict',
      /^input queue is full \(\d+ bytes waiting, limit 1048576\)$/,
    );
    const waiting = Number(/(\d+) bytes waiting/.exec(r.json.detail)[1]);
    ok(
      waiting <= 1048576 && waiting > 1048576 - 65536 && waiting <= taken,
      `${waiting} waiting of ${taken} taken`,
    );
    const again = await api.input(p.id, 'x'.repeat(65536));
    eq([again.status, again.json.detail], [429, r.json.detail], 'the same again');
  },
);
problems(
  'compat',
  'input-too-long',
  '413 for one input over maxInputBytesPerRequest',
  async ({ api }) =>
    api.withConfig({ maxInputBytesPerRequest: 10 }, async () => {
      exact(
        await api.input('proc_0', 'x'.repeat(11)),
        413,
        'invalid_request',
        'Payload Too Large',
        'invalid request: input payload exceeds maxInputBytesPerRequest (10)',
      );
    }),
  { restoreConfig: true },
);
problems(
  'better',
  'upgrade',
  '400 or 426 for a terminal request that is no WebSocket upgrade',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60', { tty: true }),
      path = `/v1/processes/${p.id}/terminal/ws`;
    const without = (k) => Object.fromEntries(Object.entries(UPGRADE).filter(([x]) => x !== k));
    for (const headers of [
      {},
      without('upgrade'),
      without('connection'),
      without('sec-websocket-version'),
      without('sec-websocket-key'),
      { ...UPGRADE, 'sec-websocket-version': '8' },
      { ...UPGRADE, upgrade: 'h2c' },
    ]) {
      const r = await api.get(path, { headers });
      oneOf(r.status, [400, 426], JSON.stringify(headers));
      exact(
        r,
        r.status,
        'invalid_request',
        r.status === 400 ? 'Invalid Request' : 'Upgrade Required',
        /^invalid request: ./,
      );
    }
  },
);
problems(
  'better',
  'framing',
  '400 of a broken request is a problem like any other',
  async ({ api }) => {
    for (const bytes of [
      'HELLO\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n',
    ]) {
      badRequest(await api.wire().write(bytes).answer(), /^invalid request: ./);
    }
  },
);
problems(
  'better',
  'over-the-terminal',
  'the error frames of a terminal tell what the HTTP errors tell',
  async ({ api }) => {
    const p = await api.sh('stty raw -echo; echo ready; exec sleep 60', { tty: true });
    await api.logHas(p.id, 'ready');
    const w = await api.ws(p.id);
    await w.ready();
    const says = async (m, message) => {
      const n = w.ctl('error').length;
      w.send(m);
      const e = await until(() => w.ctl('error')[n], { what: `an error frame: ${message}` });
      eq(Object.keys(e).sort(), ['message', 'type']);
      if (message instanceof RegExp) match(e.message, message);
      else eq(e.message, message);
    };
    await says(
      { type: 'resize', cols: 0, rows: 1 },
      'invalid terminal frame: cols: must be between 1 and 65535, got 0',
    );
    await says(
      { type: 'input', data: '@', encoding: 'base64' },
      /^invalid request: invalid base64 input: /,
    );
    await says('{', /^invalid terminal frame: /);
    await says(
      { type: 'input', data: 'x'.repeat(65537) },
      'input payload exceeds maxInputBytesPerRequest (65536)',
    );
    for (let i = 0; i < 40; i++) w.send({ type: 'input', data: 'x'.repeat(60000) });
    await says('{', /^conflict: input queue is full \(\d+ bytes waiting, limit 1048576\)$/);
  },
);
