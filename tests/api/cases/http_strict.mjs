// HTTP/1.1 heads and framing as RFC 9112 has them, strict where laxness would let two parties read
// different requests out of the same bytes.
import { define, eq, match, ok, oneOf, problem } from '../lib.mjs';
import { HOST, JSON_TYPE, BODY, HEALTH, RUN, withLine, bytes, bothWays } from '../lib/requests.mjs';

const strict = define('http-strict');

// The request is answered with a problem, nothing behind it is looked at, and the connection ends.
async function refused(api, what, request, status = 400) {
  const w = api.wire().write(bytes(request + HEALTH));
  const r = await w.answer().catch((e) => {
    throw new Error(`${what}: ${e.message}`);
  });
  oneOf(r.status, [status].flat(), what);
  eq(r.headers.connection, 'close', `${what}: connection`);
  problem(r, { status: r.status, type: 'invalid_request' });
  await w.waitEnd();
  eq(w.answers.length, 1, `${what}: answers`);
}
async function allRefused(api, list, status) {
  for (const [what, request, own] of list) await refused(api, what, request, own ?? status);
  eq((await api.get('/v1/health')).status, 200, 'still healthy');
}

// ------------------------------------------------------------------ framing
strict(
  'better',
  'length-and-coding',
  'Content-Length together with Transfer-Encoding is refused',
  ({ api }) =>
    allRefused(api, [
      ['length first', `${RUN}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
      ['coding first', `${RUN}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
      [
        'on a GET',
        `GET /v1/health HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n`,
      ],
    ]),
);
strict(
  'better',
  'several-lengths',
  'several Content-Length are refused, equal ones too',
  ({ api }) =>
    allRefused(api, [
      ['different', `${RUN}Content-Length: 18\r\nContent-Length: 5\r\n\r\n${BODY}`],
      ['equal', `${RUN}Content-Length: 18\r\nContent-Length: 18\r\n\r\n${BODY}`],
      ['list', `${RUN}Content-Length: 18, 18\r\n\r\n${BODY}`],
    ]),
);
strict(
  'better',
  'length-is-digits',
  'a Content-Length that is no number of digits is refused',
  ({ api }) =>
    allRefused(
      api,
      [
        '+18',
        '-1',
        '0x12',
        '1 8',
        '18.0',
        '1e1',
        'abc',
        '',
        '18446744073709551616',
        '99999999999999999999999999',
      ].map((v) => [JSON.stringify(v), `${RUN}Content-Length: ${v}\r\n\r\n${BODY}`]),
    ),
);
strict(
  'better',
  'codings',
  'only "chunked" is taken as Transfer-Encoding, and not in HTTP/1.0',
  ({ api }) =>
    allRefused(api, [
      ['gzip before', `${RUN}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
      ...[
        'chunked, gzip',
        'xchunked',
        'chunked, chunked',
        'identity',
        '"chunked"',
        'chunked;q=1',
        '',
      ].map((v) => [
        JSON.stringify(v),
        `${RUN}Transfer-Encoding: ${v}\r\n\r\n0\r\n\r\n`,
        [400, 501],
      ]),
      [
        'twice',
        `${RUN}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        [400, 501],
      ],
      [
        'HTTP/1.0',
        `POST /v1/processes/run HTTP/1.0\r\n${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      ],
    ]),
);
strict(
  'better',
  'chunk-sizes',
  'a malformed chunk is refused and the command not started',
  async ({ api }) => {
    const mark = `chunk-${process.pid}-${Date.now()}`;
    const body = JSON.stringify({ command: 'sleep', args: ['60', mark] });
    const whole = `${body.length.toString(16)}\r\n${body}\r\n`;
    const post = (rest) =>
      `POST /v1/processes HTTP/1.1\r\n${HOST}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n${rest}`;
    await allRefused(api, [
      ['no size', post(`\r\n${body}\r\n0\r\n\r\n`)],
      ['not hexadecimal', post('g\r\n')],
      ['negative', post('-1\r\n')],
      ['signed', post('+5\r\n')],
      ['0x', post('0x5\r\n')],
      ['leading blank', post(` ${whole}0\r\n\r\n`)],
      ['more than 64 bits', post('10000000000000000\r\n')],
      ['17 digits', post('00000000000000005\r\n')],
      ['bare LF after the size', post(whole.replace('\r\n', '\n'))],
      ['bare CR after the size', post(whole.replace('\r\n', '\r'))],
      ['longer than its size', post(`5\r\n${body}\r\n0\r\n\r\n`)],
      ['bare LF after the data', post(`${whole.slice(0, -2)}\n0\r\n\r\n`)],
      ['bare LF at the end', post(`${whole}0\n\n`)],
      ['bare LF in an extension', post(`${whole.replace('\r\n', ';a=b\n')}0\r\n\r\n`)],
      ['bare LF after a trailer', post(`${whole}0\r\nA: b\n\r\n`)],
      ['endless trailers', post(`${whole}0\r\n${`A: ${'b'.repeat(1000)}\r\n`.repeat(20)}`)],
      ['endless extension', post(`1;${'a'.repeat(20000)}`)],
    ]);
    ok(
      !(await api.get('/v1/processes')).json.processes.some((p) => p.args.includes(mark)),
      'nothing was started',
    );
  },
);
strict(
  'better',
  'chunked-body',
  'extensions, trailers, both cases of hexadecimal and leading zeros are understood',
  async ({ api }) => {
    const padded = `${BODY}${' '.repeat(26 - BODY.length)}`;
    for (const [what, body] of [
      ['plain', `1a\r\n${padded}\r\n0\r\n\r\n`],
      ['upper case', `1A\r\n${padded}\r\n0\r\n\r\n`],
      ['leading zeros', `000000000000001a\r\n${padded}\r\n0000\r\n\r\n`],
      ['extension', `1a;name=value;other="a;b"\r\n${padded}\r\n0;x\r\n\r\n`],
      ['trailers', `1a\r\n${padded}\r\n0\r\nA: b\r\nContent-Length: 99\r\n\r\n`],
      ['many chunks', `${[...padded].map((c) => `1\r\n${c}\r\n`).join('')}0\r\n\r\n`],
    ]) {
      await bothWays(
        api,
        `${RUN}Transfer-Encoding: Chunked\r\n\r\n${body}${HEALTH}`,
        ['POST', 'GET'],
        async (w) => {
          eq((await w.answer(1)).json?.exitCode, 0, what);
          eq((await w.answer(2)).json, { status: 'ok' }, `${what}: the request after it`);
        },
      );
    }
  },
);

// ------------------------------------------------------------------ heads
strict('better', 'obs-fold', 'a folded header line is refused', ({ api }) =>
  allRefused(api, [
    ['blank', withLine('X-A: b\r\n c')],
    ['tab', withLine('X-A: b\r\n\tc')],
    ['before the first', `GET /v1/health HTTP/1.1\r\n X: y\r\n${HOST}\r\n`],
    ['hiding a length', `${RUN}X-A: b\r\n Content-Length: 5\r\nContent-Length: 18\r\n\r\n${BODY}`],
  ]),
);
strict('better', 'line-ends', 'lines end in CRLF: a bare LF or CR is refused', ({ api }) =>
  allRefused(api, [
    ['LF after the request line', `GET /v1/health HTTP/1.1\n${HOST}\r\n`],
    ['LF after a header', withLine('X-A: b\nX-C: d')],
    ['LF everywhere', 'GET /v1/health HTTP/1.1\nHost: localhost\n\n'],
    ['LF instead of the empty line', `GET /v1/health HTTP/1.1\r\n${HOST}\n`],
    ['CR in a value', withLine('X-A: b\rc')],
    ['CR before CRLF', withLine('X-A: b\r')],
    ['CR in the request line', `GET /v1/\rhealth HTTP/1.1\r\n${HOST}\r\n`],
    ['CR after the request line', `GET /v1/health HTTP/1.1\r${HOST}\r\n`],
  ]),
);
strict(
  'better',
  'control-characters',
  'NUL and other control characters in a head are refused',
  ({ api }) =>
    allRefused(
      api,
      [0, 1, 8, 11, 12, 27, 31, 127].flatMap((c) => {
        const x = String.fromCharCode(c);
        return [
          [`${c} in a value`, withLine(`X-A: b${x}c`)],
          [`${c} in a name`, withLine(`X${x}A: b`)],
          [`${c} in the target`, `GET /v1/he${x}alth HTTP/1.1\r\n${HOST}\r\n`],
          [`${c} in the method`, `G${x}ET /v1/health HTTP/1.1\r\n${HOST}\r\n`],
        ];
      }),
    ),
);
strict(
  'better',
  'header-lines',
  'a header line has a token, a colon behind it, and a value',
  ({ api }) =>
    allRefused(api, [
      ['no colon', withLine('X-A')],
      ['blank before the colon', withLine('X-A : b')],
      ['tab before the colon', withLine('X-A\t: b')],
      ['empty name', withLine(': b')],
      ['blank in the name', withLine('X A: b')],
      ['a name of other characters', withLine('X(A): b')],
      ['a name beyond ASCII', withLine('X\xe9: b')],
      ['a length with a blank before the colon', `${RUN}Content-Length : 18\r\n\r\n${BODY}`],
    ]),
);
strict('better', 'host', 'HTTP/1.1 needs exactly one Host, and a possible one', ({ api }) =>
  allRefused(api, [
    ['none', 'GET /v1/health HTTP/1.1\r\nX-A: b\r\n\r\n'],
    ['none at all', 'GET /v1/health HTTP/1.1\r\n\r\n'],
    ['two', withLine('Host: other')],
    ['two equal', withLine('Host: localhost')],
    ['in absolute form none', 'GET http://localhost/v1/health HTTP/1.1\r\n\r\n'],
    ...['a b', 'a/b', 'a@b', 'a,b', 'http://a', 'a?b', 'a#b', 'a\\b', '<a>'].map((h) => [
      `Host: ${h}`,
      `GET /v1/health HTTP/1.1\r\nHost: ${h}\r\n\r\n`,
    ]),
  ]),
);
strict(
  'better',
  'host-values',
  'names, addresses and ports of all kinds are a Host',
  async ({ api }) => {
    for (const [h, status] of [
      ['localhost', 200],
      ['LOCALHOST:80', 200],
      ['127.0.0.1:2468', 200],
      ['[::1]', 200],
      ['[::1]:2468', 200],
      // Well-formed, and somebody else's.
      ['a-b.example.', 403],
      ['x_y', 403],
      ['h%41', 403],
    ]) {
      eq(
        (await api.wire().write(`GET /v1/health HTTP/1.1\r\nHost: ${h}\r\n\r\n`).answer()).status,
        status,
        h,
      );
    }
  },
);
strict(
  'better',
  'request-line',
  'a request line has three parts with one blank between them',
  ({ api }) =>
    allRefused(
      api,
      [
        'GET /v1/health',
        'GET  /v1/health HTTP/1.1',
        'GET /v1/health  HTTP/1.1',
        'GET /v1/health HTTP/1.1 ',
        ' GET /v1/health HTTP/1.1',
        'GET\t/v1/health\tHTTP/1.1',
        'GET /v1/health x HTTP/1.1',
        'GET /v1/health http/1.1',
        'GET /v1/health HTTP/1.1x',
        'GET /v1/health HTTP/1',
        'GET /v1/health HTTP/11',
        'GET /v1/health HTTP/1.10',
        'GET /v1/health HTTP/ 1.1',
        'GET /v1/health HTTPS/1.1',
        'GET v1/health HTTP/1.1',
        'GET /v1/health#part HTTP/1.1',
        'GET /v1/h\xe9alth HTTP/1.1',
        'G@T /v1/health HTTP/1.1',
        '/v1/health HTTP/1.1',
        '\x16\x03\x01\x02 \x01 HTTP/1.1',
      ].map((l) => [JSON.stringify(l), `${l}\r\n${HOST}\r\n`]),
    ),
);
strict('better', 'versions', 'other major versions are 505', async ({ api }) => {
  for (const v of ['2.0', '3.0', '0.9']) {
    const w = api.wire().write(`GET /v1/health HTTP/${v}\r\n${HOST}\r\n`);
    problem(await w.answer(), {
      status: 505,
      type: 'invalid_request',
      title: 'HTTP Version Not Supported',
    });
    await w.waitEnd();
  }
  const h2 = api.wire().write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  oneOf((await h2.answer()).status, [400, 505], 'the preface of HTTP/2');
  await h2.waitEnd();
});
strict(
  'better',
  'leading-empty-lines',
  'empty lines before a request line are skipped',
  async ({ api }) => {
    await bothWays(api, `\r\n\r\n${HEALTH}\r\n${HEALTH}`, ['GET', 'GET'], async (w) => {
      for (const n of [1, 2]) eq((await w.answer(n)).status, 200);
    });
  },
);
strict(
  'better',
  'header-spelling',
  'names in any case, values with blanks and tabs around them',
  async ({ api }) => {
    await bothWays(
      api,
      `POST /v1/processes/run HTTP/1.1\r\nHOST:localhost\r\ncontent-TYPE:\t application/json \t\r\ncOntent-length:18\r\nX-Empty:\r\nX-High: \xe9\xff\r\n\r\n${BODY}`,
      ['POST'],
      async (w) => eq((await w.answer()).json?.exitCode, 0),
    );
  },
);
strict(
  'better',
  'answer-heads',
  'answers have lower-case names, a date, vary, and a length',
  async ({ api }) => {
    for (const [m, p] of [
      ['GET', '/'],
      ['GET', '/v1/health'],
      ['GET', '/nope'],
      ['PUT', '/v1/processes'],
      ['POST', '/v1/processes/run'],
      ['OPTIONS', '/nope'],
    ]) {
      const raw = (await api.raw(`${m} ${p} HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)).text;
      const [head, ...body] = raw.split('\r\n\r\n');
      const names = head
        .split('\r\n')
        .slice(1)
        .map((l) => l.slice(0, l.indexOf(':')));
      eq(
        names,
        names.map((n) => n.toLowerCase()),
        `${m} ${p}`,
      );
      eq(new Set(names).size, names.length, `${m} ${p}: every name once`);
      for (const n of ['date', 'vary', 'content-length', 'connection'])
        ok(names.includes(n), `${m} ${p}: ${n}`);
      match(
        head,
        /\r\ndate: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/,
        `${m} ${p}`,
      );
      eq(
        Number(/content-length: (\d+)/.exec(head)[1]),
        body.join('\r\n\r\n').length,
        `${m} ${p}: length`,
      );
    }
  },
);
