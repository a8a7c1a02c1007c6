// The command line: options, what is printed where, exit codes, tokens, and the end of a server.
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import {
  Api,
  define,
  descriptors,
  endHere,
  eq,
  fail,
  has,
  here,
  lacks,
  match,
  ok,
  oneOf,
  secs,
  sleep,
  until,
  within,
} from '../lib.mjs';
import { freePort, quote } from '../lib/server.mjs';

const cli = define('cli');
const OPTIONS = [
  '--host',
  '--port',
  '--token',
  '--token-file',
  '--no-token',
  '--cors-allow-origin',
  '--cors-allow-method',
  '--cors-allow-header',
  '--cors-allow-credentials',
  '--log-level',
];
// Refused: nothing on stdout, one line on stderr with these words, this exit code.
function refused(r, code, ...words) {
  const what = `exit ${r.code} with ${JSON.stringify(r.err)}`;
  ok(!r.late, 'it started instead');
  oneOf(r.code, [code].flat(), what);
  eq([r.signal, r.out], [null, ''], what);
  eq(r.err.trimEnd().split('\n').length, 1, `lines on stderr: ${what}`);
  ok(r.err.endsWith('\n'), 'the line is ended');
  for (const w of words)
    match(
      r.err,
      w instanceof RegExp ? w : new RegExp(w.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')),
      'stderr',
    );
}
const file = (s, name, text) => {
  const f = path.join(s.dir, name);
  fs.writeFileSync(f, text, { mode: 0o600 });
  return f;
};
const status = (api, token) => new Api(api.base, token).get('/v1/health').then((r) => r.status);

// ------------------------------------------------------------------ options
cli('better', 'help', '--help goes to stdout, names every option, and is no error', async (ctx) => {
  for (const args of [['--help'], ['-h'], ['server', '--help'], ['server', '-h']]) {
    const r = await ctx.command(args);
    eq([r.code, r.err], [0, ''], args.join(' '));
    has(r.out, 'server', args.join(' '));
    if (args[0] === 'server') for (const o of OPTIONS) has(r.out, o, args.join(' '));
    ok(
      r.out.split('\n').every((l) => l.length <= 100),
      'lines of at most 100 characters',
    );
  }
});
cli('better', 'version', '--version is one line with a version', async (ctx) => {
  for (const args of [['--version'], ['server', '--version']]) {
    const r = await ctx.command(args);
    eq([r.code, r.err], [0, '']);
    match(r.out, /^sandbox-agent \d+\.\d+\.\d+ \(store: \w+, tls: [\w .]+\)\n$/);
  }
});
const server = (...args) => ['server', '--port', '0', ...args];
cli(
  'better',
  'usage-errors',
  'a wrong option is one line that names it, and exit 2',
  async (ctx) => {
    for (const [args, ...words] of [
      [['bogus'], 'bogus'],
      [['--bogus'], '--bogus'],
      [server('--bogus'), '--bogus'],
      [server('-z'), '-z'],
      [server('stray'), 'stray'],
      [['server', '--port'], '--port'],
      [server('--token'), '--token'],
      [server('--host'), '--host'],
      [['server', '-p'], /-p|--port/],
      ...['abc', '-1', '65536', '80x', '', '0x50', '1e3', '99999999999'].map((v) => [
        ['server', '--port', v],
        '--port',
        v,
      ]),
      [server('--log-level', 'loud'), 'loud'],
      [server('--no-token=1'), '--no-token'],
      [server('--max-connections', '0'), '--max-connections'],
      ...['--max-connections', '--request-timeout', '--idle-timeout', '--shutdown-grace'].map(
        (o) => [server(o, 'x'), o, 'x'],
      ),
      [server('--cors-allow-method', 'a b'), '--cors-allow-method', 'a b'],
      [server('--cors-allow-header', 'a:b'), '--cors-allow-header', 'a:b'],
    ])
      refused(await ctx.command(args), 2, ...words);
  },
);
cli('better', 'nothing-to-do', 'no command at all is an error that shows the way', async (ctx) => {
  const r = await ctx.command([]);
  eq([r.code, r.out], [2, '']);
  has(r.err, 'server');
});
cli('better', 'port-in-use', 'a port in use is one line that names it, and exit 1', async (ctx) => {
  const { port } = new URL(ctx.api.base);
  refused(await ctx.command(['server', '--port', port]), 1, port, /in use/i);
});
cli(
  'better',
  'bad-host',
  'a host that cannot be listened on is one line that names it, and exit 1',
  async (ctx) => {
    for (const h of ['192.0.2.1', 'no-such-host.invalid', '1.2.3.4.5'])
      refused(await ctx.command(server('--host', h, '--no-token')), [1, 2], h);
  },
);
cli(
  'better',
  'option-forms',
  'long options take = or a blank, short ones follow the published server',
  async (ctx) => {
    for (const flags of [
      '--host=127.0.0.1 --port=0 --no-token',
      '-H 127.0.0.1 -p 0 -n',
      '-H127.0.0.1 -p0 -n',
      '-n --no-telemetry',
      '-O http://a.example -M GET -A x-y -C',
      '--log-level error',
    ]) {
      await ctx.withServer({ auth: 'none', flags }, async (s, api) =>
        eq(await status(api), 200, flags),
      );
    }
    await ctx.withServer({ auth: 'none', flags: '-t sesame' }, async (s, api) =>
      eq([await status(api), await status(api, 'sesame')], [401, 200]),
    );
  },
);
cli(
  'better',
  'hosts',
  'names and IPv6 addresses of the loopback can be listened on',
  async (ctx) => {
    const v6 =
      fs.existsSync('/proc/net/if_inet6') &&
      fs.readFileSync('/proc/net/if_inet6', 'latin1').includes('00000000000000000000000000000001');
    for (const h of ['localhost', '127.0.0.2', ...(v6 ? ['::1'] : [])]) {
      await ctx.withServer({ auth: 'none', flags: `--host ${h}` }, async (s, api) => {
        eq(await status(api), 200, h);
        if (h === '::1') has(s.url, '[::1]');
      });
    }
  },
);

// ------------------------------------------------------------------ what is printed
cli(
  'better',
  'listening-line',
  'one line on stdout with the address, when connections are taken',
  async (ctx) =>
    ctx.withServer({ expectDown: true, flags: '--log-level debug' }, async (s) => {
      await until(() => s.out.includes('\n'), { what: 'the line' });
      const m =
        /^listening on http:\/\/127\.0\.0\.1:(\d+)\n$/.exec(s.out) ??
        fail(`stdout: ${JSON.stringify(s.out)}`);
      const c = net.connect(Number(m[1]), '127.0.0.1');
      await within(
        new Promise((yes, no) => c.on('connect', yes).on('error', no)),
        secs(2),
        'a connection',
      );
      c.destroy();
      s.address(`http://127.0.0.1:${m[1]}`);
      eq((await s.api.run({ command: 'echo', args: ['x'] })).stdout, 'x\n');
      s.signal('SIGTERM');
      await s.waitExit(secs(5));
      eq(s.exit, { code: 0, signal: null });
      eq(s.out, m[0], 'nothing else on stdout');
    }),
);
cli(
  'better',
  'diagnostics',
  'diagnostics are lines on stderr with time and level, and a level chooses',
  async (ctx) => {
    const talk = async (level) => {
      let log = '';
      await ctx.withServer({ flags: `--log-level ${level}` }, async (s, api) => {
        await api.run({ command: 'true' });
        await api.get('/nope');
        s.signal('SIGTERM');
        await s.waitExit(secs(5));
        log = s.log;
      });
      return log.split('\n').filter(Boolean);
    };
    const debug = await talk('debug'),
      error = await talk('error');
    for (const l of debug) match(l, /^\d{4}-\d\d-\d\dT\S+ (error|warn|info|debug) \S/i);
    ok(
      debug.some((l) => /debug/i.test(l)),
      'debug tells more',
    );
    eq(error, [], 'error: nothing went wrong');
  },
);
cli(
  'better',
  'never-in-the-log',
  'neither tokens nor input and output of processes are logged',
  async (ctx) =>
    ctx.withServer({ token: 'tok-secret-1', flags: '--log-level debug' }, async (s, api) => {
      await new Api(api.base, 'tok-secret-2').get('/v1/health');
      await api.runSh('echo out-secret-3; echo err-secret-4 >&2', { env: { K: 'env-secret-5' } });
      const p = await api.sh('stty -echo; echo ready; while read l; do echo "got:$l"; done', {
        tty: true,
        env: { K: 'env-secret-5' },
      });
      await api.logHas(p.id, 'ready');
      await api.input(p.id, 'in-secret-6\n');
      await api.logHas(p.id, 'got:in-secret-6');
      const w = await api.ws(p.id, { auth: false, query: '?access_token=tok-secret-1' });
      await w.ready();
      w.send({ type: 'input', data: 'in-secret-7\n' });
      await w.waitOut('got:in-secret-7');
      await api.get('/v1/health?access_token=tok-secret-8');
      lacks(s.log + s.out, 'secret');
    }),
);

// ------------------------------------------------------------------ tokens
cli(
  'better',
  'open-is-said',
  'without a choice on a loopback address it is open, and says so once',
  async (ctx) =>
    ctx.withServer({ auth: 'none' }, async (s, api) => {
      eq(await status(api), 200);
      await until(() => s.log.includes('\n'), { what: 'a line on stderr' });
      eq(
        s.log
          .trimEnd()
          .split('\n')
          .filter((l) => /token/i.test(l)).length,
        1,
        `stderr: ${s.log}`,
      );
    }),
);
cli(
  'better',
  'closed-elsewhere',
  'another address without token is refused, naming the ways out',
  async (ctx) => {
    for (const h of ['0.0.0.0', '::'])
      refused(await ctx.command(server('--host', h)), [1, 2], '--token', '--no-token');
  },
);
cli('better', 'open-elsewhere', 'another address with token or --no-token is fine', async (ctx) => {
  for (const o of [{ token: 'sesame' }, {}]) {
    await ctx.withServer({ ...o, flags: '--host 0.0.0.0', expectDown: true }, async (s) => {
      const m = await until(() => /^listening on http:\/\/0\.0\.0\.0:(\d+)$/m.exec(s.out), {
        what: 'the line',
      });
      s.address(`http://127.0.0.1:${m[1]}`);
      eq(await status(s.api, o.token), 200);
    });
  }
});
cli('better', 'token-file', 'the token can come from a file, without the line end', async (ctx) =>
  ctx.withServer({}, async (own) => {
    for (const [text, token] of [
      ['from-file\n', 'from-file'],
      ['from-file', 'from-file'],
      ['from-file\r\n', 'from-file'],
      ['# who may come in\n\nfrom-file full\nwatcher read\n', 'from-file'],
    ]) {
      await ctx.withServer(
        { auth: 'none', flags: `--token-file ${quote(file(own, 'token', text))}` },
        async (s, api) =>
          eq([await status(api), await status(api, token)], [401, 200], JSON.stringify(text)),
      );
    }
    const run = (f) => ctx.command(server('--token-file', f));
    refused(await run(path.join(own.dir, 'none')), 1, 'none', /No such file/);
    refused(await run(own.dir), 1, own.dir);
    for (const [name, text] of [
      ['empty', ''],
      ['blank', '\n'],
    ])
      refused(await run(file(own, name, text)), 1, name);
  }),
);
cli(
  'better',
  'token-from-environment',
  'the token can come from SANDBOX_AGENT_TOKEN; an option wins',
  async (ctx) => {
    const env = { SANDBOX_AGENT_TOKEN: 'from-env' };
    await ctx.withServer({ auth: 'none', env }, async (s, api) =>
      eq([await status(api), await status(api, 'from-env')], [401, 200]),
    );
    await ctx.withServer({ token: 'from-flag', env }, async (s, api) =>
      eq([await status(new Api(api.base), 'from-env'), await status(api, 'from-flag')], [401, 200]),
    );
  },
);
cli('better', 'token-not-inherited', 'no child sees the token of the server', async (ctx) => {
  const looks = 'env; cat /proc/$$/environ | tr "\\0" "\\n"';
  for (const o of [
    {
      auth: 'none',
      env: { SANDBOX_AGENT_TOKEN: 'hidden-token', OTHER_NAME: 'visible' },
      as: 'hidden-token',
    },
    { token: 'hidden-token', env: { OTHER_NAME: 'visible' }, as: 'hidden-token' },
  ]) {
    await ctx.withServer(o, async (s) => {
      const api = new Api(s.url, o.as);
      const p = await api.sh(`${looks}; echo END`),
        t = await api.sh(`${looks}; echo END`, { tty: true });
      for (const seen of [
        (await api.runSh(looks)).stdout,
        await api.logHas(p.id, 'END'),
        await api.logHas(t.id, 'END'),
      ]) {
        has(seen, 'OTHER_NAME=visible', 'the rest is inherited');
        lacks(seen, 'SANDBOX_AGENT_TOKEN');
        lacks(seen, 'hidden-token');
      }
      await api.cleanup();
    });
  }
});

// ------------------------------------------------------------------ the end
const REFUSED = ['ECONNREFUSED', 'ECONNRESET'];
cli(
  'better',
  'signals',
  'SIGTERM and SIGINT end it with 0, soon, with connections of all kinds open',
  async (ctx) => {
    for (const sig of ['SIGTERM', 'SIGINT']) {
      await ctx.withServer({ flags: '--shutdown-grace 600000' }, async (s, api) => {
        const p = await api.sh('echo up; exec sleep 600', { tty: true });
        await api.logHas(p.id, 'up');
        const stream = await api.follow(p.id).opened(),
          term = await api.ws(p.id),
          half = api.wire().write('GET /v1/hea');
        await term.ready();
        await half.connected();
        s.signal(sig);
        eq(await s.waitExit(secs(8)), { code: 0, signal: null }, sig);
        await stream.waitEnd();
        await term.waitClose();
        await half.waitEnd();
        ok(!here(p.pid), 'the process has ended');
        oneOf((await api.get('/v1/health').catch((e) => e)).code, REFUSED, 'a new connection');
      });
    }
  },
);
cli(
  'better',
  'answers-under-way',
  'an answer under way is finished, and its connection closed',
  async (ctx) =>
    ctx.withServer({}, async (s, api) => {
      const mark = path.join(s.dir, 'started');
      const body = JSON.stringify({
        command: 'sh',
        args: ['-c', `: >${mark}; sleep 0.5; echo finished`],
      });
      const w = api
        .wire()
        .write(
          `POST /v1/processes/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        );
      await until(() => fs.existsSync(mark), { what: 'the run to start' });
      s.signal('SIGTERM');
      const r = await w.answer();
      eq([r.status, r.json?.stdout, r.headers.connection], [200, 'finished\n', 'close']);
      await w.waitEnd();
      eq(await s.waitExit(secs(4)), { code: 0, signal: null });
    }),
);
cli(
  'better',
  'idle-connections-at-the-end',
  'idle keep-alive connections hold up nothing',
  async (ctx) =>
    ctx.withServer({ flags: '--shutdown-grace 60000' }, async (s, api) => {
      const agent = new http.Agent({ keepAlive: true });
      await Promise.all(Array.from({ length: 20 }, () => api.get('/v1/health', { agent })));
      const idle = Object.values(agent.freeSockets).flat();
      ok(idle.length > 1, `${idle.length} idle connections`);
      // They are closed at once, also where the end has to wait for somebody else, and are not waited for.
      const p = await api.sh('trap "" TERM HUP; echo up; while :; do sleep 0.05; done');
      await api.logHas(p.id, 'up');
      s.signal('SIGTERM');
      await until(() => idle.every((c) => c.destroyed), { what: 'the end of idle connections', last: () => idle.filter((c) => !c.destroyed).length });
      ok(s.alive() && here(p.pid), 'it still waits for the process');
      endHere(p.pid);
      eq(await s.waitExit(secs(6)), { code: 0, signal: null });
      agent.destroy();
    }),
);
cli(
  'better',
  'term-then-kill',
  'processes get SIGTERM first, and the stubborn ones SIGKILL after the grace',
  async (ctx) => {
    const took = {};
    for (const [flags, least] of [
      ['', 1500],
      ['--shutdown-grace 3500', 3500],
      ['--shutdown-grace 200', 200],
    ]) {
      await ctx.withServer({ flags }, async (s, api) => {
        const note = path.join(s.dir, 'note');
        const polite = await api.sh(
          `trap 'echo goodbye >${note}; exit 0' TERM; echo up; while :; do sleep 0.02; done`,
        );
        const stubborn = await api.sh(
          'trap "" TERM HUP INT; (trap "" TERM HUP INT; echo child $(exec sh -c "echo \\$PPID"); while :; do sleep 0.05; done) & echo up; while :; do sleep 0.05; done',
        );
        const stopped = await api.sh('echo up; kill -STOP $$; exec sleep 60');
        for (const p of [polite, stubborn, stopped]) await api.logHas(p.id, 'up');
        const child = Number(/child (\d+)/.exec(await api.logHas(stubborn.id, /child \d+/))[1]);
        const t0 = Date.now();
        s.signal('SIGTERM');
        eq(await s.waitExit(secs(8)), { code: 0, signal: null });
        took[least] = Date.now() - t0;
        ok(took[least] >= least - 5, `took ${took[least]}ms`); // two clocks
        if (least > 200) eq(fs.readFileSync(note, 'latin1'), 'goodbye\n', 'the polite one had its time');
        for (const pid of [polite.pid, stubborn.pid, stopped.pid, child]) {
          const alive = here(pid);
          endHere(pid);
          ok(!alive, `process ${pid} is left`);
        }
      });
    }
    ok(took[200] < took[3500], () => JSON.stringify(took));
  },
);
cli(
  'better',
  'polite-end-is-quick',
  'the grace is not waited for when everything has ended',
  async (ctx) =>
    ctx.withServer({ flags: '--shutdown-grace 600000' }, async (s, api) => {
      for (let i = 0; i < 5; i++) await api.sh('exec sleep 600', { tty: i % 2 === 0 });
      s.signal('SIGTERM');
      eq(await s.waitExit(secs(20)), { code: 0, signal: null });
    }),
);
cli('better', 'second-signal', 'further signals during the end change nothing', async (ctx) =>
  ctx.withServer({}, async (s, api) => {
    const p = await api.sh('trap "" TERM; echo up; while :; do sleep 0.05; done');
    await api.logHas(p.id, 'up');
    for (let i = 0; i < 3 && s.alive(); i++) {
      s.signal(i % 2 ? 'SIGINT' : 'SIGTERM');
      await sleep(50);
    }
    eq(await s.waitExit(secs(5)), { code: 0, signal: null });
    ok(!here(p.pid), 'the process has ended');
  }),
);
cli(
  'better',
  'port-is-free-again',
  'the same port can be listened on right after the end',
  async (ctx) => {
    const port = await freePort();
    for (let i = 0; i < 2; i++)
      await ctx.withServer({ port }, async (s, api) => {
        eq(new URL(s.url).port, String(port));
        const w = api.wire().write('GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n');
        await w.answer();
      });
  },
);
cli('better', 'other-signals', 'SIGPIPE and clients that reset do not end it', async (ctx) =>
  ctx.withServer({}, async (s, api) => {
    process.kill(s.serverPid(), 'SIGPIPE');
    process.kill(s.pid, 'SIGPIPE');
    eq(await status(api), 200);
    const p = await api.sh('exec sleep 60');
    const before = descriptors(s.serverPid()).length;
    for (let i = 0; i < 20; i++) {
      const w = api
        .wire()
        .write(`GET /v1/processes/${p.id}/logs?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      await until(() => w.part, { what: 'the head' });
      w.s.resetAndDestroy();
    }
    eq(await status(api), 200);
    await until(() => descriptors(s.serverPid()).length <= before, {
      what: 'the descriptors of clients that reset',
    });
  }),
);
