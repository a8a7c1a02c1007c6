// Managed processes: create, look at, stop, kill, delete.
import { conflict, define, eq, has, keys, match, notFound, ok, secs } from '../lib.mjs';

const life = define('lifecycle');
const RUNNING = [
  'id',
  'command',
  'args',
  'tty',
  'interactive',
  'owner',
  'status',
  'pid',
  'createdAtMs',
];

life(
  'compat',
  'create-shape',
  'a new process: exact members, absent rather than null',
  async ({ api }) => {
    const before = Date.now();
    const r = await api.post('/v1/processes', { command: 'sleep', args: ['60'] });
    eq(r.status, 200);
    match(r.type, /^application\/json/);
    const p = r.json;
    api.created.add(p.id);
    keys(p, RUNNING);
    match(p.id, /^proc_[1-9]\d*$/, 'id');
    eq(
      [p.command, p.args, p.tty, p.interactive, p.owner, p.status],
      ['sleep', ['60'], false, false, 'user', 'running'],
    );
    ok(Number.isInteger(p.pid) && p.pid > 1, 'pid');
    ok(
      Number.isInteger(p.createdAtMs) && Math.abs(p.createdAtMs - before) < secs(60),
      'createdAtMs in milliseconds',
    );
    ok(await api.alive(p.pid), 'pid is a live process');
  },
);
life(
  'compat',
  'create-optional-members',
  'cwd shows up only when given; tty and interactive are echoed',
  async ({ api }) => {
    const p = await api.create({
      command: 'sleep',
      args: ['60'],
      cwd: '/usr',
      tty: true,
      interactive: true,
    });
    keys(p, [...RUNNING, 'cwd']);
    eq([p.cwd, p.tty, p.interactive], ['/usr', true, true]);
    const q = await api.create({ command: 'sleep', args: ['60'], cwd: null });
    keys(q, RUNNING);
  },
);
life(
  'compat',
  'create-defaults',
  'args, env, tty and interactive have defaults',
  async ({ api }) => {
    const p = await api.create({ command: 'true' });
    eq([p.args, p.tty, p.interactive], [[], false, false]);
  },
);
life(
  'compat',
  'env-is-not-shown',
  'environment values are never part of an answer',
  async ({ api }) => {
    const secret = `s3cret-${Date.now()}`;
    const p = await api.create({ command: 'sleep', args: ['60'], env: { SECRET: secret } });
    ok(
      !JSON.stringify([p, await api.info(p.id), (await api.get('/v1/processes')).json]).includes(
        secret,
      ),
      'env value leaked',
    );
  },
);
life(
  'compat',
  'exit-shape',
  'after exit: status exited, exitCode, exitedAtMs, no pid',
  async ({ api }) => {
    const p = await api.sh('exit 7');
    const e = await api.exited(p.id);
    keys(e, [
      'id',
      'command',
      'args',
      'tty',
      'interactive',
      'owner',
      'status',
      'exitCode',
      'createdAtMs',
      'exitedAtMs',
    ]);
    eq([e.exitCode, e.createdAtMs], [7, p.createdAtMs]);
    ok(e.exitedAtMs >= e.createdAtMs, 'exitedAtMs');
  },
);
life('compat', 'exit-codes', 'exit codes of pipe and terminal processes', async ({ api }) => {
  for (const tty of [false, true])
    for (const c of [0, 1, 255]) {
      const p = await api.sh(`exit ${c}`, { tty });
      eq((await api.exited(p.id)).exitCode, c, `tty=${tty}`);
    }
});
life(
  'compat',
  'signalled-has-no-exit-code',
  'a process ended by a signal has no exitCode member',
  async ({ api }) => {
    for (const tty of [false, true]) {
      const p = await api.sh('kill -9 $$', { tty });
      const e = await api.exited(p.id);
      ok(!('exitCode' in e), `tty=${tty}: ${JSON.stringify(e)}`);
      ok('exitedAtMs' in e, 'exitedAtMs');
    }
  },
);
life(
  'compat',
  'env-and-cwd',
  'env is added to the inherited environment, cwd is used',
  async ({ api }) => {
    for (const tty of [false, true]) {
      const p = await api.sh('echo "<$FOO|$(pwd)|${PATH:+inherited}>"', {
        env: { FOO: 'a b\u00e9' },
        cwd: '/usr',
        tty,
      });
      await api.logHas(p.id, '<a b\u00e9|/usr|inherited>');
    }
  },
);
life(
  'compat',
  'stop',
  'stop sends SIGTERM and answers with the exited process',
  async ({ api }) => {
    const p = await api.sh('trap "exit 5" TERM; echo ready; while :; do sleep 0.05; done');
    await api.logHas(p.id, 'ready');
    const r = await api.stop(p.id, '?waitMs=15000');
    eq(r.status, 200);
    eq([r.json.id, r.json.status, r.json.exitCode], [p.id, 'exited', 5]);
  },
);
life(
  'compat',
  'stop-default-wait',
  'stop without waitMs waits a moment for the exit',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    const r = await api.stop(p.id);
    eq(r.status, 200);
    eq(r.json.status, 'exited');
    ok(!('exitCode' in r.json), 'ended by a signal');
  },
);
life(
  'compat',
  'stop-wait-is-bounded',
  'a process ignoring SIGTERM is still running when waitMs is over',
  async ({ api }) => {
    const p = await api.sh('trap "" TERM; echo ready; while :; do sleep 0.05; done');
    await api.logHas(p.id, 'ready');
    const t = Date.now();
    const r = await api.stop(p.id, '?waitMs=600');
    eq(r.json.status, 'running');
    ok(Date.now() - t >= 580, 'waited');
    ok(r.json.pid > 1, 'pid still shown');
    const k = await api.kill(p.id, '?waitMs=15000');
    eq(k.json.status, 'exited');
    ok(!('exitCode' in k.json), 'killed');
  },
);
life(
  'compat',
  'stop-returns-early',
  'stop returns when the process is gone, long before waitMs',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    const t = Date.now();
    eq((await api.stop(p.id, '?waitMs=600000')).json.status, 'exited');
    ok(Date.now() - t < secs(20), 'early');
  },
);
life('compat', 'wait-zero', 'waitMs=0 answers at once', async ({ api }) => {
  const p = await api.sh('trap "" TERM; echo ready; while :; do sleep 0.05; done');
  await api.logHas(p.id, 'ready');
  // The default wait is two seconds: with it, an earlier request that waits less comes first.
  let first;
  for (let i = 0; i < 3 && first !== '0'; i++) {
    first = undefined;
    await Promise.all(['1900', '0'].map(async (ms) => {
      const r = await api.stop(p.id, `?waitMs=${ms}`);
      first ??= ms;
      eq([r.status, r.json.status], [200, 'running']);
    }));
  }
  eq(first, '0', 'whose answer came first');
});
life('compat', 'kill', 'kill ends a process that ignores everything else', async ({ api }) => {
  for (const tty of [false, true]) {
    const p = await api.sh('trap "" TERM INT HUP; echo ready; while :; do sleep 0.05; done', {
      tty,
    });
    await api.logHas(p.id, 'ready');
    const r = await api.kill(p.id, '?waitMs=15000');
    eq([r.status, r.json.status], [200, 'exited'], `tty=${tty}`);
  }
});
life(
  'compat',
  'stop-and-kill-after-exit',
  'stop and kill of an exited process change nothing',
  async ({ api }) => {
    const p = await api.sh('exit 3');
    const e = await api.exited(p.id);
    for (const f of ['stop', 'kill']) {
      const r = await api[f](p.id, '?waitMs=5000');
      eq(r.status, 200, f);
      eq(r.json, e, f);
    }
  },
);
life(
  'compat',
  'signal-body-ignored',
  'stop and kill need no body and no content type',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    const r = await api.req('POST', `/v1/processes/${p.id}/stop?waitMs=10000&unknown=1`, {
      body: 'not json',
      headers: { 'content-type': 'text/plain' },
    });
    eq([r.status, r.json.status], [200, 'exited']);
  },
);
life('compat', 'delete-running', 'a running process cannot be deleted', async ({ api }) => {
  const p = await api.sh('exec sleep 60');
  conflict(
    await api.del(`/v1/processes/${p.id}`),
    'process is still running; stop or kill it before delete',
  );
  eq((await api.info(p.id)).status, 'running');
});
life(
  'compat',
  'delete',
  'deleting an exited process is 204 without a body, then it is unknown',
  async ({ api }) => {
    const p = await api.sh('echo x');
    await api.exited(p.id);
    const r = await api.del(`/v1/processes/${p.id}`);
    eq([r.status, r.buf.length, r.type], [204, 0, '']);
    notFound(await api.get(`/v1/processes/${p.id}`), p.id);
    notFound(await api.get(`/v1/processes/${p.id}/logs`), p.id);
    notFound(await api.del(`/v1/processes/${p.id}`), p.id);
  },
);
life(
  'compat',
  'ids-never-reused',
  'ids count upward and are not used again after a delete',
  async ({ api }) => {
    const num = (p) => Number(p.id.slice(5));
    const a = await api.sh('true');
    const b = await api.sh('true');
    ok(num(b) > num(a), 'increasing');
    await api.exited(b.id);
    await api.del(`/v1/processes/${b.id}`);
    const c = await api.sh('true');
    ok(num(c) > num(b), 'not reused');
  },
);
life('compat', 'no-zombie', 'an exited process is reaped', async ({ api }) => {
  const p = await api.sh('exit 0');
  await api.exited(p.id);
  const r = await api.runSh(`test -e /proc/${p.pid} && cat /proc/${p.pid}/stat; true`);
  ok(!/\) Z /.test(r.stdout), `zombie: ${r.stdout}`);
});
life(
  'compat',
  'background-child-survives-exit',
  'a background child outlives its parent that exits by itself',
  async ({ api }) => {
    const p = await api.sh(
      '(sleep 0.3; echo outlived; exec sleep 60) </dev/null & echo $!; exit 0',
    );
    const pid = parseInt(await api.logHas(p.id, /\d+\n/), 10);
    await api.exited(p.id);
    try {
      await api.logHas(p.id, 'outlived');
      ok(await api.alive(pid), 'still alive');
    } finally {
      await api.reap(pid);
    }
  },
);
life(
  'compat',
  'exit-not-held-by-child',
  'exit is noticed although a child still holds the output pipe',
  async ({ api }) => {
    const p = await api.sh('sleep 60 & echo $!; exit 4');
    const pid = parseInt(await api.logHas(p.id, /\d+\n/), 10);
    try {
      eq((await api.exited(p.id, secs(8))).exitCode, 4);
    } finally {
      await api.reap(pid);
    }
  },
);
life(
  'compat',
  'many-at-once',
  'thirty processes started together all run and end',
  async ({ api }) => {
    const ps = await Promise.all(
      Array.from({ length: 30 }, (_, i) => api.sh(`echo n${i}; exit ${i}`)),
    );
    eq(new Set(ps.map((p) => p.id)).size, 30, 'distinct ids');
    for (const [i, p] of ps.entries()) {
      eq((await api.exited(p.id, secs(30))).exitCode, i);
      await api.logHas(p.id, `n${i}\n`);
    }
  },
);
life(
  'compat',
  'absolute-and-relative-command',
  'absolute paths, PATH look-up and cwd-relative commands',
  async ({ api }) => {
    for (const s of [
      { command: '/bin/sh', args: ['-c', 'exit 9'] },
      { command: 'sh', args: ['-c', 'exit 9'] },
      { command: './sh', args: ['-c', 'exit 9'], cwd: '/bin' },
    ]) {
      const p = await api.create(s);
      eq((await api.exited(p.id)).exitCode, 9, JSON.stringify(s));
    }
  },
);
life(
  'compat',
  'tty-is-terminal',
  'a tty process owns a controlling terminal and its own session',
  async ({ api }) => {
    const p = await api.sh(
      '[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && tty && : </dev/tty && echo "sid=$(cut -d" " -f6 /proc/$$/stat) me=$$"; sleep 60',
      { tty: true },
    );
    const t = await api.logHas(p.id, /sid=\d+ me=\d+/);
    has(t, '/dev/');
    const m = /sid=(\d+) me=(\d+)/.exec(t);
    eq(m[1], m[2], 'session leader');
  },
);
life(
  'compat',
  'pipe-is-not-terminal',
  'without tty the three streams are not terminals',
  async ({ api }) => {
    const p = await api.sh('for f in 0 1 2; do [ -t $f ] && echo tty$f; done; echo done');
    eq(await api.logHas(p.id, 'done'), 'done\n');
  },
);
