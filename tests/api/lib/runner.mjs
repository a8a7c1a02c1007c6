// Runs the selected cases on several lanes. A lane runs one case at a time and has servers of its
// own: the shared one, and one more for each set of flags that cases asked to share. So a case
// may change the configuration, and cases of different lanes never meet.
import { CaseFailure, CaseSkip, secs, sleep } from './assert.mjs';
import { Api } from './api.mjs';
import { peer } from './packages.mjs';
import { command, settings, startServer } from './server.mjs';

export const TOKEN = 'tok+9/f=%&x~'; // with characters that have to be escaped in a query

class Lane {
  constructor(n) {
    this.n = n;
    this.servers = new Map();
    this.retired = 0;
  }
  async server(o) {
    const key = JSON.stringify(o);
    let s = this.servers.get(key);
    if (!s) {
      s = await startServer(o);
      this.servers.set(key, s);
    }
    return s;
  }
  async retire(s) {
    for (const [k, x] of this.servers) if (x === s) this.servers.delete(k);
    return s.stop();
  }
  // The end of each kept server is a case of its own.
  async finish(report) {
    for (const s of [...this.servers.values()]) {
      const t0 = Date.now();
      const faults = [...(await s.residue()), ...(await this.retire(s))];
      if (settings.reference) continue;
      const id = `end-of-server/${this.n}-${++this.retired}`;
      report({
        id,
        outcome: faults.length ? 'failed' : 'passed',
        reason: faults.join('; '),
        ms: Date.now() - t0,
        logs: faults.length ? [s.log] : [],
      });
    }
  }
}

class Context {
  constructor(lane) {
    this.lane = lane;
    this.apis = [];
    this.sdks = [];
    this.used = new Map();
    this.clean = [];
  }
  use(s) {
    if (!this.used.has(s)) this.used.set(s, s.log.length);
    return s;
  }
  client(s) {
    const a = new Api(s.url, s.token, s.o.tls);
    this.apis.push(a);
    return a;
  }
  async open() {
    this.server = this.use(await this.lane.server({}));
    this.api = this.client(this.server);
    return this;
  }
  // A server of the case's own, ended and judged when fn returns.
  withServer = async (o, fn) => {
    const s = this.use(await startServer(o));
    let value,
      faults = [];
    try {
      value = await fn(s, s.api);
      if (!o.expectDown) faults = await s.atRest();
    } finally {
      faults = [...faults, ...(await s.stop())];
    }
    if (faults.length) throw new CaseFailure(faults.join('; '));
    return value;
  };
  // One that the case has to stop() itself; it is stopped with the case at the latest.
  startServer = async (o) => {
    const s = this.use(await startServer(o));
    this.clean.push(s);
    return s;
  };
  // A server kept for all cases of the lane that ask for the same flags.
  kept = async (o, fn) => {
    const s = this.use(await this.lane.server(o));
    return fn(this.client(s), s);
  };
  authed = (fn) => this.kept({ token: TOKEN }, (a) => fn(a, TOKEN));
  sdk = async (a = this.api, extra = {}) => {
    const { SandboxAgent } = await peer('sandbox-agent');
    const s = await SandboxAgent.connect({ baseUrl: a.base, token: a.token, ...extra });
    this.sdks.push(s);
    return s;
  };
  command = (args, o) => command(args, o);

  // Puts everything back and returns what was found wrong while doing so.
  async close(before) {
    const faults = [];
    for (const s of this.sdks)
      await Promise.race([Promise.resolve(s.dispose?.()).catch(() => {}), sleep(1000)]);
    if (before) await this.api.post('/v1/processes/config', before).catch(() => {});
    for (const a of this.apis) await Promise.race([a.cleanup().catch(() => {}), sleep(secs(20))]);
    for (const s of this.clean) faults.push(...(await s.stop()));
    for (const s of this.lane.servers.values())
      if (this.used.has(s) && !(await answers(s))) {
        faults.push('the server no longer answers', ...(await this.lane.retire(s)));
      }
    return faults;
  }
  logs() {
    return [...this.used].map(([s, from]) => s.log.slice(from)).filter(Boolean);
  }
}
async function answers(s) {
  try {
    return (await s.api.get('/v1/processes', { timeout: secs(4) })).status === 200;
  } catch {
    return false;
  }
}

async function runCase(c, lane) {
  const t0 = Date.now();
  const r = { id: c.id, outcome: 'passed', reason: '', logs: [] };
  const fail = (why) => {
    r.outcome = 'failed';
    r.reason = [r.reason, why].filter(Boolean).join('; ');
  };
  const ctx = new Context(lane);
  let before = null,
    timer;
  try {
    await ctx.open();
    if (c.restoreConfig) before = await ctx.api.config();
    const limit = secs(c.timeout ?? 60);
    const late = new Promise((_, no) => {
      timer = setTimeout(() => no(new Error(`case did not finish in ${limit}ms`)), limit);
    });
    await Promise.race([c.fn(ctx), late]);
  } catch (e) {
    if (e instanceof CaseSkip) {
      r.outcome = 'skipped';
      r.reason = e.message;
    } else {
      fail(e?.message ?? String(e));
      r.stack = e?.stack;
    }
  }
  clearTimeout(timer);
  for (const f of await ctx.close(before)) if (!settings.reference) fail(f);
  if (r.outcome === 'failed') r.logs = ctx.logs();
  r.ms = Date.now() - t0;
  return r;
}

// Long cases first, so that no lane waits for one at the end.
export async function runAll(cases, { jobs, report }) {
  const queue = [...cases.filter((c) => c.slow), ...cases.filter((c) => !c.slow)];
  const lanes = Array.from({ length: Math.min(jobs, queue.length) }, (_, i) => new Lane(i + 1));
  await Promise.all(
    lanes.map(async (lane) => {
      for (let c = queue.shift(); c; c = queue.shift()) report(await runCase(c, lane));
      await lane.finish(report);
    }),
  );
}
