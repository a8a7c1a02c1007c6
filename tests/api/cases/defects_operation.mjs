// Limits under load, security by default, and the server as a process among others
// (groups limits, auth, cors, robustness).
import { Api, UPGRADE, define, eq, has, match, ok, oneOf, problem, secs, until } from '../lib.mjs';
import { descriptors, here } from '../lib/proc.mjs';
import { reader } from '../lib/helpers.mjs';
import { numberOf } from '../lib/programs.mjs';

const limits = define('limits');
const auth = define('auth');
const cors = define('cors');
const robustness = define('robustness');
const EVIL = { origin: 'http://evil.example' };
const SPAWN = { spawn: true };

limits('defect', 'concurrency-is-strict', 'D-12: creates at the same moment do not get past the limit', async (ctx) => ctx.withServer({}, async (s, api) => {
  await api.setConfig({ maxConcurrentProcesses: 2 });
  for (let round = 0; round < 25; round++) {
    const answers = await Promise.all(Array.from({ length: 16 }, () => api.post('/v1/processes', { command: 'sleep', args: ['60'] })));
    const made = answers.filter((r) => r.status === 200).map((r) => r.json.id);
    made.forEach((id) => api.created.add(id));
    eq(made.length, 2, `processes started in round ${round}`);
    for (const r of answers) oneOf(r.status, [200, 409], 'status of a create');
    await Promise.all(made.map((id) => api.kill(id, '?waitMs=5000')));
  }
}), SPAWN);

// ------------------------------------------------------------------ who may do what
auth('defect', 'explicit-choice', 'D-41: an open server is said on loopback and refused elsewhere', async (ctx) => {
  await ctx.withServer({ auth: 'none' }, async (s, api) => {
    eq((await api.get('/v1/health')).status, 200);
    const said = () => s.log.split('\n').filter((l) => /token/i.test(l)).length;
    await until(() => said() > 0, { within: secs(2), what: 'a line on stderr' });
    eq(said(), 1, 'lines that say so');
  });
  const s = await ctx.startServer({ auth: 'none', flags: '--host 0.0.0.0', expectDown: true });
  try {
    const exit = await s.waitExit(secs(3));
    ok(exit && exit.code > 0, () => `refused at start: ${JSON.stringify(exit)}`);
    match(s.log, /token/i, 'the reason on stderr');
  } finally { await s.stop(); }
}, SPAWN);

auth('defect', 'challenge', 'D-42: a 401 says which scheme is wanted', async (ctx) => ctx.authed(async (api) => {
  const r = await new Api(api.base).get('/v1/processes');
  eq([r.status, r.headers['www-authenticate']], [401, 'Bearer']);
}));
auth('defect', 'scheme-case', 'D-43: the name of the scheme is compared without regard to case', async (ctx) => ctx.authed(async (api, token) => {
  const anyone = new Api(api.base);
  for (const scheme of ['bearer', 'BEARER', 'bEaReR']) eq((await anyone.get('/v1/health', { headers: { authorization: `${scheme} ${token}` } })).status, 200, scheme);
  eq((await anyone.get('/v1/health', { headers: { authorization: `bearer ${token.toUpperCase()}` } })).status, 401, 'the token is not');
}));

const forbidden = (r) => problem(r, { status: 403, type: 'permission_denied', title: 'Permission Denied', detail: /--cors-allow-origin/ });
const neighbours = (api) => [{}, ...['http://localhost:3000', 'http://127.0.0.1:9', 'http://127.8.9.1', 'http://[::1]:8080', api.base].map((origin) => ({ origin }))];
const strangers = ['http://evil.example', 'null', 'http://localhost.evil.example', 'http://127.0.0.1.evil.example', 'http://evil.example:2468'];

cors('defect', 'foreign-origin-terminal', 'D-44: a page from elsewhere cannot open a terminal', async (ctx) => ctx.kept({}, async (api) => {
  const p = await reader(api);
  const knock = (headers) => api.get(`/v1/processes/${p.id}/terminal/ws`, { headers: { ...UPGRADE, ...headers } });
  for (const origin of strangers) forbidden(await knock({ origin }));
  for (const headers of neighbours(api)) eq((await knock(headers)).status, 101, JSON.stringify(headers));
}), SPAWN);

