// The limits of HTTP: sizes, times, connections, descriptors. What is over a limit gets an answer
// that names it, and costs nobody else anything.
import fs from 'node:fs';
import { conflict, define, eq, has, match, ok, oneOf, problem, secs, until } from '../lib.mjs';
import { HEALTH, HOST, RUN } from '../lib/requests.mjs';

const limits = define('http-limits');
const MAX_BODY = 2 * 1024 * 1024,
  MAX_TARGET = 8192,
  MAX_HEAD = 32 * 1024,
  MAX_HEADERS = 100;

const bodyOf = (n) => {
  const head = '{"command":"true","pad":"';
  return `${head}${'y'.repeat(n - head.length - 2)}"}`;
};
const slowRun = (seconds) => {
  const b = JSON.stringify({ command: 'sh', args: ['-c', `sleep ${seconds}; echo done`] });
  return `${RUN}Content-Length: ${b.length}\r\n\r\n${b}`;
};

// ------------------------------------------------------------------ sizes
const refusal = async (w, status, title, detail) => {
  const r = await w.answer();
  problem(r, { status, type: 'invalid_request', title, detail });
  eq(r.headers.connection, 'close');
  await w.waitEnd();
};
limits(
  'better',
  'target',
  'a request target over 8192 bytes is 414, one of 8192 is read',
  async ({ api }) => {
    const target = (n) => `/${'a'.repeat(n - 1)}`;
    eq(
      (
        await api
          .wire()
          .write(`GET ${target(MAX_TARGET)} HTTP/1.1\r\n${HOST}\r\n`)
          .answer()
      ).status,
      404,
      'at the limit',
    );
    await refusal(
      api.wire().write(`GET ${target(MAX_TARGET + 1)} HTTP/1.1\r\n${HOST}\r\n`),
      414,
      'URI Too Long',
      /8192/,
    );
    await refusal(
      api.wire().write(`GET /v1/health?${'q'.repeat(MAX_TARGET)} HTTP/1.1\r\n${HOST}\r\n`),
      414,
      'URI Too Long',
      /8192/,
    );
  },
);
limits(
  'better',
  'target-without-end',
  'the refusal does not wait for the end of an endless target',
  ({ api }) => refusal(api.wire().write(`GET /${'a'.repeat(20000)}`), 414, 'URI Too Long', /8192/),
);
limits('better', 'head', 'a head over 32 KiB is 431, one just below is read', async ({ api }) => {
  const head = (n) => {
    const rest = `GET /v1/health HTTP/1.1\r\n${HOST}X-A: \r\n\r\n`;
    return rest.replace('X-A: ', `X-A: ${'a'.repeat(n - rest.length)}`);
  };
  eq((await api.wire().write(head(MAX_HEAD)).answer()).status, 200, 'at the limit');
  await refusal(
    api.wire().write(head(MAX_HEAD + 1)),
    431,
    'Request Header Fields Too Large',
    /32768|32 KiB/,
  );
  await refusal(
    api.wire().write(head(MAX_HEAD * 2).slice(0, -4)),
    431,
    'Request Header Fields Too Large',
  );
});
limits('better', 'header-count', 'more than 100 header lines are 431', async ({ api }) => {
  const lines = (n) =>
    `GET /v1/health HTTP/1.1\r\n${HOST}${Array.from({ length: n - 1 }, (_, i) => `X-${i}: a\r\n`).join('')}\r\n`;
  eq((await api.wire().write(lines(MAX_HEADERS)).answer()).status, 200, 'at the limit');
  await refusal(
    api.wire().write(lines(MAX_HEADERS + 1)),
    431,
    'Request Header Fields Too Large',
    /100/,
  );
});
limits(
  'better',
  'endless-head',
  'a head of some hundred KiB gets its answer although all of it is sent',
  async ({ api }) => {
    await refusal(
      api.wire().write(`GET /v1/health HTTP/1.1\r\n${HOST}X-A: ${'a'.repeat(600000)}\r\n\r\n`),
      431,
      'Request Header Fields Too Large',
    );
  },
);
const TOO_LONG = [
  413,
  'Payload Too Large',
  `invalid request: request body exceeds ${MAX_BODY} bytes`,
];
limits(
  'better',
  'body-announced',
  'a body announced as too long is 413 before any of it is sent',
  async ({ api }) => {
    for (const n of [MAX_BODY + 1, '18446744073709551615'])
      await refusal(api.wire().write(`${RUN}Content-Length: ${n}\r\n\r\n`), ...TOO_LONG);
  },
);
limits(
  'better',
  'body-sent',
  'a client that sends it all before it reads still gets the 413',
  async ({ api }) => {
    for (const n of [MAX_BODY + 1, 3 * MAX_BODY])
      await refusal(
        api.wire().write(`${RUN}Content-Length: ${n}\r\n\r\n${bodyOf(n)}`),
        ...TOO_LONG,
      );
    problem(
      await api.req('POST', '/v1/processes/run', {
        body: bodyOf(MAX_BODY + 1),
        headers: { 'content-type': 'application/json' },
      }),
      { status: 413 },
    );
  },
);
limits(
  'better',
  'body-chunked',
  'the limit holds for a chunked body too, to the byte',
  async ({ api }) => {
    const chunk = (s) => `${s.length.toString(16)}\r\n${s}\r\n`;
    const chunked = (n) => {
      const b = bodyOf(n);
      return `${RUN}Transfer-Encoding: chunked\r\n\r\n${chunk(b.slice(0, 1000))}${chunk(b.slice(1000))}0\r\n\r\n`;
    };
    eq((await api.wire().write(chunked(MAX_BODY)).answer()).json?.exitCode, 0, 'at the limit');
    await refusal(api.wire().write(chunked(MAX_BODY + 1)), ...TOO_LONG);
    await refusal(
      api.wire().write(`${RUN}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n`),
      ...TOO_LONG,
    );
  },
);
limits(
  'better',
  'json-depth',
  'JSON nested deeper than 64 is 400, naming the limit',
  async ({ api }) => {
    const nested = (n) => `{"command":"true","x":${'['.repeat(n - 1)}${']'.repeat(n - 1)}}`;
    const post = (body) =>
      api.req('POST', '/v1/processes/run', {
        body,
        headers: { 'content-type': 'application/json' },
      });
    eq((await post(nested(64))).status, 200, 'at the limit');
    problem(await post(nested(65)), {
      status: 400,
      type: 'invalid_request',
      title: 'Invalid Request',
      detail: /^invalid request: .*64/,
    });
  },
);
limits(
  'better',
  'json-values',
  'JSON of more than 200000 values is 400, naming the limit',
  async ({ api }) => {
    const body = `{"command":"true","x":[${'1,'.repeat(200000)}1]}`;
    problem(
      await api.req('POST', '/v1/processes/run', {
        body,
        headers: { 'content-type': 'application/json' },
      }),
      {
        status: 400,
        type: 'invalid_request',
        title: 'Invalid Request',
        detail: /^invalid request: .*200000/,
      },
    );
  },
);

