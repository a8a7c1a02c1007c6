// Logs as lines of text and as bytes: format=text and format=raw, fetched and followed.
import { define, eq, has, lacks, match, ok, secs, until } from '../lib.mjs';
import { Body } from '../lib/body.mjs';
import { sha256 } from '../lib/far_reader.mjs';
import { echoer } from '../lib/helpers.mjs';
import { counted, cue, onCue, sameBytes } from '../lib/programs.mjs';

const logs = define('logs');
const path = (id, query) => `/v1/processes/${id}/logs?${query}`;
const body = (api, id, query, opts) => new Body(api, path(id, query), opts).opened();

async function read(api, id, query = 'format=text') {
  const r = await api.get(path(id, query));
  eq(r.status, 200, `status of ${query} (${r.text.slice(0, 200)})`);
  return r;
}
const textOf = async (api, id, query) => (await read(api, id, `format=text${query ? `&${query}` : ''}`)).text;
async function done(api, script, extra) {
  const p = await api.sh(script, extra);
  await api.exited(p.id, secs(30));
  return p;
}
async function refused(api, id, query, re, status = 400) {
  const r = await api.get(path(id, query));
  eq([r.status, r.type], [status, 'application/problem+json'], query);
  match(r.json.detail, re, query);
}
// A process that does one step of its script for every line of input.
async function steps(api, ...scripts) {
  const p = await api.sh(`${scripts.map((s) => `read x; ${s}`).join('; ')}; read x`);
  p.next = () => api.input(p.id, '\n');
  return p;
}

