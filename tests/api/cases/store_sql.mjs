// The file as a public interface: what the views show is what the API shows, and every query of the
// documentation answers its question.
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bytesOf, define, eq, has, match, ok, until } from '../lib.mjs';
import { fileOf, needSqlite, run, sql } from '../lib/store.mjs';
import { hasStore } from '../lib/server.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('store_sql');
const DOCUMENT = fileURLToPath(new URL('../../../docs/log-store.md', import.meta.url));
const query = (id, title, fn) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server stores nothing');
  needSqlite();
  return ctx.withServer({}, (s, api) => fn(s, api));
});
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

// A bit of everything, as a person would have it.
async function fill(api) {
  const made = {};
  // On cue, or two lines may be one entry.
  made.talker = await api.sh('for i in 1 2 3; do echo "line $i"; echo "warn $i" >&2; read cue; done; exit 3', { cwd: '/usr', env: { NAME_OF_IT: 'x' } });
  made.screen = await api.sh('echo in a terminal', { tty: true, cols: 100, rows: 30 });
  made.victim = await api.sh('echo about to go; exec sleep 60');
  for (const i of [1, 2, 3]) {
    await api.logHas(made.talker.id, `line ${i}`);
    await api.logHas(made.talker.id, `warn ${i}`);
    await api.input(made.talker.id, '\n');
  }
  made.big = await api.sh('seq 1 60000');
  made.open = await api.sh('printf "no newline"; exec sleep 60');
  await api.logHas(made.victim.id, 'go');
  await api.logHas(made.open.id, 'newline');
  await api.kill(made.victim.id, '?waitMs=5000');
  for (const k of ['talker', 'screen', 'big', 'victim']) await api.exited(made[k].id);
  for (const p of Object.values(made)) await api.logs(p.id); // what was seen is stored
  return made;
}

query('logs-view', 'logs shows each entry with process, sequence, stream, ISO 8601 time and text', async (s, api) => {
  const made = await fill(api);
  for (const p of Object.values(made)) {
    const { entries } = await api.logs(p.id);
    const rows = await sql(fileOf(s), `select process_id, sequence, stream, time, text, hex(data) as hex from logs where process_id = '${p.id}' order by sequence`);
    eq(rows.map((r) => [r.process_id, r.sequence, r.stream, r.time, r.hex]),
      entries.map((e) => [p.id, e.sequence, e.stream, new Date(e.timestampMs).toISOString(), Buffer.from(e.data, 'base64').toString('hex').toUpperCase()]), p.id);
    eq(rows.map((r) => r.text).join(''), bytesOf(entries).toString());
    for (const r of rows) match(r.time, ISO);
  }
});
query('processes-view', 'processes shows what the API shows of a record', async (s, api) => {
  await fill(api);
  const rows = await sql(fileOf(s), 'select * from processes order by created_at, id');
  const shown = (await api.get('/v1/processes')).json.processes;
  eq(rows.length, shown.length);
  for (const p of shown) {
    const r = rows.find((x) => x.id === p.id);
    eq([r.command, JSON.parse(r.args), r.cwd ?? undefined, !!r.tty, !!r.interactive, r.status, r.exit_code ?? undefined, r.exit_signal ?? undefined],
      [p.command, p.args, p.cwd, p.tty, p.interactive, p.status, p.exitCode, p.exitSignal], p.id);
    eq([Date.parse(r.created_at), r.exited_at ? Date.parse(r.exited_at) : undefined], [p.createdAtMs, p.exitedAtMs]);
    if (p.status === 'running') eq(r.pid, p.pid);
    eq(r.log_bytes, bytesOf((await api.logs(p.id)).entries).length, `${p.id} log_bytes`);
  }
  eq(JSON.parse(rows[0].env_names), ['NAME_OF_IT']);
});
query('config-table', 'config shows the limits by the names that the API has', async (s, api) => {
  await api.setConfig({ maxOutputBytes: 4242 });
  const rows = Object.fromEntries((await sql(fileOf(s), 'select name, value from config')).map((r) => [r.name, r.value]));
  eq(rows, { ...(await api.config()), maxLogBytesTotal: 1073741824, maxExitedProcesses: 1000 });
});
query('as-people-type-it', 'sqlite3 FILE "select ..." works, writes nothing, and needs no option', async (s, api) => {
  await fill(api);
  const r = await run([fileOf(s), "select text from logs where process_id = 'proc_1' and stream = 'stderr'"]);
  eq([r.code, r.err], [0, '']);
  has(r.out, 'warn 1');
});

// The fenced blocks of the document: SQL, or a shell line with the query in quotes.
function documented() {
  const text = fs.readFileSync(DOCUMENT, 'utf8');
  const out = [];
  for (const [, kind, body] of text.matchAll(/^```(\w*)\n([^]*?)^```$/gm)) {
    if (kind === 'sql' && !/^\s*create /i.test(body)) out.push(body.trim());
    for (const [, q] of body.matchAll(/sqlite3 [^"\n]*"([^"]+)"/g)) out.push(q.replaceAll('\\$', '$').trim());
  }
  return out;
}
query('documented-queries', 'every query of docs/log-store.md runs, and those about logs find something', async (s, api) => {
  if (!fs.existsSync(DOCUMENT)) skip('no document yet');
  await fill(api);
  await until(async () => (await sql(fileOf(s), 'select count(*) as n from logs'))[0].n > 5, { what: 'the logs to be stored' });
  const queries = documented();
  ok(queries.length >= 6, `only ${queries.length} queries`);
  const empty = [];
  for (const q of queries) if ((await sql(fileOf(s), q)).length === 0) empty.push(q);
  ok(empty.length <= queries.length / 2, () => `no rows: ${empty.join(' / ')}`);
});

// The questions that people ask.
query('questions', 'last lines, a span of time, a search, the biggest writers, exits', async (s, api) => {
  const made = await fill(api);
  const ask = (q) => sql(fileOf(s), q);
  const tail = await ask(`select text from (select sequence, text from logs where process_id = '${made.talker.id}' and stream = 'stdout' order by sequence desc limit 2) order by sequence`);
  eq(tail.map((r) => r.text).join(''), 'line 2\nline 3\n');
  const { entries } = await api.logs(made.talker.id, '?stream=stdout');
  const at = (i) => new Date(entries[i].timestampMs).toISOString();
  const span = await ask(`select text from logs where process_id = '${made.talker.id}' and stream = 'stdout' and time between '${at(1)}' and '${at(1)}'`);
  has(span.map((r) => r.text).join(''), 'line 2\n');
  eq((await ask("select distinct process_id from logs where text like '%warn 2%'")).map((r) => r.process_id), [made.talker.id]);
  eq((await ask('select id from processes order by log_bytes desc limit 1'))[0].id, made.big.id);
  const exits = await ask("select id, exit_code, exit_signal from processes where status = 'exited' order by exited_at");
  eq(exits.find((r) => r.id === made.victim.id), { id: made.victim.id, exit_code: null, exit_signal: 'SIGKILL' });
  eq(exits.find((r) => r.id === made.talker.id).exit_code, 3);
});
