// Error answers where the published server has plain text, and requests that it should refuse
// (groups errors, config). D-12 is in defects_operation.mjs.
import { define, eq, has, ok, oneOf, problem, UPGRADE } from '../lib.mjs';
import { queued } from '../lib/helpers.mjs';

const errors = define('errors');
const config = define('config');
const JSON_TYPE = { 'content-type': 'application/json' };
const MIB = 1024 * 1024;

const send = (api, path, body, headers = JSON_TYPE) => api.req('POST', path, { body, headers });
const malformed = (r, detail = /^invalid request: ./) => problem(r, { status: 400, type: 'invalid_request', title: 'Invalid Request', detail });
const misshapen = (r, detail) => problem(r, { status: 422, type: 'invalid_request', title: 'Unprocessable Content', detail });
const listed = async (api, mark) => (await api.get('/v1/processes')).json.processes.some((p) => p.args.includes(mark));

errors('defect', 'problem-for-bad-json', 'D-01: a body that is not JSON is a 400 problem', async ({ api }) => {
  const bodies = [
    '', '{', '{"command":"true"', '{"command":"true",}', "{'command':'true'}", '{"command":tru}', '{"command":"a\nb"}',
    '{"command":"true","timeoutMs":01}', '\ufeff{"command":"true"}', '{"command":"\\ud800"}', Buffer.from('{"command":"\xff"}', 'latin1'),
  ];
  for (const b of bodies) for (const path of ['/v1/processes/run', '/v1/processes', '/v1/processes/config']) malformed(await send(api, path, b));
});

errors('defect', 'problem-for-wrong-type', 'D-02: JSON of the wrong shape is a 422 problem that names the member', async ({ api }) => {
  const shapes = [
    [{}, 'command'], [{ command: 5 }, 'command'], [{ command: null }, 'command'], [{ command: 'true', args: 'x' }, 'args'],
    [{ command: 'true', args: ['a', 1] }, 'args[1]'], [{ command: 'true', env: { A: 1 } }, 'env'], [{ command: 'true', cwd: 1 }, 'cwd'],
    [{ command: 'true', timeoutMs: -1 }, 'timeoutMs'], [{ command: 'true', timeoutMs: 1.5 }, 'timeoutMs'], [{ command: 'true', maxOutputBytes: '9' }, 'maxOutputBytes'],
  ];
  for (const [body, member] of shapes) has(misshapen(await api.post('/v1/processes/run', body), /^invalid request: /).detail, member);
  misshapen(await api.post('/v1/processes/run', { command: 'true', timeoutMs: '5' }), 'invalid request: timeoutMs: expected an unsigned integer, got a string');
  misshapen(await send(api, '/v1/processes/run', '{"command":"true","command":"false"}'), 'invalid request: command: given twice');
});

errors('defect', 'problem-for-content-type', 'D-03: a missing or foreign content type is a 415 problem', async ({ api }) => {
  for (const headers of [{}, { 'content-type': 'text/plain' }, { 'content-type': 'application/x-www-form-urlencoded' }]) {
    for (const path of ['/v1/processes/run', '/v1/processes', '/v1/processes/config', '/v1/processes/proc_0/input']) {
      const r = await send(api, path, '{"command":"true"}', headers);
      problem(r, { status: 415, type: 'unsupported_media_type', title: 'Unsupported Media Type', detail: /^unsupported media type: expected application\/json/ });
    }
  }
});

errors('defect', 'problem-for-method', 'D-04: a known path with another method is a 405 problem, with Allow', async ({ api }) => {
  const p = await api.sh('exec sleep 60');
  const allowed = [
    ['PUT', '/v1/processes', 'GET,HEAD,POST'], ['DELETE', '/v1/health', 'GET,HEAD'], ['GET', '/v1/processes/run', 'POST'],
    ['PATCH', `/v1/processes/${p.id}`, 'GET,HEAD,DELETE'], ['GET', `/v1/processes/${p.id}/stop`, 'POST'], ['POST', `/v1/processes/${p.id}/logs`, 'GET,HEAD'],
  ];
  for (const [method, path, allow] of allowed) {
    const r = await api.req(method, path);
    problem(r, { status: 405, type: 'invalid_request', title: 'Method Not Allowed', detail: `method not allowed: ${method}; allowed: ${allow}` });
    eq(r.headers.allow, allow, `${method} ${path}`);
  }
});

errors('defect', 'problem-for-query', 'D-05: a query value that does not parse, or is given twice, is a 400 problem', async ({ api }) => {
  const p = await api.sh('exec sleep 60');
  malformed(await api.get('/v1/processes?owner=x'), /owner/);
  const logs = `/v1/processes/${p.id}/logs`;
  malformed(await api.get(`${logs}?tail=abc`), 'invalid request: query parameter tail: "abc" is not an unsigned integer');
  malformed(await api.get(`${logs}?tail=1&tail=2`), 'invalid request: query parameter tail is given twice');
  for (const q of ['since=-1', 'stream=bogus', 'follow=1']) malformed(await api.get(`${logs}?${q}`), new RegExp(q.split('=')[0]));
  malformed(await api.stop(p.id, '?waitMs=x'), /waitMs/);
  malformed(await api.kill(p.id, '?waitMs='), /waitMs/);
  eq((await api.info(p.id)).status, 'running', 'a refused stop or kill sends nothing');
});