// ------------------------------------------------------------------ what a text is
logs('better', 'text-shape', 'text is text/plain in UTF-8, the bytes as they were written', async ({ api }) => {
  const p = await done(api, 'printf "a\\n\\nb\\r\\n\\r\\nno end"');
  const r = await read(api, p.id, 'format=text&stream=stdout');
  eq([r.type, r.headers['content-length'], r.text], ['text/plain; charset=utf-8', '14', 'a\n\nb\r\n\r\nno end']);
  eq(await textOf(api, p.id), '[stdout] a\n[stdout] \n[stdout] b\r\n[stdout] \r\n[stdout] no end');
  eq(await textOf(api, p.id, 'stream=stderr'), '');
  eq(await textOf(api, p.id, 'stream=pty'), '');
});
logs('better', 'text-of-terminal', 'a terminal has one stream: no labels, CR LF kept', async ({ api }) => {
  const p = await done(api, 'echo out; echo err >&2', { tty: true });
  eq(await textOf(api, p.id), 'out\r\nerr\r\n');
  match(await textOf(api, p.id, 'timestamps=true'), /^\[[^\]]{24}\] out\r\n\[[^\]]{24}\] err\r\n$/);
  eq(await textOf(api, p.id, 'stream=combined'), '');
});
logs('better', 'text-combined', 'lines of the two streams do not mix, and come in the order of their ends', async ({ api }) => {
  const p = await echoer(api);
  await p.say('b');
  await p.say('err1');
  await p.say('c');
  eq(await textOf(api, p.id), '[stdout] ready\n[stdout] b\n[stderr] err1\n[stdout] c\n');
  const q = await steps(api, 'printf one', 'printf "er" >&2', 'printf " two\\nthr"', 'printf "ror\\n" >&2', 'printf "ee\\nfo"');
  for (const s of ['one', 'er', 'thr', 'ror', 'fo']) {
    await q.next();
    await api.logHas(q.id, s);
  }
  eq(await textOf(api, q.id), '[stdout] one two\n[stderr] error\n[stdout] three\n[stdout] fo');
});
logs('better', 'text-across-entries', 'lines and characters that many reads brought are put together', async ({ api }) => {
  const p = await steps(api, 'printf "caf\\303"', 'printf "\\251 \\342"', 'printf "\\202"', 'printf "\\254!\\n"');
  for (let i = 1; i <= 4; i++) {
    await p.next();
    await until(async () => (await api.logs(p.id)).entries.length === i, { what: `entry ${i}` });
  }
  eq(await textOf(api, p.id, 'stream=stdout'), 'café €!\n');
  eq(await textOf(api, p.id, 'stream=stdout&since=1'), '\ufffd €!\n');
});
logs('better', 'text-invalid-utf8', 'what is not UTF-8 is U+FFFD, one for each maximal subpart; NUL stays', async ({ api }) => {
  const p = await done(api, 'printf "a\\377b \\303( \\360\\237\\222z \\355\\240\\200 \\000 \\342\\202"');
  const r = await read(api, p.id, 'format=text&stream=stdout');
  eq(r.buf.toString('latin1'), Buffer.from('a\ufffdb \ufffd( \ufffdz \ufffd\ufffd\ufffd \0 \ufffd').toString('latin1'));
});
logs('better', 'text-timestamps', 'before each line the time at which its first byte was read', async ({ api }) => {
  const p = await steps(api, 'printf be', 'printf "gun\\nnext\\n\\n"');
  for (const s of ['be', 'next']) {
    await p.next();
    await api.logHas(p.id, s);
  }
  const times = (await api.logs(p.id)).entries.map((e) => new Date(e.timestampMs).toISOString());
  eq(await textOf(api, p.id, 'timestamps=true'), `[${times[0]}] [stdout] begun\n[${times[1]}] [stdout] next\n[${times[1]}] [stdout] \n`);
  eq(await textOf(api, p.id, 'timestamps=true&stream=stdout'), `[${times[0]}] begun\n[${times[1]}] next\n[${times[1]}] \n`);
});
logs('better', 'text-strip-timestamps', 'strip_timestamps is the opposite of timestamps; both may not say the same', async ({ api }) => {
  const p = await done(api, 'echo x');
  const plain = '[stdout] x\n', stamped = /^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] \[stdout\] x\n$/;
  for (const q of ['', 'timestamps=false', 'strip_timestamps=true', 'timestamps=false&strip_timestamps=true']) eq(await textOf(api, p.id, q), plain, q);
  for (const q of ['timestamps=true', 'strip_timestamps=false', 'timestamps=true&strip_timestamps=false']) match(await textOf(api, p.id, q), stamped, q);
  for (const v of ['true', 'false']) await refused(api, p.id, `timestamps=${v}&strip_timestamps=${v}`, /timestamps and strip_timestamps/);
});
logs('better', 'text-refusals', 'query errors name the parameter; without a process it is 404', async ({ api }) => {
  const p = await api.sh('exec sleep 60');
  await refused(api, p.id, 'format=xml', /query parameter format: "xml" .*json, text, raw/);
  await refused(api, p.id, 'format=', /query parameter format/);
  await refused(api, p.id, 'format=text&format=raw', /query parameter format is given twice/);
  await refused(api, p.id, 'format=text&timestamps=1', /query parameter timestamps: "1" is neither true nor false/);
  await refused(api, p.id, 'strip_timestamps=yes', /query parameter strip_timestamps: "yes"/);
  await refused(api, p.id, 'format=text&tail=x', /query parameter tail/);
  await refused(api, p.id, 'format=raw&stream=combined', /query parameter stream: "combined"/);
  await refused(api, p.id, 'format=raw&stream=combined&follow=true', /query parameter stream: "combined"/);
  for (const q of ['format=text', 'format=raw', 'format=text&follow=true', 'format=raw&follow=true']) await refused(api, 'proc_0', q, /proc_0/, 404);
});
logs('better', 'text-head', 'HEAD has the type, and the length where the answer is short', async ({ api }) => {
  const p = await done(api, 'echo hello; seq 1 60000 >&2');
  const head = async (q) => {
    const r = await api.req('HEAD', path(p.id, q));
    eq([r.status, r.buf.length], [200, 0], q);
    return [r.type, r.headers['content-length']];
  };
  eq(await head('format=text&stream=stdout'), ['text/plain; charset=utf-8', '6']);
  eq(await head('format=raw'), ['application/octet-stream', '6']);
  eq(await head('format=text'), ['text/plain; charset=utf-8', undefined], 'a long text');
  eq(await head('format=text&follow=true'), ['text/plain; charset=utf-8', undefined]);
  eq(await head('format=raw&follow=true'), ['application/octet-stream', undefined]);
});

