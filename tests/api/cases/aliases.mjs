// group: aliases - the paths below /v1/process are those below /v1/processes under another name
import { define, eq, ok } from '../lib.mjs';
import { Body } from '../lib/body.mjs';
import { echoer } from '../lib/helpers.mjs';

const aliases = define('aliases');

aliases('better', 'all', 'create, list, get, logs, stop, kill and delete, each by its other name', async ({ api }) => {
  const r = await api.post('/v1/process', { command: 'sh', args: ['-c', 'echo hi; exec sleep 60'] });
  eq(r.status, 200);
  const { id } = r.json;
  api.created.add(id);
  eq((await api.get(`/v1/process/${id}`)).json, await api.info(id), 'get');
  eq((await api.get('/v1/process?owner=user')).json, (await api.get('/v1/processes?owner=user')).json, 'list');
  eq((await api.get('/v1/process?owner=desktop')).json, { processes: [] }, 'its parameters too');
  await api.logHas(id, 'hi');
  eq((await api.get(`/v1/process/${id}/logs`)).json, await api.logs(id), 'logs');
  eq((await api.get(`/v1/process/${id}/logs?format=text`)).text, '[stdout] hi\n');
  eq((await api.del(`/v1/process/${id}`)).status, 409, 'delete while it runs');
  const stopped = await api.req('POST', `/v1/process/${id}/stop?waitMs=5000`);
  eq([stopped.status, stopped.json.status, stopped.json.exitSignal], [200, 'exited', 'SIGTERM']);
  eq((await api.del(`/v1/process/${id}`)).status, 204);
  eq((await api.get(`/v1/processes/${id}`)).status, 404, 'gone by both names');
});
aliases('better', 'kill', 'kill by the other name', async ({ api }) => {
  const p = await api.sh('trap "" TERM; echo ready; while :; do sleep 1; done');
  await api.logHas(p.id, 'ready');
  const r = await api.req('POST', `/v1/process/${p.id}/kill?waitMs=5000`);
  eq([r.status, r.json.exitSignal], [200, 'SIGKILL']);
});
aliases('better', 'follow', 'a log is followed by the other name, as events and as text', async ({ api }) => {
  const p = await echoer(api);
  const events = await api.sse(`/v1/process/${p.id}/logs?follow=true`).opened();
  const text = await new Body(api, `/v1/process/${p.id}/logs?follow=true&format=text`).opened();
  await api.input(p.id, 'quit 0\n');
  await events.waitEnd();
  await text.waitEnd();
  eq([events.text(), text.text()], ['ready\n', '[stdout] ready\n']);
});
aliases('better', 'methods', 'other methods are 405 with the methods that are there', async ({ api }) => {
  const allowed = {
    '/v1/process': ['GET', 'HEAD', 'POST'],
    '/v1/process/proc_0': ['DELETE', 'GET', 'HEAD'],
    '/v1/process/proc_0/stop': ['POST'],
    '/v1/process/proc_0/kill': ['POST'],
    '/v1/process/proc_0/logs': ['GET', 'HEAD'],
  };
  for (const [path, methods] of Object.entries(allowed)) {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'].filter((m) => !methods.includes(m))) {
      const r = await api.req(method, path);
      eq([r.status, r.headers.allow.split(',').sort()], [405, methods], `${method} ${path}`);
    }
    eq((await api.req('OPTIONS', path)).headers.allow.split(',').sort(), methods, `OPTIONS ${path}`);
  }
});
aliases('better', 'not-found', 'unknown ids are 404 of a process, other paths 404 of an endpoint', async ({ api }) => {
  // "run" and "config" are no words of their own here.
  for (const id of ['proc_0', 'run', 'config']) {
    for (const [method, rest] of [['GET', ''], ['HEAD', ''], ['DELETE', ''], ['GET', '/logs'], ['POST', '/stop'], ['POST', '/kill']]) {
      const r = await api.req(method, `/v1/process/${id}${rest}`);
      eq(r.status, 404, `${method} ${id}${rest}`);
      if (method !== 'HEAD') eq(r.json.details, { id, resource: 'process' }, `${method} ${id}${rest}`);
    }
  }
  for (const path of ['/v1/process/', '/v1/process/proc_0/input', '/v1/process/proc_0/terminal/ws', '/v1/process/proc_0/logs/']) {
    const r = await api.get(path);
    eq([r.status, r.json.details], [404, undefined], path);
  }
});
aliases('better', 'token', 'the other names need the token too', async (ctx) => ctx.authed(async (api) => {
  eq((await api.get('/v1/process', { auth: false })).status, 401);
  eq((await api.get('/v1/process')).status, 200);
  ok((await api.post('/v1/process', { command: 'true' }, { auth: false })).status === 401, 'create');
}));