// ------------------------------------------------------------------ times
const HURRY = { flags: '--request-timeout 300' };
const late = async (w, what) => {
  const r = await w.answer().catch((e) => {
    throw new Error(`${what}: ${e.message}`);
  });
  const b = problem(r, { status: 408, type: 'timeout', title: 'Request Timeout', detail: /300/ });
  ok(b.detail.endsWith(b.details.message), `${what}: details.message`);
  eq(r.headers.connection, 'close', what);
  await w.waitEnd();
};
limits('better', 'half-a-request', 'a request that stops half-way is 408 in its time', (ctx) =>
  ctx.kept(HURRY, async (api) => {
    for (const [what, part] of [
      ['a byte', 'G'],
      ['half a line', 'GET /v1/hea'],
      ['half a head', `GET /v1/health HTTP/1.1\r\n${HOST}`],
      ['no body', `${RUN}Content-Length: 18\r\n\r\n`],
      ['half a body', `${RUN}Content-Length: 18\r\n\r\n{"comm`],
      ['half a chunk', `${RUN}Transfer-Encoding: chunked\r\n\r\n12\r\n{"comm`],
      ['no last chunk', `${RUN}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`],
    ]) {
      const t0 = Date.now();
      await late(api.wire().write(part), what);
      ok(Date.now() - t0 >= 250, `${what}: answered after ${Date.now() - t0}ms`);
    }
  }),
);
limits(
  'better',
  'trickle',
  'the time counts from the first byte to the last, however often bytes come',
  (ctx) =>
    ctx.kept(HURRY, async (api) => {
      const w = api.wire(),
        t0 = Date.now();
      const timer = setInterval(() => {
        if (!w.ended) w.s.write('X-A: b\r\n');
      }, 40);
      w.write(`GET /v1/health HTTP/1.1\r\n${HOST}`);
      try {
        await late(w, 'trickle');
      } finally {
        clearInterval(timer);
      }
      ok(Date.now() - t0 < secs(3), `cut after ${Date.now() - t0}ms`);
    }),
);
limits('better', 'second-request', 'a later request on the connection has the same time', (ctx) =>
  ctx.kept(HURRY, async (api) => {
    const w = api.wire().write(HEALTH);
    eq((await w.answer()).status, 200);
    w.write('GET /v1/hea');
    problem(await w.answer(2), { status: 408, type: 'timeout' });
    await w.waitEnd();
  }),
);
limits(
  'better',
  'time-is-for-sending',
  'the time to send a request limits neither silence before it nor the answer',
  (ctx) =>
    ctx.kept(HURRY, async (api) => {
      const p = await api.sh('sleep 1; echo late; exec sleep 60', { tty: true });
      const quiet = api.wire();
      await quiet.connected();
      const stream = await api.follow(p.id).opened(),
        term = await api.ws(p.id);
      await term.ready();
      eq((await api.wire().write(slowRun(0.9)).answer()).json?.stdout, 'done\n');
      await stream.waitText('late');
      await term.waitOut('late');
      eq((await quiet.write(HEALTH).answer()).status, 200, 'the silent connection');
    }),
);
const IDLE = { flags: '--idle-timeout 300' };
limits('better', 'idle', 'an idle connection is closed without a word, used before or not', (ctx) =>
  ctx.kept(IDLE, async (api) => {
    const fresh = api.wire(),
      t0 = Date.now();
    await fresh.waitEnd();
    ok(Date.now() - t0 >= 250, `closed after ${Date.now() - t0}ms`);
    eq([fresh.answers.length, fresh.buf.length, fresh.error], [0, 0, null], 'never used');
    const used = api.wire().write(HEALTH);
    const { at } = await used.answer();
    await used.waitEnd();
    ok(Date.now() - at >= 250, `closed after ${Date.now() - at}ms`);
    eq([used.answers.length, used.error], [1, null], 'used once');
  }),
);
limits('better', 'busy-is-not-idle', 'runs, streams and terminals are not idle', (ctx) =>
  ctx.kept(IDLE, async (api) => {
    const p = await api.sh('sleep 1; echo late; exec sleep 60', { tty: true });
    const stream = await api.follow(p.id).opened(),
      term = await api.ws(p.id);
    await term.ready();
    const w = api.wire().write(slowRun(0.9));
    eq((await w.answer()).json?.stdout, 'done\n');
    await stream.waitText('late');
    await term.waitOut('late');
    ok(!stream.ended && !term.closed, 'both are open');
  }),
);

