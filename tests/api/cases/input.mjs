// Input over HTTP.
import {
  bytesOf,
  conflict,
  define,
  eq,
  invalid,
  keys,
  ok,
  oneOf,
  problem,
  secs,
  until,
} from '../lib.mjs';
import { queued } from '../lib/helpers.mjs';

const input = define('input');

input(
  'compat',
  'encodings',
  'base64 is the default, utf8 and text take the string as it is',
  async ({ api }) => {
    const p = await api.create({ command: 'cat' });
    const send = async (b, n) => {
      const r = await api.post(`/v1/processes/${p.id}/input`, b);
      eq(r.status, 200, JSON.stringify(b));
      keys(r.json, ['bytesWritten']);
      eq(r.json.bytesWritten, n, JSON.stringify(b));
    };
    await send({ data: 'YQo=' }, 2);
    await send({ data: 'Ygo=', encoding: 'base64' }, 2);
    await send({ data: 'Ywo=', encoding: null }, 2);
    await send({ data: 'd\u00e9\n', encoding: 'utf8' }, 4);
    await send({ data: 'e\n', encoding: 'text' }, 2);
    await send({ data: '', encoding: 'utf8' }, 0);
    eq(await api.logHas(p.id, 'e\n'), 'a\nb\nc\nd\u00e9\ne\n');
  },
);
input('compat', 'order', 'successive inputs arrive in order', async ({ api }) => {
  const p = await api.create({ command: 'cat' });
  for (let i = 0; i < 30; i++) await api.input(p.id, `${i},`);
  await api.input(p.id, 'end\n');
  eq(
    await api.logHas(p.id, 'end\n'),
    `${Array.from({ length: 30 }, (_, i) => `${i},`).join('')}end\n`,
  );
});
input('compat', 'binary', 'base64 carries any bytes', async ({ api }) => {
  const p = await api.sh('exec cat');
  const b = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  await api.input(p.id, b.toString('base64'), 'base64');
  await until(async () => bytesOf((await api.logs(p.id)).entries).length >= 256, {
    what: 'the bytes back',
  });
  ok(bytesOf((await api.logs(p.id)).entries).equals(b), 'same bytes');
});
input('compat', 'bad-encoding', 'an unknown encoding is a 400 problem', async ({ api }) => {
  const p = await api.create({ command: 'cat' });
  for (const e of ['hex', 'UTF8', 'utf-8', ''])
    invalid(
      await api.post(`/v1/processes/${p.id}/input`, { data: 'YQ==', encoding: e }),
      'encoding must be one of: base64, utf8, text',
    );
});
input('compat', 'bad-base64', 'only strict, padded, standard base64 is taken', async ({ api }) => {
  const p = await api.create({ command: 'cat' });
  for (const data of [
    '@@@@',
    'YQ',
    'a',
    '-_-_',
    'YQ==\n',
    ' YQ==',
    'YQ==YQ==',
    'YR==',
    'Y===',
    '====',
  ]) {
    problem(await api.post(`/v1/processes/${p.id}/input`, { data }), {
      status: 400,
      type: 'invalid_request',
      title: 'Invalid Request',
      detail: /^invalid request: invalid base64 input: /,
    });
  }
});
input(
  'compat',
  'limit',
  'maxInputBytesPerRequest counts decoded bytes; one more is a 413 problem',
  async ({ api }) =>
    api.withConfig({ maxInputBytesPerRequest: 1000 }, async () => {
      const p = await api.sh('exec cat >/dev/null');
      eq((await api.input(p.id, 'x'.repeat(1000))).json, { bytesWritten: 1000 });
      eq((await api.input(p.id, Buffer.alloc(1000).toString('base64'), 'base64')).status, 200);
      for (const r of [
        await api.input(p.id, 'x'.repeat(1001)),
        await api.input(p.id, Buffer.alloc(1001).toString('base64'), 'base64'),
        await api.input(p.id, '\u00e9'.repeat(501)),
      ]) {
        problem(r, {
          status: 413,
          type: 'invalid_request',
          title: 'Payload Too Large',
          detail: 'invalid request: input payload exceeds maxInputBytesPerRequest (1000)',
        });
      }
    }),
  { restoreConfig: true },
);
input(
  'compat',
  'largest',
  'an input of the whole default limit gets through',
  async ({ api }) =>
    api.withConfig({ maxInputBytesPerRequest: 65536 }, async () => {
      const p = await api.sh('head -c 65536 | cksum; exec sleep 60');
      eq((await api.input(p.id, 'k'.repeat(65536))).json, { bytesWritten: 65536 });
      const want = (await api.runSh('head -c 65536 /dev/zero | tr "\\0" k | cksum')).stdout;
      await api.logHas(p.id, want.trim());
    }),
  { restoreConfig: true },
);
input(
  'compat',
  'slow-reader',
  'input beyond the pipe buffer waits for a reader that starts late, in order',
  async ({ api }) => {
    const p = await api.sh('echo up; sleep 1; cat');
    await api.logHas(p.id, 'up');
    const parts = ['a', 'b', 'c', 'd'].map((c) => c.repeat(50000));
    for (const x of parts) {
      const r = await api.input(p.id, x);
      eq(r.status, 200);
      eq(r.json, { bytesWritten: 50000, ...queued(r.json) });
    }
    const want = `up\n${parts.join('')}`;
    await until(async () => (await api.logText(p.id)).length >= want.length, {
      within: secs(15),
      what: 'all input back',
    });
    ok((await api.logText(p.id)) === want, 'complete and in order');
  },
);
input('compat', 'exited', 'input to an exited process is a 409 problem', async ({ api }) => {
  for (const tty of [false, true]) {
    const p = await api.sh('exit 0', { tty });
    await api.exited(p.id);
    conflict(await api.input(p.id, 'x'), 'process is not running');
  }
});
input(
  'compat',
  'closed-stdin',
  'input to a process that closed its stdin is an error, not a success',
  async ({ api }) => {
    const p = await api.sh('exec <&-; echo closed; exec sleep 60');
    await api.logHas(p.id, 'closed');
    const r = await until(
      async () => {
        const x = await api.input(p.id, 'x\n');
        return x.status !== 200 && x;
      },
      { within: secs(5), what: 'an error' },
    );
    oneOf(r.status, [409, 502]);
    problem(r, { status: r.status });
  },
);
input(
  'compat',
  'reaches-terminal',
  'input to a terminal is echoed and line-edited like typing',
  async ({ api }) => {
    const p = await api.sh('echo go; read x; echo "got:$x"; exec sleep 60', { tty: true });
    await api.logHas(p.id, 'go');
    await api.input(p.id, 'abX\u007fc\n');
    await api.logHas(p.id, 'got:abc\r\n');
  },
);
input(
  'compat',
  'ctrl-c',
  'a control-C byte interrupts the foreground process of a terminal',
  async ({ api }) => {
    const p = await api.sh('echo go; exec sleep 60', { tty: true });
    await api.logHas(p.id, 'go');
    await api.input(p.id, '\u0003');
    ok(!('exitCode' in (await api.exited(p.id))), 'ended by SIGINT');
  },
);
input('compat', 'ctrl-d', 'a control-D byte ends the input of a terminal', async ({ api }) => {
  const p = await api.sh('echo go; cat; echo "eof seen"', { tty: true });
  await api.logHas(p.id, 'go');
  await api.input(p.id, 'line\n\u0004');
  await api.logHas(p.id, 'eof seen');
});
