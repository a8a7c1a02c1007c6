// The short version of the long kill test (tests/reliability), and restarts under load.
import path from 'node:path';
import { Api, define, eq, includes, ok, secs, until } from '../lib.mjs';
import { killAtRandom } from '../lib/kills.mjs';
import { lineReader, numbered, writerSpec } from '../lib/lines.mjs';
import { fileOf, integrity, needSqlite } from '../lib/store.mjs';
import { contiguous } from '../lib/helpers.mjs';
import { hasStore } from '../lib/server.mjs';
import { bytesOf } from '../lib/sse.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('restart');
const restart = (id, title, fn, opts = {}) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server stores nothing');
  needSqlite();
  return ctx.withServer({}, (s, api) => fn(s, api));
}, { timeout: 120, ...opts });
const MIB = 1024 * 1024;
const BYTES = 8 * MIB; // within the cap of a log; the writers are held before that

restart('killed-at-random', 'eight kills at random moments under load: every line once, every exit exact, the file whole', async (s) => {
  const f = await killAtRandom(s, { kills: 8, bytes: 6e6, size: 4e5, atOnce: 6, rate: 5e5 });
  eq([f.faults, f.lost, f.repeated, f.damaged, f.kills], [[], 0, 0, 0, 8], `seed ${f.seed}`);
  ok(f.reconnects >= 8 && f.bytes >= 6e6, () => JSON.stringify(f));
});
restart('crashed-at-random', 'kill -9 of keeper and server: what was stored is a whole beginning of each log', async (s, api) => {
  for (let round = 0; round < 4; round++) {
    const all = [];
    for (const o of [{}, { tty: true }, { both: true }]) {
      const p = await api.create(writerSpec({ bytes: BYTES, rate: MIB, seed: round * 3 + all.length, hold: path.join(s.dir, 'never'), ...o }));
      all.push([p, lineReader(api, p.id, BYTES)]);
    }
    await Promise.all(all.map(([, f]) => f.seen(5 + 25 * round)));
    await s.crash();
    eq(await integrity(fileOf(s)), 'ok');
    await s.again();
    for (const [p, f] of all) {
      f.close();
      const { entries } = await api.logs(p.id);
      contiguous(entries);
      ok(entries[0].sequence === 1 && entries.at(-1).sequence >= f.last, () => `seen ${f.last}, stored to ${entries.at(-1).sequence}`);
      for (const stream of new Set(entries.map((e) => e.stream))) {
        const got = bytesOf(entries.filter((e) => e.stream === stream));
        ok(got.equals(numbered(BYTES).subarray(0, got.length)), `${p.id} ${stream}: ${got.length} bytes are not the beginning`);
      }
      includes(await api.info(p.id), { status: 'exited', exitReason: 'lost' });
    }
  }
});
restart('asked-at-the-moment', 'whoever got an answer before a kill finds it to be true after', async (s, api) => {
  const told = { created: [], deleted: [], exits: new Map(), config: null };
  const hands = [];
  let going = true, rounds = 0;
  const ask = async (fn) => { while (going) await fn(new Api(s.url)).catch(() => {}); };
  hands.push(ask(async (a) => { told.created.push((await a.post('/v1/processes', { command: 'true' })).json.id); }));
  hands.push(ask(async (a) => {
    const p = (await a.post('/v1/processes', { command: 'sh', args: ['-c', 'exit 9'] })).json;
    const e = await until(async () => { const x = await a.info(p.id); return x.status === 'exited' && x; }, { every: 5 });
    if (++rounds % 2) { told.exits.set(p.id, e); return; }
    if ((await a.del(`/v1/processes/${p.id}`)).status === 204) told.deleted.push(p.id);
  }));
  let limit = 1000;
  hands.push(ask(async (a) => {
    const now = await a.config();
    told.config = [now.maxOutputBytes, ++limit]; // until it is answered it may be either
    if ((await a.post('/v1/processes/config', { ...now, maxOutputBytes: limit })).status === 200) told.config = [limit];
  }));
  for (let i = 0; i < 6; i++) {
    const n = told.created.length;
    await until(() => told.created.length > n + 3, { within: secs(20), what: 'some answers' });
    await s.killServer();
  }
  going = false;
  await Promise.all(hands);
  const list = (await api.get('/v1/processes')).json.processes, ids = list.map((p) => p.id);
  eq(told.created.filter((id) => !ids.includes(id)), [], 'created and gone');
  eq(told.deleted.filter((id) => ids.includes(id)), [], 'deleted and back');
  for (const [id, e] of told.exits) eq(list.find((p) => p.id === id), e, 'an exit');
  eq(new Set(ids).size, ids.length, 'ids are given once');
  ok(told.config.includes((await api.config()).maxOutputBytes), () => `the configuration: ${told.config}`);
});