errors('defect', 'problem-for-body-limit', 'D-06: a body beyond 2 MiB is a 413 problem that the client gets to read', async ({ api }) => {
  const body = `{"command":"true","pad":"${'y'.repeat(2 * MIB)}"}`;
  const head = `POST /v1/processes/run HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}Content-Type: application/json\r\n`;
  const framed = [`Content-Length: ${body.length}\r\n\r\n${body}`, `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`];
  for (const rest of framed) {
    const answer = await api.wire().write(head + rest, 'POST').answer(1);
    problem(answer, { status: 413, type: 'invalid_request', title: 'Payload Too Large', detail: 'invalid request: request body exceeds 2097152 bytes' });
  }
});

errors('defect', 'problem-for-missing-upgrade', 'D-07: a terminal request that is no upgrade is a problem', async ({ api }) => {
  const p = await api.sh('exec sleep 60', { tty: true });
  const without = (name) => Object.fromEntries(Object.entries(UPGRADE).filter(([k]) => k !== name));
  const attempts = [
    {}, without('upgrade'), without('sec-websocket-version'), without('sec-websocket-key'), { ...UPGRADE, 'sec-websocket-version': '8' }, { ...UPGRADE, upgrade: 'h2c' },
  ];
  for (const headers of attempts) {
    const r = await api.get(`/v1/processes/${p.id}/terminal/ws`, { headers });
    oneOf(r.status, [400, 426], JSON.stringify(headers));
    problem(r, { status: r.status, type: 'invalid_request' });
  }
});

errors('defect', 'problem-for-bad-path', 'D-08: an id that is not UTF-8 is a problem', async ({ api }) => {
  for (const [method, rest] of [['GET', ''], ['DELETE', ''], ['GET', '/logs'], ['POST', '/stop'], ['POST', '/kill']]) {
    const r = await api.req(method, `/v1/processes/%ff%fe${rest}`);
    oneOf(r.status, [400, 404], `${method} ${rest}`);
    problem(r, { status: r.status });
  }
});

errors('defect', 'trailing-garbage', 'D-09: text after the JSON value is refused and nothing is started', async ({ api }) => {
  const mark = `trailing-${process.pid}`;
  for (const rest of [' junk', '{}', ' 1', ',', '\u0000']) {
    malformed(await send(api, '/v1/processes/run', `{"command":"true"}${rest}`));
    malformed(await send(api, '/v1/processes', `{"command":"sleep","args":["60","${mark}"]}${rest}`));
  }
  ok(!await listed(api, mark), 'nothing was started');
  eq((await send(api, '/v1/processes/run', '{"command":"true"} \r\n\t')).status, 200, 'white space may follow');
});

errors('defect', 'array-body', 'D-10: a JSON array is no request', async ({ api }) => {
  const mark = `array-${process.pid}`;
  misshapen(await send(api, '/v1/processes/run', '["true"]'), /^invalid request: /);
  misshapen(await send(api, '/v1/processes', `["sleep",["60","${mark}"]]`), /^invalid request: /);
  ok(!await listed(api, mark), 'nothing was started');
});

config('defect', 'body-limit-follows-input-limit', 'D-11: inputs up to a raised maxInputBytesPerRequest fit into the body',
  async ({ api }) => api.withConfig({ maxInputBytesPerRequest: 8 * MIB }, async () => {
  const n = 3 * MIB;
  const want = (await api.runSh(`head -c ${n} /dev/zero | tr "\\0" "\\1" | cksum`)).stdout.trim();
  const data = '\u0001'.repeat(n); // six bytes each as JSON, 4/3 as base64
  for (const input of [{ data, encoding: 'utf8' }, { data: Buffer.from(data).toString('base64'), encoding: 'base64' }]) {
    const p = await api.sh(`head -c ${n} | cksum; exec sleep 60`);
    const r = await api.post(`/v1/processes/${p.id}/input`, input);
    eq([r.status, r.json], [200, { bytesWritten: n, ...queued(r.json) }], input.encoding);
    await api.logHas(p.id, want);
  }
  eq((await send(api, '/v1/processes/run', `{"command":"true","pad":"${'y'.repeat(2 * MIB)}"}`)).status, 413, 'other bodies keep their limit');
}), { restoreConfig: true });

errors('defect', 'bad-cwd-is-named', 'D-13: a directory that cannot be entered is told apart from a missing program', async ({ api }) => {
  const cases = [
    [{ command: 'true', cwd: '/no/such/dir' }, 'cwd "/no/such/dir": No such file or directory (os error 2)'],
    [{ command: 'true', cwd: '/etc/passwd' }, 'cwd "/etc/passwd": Not a directory (os error 20)'],
    [{ command: 'no-such-program' }, 'command "no-such-program": No such file or directory (os error 2)'],
    [{ command: '/etc/passwd' }, 'command "/etc/passwd": Permission denied (os error 13)'],
  ];
  for (const [spec, reason] of cases) {
    for (const [path, tty, what] of [['/v1/processes/run', undefined, 'process'], ['/v1/processes', false, 'process'], ['/v1/processes', true, 'tty process']]) {
      const message = `failed to spawn ${what}: ${reason}`;
      problem(await api.post(path, { ...spec, tty }), { status: 502, type: 'stream_error', title: 'Stream Error', detail: `stream error: ${message}`, details: { message } });
    }
  }
});