// ------------------------------------------------------------------ long ones
logs('better', 'text-long', 'a long text is streamed, complete and in order', async ({ api }) => {
  const p = await done(api, 'seq 1 200000');
  const r = await read(api, p.id, 'format=text&stream=stdout');
  eq(r.headers['content-length'], undefined);
  sameBytes(r.buf, counted(200000), 'the text');
  const stamped = (await textOf(api, p.id, 'timestamps=true')).replace(/^\[[0-9TZ:.-]{24}\] \[stdout\] /gm, '');
  sameBytes(Buffer.from(stamped), counted(200000), 'without its prefixes');
});
logs('better', 'text-long-lines', 'a line of a megabyte is one line; one of the other stream breaks it with a mark', async ({ api }) => {
  const p = await steps(api, 'head -c 1000000 /dev/zero | tr "\\0" x', 'echo err >&2', 'echo end');
  await p.next();
  await until(async () => (await textOf(api, p.id)).length === 1000009, { what: 'the long line' });
  await p.next();
  await api.logHas(p.id, 'err\n');
  await p.next();
  await api.logHas(p.id, 'end\n');
  const text = await textOf(api, p.id);
  eq(text.length, '[stdout] '.length + 1000000 + '\n[stderr] err\n[stdout+] end\n'.length);
  ok(text.endsWith('x\n[stderr] err\n[stdout+] end\n'), text.slice(-60));
  sameBytes(Buffer.from(await textOf(api, p.id, 'stream=stdout')), Buffer.from(`${'x'.repeat(1000000)}end\n`), 'stdout alone');
});

