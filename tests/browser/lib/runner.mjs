// Runs the selected cases, several at a time, in one browser. Each case has a server of its own
// (with nothing in it), and each of its viewers is a browser context of its own.
import { CaseFailure, CaseSkip, secs } from '../../api/lib/assert.mjs';
import { quote, startServer } from '../../api/lib/server.mjs';
import { Viewer } from './viewer.mjs';

export const TOKEN = 'tok+9/f=%&x~'; // with characters that have to be escaped in places
export const settings = { uiDir: '', front: null }; // front(server): another address for the page

export class Case {
  constructor(browser, definition) {
    this.browser = browser;
    this.definition = definition;
    this.servers = [];
    this.contexts = [];
    this.viewers = [];
    this.atEnd = [];
  }
  // A server, with the page from disk where the run was asked for that.
  startServer = async (options = {}) => {
    const flags = [settings.uiDir && `--ui-dir ${quote(settings.uiDir)}`, options.flags].filter(Boolean).join(' ');
    const server = await startServer({ dataDir: ':memory:', ...options, flags });
    this.servers.push(server);
    return server;
  };
  async begin() {
    this.server = await this.startServer(this.definition.server);
    this.api = this.server.api;
  }
  // A person with a browser of their own. options: those of a browser context.
  viewer = async (options = {}, server = this.server) => {
    const context = await this.browser.newContext({
      viewport: { width: 1280, height: 800 },
      reducedMotion: 'reduce',
      permissions: server.url.startsWith('https') ? [] : ['clipboard-read', 'clipboard-write'],
      ...this.definition.context,
      ...options,
    });
    this.contexts.push(context);
    const viewer = new Viewer(await context.newPage(), settings.front?.(server) ?? server.url);
    viewer.context = context;
    this.viewers.push(viewer);
    return viewer;
  };
  // The usual beginning: a viewer that has the page open and is connected.
  open = async (hash, options) => (await this.viewer(options)).open(hash);
  sh = (script, extra) => this.api.sh(script, extra);
  after = (fn) => this.atEnd.push(fn);

  // What was found wrong at the end.
  async close() {
    const faults = this.viewers.flatMap((v) => v.faults());
    for (const context of this.contexts) await context.close().catch(() => {});
    for (const fn of this.atEnd) await fn();
    for (const server of this.servers) {
      await endProcesses(server).catch(() => {});
      faults.push(...(await server.stop()));
    }
    return faults;
  }
}

// Before the server has to: it gives them time to end by themselves.
async function endProcesses({ api, ...server }) {
  if (server.exit !== null) return;
  const { processes } = (await api.get('/v1/processes')).json;
  await Promise.all(processes.filter((p) => p.status === 'running').map((p) => api.kill(p.id, '?waitMs=0')));
}

async function runCase(browser, definition) {
  const begun = Date.now();
  const result = { id: definition.id, outcome: 'passed', reason: '', logs: [] };
  const fail = (why) => {
    result.outcome = 'failed';
    result.reason = [result.reason, why].filter(Boolean).join('; ');
  };
  const t = new Case(browser, definition);
  let timer;
  try {
    const limit = secs(definition.timeout ?? 60);
    const late = new Promise((_, no) => {
      timer = setTimeout(() => no(new CaseFailure(`case did not finish in ${limit}ms`)), limit);
    });
    const work = t.begin().then(() => definition.fn(t));
    await Promise.race([work, late]);
  } catch (e) {
    if (e instanceof CaseSkip) {
      result.outcome = 'skipped';
      result.reason = e.message;
    } else {
      fail(String(e?.message ?? e).split('\n').slice(0, 8).join('\n    '));
      result.stack = e?.stack;
      if (process.env.SHOT) await Promise.all(t.viewers.map((v, i) => v.page.screenshot({ path: `${process.env.SHOT}/${definition.id.replace('/', '-')}-${i}.png` }).catch(() => {})));
    }
  }
  clearTimeout(timer);
  const faults = await t.close().catch((e) => [`at the end: ${e.message}`]);
  if (result.outcome !== 'skipped') faults.forEach(fail);
  if (result.outcome === 'failed') result.logs = t.servers.map((s) => s.log);
  result.ms = Date.now() - begun;
  return result;
}

// Long cases first, so that no lane waits for one at the end.
export async function runAll(browser, cases, { jobs, report }) {
  const queue = [...cases.filter((c) => c.slow), ...cases.filter((c) => !c.slow)];
  const lane = async () => {
    for (let c = queue.shift(); c; c = queue.shift()) report(await runCase(browser, c));
  };
  await Promise.all(Array.from({ length: jobs }, lane));
}
