// The limit of running processes.
import { conflict, define, eq, ok } from '../lib.mjs';

const limits = define('limits');
const R = { restoreConfig: true };
const running = async (api) =>
  (await api.get('/v1/processes')).json.processes.filter((p) => p.status === 'running').length;

limits(
  'compat',
  'concurrency',
  'at maxConcurrentProcesses a create is a 409 problem naming the limit',
  async ({ api }) => {
    const n = (await running(api)) + 1;
    await api.withConfig({ maxConcurrentProcesses: n }, async () => {
      const made = [];
      let r;
      for (let i = 0; i < n + 2; i++) {
        r = await api.post('/v1/processes', { command: 'sleep', args: ['60'] });
        if (r.status !== 200) break;
        api.created.add(r.json.id);
        made.push(r.json.id);
      }
      ok(made.length >= 1, 'one more process fits');
      ok((await running(api)) <= n, 'no more than the limit are running');
      conflict(r, `max concurrent process limit reached (${n})`);
      conflict(
        await api.post('/v1/processes', { command: 'no-such-program-anywhere' }),
        `max concurrent process limit reached (${n})`,
      );
      await api.kill(made[0], '?waitMs=10000');
      await api.sh('exec sleep 60');
    });
  },
  R,
);
limits(
  'compat',
  'exited-do-not-count',
  'exited processes do not count',
  async ({ api }) => {
    const n = (await running(api)) + 1;
    await api.withConfig({ maxConcurrentProcesses: n }, async () => {
      for (let i = 0; i < 3; i++) await api.exited((await api.sh('true')).id);
    });
  },
  R,
);
limits(
  'compat',
  'runs-do-not-count',
  'one-shot runs are not limited by maxConcurrentProcesses',
  async ({ api }) => {
    const n = (await running(api)) + 1;
    await api.withConfig({ maxConcurrentProcesses: n }, async () => {
      await api.sh('exec sleep 60');
      for (let i = 0; i < 3; i++) eq((await api.run({ command: 'true' })).exitCode, 0);
    });
  },
  R,
);
limits(
  'compat',
  'lowering-spares-running',
  'lowering the limit leaves running processes alone',
  async ({ api }) => {
    const ps = [await api.sh('exec sleep 60'), await api.sh('exec sleep 60')];
    await api.withConfig({ maxConcurrentProcesses: 1 }, async () => {
      for (const p of ps) eq((await api.info(p.id)).status, 'running');
      eq((await api.post('/v1/processes', { command: 'true' })).status, 409);
    });
  },
  R,
);