// ------------------------------------------------------------------ connections
const open = async (api, n) => {
  const list = Array.from({ length: n }, () => api.wire());
  await Promise.all(list.map((w) => w.connected()));
  return list;
};
const unavailable = async (w) => {
  const r = await w.answer();
  const b = problem(r, { status: 503, type: 'conflict', title: 'Service Unavailable' });
  ok(b.detail.endsWith(b.details.message), 'details.message');
  eq(r.headers.connection, 'close');
  await w.waitEnd();
  return b;
};
limits(
  'better',
  'connections',
  'the connection over the limit is told 503; the others are served on',
  (ctx) =>
    ctx.withServer({ flags: '--max-connections 8' }, async (s, api) => {
      const p = await api.sh('while read l; do echo "got:$l"; done', { tty: true });
      await until(async () => (await api.get('/v1/health')).status === 200, {
        what: 'the connections of before to be gone',
      });
      const stream = await api.follow(p.id).opened(),
        term = await api.ws(p.id);
      await term.ready();
      const idle = await open(api, 6);
      for (const w of idle) eq((await w.write(HEALTH).answer()).status, 200);
      for (let i = 0; i < 3; i++)
        has((await unavailable(api.wire().write(HEALTH))).detail, '8', 'the limit');
      for (const w of idle) eq((await w.write(HEALTH).answer(2)).status, 200, 'one of before');
      term.send({ type: 'input', data: 'on\n' });
      await term.waitOut('got:on');
      await stream.waitText('got:on');
      idle.pop().close();
      await until(async () => (await api.get('/v1/health')).status === 200, {
        what: 'a free place',
      });
    }),
);
limits(
  'better',
  'refused-in-silence',
  'one too many that says nothing is told and let go as well',
  (ctx) =>
    ctx.withServer({ flags: '--max-connections 2' }, async (s, api) => {
      const two = await open(api, 2);
      for (const w of two) eq((await w.write(HEALTH).answer()).status, 200);
      await unavailable(api.wire());
    }),
);
limits(
  'better',
  'a-thousand-connections',
  'a thousand connections, silent and half-sent, slow nobody down',
  async ({ api }) => {
    const many = await open(api, 1000);
    for (const [i, w] of many.entries()) {
      if (i % 3 === 1) w.s.write('GET /v1/hea');
      if (i % 3 === 2) w.s.write(`${RUN}Content-Length: 100\r\n\r\n{"comm`);
    }
    for (let i = 0; i < 5; i++) eq((await api.get('/v1/health', { timeout: secs(3) })).status, 200);
    eq((await api.run({ command: 'true' })).exitCode, 0);
    for (const w of many) w.close();
    eq((await api.get('/v1/health')).status, 200);
  },
);

