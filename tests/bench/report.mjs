// report.mjs - writes the tables of docs/benchmarks.md from the results that run.sh left.
//
//   node report.mjs DIRECTORY-OF-RESULTS FILE.md
//
// Reads reference.json (ours beside the reference server), nginx.json and unlogged.json (beside the
// reference without its request log) as far as they are there, and holds the targets. Only what is
// between the two marks in the file is replaced: why a target is missed, and what was tried, is
// written by a person around them.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const BEGIN = '<!-- begin: written by ./build.sh bench --report -->';
const END = '<!-- end: written by ./build.sh bench --report -->';
const EMPTY_PAGE = `# Benchmarks\n\nHow each value is measured: \`tests/bench/README.md\`.\n\n${BEGIN}\n${END}\n`;
const top = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

// --- targets: what is compared with what ----------------------------------------------------------
// better: 1 when more is better, -1 when less is. against: 'value' (of `than`), or what the median is
// divided by before it is compared with `than`: 'reference', 'nginx', 'limit'.

const atLeast = (than, against = 'value') => ({ better: 1, than, against });
const atMost = (than, against = 'value') => ({ better: -1, than, against });
const each = (scenario, names, target) => names.map((metric) => ({ scenario, metric, target }));

const STALL = ['get_other_ms', 'get_ms', 'list_ms', 'create_ms', 'create_after_list_ms',
  'get_other_after_both_ms', 'kill_ms'];

const TARGETS = [
  each('start', ['ready_ms'], atMost(0.2, 'reference')),
  each('size', ['binary_bytes'], atMost(4e6)),
  each('idle', ['pss_mb'], atMost(3.5)),
  each('idle', ['uss_mb'], atMost(1.5)),
  each('idle', ['ctxsw_s', 'ctxsw_s_500'], atMost(0)),
  each('idle', ['rss_kb_per_proc_100', 'rss_kb_per_proc_500'], atMost(12)),
  each('health', ['keep_c1', 'keep_c8', 'keep_c64'], atLeast(0.9, 'nginx')),
  each('health-new', ['new_c1', 'new_c8'], atLeast(0.8, 'nginx')),
  each('list', ['list_c1'], atLeast(5, 'reference')),
  each('run', ['run_c1', 'run_c8'], atLeast(0.85, 'limit')),
  each('run-out', ['runout_c1', 'runout_c8'], atLeast(0.6, 'limit')),
  each('run-timeout', ['shell_late_ms', 'background_ms'], atMost(20)),
  each('create', ['create_c1', 'create_c8'], atLeast(0.85, 'limit')),
  each('kill', ['kill_p50', 'stop_p50'], atMost(1500)),
  each('kill', ['ws_exit_frame_p50'], atMost(2000)),
  each('ingest', ['mb_s'], atLeast(0.6, 'limit')),
  each('ingest', ['peak_rss_mb'], atMost(12)),
  each('ingest', ['peak_rss_get_logs_mb'], atMost(25)),
  each('ingest-lines', ['mb_s'], atLeast(0.85, 'limit')),
  each('exit-log', ['incomplete_at_exit'], atMost(0)),
  each('sse', ['mb_s'], atLeast(400)),
  each('sse', ['lost_mib'], atMost(0)),
  each('sse-lines', ['mb_s'], atLeast(1.2, 'reference')),
  each('sse-lines', ['lost_mib'], atMost(0)),
  each('sse-fan', ['mb_s'], atLeast(4, 'reference')),
  each('ws-echo', ['rtt_p50', 'rtt_p99'], atMost(1.5, 'limit')),
  each('ws-flood', ['mb_s'], atLeast(0.9, 'limit')),
  each('ws-flood', ['lost_mib'], atMost(0)),
  each('ws-slow', ['peak_growth_mb'], atMost(4)),
  each('stall', STALL, atMost(5)),
  each('stall-tty', STALL, atMost(5)),
  each('conns', ['kb_per_conn_1000', 'kb_per_conn_5000'], atMost(4)),
  each('conns', ['health_with_1000'], atLeast(1, 'reference')),
  each('log-query', ['tail50'], atLeast(15, 'reference')),
  each('log-query', ['full'], atLeast(3, 'reference')),
  each('log-query', ['peak_rss_mb'], atMost(30)),
].flat();

