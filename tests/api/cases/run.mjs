// One-shot commands.
import { define, eq, keys, ok, secs, until } from '../lib.mjs';

const run = define('run');
const SHAPE = [
  'exitCode',
  'timedOut',
  'stdout',
  'stderr',
  'stdoutTruncated',
  'stderrTruncated',
  'durationMs',
];

run('compat', 'shape', 'the answer has exactly the seven documented members', async ({ api }) => {
  const r = await api.run({ command: 'sh', args: ['-c', 'echo out; echo err >&2; exit 3'] });
  keys(r, SHAPE);
  eq(
    [r.exitCode, r.timedOut, r.stdout, r.stderr, r.stdoutTruncated, r.stderrTruncated],
    [3, false, 'out\n', 'err\n', false, false],
  );
  ok(Number.isInteger(r.durationMs) && r.durationMs >= 0, 'durationMs');
});
run('compat', 'exit-code', 'exit codes 0..255 come through', async ({ api }) => {
  for (const c of [0, 1, 42, 255]) eq((await api.runSh(`exit ${c}`)).exitCode, c);
});
run(
  'compat',
  'signalled-is-null',
  'a command ended by a signal has exitCode null',
  async ({ api }) => {
    for (const s of [9, 15, 11]) {
      const r = await api.runSh(`kill -${s} $$`);
      eq([r.exitCode, r.timedOut], [null, false], `signal ${s}`);
    }
  },
);
run('compat', 'args-verbatim', 'arguments reach the command unchanged', async ({ api }) => {
  const args = [
    '',
    'a b',
    '"q"',
    "'s'",
    '$HOME',
    '*',
    '-x',
    'tab\there',
    'line\nbreak',
    'h\u00e9\u4e16\ud83d\ude00',
    '\\',
  ];
  const r = await api.run({ command: 'printf', args: ['[%s]', ...args] });
  eq(r.stdout, args.map((a) => `[${a}]`).join(''));
});
run('compat', 'stdin-is-empty', 'standard input is at end of file', async ({ api }) => {
  eq((await api.run({ command: 'cat' })).stdout, '');
});
run('compat', 'env', 'env adds to the inherited environment', async ({ api }) => {
  const r = await api.runSh('printf "%s|%s|%s" "$FOO" "${PATH:+path}" "$EMPTY"', {
    env: { FOO: 'b\u00e4r baz', EMPTY: '' },
  });
  eq(r.stdout, 'b\u00e4r baz|path|');
});
run(
  'compat',
  'term-default',
  'TERM is xterm-256color unless env says otherwise',
  async ({ api }) => {
    eq((await api.runSh('echo $TERM')).stdout, 'xterm-256color\n');
    eq((await api.runSh('echo $TERM', { env: { TERM: 'dumb' } })).stdout, 'dumb\n');
  },
);
run(
  'compat',
  'path-of-env',
  'a bare command is looked up along the PATH given in env',
  async ({ api }) => {
    const d = (
      await api.runSh(
        'd=$(mktemp -d) && printf "#!/bin/sh\\necho found-it\\n" >"$d/my-own-tool" && chmod +x "$d/my-own-tool" && printf %s "$d"',
      )
    ).stdout;
    try {
      eq((await api.run({ command: 'my-own-tool', env: { PATH: d } })).stdout, 'found-it\n');
    } finally {
      await api.run({ command: 'rm', args: ['-rf', d] });
    }
  },
);
run('compat', 'cwd', 'cwd is used, and relative commands start from it', async ({ api }) => {
  eq((await api.run({ command: 'pwd', cwd: '/usr' })).stdout, '/usr\n');
  eq((await api.run({ command: './sh', args: ['-c', 'pwd'], cwd: '/bin' })).exitCode, 0);
  ok(
    (await api.run({ command: 'pwd', cwd: null })).stdout.startsWith('/'),
    'null cwd is the default',
  );
});
run(
  'compat',
  'timeout',
  'a command past timeoutMs is killed: timedOut, exitCode null, output so far kept',
  async ({ api }) => {
    const t = Date.now();
    const r = await api.runSh('echo early; exec sleep 60', { timeoutMs: 2500 });
    eq([r.timedOut, r.exitCode, r.stdout], [true, null, 'early\n']);
    ok(r.durationMs >= 2500, `durationMs ${r.durationMs}`);
    ok(Date.now() - t < secs(20), 'answered long before the command would have ended');
  },
);
run(
  'compat',
  'timeout-zero-is-default',
  'timeoutMs 0 or null means the default',
  async ({ api }) => {
    for (const timeoutMs of [0, null])
      eq((await api.runSh('sleep 0.2; echo x', { timeoutMs })).stdout, 'x\n');
  },
);
run('compat', 'timeout-huge', 'any 64-bit timeoutMs is accepted', async ({ api }) => {
  const r = await api.req('POST', '/v1/processes/run', {
    body: '{"command":"true","timeoutMs":18446744073709551615}',
    headers: { 'content-type': 'application/json' },
  });
  eq([r.status, r.json.exitCode], [200, 0]);
});
run(
  'compat',
  'truncation',
  'each stream is cut at maxOutputBytes and flagged by itself',
  async ({ api }) => {
    const r = await api.runSh('printf abcdefghij; printf xy >&2', { maxOutputBytes: 4 });
    eq(
      [r.stdout, r.stdoutTruncated, r.stderr, r.stderrTruncated, r.exitCode],
      ['abcd', true, 'xy', false, 0],
    );
  },
);
run(
  'compat',
  'truncation-exact',
  'output of exactly maxOutputBytes is not truncated',
  async ({ api }) => {
    const r = await api.run({ command: 'printf', args: ['abc'], maxOutputBytes: 3 });
    eq([r.stdout, r.stdoutTruncated], ['abc', false]);
  },
);
run('compat', 'truncation-zero', 'maxOutputBytes 0 keeps nothing', async ({ api }) => {
  const r = await api.run({ command: 'echo', args: ['hi'], maxOutputBytes: 0 });
  eq([r.stdout, r.stdoutTruncated, r.exitCode], ['', true, 0]);
});
run(
  'compat',
  'output-cap',
  'maxOutputBytes cannot exceed the configured cap',
  async ({ api }) =>
    api.withConfig({ maxOutputBytes: 1000 }, async () => {
      const r = await api.runSh('head -c 5000 /dev/zero | tr "\\0" a', { maxOutputBytes: 4000 });
      eq([r.stdout.length, r.stdoutTruncated], [1000, true]);
    }),
  { restoreConfig: true },
);
run(
  'compat',
  'both-streams-large',
  'megabytes on both streams neither block nor mix',
  async ({ api }) => {
    const r = await api.runSh(
      '(head -c 900000 /dev/zero | tr "\\0" o) & head -c 900000 /dev/zero | tr "\\0" e >&2; wait',
    );
    eq([r.exitCode, r.stdout.length, r.stderr.length], [0, 900000, 900000]);
    ok(/^o+$/.test(r.stdout) && /^e+$/.test(r.stderr), 'streams kept apart');
  },
);
run(
  'compat',
  'large-output-drained',
  'a command writing far past the cap still runs to its end',
  async ({ api }) => {
    const r = await api.runSh('head -c 20000000 /dev/zero | tr "\\0" a; exit 7', {
      maxOutputBytes: 10,
    });
    eq([r.stdout, r.stdoutTruncated, r.exitCode, r.timedOut], ['aaaaaaaaaa', true, 7, false]);
  },
);
run('compat', 'invalid-utf8', 'bytes that are not UTF-8 become U+FFFD', async ({ api }) => {
  eq((await api.run({ command: 'printf', args: ['a\\377b\\303'] })).stdout, 'a\ufffdb\ufffd');
});
run(
  'compat',
  'control-bytes',
  'NUL, quotes and control characters survive JSON',
  async ({ api }) => {
    eq(
      (await api.run({ command: 'printf', args: ['\\000\\001\\037"\\\\\\177\\n'] })).stdout,
      '\u0000\u0001\u001f"\\\u007f\n',
    );
  },
);
run('compat', 'not-listed', 'a run is not a managed process', async ({ api }) => {
  const mark = `mark-${process.pid}-${Date.now()}`;
  const p = api.run({ command: 'sh', args: ['-c', 'sleep 1', mark] });
  const l = (await api.get('/v1/processes')).json.processes;
  ok(!l.some((x) => x.args.includes(mark)), 'not in the list');
  await p;
});
run('compat', 'parallel', 'runs do not wait for each other', async ({ api }) => {
  const n = 8,
    t = Date.now();
  await Promise.all(Array.from({ length: n }, () => api.run({ command: 'sleep', args: ['2'] })));
  ok(Date.now() - t < n * 2000 * 0.8, `took ${Date.now() - t}ms`);
});
run(
  'compat',
  'background-child-survives',
  'a background child with redirected output outlives the run',
  async ({ api }) => {
    const proof = (await api.runSh('mktemp')).stdout.trim();
    const r = await api.runSh(
      `(sleep 0.3; echo outlived >${proof}; exec sleep 60) >/dev/null 2>&1 </dev/null & echo $!`,
    );
    const pid = parseInt(r.stdout, 10);
    try {
      await until(
        async () => (await api.run({ command: 'cat', args: [proof] })).stdout === 'outlived\n',
        { what: 'a sign of life' },
      );
      ok(await api.alive(pid), 'still alive');
    } finally {
      await api.reap(pid);
      await api.run({ command: 'rm', args: ['-f', proof] });
    }
  },
);
