// group: openapi - the document itself, and the server against it
import fs from 'node:fs';
import { define, eq, ok, match, keys, fail, peer, until } from '../lib.mjs';
import { OPENAPI, checkResponse, checkSchema, escape, loadSchema, resolve } from '../lib/schema.mjs';

const openapi = define('openapi');
const OPERATIONS = [
  'get_root', 'get_healthz', 'get_health', 'get_openapi', 'create_ticket', 'list_processes', 'create_process', 'get_process_config', 'set_process_config',
  'run_process', 'get_process', 'delete_process', 'stop_process', 'kill_process', 'get_process_logs', 'send_process_input',
  'resize_process_terminal', 'connect_process_terminal', 'get_ui_redirect', 'get_ui', 'get_ui_file',
];
const ALIASED = ['list_processes', 'create_process', 'get_process', 'delete_process', 'stop_process', 'kill_process', 'get_process_logs'];
const VERBS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

// Every object of the document with its JSON pointer. The values of examples are data, not document.
function* walk(v, pointer = '') {
  if (typeof v !== 'object' || v === null) return;
  yield [v, pointer];
  for (const [k, x] of Object.entries(v)) {
    if (k === 'example' || (k === 'examples' && Array.isArray(x)) || k === 'value') continue;
    yield* walk(x, `${pointer}/${escape(k)}`);
  }
}
function* operations(doc) {
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const verb of Object.keys(item)) {
      ok(VERBS.includes(verb), `${path} ${verb}: a method`);
      yield { path, verb, op: item[verb], pointer: `/paths/${escape(path)}/${verb}` };
    }
  }
}
const follow = (doc, x) => (x.$ref ? resolve(doc, x.$ref.slice(1)).value : x);
const throws = (fn, re, what) => {
  try { fn(); } catch (e) { match(e.message, re, what); return; }
  fail(`${what}: accepted`);
};