// ------------------------------------------------------------------ tail and since
logs('better', 'text-tail', 'tail counts lines of the chosen streams, an unfinished one too', async ({ api }) => {
  const p = await done(api, 'seq 1 50000; for i in 1 2 3; do echo e$i >&2; done; printf "last"');
  eq(await textOf(api, p.id, 'tail=0'), '');
  eq(await textOf(api, p.id, 'tail=2&stream=stdout'), '50000\nlast');
  eq(await textOf(api, p.id, 'tail=2&stream=stderr'), 'e2\ne3\n');
  eq(await textOf(api, p.id, 'tail=9&stream=stderr'), 'e1\ne2\ne3\n');
  eq((await textOf(api, p.id, 'tail=40000&stream=stdout')).split('\n').length, 40000);
  for (const n of [1, 2, 5, 3000]) eq((await textOf(api, p.id, `tail=${n}`)).match(/^\[std/gm).length, n, `tail=${n}`);
  sameBytes((await read(api, p.id, 'format=text&tail=18446744073709551615')).buf, (await read(api, p.id)).buf, 'a tail of more than there is');
});
logs('better', 'text-tail-of-two', 'a line counts where it ends, and is shown from its beginning', async ({ api }) => {
  const p = await steps(api, 'printf "begun " >&2', 'seq 1 20000', 'printf "late\\n" >&2', 'echo after');
  for (const s of ['begun ', '\n20000\n', 'late', 'after']) {
    await p.next();
    await api.logHas(p.id, s);
  }
  eq(await textOf(api, p.id, 'tail=3'), '[stdout] 20000\n[stderr] begun late\n[stdout] after\n');
  eq(await textOf(api, p.id, 'tail=1'), '[stdout] after\n');
});
logs('better', 'text-since', 'since and Last-Event-ID stay sequences', async ({ api }) => {
  const p = await echoer(api);
  for (const s of ['b', 'err1', 'd']) await p.say(s);
  eq(await textOf(api, p.id, 'since=2'), '[stderr] err1\n[stdout] d\n');
  eq(await textOf(api, p.id, 'since=1&tail=2'), '[stderr] err1\n[stdout] d\n');
  eq(await textOf(api, p.id, 'since=3&tail=2'), '[stdout] d\n');
  eq(await textOf(api, p.id, 'since=18446744073709551615'), '');
  const r = await api.get(path(p.id, 'format=text&stream=stdout'), { headers: { 'last-event-id': '3' } });
  eq(r.text, 'd\n');
});

// ------------------------------------------------------------------ following
logs('better', 'text-follow', 'follow=true is a tail -f: what is there, then what comes, until the exit', async ({ api }) => {
  const p = await echoer(api);
  const f = await body(api, p.id, 'format=text&follow=true');
  eq([f.status, f.headers['content-type'], f.headers['cache-control'], f.headers['x-accel-buffering']], [200, 'text/plain; charset=utf-8', 'no-cache', 'no']);
  eq(f.headers['transfer-encoding'], 'chunked');
  await f.waitText('[stdout] ready\n');
  await p.say('b');
  await p.say('err1');
  await f.waitText('[stdout] ready\n[stdout] b\n[stderr] err1\n');
  const one = await body(api, p.id, 'format=text&follow=true&stream=stdout&tail=1&timestamps=true');
  const none = await body(api, p.id, 'format=text&follow=true&stream=stdout&tail=0');
  await p.say('c');
  await api.input(p.id, 'quit 3\n');
  for (const x of [f, one, none]) {
    await x.waitEnd();
    ok(x.complete, 'a clean end');
  }
  eq(f.text(), '[stdout] ready\n[stdout] b\n[stderr] err1\n[stdout] c\n');
  match(one.text(), /^\[[^\]]{24}\] b\n\[[^\]]{24}\] c\n$/);
  eq(none.text(), 'c\n');
});
logs('better', 'text-follow-exited', 'following an exited process gives its text and ends', async ({ api }) => {
  const p = await done(api, 'seq 1 100000; printf end');
  const f = await body(api, p.id, 'format=text&follow=true&stream=stdout');
  await f.waitEnd();
  ok(f.complete, 'a clean end');
  sameBytes(f.bytes(), Buffer.concat([counted(100000), Buffer.from('end')]), 'the text');
});
logs('better', 'text-follow-all', 'a follower from the beginning gets all of a busy process, once', async ({ api }) => {
  const p = await onCue(api, 'seq 1 400000');
  const f = await body(api, p.id, 'format=text&follow=true');
  await cue(api, p.id);
  await f.waitEnd(secs(30));
  const lines = Array.from({ length: 400000 }, (_, i) => `[stdout] ${i + 1}\n`).join('');
  sameBytes(f.bytes(), Buffer.from(`[stdout] ready\n${lines}`), 'what the follower got');
});
logs('better', 'text-prompt', 'a line without an end is seen, with one stream and with two', async ({ api }) => {
  const p = await steps(api, 'printf "name? "', 'echo warning >&2', 'echo joe', 'echo bye');
  const both = await body(api, p.id, 'format=text&follow=true');
  const one = await body(api, p.id, 'format=text&follow=true&stream=stdout');
  await p.next();
  await one.waitText('name? ');
  await both.waitText('[stdout] name? ');
  await p.next();
  await both.waitText('[stdout] name? \n[stderr] warning\n');
  await p.next();
  await both.waitText('[stdout] name? \n[stderr] warning\n[stdout+] joe\n');
  await one.waitText('name? joe\n');
  await p.next();
  await both.waitText('[stdout] name? \n[stderr] warning\n[stdout+] joe\n[stdout] bye\n');
});
logs('better', 'text-prompt-answered', 'a prompt that was seen goes on in its line', async ({ api }) => {
  const p = await steps(api, 'printf "name? "', 'printf "jo"', 'echo e');
  const f = await body(api, p.id, 'format=text&follow=true');
  for (const seen of ['name? ', 'name? jo', 'name? joe\n']) {
    await p.next();
    await f.waitText(`[stdout] ${seen}`);
  }
});
logs('better', 'text-follow-kept-alive', 'after the end of a text the connection serves the next request', async ({ api }) => {
  const p = await done(api, 'echo x');
  const w = api.wire();
  const req = (q) => `GET ${path(p.id, q)} HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}\r\n`;
  w.write(req('format=text&follow=true') + req('format=raw&follow=true') + req('format=text'), 'GET', 'GET', 'GET');
  const last = await w.answer(3);
  eq([w.answers[0].text, w.answers[1].text, last.text], ['[stdout] x\n', 'x\n', '[stdout] x\n']);
});
logs('better', 'text-follow-deleted', 'deleting the process ends the followers cleanly', async ({ api }) => {
  const p = await echoer(api);
  const f = await body(api, p.id, 'format=text&follow=true');
  await f.waitText('[stdout] ready\n');
  await api.kill(p.id, '?waitMs=5000');
  eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
  await f.waitEnd();
  ok(f.complete, 'a clean end');
});
logs('better', 'text-follower-leaves', 'a follower that shuts its connection of a silent process is not kept', async (ctx) => ctx.withServer({}, async (s, api) => {
  const p = await echoer(api);
  for (const format of ['text', 'raw']) {
    const w = api.wire();
    await w.connected();
    w.write(`GET ${path(p.id, `format=${format}&follow=true`)} HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}\r\n`, 'GET');
    await until(() => w.part?.chunks.length > 0, { what: 'the replay' });
    w.s.end();
    await w.waitEnd(secs(5));
    eq(w.answers.length, 0, 'a body that is not whole');
  }
  await p.say('still there');
}), { spawn: true });

