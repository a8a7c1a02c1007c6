// Signals reach the whole tree of a process, and never the server (groups lifecycle, robustness).
import { define, eq, secs, until } from '../lib.mjs';
import { gone, numberOf } from '../lib/programs.mjs';

const lifecycle = define('lifecycle');
const robustness = define('robustness');

// Starts SCRIPT, which prints "child=PID" of a descendant, and expects VERB to end both.
async function endsTree(api, verb, script, extra = {}) {
  const p = await api.sh(script, extra);
  const child = numberOf('child', await api.logHas(p.id, /child=\d+\s/));
  try {
    const r = await api[verb](p.id, '?waitMs=5000');
    eq([r.status, r.json.status], [200, 'exited'], verb);
    await gone(api, child, 'the child');
  } finally { await api.reap(child); }
}

lifecycle('defect', 'stop-reaches-children', 'D-27: stop ends the children too', async ({ api }) => {
  await endsTree(api, 'stop', 'sleep 300 & echo "child=$!"; wait');
});
lifecycle('defect', 'kill-reaches-children', 'D-27: kill ends the children too, also those that ignore SIGTERM', async ({ api }) => {
  await endsTree(api, 'kill', 'sleep 300 & echo "child=$!"; wait');
  await endsTree(api, 'kill', '(trap "" TERM HUP INT; exec sleep 300) & echo "child=$!"; wait');
});
lifecycle('defect', 'kill-reaches-children-tty', 'D-28: kill of a terminal process ends children that ignore the hangup', async ({ api }) => {
  await endsTree(api, 'kill', '(trap "" HUP TERM; exec sleep 300) & echo "child=$!"; wait', { tty: true });
  // Job control gives the child a group of its own within the session.
  await endsTree(api, 'kill', 'set -m; (trap "" HUP TERM; exec sleep 300) & echo "child=$!"; wait', { tty: true });
});

lifecycle('defect', 'stop-wakes-suspended', 'D-29: stop ends a process that was suspended', async ({ api }) => {
  for (const tty of [false, true]) {
    const p = await api.sh('exec sleep 300', { tty });
    const suspended = async () => /^\S+ \(.*\) T/.test((await api.runSh(`cat /proc/${p.pid}/stat`)).stdout);
    await api.runSh(`kill -STOP ${p.pid}`);
    await until(suspended, { what: 'the process to be suspended' });
    eq((await api.stop(p.id, '?waitMs=4000')).json.status, 'exited', `tty ${tty}`);
  }
});

robustness('defect', 'group-signal-spares-server', 'D-40: a command that signals its own group does not reach the server', async (ctx) => ctx.withServer({}, async (s, api) => {
  const bystander = await api.sh('exec sleep 60');
  await api.post('/v1/processes/run', { command: 'sh', args: ['-c', 'kill -TERM 0; sleep 5'] }).catch(() => {});
  for (const tty of [false, true]) {
    const p = await api.sh('kill -TERM 0; sleep 5', { tty });
    await api.exited(p.id, secs(4));
  }
  eq(s.exit, null, 'the server goes on');
  eq((await api.info(bystander.id)).status, 'running', 'so do other processes');
}), { spawn: true });