// Worth reading beside the targets, but without one.
const OTHERS = [
  each('start', ['sigterm_to_exit_ms']),
  each('idle', ['rss_mb', 'anon_mb', 'procs', 'threads', 'cpu_ms_s']),
  each('list', ['list_c8']),
  each('ingest', ['server_cpu_s']),
  each('ingest-1g', ['mb_s', 'peak_rss_mb']),
  each('sse', ['server_cpu_s', 'peak_rss_mb']),
  each('sse-paced', ['lost_mib', 'server_cpu_s']),
  each('sse-fan', ['server_cpu_s', 'complete_followers']),
  each('ws-flood', ['server_cpu_s', 'frames']),
  each('ws-paced', ['lost_mib', 'server_cpu_s']),
  each('ws-slow', ['received_mib', 'lost_mib', 'gaps', 'health_max_ms']),
  each('stall', ['health_max_ms', 'run_ms']),
  each('conns', ['health_with_5000']),
].flat();

const HTTP = [
  each('health', ['keep_c1', 'keep_c8', 'keep_c64', 'keep_c1_cpu', 'keep_c8_cpu', 'keep_c64_cpu']),
  each('health-new', ['new_c1', 'new_c8', 'new_c1_cpu', 'new_c8_cpu']),
  each('conns', ['kb_per_conn_1000', 'kb_per_conn_5000', 'health_with_1000', 'health_with_5000']),
].flat();

// --- results --------------------------------------------------------------------------------------