// ------------------------------------------------------------------ what is gone
const small = (api, fn) => api.withConfig({ maxLogBytesPerProcess: 20000 }, fn);
logs('better', 'text-gap', 'a reader that named a position is told what is gone since; one that did not is not', async ({ api }) => small(api, async () => {
  const p = await done(api, 'seq 1 20000');
  const kept = (await api.logs(p.id)).entries;
  const first = kept[0].sequence, bytes = counted(20000);
  const rest = Buffer.concat(kept.map((e) => Buffer.from(e.data, 'base64')));
  const all = await textOf(api, p.id, 'stream=stdout');
  eq(all, rest.toString(), 'what is kept');
  lacks(await textOf(api, p.id, 'tail=100000'), 'gap:');
  for (const follow of ['', '&follow=true']) {
    const f = await body(api, p.id, `format=text&stream=stdout&since=0${follow}`);
    await f.waitEnd();
    eq(f.text(), `[gap: ${bytes.length - rest.length} bytes lost, sequences 1 to ${first - 1}]\n${rest}`, `since=0${follow}`);
    const g = await body(api, p.id, `format=text&timestamps=true${follow}`, { headers: { 'last-event-id': '1' } });
    await g.waitEnd();
    match(g.text().split('\n')[0], new RegExp(`^\\[gap: output lost, sequences 2 to ${first - 1}\\]$`));
    const h = await body(api, p.id, `format=text&stream=stdout${follow}`);
    await h.waitEnd();
    eq(h.text(), rest.toString(), `no position${follow}`);
  }
  const at = await body(api, p.id, `format=text&stream=stdout&since=${first - 1}`);
  await at.waitEnd();
  eq(at.text(), rest.toString(), 'a position that is kept');
}), { restoreConfig: true });
logs('better', 'text-gap-behind', 'a follower that stopped and was outrun is told in a line of its own', async ({ api }) => small(api, async () => {
  const p = await onCue(api, 'yes 123456789 | head -c 30000000; echo; echo THE-END');
  const f = await body(api, p.id, 'format=text&follow=true&stream=stdout', { paused: true });
  await cue(api, p.id);
  await api.exited(p.id, secs(30));
  f.start();
  await f.waitEnd(secs(20));
  ok(f.complete, 'a clean end');
  const text = f.text();
  match(text, /\n\[gap: \d+ bytes lost, sequences \d+ to \d+\]\n/);
  ok(text.endsWith('\nTHE-END\n'), text.slice(-40));
}), { restoreConfig: true });
logs('better', 'raw-gap', 'bytes that are gone are never passed over in silence', async ({ api }) => small(api, async () => {
  const p = await onCue(api, 'yes 123456789 | head -c 30000000; echo THE-END');
  const f = await body(api, p.id, 'format=raw&follow=true', { paused: true });
  await cue(api, p.id);
  await api.exited(p.id, secs(30));
  f.start();
  await f.waitEnd(secs(20));
  ok(!f.complete, 'the connection was cut');
  lacks(f.text(), 'THE-END');
  for (const q of ['format=raw&since=0', 'format=raw&since=0&follow=true']) await refused(api, p.id, q, /^conflict: entries 1 to \d+ are not kept any more/, 409);
  const kept = (await api.logs(p.id)).entries;
  const rest = Buffer.concat(kept.map((e) => Buffer.from(e.data, 'base64')));
  sameBytes((await read(api, p.id, 'format=raw')).buf, rest, 'what is kept');
  sameBytes((await read(api, p.id, `format=raw&since=${kept[0].sequence - 1}`)).buf, rest, 'from a position that is kept');
}), { restoreConfig: true });

