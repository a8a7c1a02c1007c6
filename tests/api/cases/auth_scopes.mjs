// Tokens of both scopes, in every place where one may stand.
import { Api, UPGRADE, define, eq, has, ok, problem, until } from '../lib.mjs';
import { reader, say } from '../lib/helpers.mjs';
import { OPENAPI } from '../lib/schema.mjs';
import fs from 'node:fs';

const auth = define('auth');
const full = 'a_full/token=',
  READ = 'only:looks/+%41';
const TOKENS = {
  token: full,
  auth: 'none',
  pre: `printf '# who may do what\\n%s full\\n\\n%s\\tread\\n' '${full}' '${READ}' >tokens`,
  flags: '--token-file tokens',
};
const both = (fn) => (ctx) => ctx.kept(TOKENS, async (api) => {
  const look = new Api(api.base, READ);
  try {
    await fn(api, look);
  } finally {
    await look.cleanup();
  }
});
const mayOnlyRead = (r) =>
  problem(r, {
    status: 403,
    type: 'permission_denied',
    title: 'Permission Denied',
    detail: 'permission denied: this token may only read',
    details: { message: 'this token may only read' },
  });
const denied = (r) => problem(r, { status: 401, type: 'token_invalid' });
const REFUSED = 'permission denied: this token may only read';

auth('better', 'scope-of-every-route', 'a token that may only read gets 403 from all that changes something, and from nothing else', both(async (api, look) => {
  const p = await api.sh('exec cat', { tty: true });
  const paths = JSON.parse(fs.readFileSync(OPENAPI, 'utf8')).paths;
  let reads = 0;
  for (const [path, item] of Object.entries(paths))
    for (const verb of Object.keys(item)) {
      const target = path.replace('{id}', p.id).replace('{path}', 'x');
      const r = await look.req(verb.toUpperCase(), target, { json: verb === 'post' ? {} : undefined });
      if (verb === 'get' || target === '/v1/tickets') {
        ok(![401, 403].includes(r.status), `${verb} ${target}: ${r.status}`);
        reads++;
      } else {
        mayOnlyRead(r);
      }
    }
  eq(reads, 16, 'what may be read');
  eq((await api.info(p.id)).status, 'running', 'nothing was done');
}));
auth('better', 'scope-and-method', 'a method that is not there is 405 before the scope matters, and 401 before both', both(async (api, look) => {
  for (const p of ['/v1/processes', '/v1/health']) {
    eq((await look.req('PUT', p)).status, 405);
    denied(await new Api(api.base).req('PUT', p));
  }
  eq((await look.req('HEAD', '/v1/processes')).status, 200);
}));
auth('better', 'scope-reads-logs', 'a token that may only read lists, gets, fetches and follows', both(async (api, look) => {
  const p = await api.sh('echo seen');
  await api.exited(p.id);
  has(await look.logText(p.id), 'seen');
  ok((await look.get('/v1/processes')).json.processes.some((x) => x.id === p.id), 'in the list');
  const s = await look.follow(p.id).opened();
  await until(() => s.ended, { what: 'the end of the stream' });
  eq(s.status, 200);
}));
auth('better', 'scope-watches-terminal', 'a token that may only read watches a terminal; what it types and how it resizes has no effect', both(async (api, look) => {
  const p = await reader(api);
  const watcher = await look.ws(p.id),
    owner = await api.ws(p.id);
  const { cols, rows } = await watcher.ready();
  await owner.ready();
  for (const frame of [{ type: 'input', data: 'watched\n' }, { type: 'input', eof: true }, { type: 'resize', cols: 11, rows: 7 }]) watcher.send(frame);
  watcher.send(Buffer.from('watched\n'));
  await until(() => watcher.ctl('error').length === 4, { what: 'four refusals' });
  eq(watcher.ctl('error').map((e) => e.message), [REFUSED, REFUSED, REFUSED, REFUSED]);
  say(owner, 'typed');
  await watcher.waitOut('got:typed');
  const again = await look.ws(p.id);
  const ready = await again.ready();
  eq([ready.cols, ready.rows], [cols, rows], 'the size');
  ok(!(await api.logText(p.id)).includes('watched'), 'nothing of it was taken');
  watcher.send({ type: 'close' });
  eq((await watcher.waitClose()).code, 1000);
}));
auth('better', 'scope-most-counts', 'of two right tokens in one request the one that may do more counts', both(async (api, look) => {
  const p = await reader(api);
  const w = await look.ws(p.id, { query: `?access_token=${encodeURIComponent(full)}` });
  await w.ready();
  say(w, 'by the query');
  await w.waitOut('got:by the query');
}));

// ------------------------------------------------------------------ the subprotocol
const bearer = (token) => `bearer.${encodeURIComponent(token)}`;
auth('better', 'subprotocol', 'the terminal opens with the subprotocol bearer.TOKEN, which is answered', both(async (api) => {
  const p = await reader(api);
  const w = await api.ws(p.id, { auth: false, protocols: [bearer(full)] });
  await w.ready();
  eq(w.sock.protocol, bearer(full));
  say(w, 'in');
  await w.waitOut('got:in');
}));
auth('better', 'subprotocol-beside-others', 'where another subprotocol is offered too, that is the answer', both(async (api) => {
  const p = await reader(api);
  for (const protocols of [['terminal', bearer(full)], [bearer(full), 'terminal', 'more']]) {
    const w = await api.ws(p.id, { auth: false, protocols });
    await w.ready();
    eq(w.sock.protocol, 'terminal');
  }
  const w = await api.ws(p.id, { protocols: ['terminal'] });
  await w.ready();
  eq(w.sock.protocol, 'terminal', 'with the token in a header');
}));
auth('better', 'subprotocol-scope', 'a token that may only read may only read here too', both(async (api) => {
  const p = await reader(api);
  const w = await api.ws(p.id, { auth: false, protocols: [bearer(READ)] });
  await w.ready();
  say(w, 'x');
  eq((await w.wait('error')).message, REFUSED);
}));
auth('better', 'subprotocol-refused', 'a wrong one is 401, and on other paths it means nothing', both(async (api) => {
  const p = await reader(api);
  const o = new Api(api.base);
  for (const protocol of [bearer(`${full}x`), 'bearer.', 'terminal', `Bearer.${full}`])
    denied(await o.get(`/v1/processes/${p.id}/terminal/ws`, { headers: { ...UPGRADE, 'sec-websocket-protocol': protocol } }));
  denied(await o.get('/v1/health', { headers: { 'sec-websocket-protocol': bearer(full) } }));
}));
auth('better', 'subprotocol-none', 'without an offer none is answered', both(async (api) => {
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  eq([w.sock.protocol, w.upgrade.headers['sec-websocket-protocol']], ['', undefined]);
}));