// ------------------------------------------------------------------ the file
openapi('better', 'served-file', 'the server gives the file of the repository, byte for byte', async ({ api }) => {
  const file = fs.readFileSync(OPENAPI);
  const r = await api.get('/v1/openapi.json');
  eq(r.status, 200); match(r.type, /^application\/json/);
  ok(r.buf.equals(file), `${r.buf.length} bytes served, ${file.length} in the file, and the same`);
  const head = await api.req('HEAD', '/v1/openapi.json');
  eq([head.status, head.headers['content-length'], head.buf.length], [200, String(file.length), 0], 'HEAD');
});
openapi('better', 'head-of-document', 'version, licence and servers are as released', async () => {
  const { doc } = loadSchema();
  match(doc.openapi, /^3\.1\.\d+$/, 'openapi');
  match(doc.info.version, /^\d+\.\d+\.\d+$/, 'info.version'); eq(doc.info.license.identifier, 'Apache-2.0', 'licence');
  eq(doc.servers.map((s) => s.url), ['http://127.0.0.1:2468'], 'servers');
});
openapi('better', 'references', 'every $ref leads somewhere, and every component is used', async () => {
  const { doc } = loadSchema();
  const used = new Set();
  for (const [v, pointer] of walk(doc)) {
    if (v.$ref === undefined) continue;
    match(v.$ref, /^#\//, `${pointer}: $ref`);
    ok(resolve(doc, v.$ref.slice(1)).value !== undefined, `${pointer}: ${v.$ref} leads nowhere`);
    used.add(v.$ref);
  }
  for (const kind of ['schemas', 'responses', 'parameters']) {
    for (const name of Object.keys(doc.components[kind])) {
      const told = kind === 'responses' && name === 'EndpointNotFound'; // the answer of paths that are not in it
      ok(told || used.has(`#/components/${kind}/${name}`), `components/${kind}/${name} is unused`);
    }
  }
});
openapi('better', 'operations', 'each operation has its id, its parameters and its answers', async () => {
  const { doc } = loadSchema();
  const ids = [];
  for (const { path, op, pointer } of operations(doc)) {
    ids.push(op.operationId);
    ok(op.summary, `${pointer}: summary`);
    ok(op.tags.every((t) => doc.tags.some((x) => x.name === t)), `${pointer}: tags`);
    const params = (op.parameters ?? []).map((p) => follow(doc, p));
    eq(params.filter((p) => p.in === 'path').map((p) => p.name), path.match(/(?<=\{)\w+(?=\})/g) ?? [], `${pointer}: path parameters`);
    for (const p of params) ok(p.schema && p.description, `${pointer}: parameter ${p.name}`);
    checkAnswers(doc, path, op, pointer);
  }
  eq([...ids].sort(), [...OPERATIONS, ...ALIASED.map((id) => `${id}_alias`)].sort(), 'operationIds');
});
function checkAnswers(doc, path, op, pointer) {
  const statuses = Object.keys(op.responses);
  ok(statuses.some((s) => /^(2\d\d|101|308)$/.test(s)), `${pointer}: an answer of success`);
  eq(statuses.includes('401'), !['/', '/healthz', '/ui', '/ui/', '/ui/{path}'].includes(path), `${pointer}: 401 documented`);
  eq(statuses.includes('415') && statuses.includes('422'), op.requestBody !== undefined, `${pointer}: 415 and 422 documented`);
  for (const s of statuses) {
    const r = follow(doc, op.responses[s]);
    ok(r.description, `${pointer}: description of ${s}`);
    if (Number(s) < 400) continue;
    eq(Object.keys(r.content), ['application/problem+json'], `${pointer}: content of ${s}`);
    eq(r.content['application/problem+json'].schema.properties.status.const, Number(s), `${pointer}: status in the body of ${s}`);
  }
}
openapi('better', 'schemas', 'every schema is valid JSON Schema 2020-12 without a misspelt keyword', async () => {
  const { doc } = loadSchema();
  const Ajv = (await peer('ajv/dist/2020.js')).default;
  const ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false, validateSchema: true });
  for (const word of ['discriminator', 'components', 'paths', 'info', 'openapi', 'servers', 'security', 'tags']) ajv.addKeyword(word);
  ajv.addSchema(doc, 'openapi', undefined, false);
  for (const name of Object.keys(doc.components.schemas)) {
    ok(ajv.validateSchema(doc.components.schemas[name]), () => `${name}: ${ajv.errorsText()}`);
    ok(ajv.getSchema(`openapi#/components/schemas/${name}`), `${name} compiles`);
  }
});
openapi('better', 'examples', 'every example fits its schema', async () => {
  const { doc, validator } = loadSchema();
  let n = 0;
  const fits = (pointer, value, what) => {
    const check = validator(pointer);
    ok(check(value), () => `${what}: ${JSON.stringify(check.errors)} in ${JSON.stringify(value)}`);
    n++;
  };
  for (const [v, pointer] of walk(doc)) {
    if (Array.isArray(v.examples)) for (const [i, x] of v.examples.entries()) fits(pointer, x, `${pointer} example ${i}`);
    if (v.schema === undefined) continue;
    if (v.example !== undefined) fits(`${pointer}/schema`, v.example, pointer);
    for (const [k, x] of Object.entries(v.examples ?? {})) fits(`${pointer}/schema`, x.value, `${pointer} example ${k}`);
  }
  ok(n > 80, `only ${n} examples found`);
});
openapi('better', 'event-example', 'the event stream shown is one that the schemas of its events allow', async () => {
  const { doc } = loadSchema();
  const media = doc.paths['/v1/processes/{id}/logs'].get.responses[200].content['text/event-stream'];
  const blocks = media.example.split('\n\n').filter((b) => b && !b.startsWith(':'));
  const seen = blocks.map((b) => {
    const [, event, data] = /^event: (\w+)\n(?:id: \d+\n)?data: (.*)$/.exec(b) ?? fail(`not an event: ${b}`);
    checkSchema(media['x-events'][event].$ref.split('/').pop(), JSON.parse(data));
    return event;
  });
  eq(seen, ['log', 'exit']);
});