// ------------------------------------------------------------------ descriptors
const FEW = { pre: 'ulimit -n 40' };
const cpuTicks = (pid) => {
  const f = fs
    .readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');
  return Number(f[11]) + Number(f[12]);
};
limits(
  'better',
  'emfile-connections',
  'more connections than descriptors are survived, without spinning',
  (ctx) =>
    ctx.withServer(FEW, async (s, api) => {
      const first = api.wire().write(HEALTH);
      await first.answer();
      const many = await open(api, 80);
      for (const w of many) w.write(HEALTH);
      await until(() => many.some((w) => w.answers.length), { what: 'some answers' });
      eq((await first.write(HEALTH).answer(2)).status, 200, 'the connection of before');
      const t0 = cpuTicks(s.serverPid());
      const run = await first.write(slowRun(1), 'POST').answer(3);
      oneOf(run.status, [200, 502, 503], 'a run under want of descriptors');
      ok(cpuTicks(s.serverPid()) - t0 < 60, `busy for ${cpuTicks(s.serverPid()) - t0} of about 100 ticks`);
      for (const w of many) if (w.answers.length) oneOf(w.answers[0].status, [200, 503]);
      for (const w of many) w.close();
      await until(async () => (await api.get('/v1/health')).status === 200, {
        what: 'health once the others are gone',
      });
      eq((await api.run({ command: 'true' })).exitCode, 0);
    }),
);
limits(
  'better',
  'emfile-processes',
  'a process that there are no descriptors for is refused, the others live on',
  (ctx) =>
    ctx.withServer(FEW, async (s, api) => {
      const made = [];
      let r;
      for (let i = 0; i < 40; i++) {
        r = await api.post('/v1/processes', { command: 'cat', tty: i % 2 === 1 });
        if (r.status !== 200) break;
        api.created.add(r.json.id);
        made.push(r.json);
      }
      ok(made.length >= 2, `only ${made.length} processes fit`);
      oneOf(r.status, [429, 502, 503], 'the one too many');
      problem(r, { status: r.status });
      match(r.json.detail, /descriptors|open files/i);
      eq((await api.get('/v1/processes')).json.processes.length, made.length, 'no record of it');
      for (const p of made) {
        await api.input(p.id, 'alive\n');
        await api.logHas(p.id, 'alive');
      }
      conflict(
        await api.del(`/v1/processes/${made[0].id}`),
        'process is still running; stop or kill it before delete',
      );
      for (const p of made) {
        await api.kill(p.id, '?waitMs=5000');
        eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
      }
      eq((await api.run({ command: 'true' })).exitCode, 0, 'afterwards');
    }),
);