function load(directory, name) {
  const path = join(directory, `${name}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null;
}

// A scenario that failed as a whole has one metric, "scenario", which says why.
function find(result, scenario, metric) {
  const metrics = result?.scenarios.find((s) => s.name === scenario)?.metrics ?? [];
  return metrics.find((m) => m.name === metric) ??
    metrics.find((m) => m.name === 'scenario' && m.a?.status === 'FAILED');
}

// Messages may quote the server's output; paths of this machine have no place in the page.
function plain(text) {
  const short = text.replaceAll(top, '.').replaceAll(tmpdir(), '').replace(/\s+/g, ' ').replaceAll('|', '/');
  return short.length > 120 ? `${short.slice(0, 117)}...` : short;
}

function number(value) {
  if (value === undefined) return '';
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.min(digits, 3) });
}

function side(result) {
  if (!result || result.status === 'n/a') return '-';
  if (result.status === 'FAILED') return 'FAILED';
  return number(result.median);
}

function unitOf(metric) {
  return metric.unit === '-' ? '' : ` ${metric.unit}`;
}

// --- verdicts -------------------------------------------------------------------------------------

function describe({ better, than, against }, unit) {
  const sign = than === 0 && better < 0 ? '' : better > 0 ? 'at least ' : 'at most ';
  if (against === 'value') return `${sign}${number(than)}${than === 0 ? '' : unit}`;
  return `${sign}${number(than)} x ${against === 'nginx' ? against : `the ${against}`}`;
}

// What the target's bound is in this run, or undefined when the other side has no value.
function boundOf({ than, against }, metric) {
  if (against === 'value') return than;
  const other = against === 'limit' ? metric.limit : metric.b;
  return other?.median === undefined ? undefined : than * other.median;
}

function verdict(target, metric) {
  const ours = metric.a;
  if (ours?.status === 'FAILED') return `FAILED: ${plain(ours.why ?? '')}`;
  if (ours?.median === undefined) return 'not measured';
  const bound = boundOf(target, metric);
  if (bound === undefined) return metric.b?.status === 'FAILED' ? 'met: the other side lost data' : 'nothing to compare with';
  if ((ours.median - bound) * target.better >= 0) return 'met';
  if (bound === 0) return 'missed';
  const ratio = ours.median / bound;
  return ratio > 2 ? `missed: ${number(ratio)} times that` : `missed by ${number(Math.abs(ratio - 1) * 100)} %`;
}

// --- tables ---------------------------------------------------------------------------------------

function table(head, rows) {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

function targetRow(results, { scenario, metric: name, target }) {
  const beside = target.against === 'nginx' ? results.nginx : results.reference;
  const metric = find(beside, scenario, name);
  if (!metric) return [scenario, name, '-', '-', '', describe(target, ''), 'not measured'];
  const reference = target.against === 'nginx' ? find(results.reference, scenario, name)?.b : metric.b;
  const limit = target.against === 'nginx' ? side(metric.b) : number(metric.limit?.median);
  return [scenario, `${name}${unitOf(metric)}`, side(metric.a), side(reference), limit,
    describe(target, unitOf(metric)), verdict(target, metric)];
}

function otherRow(results, { scenario, metric: name }) {
  const metric = find(results.reference, scenario, name);
  return metric ? [[scenario, `${name}${unitOf(metric)}`, side(metric.a), side(metric.b)]] : [];
}

// Ours and the other side of each run: the machine may have been faster in one than in another.
function httpRow(results, { scenario, metric: name }) {
  const all = [results.reference, results.unlogged, results.nginx].map((r) => find(r, scenario, name));
  const metric = all.find((m) => m);
  if (!metric) return [];
  return [[scenario, `${name}${unitOf(metric)}`, ...all.map((m) => (m ? `${side(m.a)} / ${side(m.b)}` : '-'))]];
}

// What the benchmark remarked on ours, such as bytes that no process wrote.
function notes(result) {
  const all = result?.scenarios.flatMap((s) => s.notes.map((note) => [s.name, note])) ?? [];
  const list = all.filter(([, n]) => n.startsWith('A: ')).map(([name, n]) => `- ${name}: ${plain(n.slice(3))}`);
  return list.length ? ['### Remarks on ours', list.join('\n')] : [];
}

function machine(result) {
  const loads = result.scenarios.flatMap((s) => Object.values(s.other_cpu_pct).flat());
  const size = result.quick ? 'the small sizes of `--quick`' : 'full sizes';
  const runs = result.runs === 1 ? 'one run' : `medians of ${result.runs} runs`;
  return `Linux ${result.kernel}, ${result.cpus} CPUs; ${runs} at ${size}, ` +
    `${result.date.slice(0, 10)}. Other processes used up to ${number(Math.max(0, ...loads))} % of the CPU meanwhile.`;
}

function page(results) {
  const rows = TARGETS.map((t) => targetRow(results, t));
  const met = rows.filter((r) => r.at(-1).startsWith('met')).length;
  const parts = [
    machine(results.reference ?? results.nginx),
    `**${met} of ${rows.length} targets met.** "limit / nginx" is the same work in the same run without a server, ` +
      'or nginx with a file of 15 bytes where the target names it.',
    table(['scenario', 'metric', 'ours', 'reference', 'limit / nginx', 'target', 'result'], rows),
    '### Without a target',
    table(['scenario', 'metric', 'ours', 'reference'], OTHERS.flatMap((t) => otherRow(results, t))),
    ...notes(results.reference),
    '### HTTP alone',
    'Each column is a run of its own, ours / the other.',
    table(['scenario', 'metric', 'reference', 'reference, RUST_LOG=off', 'nginx'], HTTP.flatMap((t) => httpRow(results, t))),
  ];
  return parts.join('\n\n');
}

function replace(text, tables) {
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END);
  if (from < 0 || to < from) throw new Error(`the page has no lines "${BEGIN}" and "${END}"`);
  return `${text.slice(0, from + BEGIN.length)}\n\n${tables}\n\n${text.slice(to)}`;
}

const [directory, file] = process.argv.slice(2);
if (!file) {
  console.error('usage: node report.mjs DIRECTORY-OF-RESULTS FILE.md');
  process.exit(2);
}
const results = Object.fromEntries(['reference', 'nginx', 'unlogged'].map((n) => [n, load(directory, n)]));
if (!results.reference && !results.nginx) {
  console.error(`report: no results in ${directory}`);
  process.exit(1);
}
writeFileSync(file, replace(existsSync(file) ? readFileSync(file, 'utf8') : EMPTY_PAGE, page(results)));
console.log(`wrote ${file}`);