cors('defect', 'foreign-origin-post', 'D-45: a page from elsewhere cannot change or read anything', async (ctx) => {
  await ctx.kept({}, async (api) => {
    const p = await api.sh('exec sleep 60');
    const done = await api.sh('true');
    await api.exited(done.id);
    const attempts = [
      ['POST', `/v1/processes/${p.id}/stop`], ['POST', `/v1/processes/${p.id}/kill`], ['DELETE', `/v1/processes/${done.id}`],
      ['POST', '/v1/processes', { command: 'true' }], ['POST', '/v1/processes/run', { command: 'true' }], ['POST', `/v1/processes/${p.id}/input`, { data: '' }],
    ];
    for (const [method, path, json] of attempts) for (const origin of strangers) forbidden(await api.req(method, path, { json, headers: { origin } }));
    eq((await api.info(p.id)).status, 'running', 'nothing was done');
    eq((await api.info(done.id)).status, 'exited', 'nothing was deleted');
    const readings = ['/v1/processes', '/v1/processes/config', `/v1/processes/${p.id}`, `/v1/processes/${p.id}/logs`, `/v1/processes/${p.id}/logs?follow=true`, '/v1/openapi.json', '/ui/'];
    for (const path of readings) for (const origin of strangers) {
      const r = await api.get(path, { headers: { origin } });
      forbidden(r);
      eq(r.headers['access-control-allow-origin'], undefined, path);
    }
    for (const path of ['/', '/healthz', '/v1/health']) for (const origin of strangers) eq((await api.get(path, { headers: { origin } })).status, 200, `${path} is the same for everybody`);
    for (const headers of neighbours(api)) eq((await api.get('/v1/processes', { headers })).status, 200, JSON.stringify(headers));
    for (const headers of neighbours(api)) eq((await api.post('/v1/processes/run', { command: 'true' }, { headers })).status, 200, JSON.stringify(headers));
  });
  await ctx.kept({ flags: '--cors-allow-origin http://app.example' }, async (api) => {
    eq((await api.post('/v1/processes/run', { command: 'true' }, { headers: { origin: 'http://app.example' } })).status, 200, 'allowed by flag');
    forbidden(await api.post('/v1/processes/run', { command: 'true' }, { headers: EVIL }));
  });
  await ctx.kept({ token: 'a-token' }, async (api) => { // who lacks the token learns nothing more
    eq((await new Api(api.base).post('/v1/processes/run', { command: 'true' }, { headers: EVIL })).status, 401);
    forbidden(await api.post('/v1/processes/run', { command: 'true' }, { headers: EVIL }));
  });
}, SPAWN);

const preflight = (api, origin, extra = {}) => api.req('OPTIONS', '/v1/processes', {
  auth: false, headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,x-mine', ...extra },
});
const items = (v) => (v ?? '').toLowerCase().split(',').map((x) => x.trim());
cors('defect', 'credentials-alone', 'D-46: credentials without lists: methods are spelled out, headers echoed', async (ctx) => {
  await ctx.withServer({ flags: '--cors-allow-credentials' }, async (s, api) => { eq((await api.get('/v1/health')).status, 200); });
  await ctx.withServer({ flags: '--cors-allow-credentials --cors-allow-origin http://app.example' }, async (s, api) => {
    const { headers } = await preflight(api, 'http://app.example');
    eq([headers['access-control-allow-origin'], headers['access-control-allow-credentials']], ['http://app.example', 'true']);
    eq(items(headers['access-control-allow-methods']).sort(), ['delete', 'get', 'head', 'options', 'post']);
    eq(items(headers['access-control-allow-headers']), ['authorization', 'x-mine']);
  });
}, SPAWN);
cors('defect', 'wildcard-origin', 'D-47: * allows every origin', async (ctx) => {
  await ctx.withServer({ flags: "--cors-allow-origin '*'" }, async (s, api) => {
    oneOf((await api.get('/v1/health', { headers: EVIL })).headers['access-control-allow-origin'], ['*', EVIL.origin]);
    eq((await api.post('/v1/processes/run', { command: 'true' }, { headers: EVIL })).status, 200);
    oneOf((await preflight(api, EVIL.origin)).headers['access-control-allow-origin'], ['*', EVIL.origin]);
  });
  await ctx.withServer({ flags: "--cors-allow-origin '*' --cors-allow-credentials" }, async (s, api) => {
    const { headers } = await api.get('/v1/health', { headers: EVIL });
    eq([headers['access-control-allow-origin'], headers['access-control-allow-credentials']], [EVIL.origin, 'true'], 'with credentials a browser wants the origin itself');
  });
}, SPAWN);

// ------------------------------------------------------------------ start and end of the server
robustness('defect', 'startup-failure-is-told', 'D-48: a port in use is one clear line on stderr', async (ctx) => ctx.withServer({}, async (taken) => {
  const s = await ctx.startServer({ port: taken.port, expectDown: true });
  const exit = await s.waitExit(secs(5));
  ok(exit && exit.code > 0, () => `exit ${JSON.stringify(exit)}`);
  const lines = s.log.trim().split('\n');
  eq(lines.length, 1, 'lines on stderr');
  has(lines[0], String(taken.port)); match(lines[0], /in use/i);
}), SPAWN);