// ------------------------------------------------------------------ the check that other cases rely on
openapi('better', 'check-is-sharp', 'the check refuses answers that the document does not have', async () => {
  const { doc } = loadSchema();
  const running = doc.components.schemas.Process.examples[0];
  const problem = doc.components.responses.ProcessNotFound.content['application/problem+json'].examples.process.value;
  const J = 'application/json', PJ = 'application/problem+json';
  const good = [
    ['GET', '/v1/health?x=1', 200, J, { status: 'ok' }], ['HEAD', '/v1/health', 200, J, undefined],
    ['OPTIONS', '/nope', 200, '', undefined], ['GET', '/v1/processes/proc_1', 200, J, running],
    ['GET', '/v1/processes/%70', 404, PJ, problem], ['DELETE', '/v1/processes/proc_1', 204, '', undefined],
    ['GET', '/v1/processes/proc_1/logs?follow=true', 200, 'text/event-stream', undefined],
    ['GET', '/v1/processes/proc_1/terminal/ws', 101, '', undefined],
  ];
  for (const a of good) checkResponse(...a);
  const bad = [
    [['GET', '/v1/health', 201, J, { status: 'ok' }], /not a documented status/],
    [['GET', '/v1/health', 200, 'text/plain', undefined], /content type/],
    [['GET', '/v1/health', 200, J, { status: 'ok', x: 1 }], /additional properties/],
    [['GET', '/v1/health', 200, J, undefined], /must be object/],
    [['GET', '/v1/processes/proc_1', 200, J, { ...running, exitCode: 0 }], /exitCode/],
    [['GET', '/v1/processes/proc_1', 200, J, { ...running, cwd: null }], /cwd/],
    [['GET', '/v1/processes/proc_1', 404, PJ, { ...problem, status: 400 }], /status/],
    [['GET', '/v1/processes/proc_1', 404, PJ, { ...problem, details: undefined }], /details/],
    [['GET', '/v1/processes/proc_1', 404, J, problem], /content type/],
    [['GET', '/v1/processes/proc_1', 409, PJ, problem], /not a documented status/],
    [['GET', '/v1/health', 405, PJ, problem], /not a documented status/],
    [['GET', '/nope', 404, PJ, problem], /must be equal to constant/],
    [['HEAD', '/v1/health', 200, J, { status: 'ok' }], /with a body/],
    [['DELETE', '/v1/processes/proc_1', 204, J, undefined], /no body is documented/],
  ];
  for (const [a, re] of bad) throws(() => checkResponse(...a), re, JSON.stringify(a));
});

// ------------------------------------------------------------------ the server against the file
openapi('better', 'routes', 'the server has the methods of the document and no others', async ({ api }) => {
  const { doc } = loadSchema();
  for (const [template, item] of Object.entries(doc.paths)) {
    const has = Object.keys(item).flatMap((m) => (m === 'get' ? ['GET', 'HEAD'] : [m.toUpperCase()]));
    const path = template.replace('{id}', 'proc_0').replace('{path}', 'assets/x.js');
    const r = await api.req('PATCH', path);
    checkResponse('PATCH', path, r.status, r.type, r.json);
    eq(r.status, 405, `PATCH ${path}`); eq(r.headers.allow.split(',').sort(), has.sort(), `Allow of ${path}`);
  }
});
openapi('better', 'events-fit', 'log and exit events fit their schemas', async ({ api }) => {
  const p = await api.sh('echo out; echo err >&2');
  const s = await api.follow(p.id).opened();
  checkResponse('GET', `/v1/processes/${p.id}/logs?follow=true`, s.status, s.headers['content-type'], undefined);
  await s.waitEnd();
  for (const e of s.events) checkSchema({ log: 'LogEntry', gap: 'GapEvent', exit: 'ExitEvent' }[e.event], e.json);
  eq(s.events.at(-1).event, 'exit', 'last event'); ok(s.log().length >= 2, 'log events');
});
openapi('better', 'gap-event-fits', 'the event for evicted entries fits its schema', async ({ api }) => api.withConfig({ maxLogBytesPerProcess: 1000 }, async () => {
  const p = await api.sh('head -c 9000 /dev/zero');
  await api.exited(p.id);
  const s = await api.follow(p.id, 'since=1').opened();
  await s.waitEnd();
  eq(s.events[0].event, 'gap', 'first event'); checkSchema('GapEvent', s.events[0].json);
}), { restoreConfig: true });
openapi('better', 'frames-fit', 'every text frame of a terminal fits its schema', async ({ api }) => {
  const p = await api.sh('read x; exit 5', { tty: true });
  const w = await api.ws(p.id);
  const ready = await w.ready();
  keys(ready, ['type', 'processId', 'sequence', 'firstSequence', 'cols', 'rows', 'status']);
  w.send({ type: 'resize', cols: 0, rows: 1 });
  await w.wait('error');
  w.send({ type: 'input', data: 'go\r' });
  await w.wait('exit');
  const text = w.frames.filter((f) => !f.binary);
  for (const f of text) checkSchema('TerminalServerMessage', f.json);
  eq(text.map((f) => f.json.type), ['ready', 'error', 'exit']);
  await until(() => w.closed, { what: 'the close' });
});
