// A reader in a process of its own, so that what the suite does at the same time cannot keep it
// from reading: it follows a log or a terminal to its end and tells what it got.
//
// As a program: far_reader.mjs BASE ID sse|ws PACE TOKEN TLS, the last as JSON. It prints "open" once connected and one
// line of JSON at the end. PACE is the pause in ms after every 128 KiB, 0 for none.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { secs, sleep, until, within } from './assert.mjs';
import { Api } from './api.mjs';

const PIECE = 128 * 1024;
const self = fileURLToPath(import.meta.url);
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

// Started and connected. result() waits for its end; close() ends it early.
export async function farReader(api, id, kind, { pace = 0 } = {}) {
  const c = spawn(process.execPath, [self, api.base, id, kind, String(pace), api.token ?? '', JSON.stringify(api.tls)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  c.stdout.on('data', (d) => { out += d; });
  const closed = new Promise((resolve) => { c.on('close', resolve); });
  api.open.add({ close: () => c.kill('SIGKILL') });
  await until(() => out.startsWith('open\n'), { what: 'the far reader to connect' });
  return {
    result: async (ms = secs(30)) => { await within(closed, ms, 'the far reader to get to the end'); return JSON.parse(out.split('\n')[1]); },
    close: () => c.kill('SIGKILL'),
  };
}

// Slow, but never silent for long: a peer learns of the room in a receive buffer only when a
// sixteenth of it is free again, which takes a reader of less than 4 MB/s more than 100 ms.
function atPace(stream, event, pace) {
  let since = 0;
  if (pace > 0) stream.on(event, (data) => {
    since += data.length;
    if (since < PIECE) return;
    since = 0;
    stream.pause();
    setTimeout(() => stream.resume(), pace);
  });
}
async function followLog(api, id, pace) {
  const f = await api.follow(id).opened();
  atPace(f.res, 'data', pace);
  process.stdout.write('open\n');
  while (!f.ended) await sleep(10);
  const log = f.log(), bytes = Buffer.concat(log.map((e) => Buffer.from(e.data, 'base64')));
  const gaps = f.events.filter((e) => e.event === 'gap').map((e) => e.json);
  const unbroken = log.every((e, i) => e.sequence === log[0].sequence + i);
  return { bytes: bytes.length, sha256: sha256(bytes), gaps, unbroken, last: f.events.at(-1)?.event };
}
async function watchTerminal(api, id, pace) {
  const t = await api.ws(id);
  await t.ready();
  atPace(t.sock, 'message', pace);
  process.stdout.write('open\n');
  while (!t.closed) await sleep(10);
  const bytes = t.output();
  return { bytes: bytes.length, sha256: sha256(bytes), gaps: t.ctl('error'), last: t.frames.at(-1)?.json?.type, code: t.closed.code };
}
if (process.argv[1] === self) {
  const [base, id, kind, pace, token, tls] = process.argv.slice(2);
  const read = kind === 'sse' ? followLog : watchTerminal;
  process.stdout.write(`${JSON.stringify(await read(new Api(base, token || undefined, JSON.parse(tls)), id, Number(pace)))}\n`);
}