// Processes of every kind, with their pids on this machine.
async function household(api) {
  const scripts = [['exec sleep 300', false], ['exec sleep 300', true], ['sleep 300 & echo "child=$!"; wait', false], ['trap "" TERM HUP INT; while :; do sleep 1; done', false]];
  const pids = [];
  for (const [script, tty] of scripts) {
    const p = await api.sh(script, { tty });
    pids.push(p.pid);
    if (script.includes('child')) pids.push(numberOf('child', await api.logHas(p.id, /child=\d+\s/)));
  }
  return pids;
}
async function endsWith(s, sig, pids) {
  s.signal(sig);
  const exit = await s.waitExit(secs(5));
  eq(exit, { code: 0, signal: null }, `exit after ${sig}`);
  await until(() => !pids.some(here), { within: secs(2), what: 'the end of all processes', last: () => pids.filter(here) });
}
robustness('defect', 'shutdown-sigterm', 'D-54: SIGTERM ends the processes, then the server', async (ctx) => ctx.withServer({ mayDie: true }, async (s, api) => {
  await endsWith(s, 'SIGTERM', await household(api));
}), SPAWN);
robustness('defect', 'shutdown-sigint', 'D-55: SIGINT does so too, whatever connections are open', async (ctx) => ctx.withServer({ mayDie: true }, async (s, api) => {
  const pids = await household(api);
  const p = await reader(api);
  const w = await api.ws(p.id);
  await w.ready();
  await api.follow(p.id).opened();
  const paused = await api.follow(p.id, '', { paused: true }).opened();
  await api.wire().write('GET /v1/hea').connected();
  await endsWith(s, 'SIGINT', pids);
  paused.close();
}), SPAWN);

// ------------------------------------------------------------------ what a child inherits
robustness('defect', 'terminal-has-term', 'D-50: TERM of a terminal is xterm-256color, whatever the server has', async (ctx) => {
  for (const o of [{ unsetEnv: ['TERM'] }, { env: { TERM: 'dumb' } }]) {
    await ctx.withServer(o, async (s, api) => {
      const show = { command: 'sh', args: ['-c', 'echo "[$TERM]"'], tty: true };
      await api.logHas((await api.create(show)).id, '[xterm-256color]', { ms: secs(3) });
      await api.logHas((await api.create({ ...show, env: { TERM: 'vt100' } })).id, '[vt100]', { ms: secs(3) });
    });
  }
}, SPAWN);

// The descriptors of every kind of child. `ls` has one more, the directory it is listing.
async function descriptorsOfChildren(api) {
  const seen = [];
  for (const tty of [false, true]) {
    // No exec: a program that has just been started may still be loading its libraries.
    const p = await api.sh('echo up; read x', { tty });
    await api.logHas(p.id, 'up');
    seen.push([tty ? 'terminal' : 'process', descriptors(p.pid)]);
  }
  const listed = (await api.run({ command: 'ls', args: ['-l', '/proc/self/fd'] })).stdout;
  seen.push(['run', listed.split('\n').flatMap((l) => l.split(' -> ')[1] ?? []).filter((x) => !/^\/proc\/\d+\/fd$/.test(x))]);
  return seen;
}
robustness('defect', 'no-leaked-terminals', 'D-51: a child has no terminal but its own', async (ctx) => ctx.withServer({}, async (s, api) => {
  for (let i = 0; i < 3; i++) await api.sh('exec sleep 60', { tty: true });
  for (const [what, list] of await descriptorsOfChildren(api)) {
    ok(!list.some((x) => x.includes('ptmx')), () => `${what} has ${list}`);
    eq(list.length, 3, `descriptors of a ${what} (${list})`);
  }
}), SPAWN);
robustness('defect', 'no-leaked-descriptors', 'D-52: a child has descriptors 0, 1 and 2, whatever the server was started with',
  async (ctx) => ctx.withServer({ fds: 6 }, async (s, api) => {
  await api.follow((await api.sh('exec sleep 60')).id).opened();
  for (const [what, list] of await descriptorsOfChildren(api)) eq(list.length, 3, `descriptors of a ${what} (${list})`);
}), SPAWN);

robustness('defect', 'signals-reset', 'D-53: a child starts with default signals, whatever the server was started with',
  async (ctx) => ctx.withServer({ pre: 'trap "" HUP QUIT USR1 USR2 ALRM' }, async (s, api) => {
  const grep = { command: 'grep', args: ['-E', '^Sig(Ign|Blk)', '/proc/self/status'] };
  const none = 'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n';
  eq((await api.run(grep)).stdout, none, 'run');
  for (const tty of [false, true]) {
    const p = await api.create({ ...grep, tty });
    await api.exited(p.id);
    eq((await api.logText(p.id)).replaceAll('\r', ''), none, `process, tty ${tty}`);
  }
}), SPAWN);

robustness('defect', 'many-terminals', 'D-56: more than five hundred terminals work at once',
  async (ctx) => ctx.withServer({ pre: 'ulimit -n 4096 2>/dev/null || :' }, async (s, api) => {
  const n = 560;
  await api.setConfig({ maxConcurrentProcesses: n });
  const ids = [];
  const worker = async () => { while (ids.length < n) { const i = ids.push(null) - 1; ids[i] = (await api.create({ command: 'cat', tty: true })).id; } };
  await Promise.all(Array.from({ length: 8 }, worker));
  for (const id of [ids[0], ids[n - 3], ids[n - 2], ids[n - 1]]) {
    eq((await api.input(id, 'hello\n', 'utf8', { timeout: secs(4) })).status, 200, id);
    await api.logHas(id, 'hello\r\nhello\r\n', { ms: secs(4) });
  }
}), SPAWN);