// ------------------------------------------------------------------ bytes
logs('better', 'raw-exact', 'raw gives the bytes of one stream exactly, short and long', async ({ api }) => {
  const p = await done(api, 'printf "\\000\\377\\r\\n\\n"; echo err >&2');
  const r = await read(api, p.id, 'format=raw');
  eq([r.type, r.headers['content-length'], [...r.buf]], ['application/octet-stream', '5', [0, 255, 13, 10, 10]]);
  eq((await read(api, p.id, 'format=raw&stream=stderr')).text, 'err\n');
  eq((await read(api, p.id, 'format=raw&stream=pty')).text, '');
  const big = await done(api, 'f=$(mktemp); head -c 300000 /dev/urandom >$f; cat $f; sha256sum <$f >&2; rm $f');
  const sum = (await read(api, big.id, 'format=raw&stream=stderr')).text.slice(0, 64);
  const bytes = (await read(api, big.id, 'format=raw')).buf;
  eq([bytes.length, sha256(bytes)], [300000, sum]);
  const f = await body(api, big.id, 'format=raw&follow=true');
  await f.waitEnd();
  ok(f.complete && f.bytes().equals(bytes), 'the same when followed');
});
logs('better', 'raw-of-terminal', 'raw of a terminal is its pty, the default; tail counts entries', async ({ api }) => {
  const p = await done(api, 'echo a; echo b', { tty: true });
  eq((await read(api, p.id, 'format=raw')).text, 'a\r\nb\r\n');
  const q = await echoer(api);
  for (const s of ['b', 'c']) await q.say(s);
  eq((await read(api, q.id, 'format=raw&tail=2')).text, 'b\nc\n');
});
logs('better', 'raw-follow', 'raw is followed as it comes and ends with the process', async ({ api }) => {
  const p = await echoer(api);
  const f = await body(api, p.id, 'format=raw&follow=true');
  const tail = await body(api, p.id, 'format=raw&follow=true&tail=0');
  await f.waitText('ready\n');
  await p.say('err1');
  await p.say('b');
  await f.waitText('ready\nb\n');
  await api.input(p.id, 'quit 0\n');
  for (const x of [f, tail]) {
    await x.waitEnd();
    ok(x.complete, 'a clean end');
  }
  eq([f.text(), tail.text()], ['ready\nb\n', 'b\n']);
});
logs('better', 'text-json-untouched', 'format=json is the default, with or without the switches of text', async ({ api }) => {
  const p = await done(api, 'echo x');
  const want = await api.logs(p.id);
  for (const q of ['?format=json', '?timestamps=true', '?strip_timestamps=true&format=json']) eq(await api.logs(p.id, q), want, q);
  const f = await api.follow(p.id, 'format=json').opened();
  match(f.headers['content-type'], /^text\/event-stream/);
  await f.waitEnd();
  has(f.rawText, 'event: exit');
});
