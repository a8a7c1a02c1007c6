// Open terminals over kill -9 of the server: the same shell, the same program, the next keystroke.
import { WebSocketClass, define, eq, has, here, includes, match, ok, secs, until, within } from '../lib.mjs';
import { reader, say } from '../lib/helpers.mjs';
import { hasStore } from '../lib/server.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('keeper_terminal');
const terminal = (id, title, fn, opts = {}) => group('better', id, title, async (ctx) => {
  if (!hasStore()) skip('this server has no keeper');
  return ctx.withServer({}, (s, api) => fn(s, api, ctx));
}, opts);
const bash = (api, extra = {}) => api.create({ command: 'bash', args: ['--norc', '--noprofile', '-i'], env: { PS1: '$ ' }, tty: true, interactive: true, ...extra });
const type = (w, text) => w.send({ type: 'input', data: text });
// Opens the terminal again behind what `w` has shown.
async function back(api, id, w) {
  const ready = w.ctl('ready')[0];
  const seen = ready.firstSequence + w.frames.filter((f) => f.binary).length - 1;
  const next = await api.ws(id, { query: `?since=${seen}` });
  await next.ready();
  return next;
}

terminal('bash-goes-on', 'a person goes on typing in the same shell after the client has reconnected', async (s, api) => {
  const p = await bash(api);
  let w = await api.ws(p.id);
  await w.ready();
  type(w, 'kept=forty-two; cd /usr; echo "pid=$$"\r');
  await w.waitOut(`pid=${p.pid}`);
  type(w, 'echo half of a li');
  await w.waitOut('half of a li');
  for (let i = 0; i < 3; i++) {
    await s.killServer();
    await w.waitClose();
    const old = w;
    w = await back(api, p.id, old);
    if (i === 0) type(w, 'ne\r');
    type(w, `echo "round ${i}: $kept $PWD $$"\r`);
    await w.waitOut(`round ${i}: forty-two /usr ${p.pid}`);
    ok(!w.output().toString().includes(`pid=${p.pid}`), 'nothing comes twice');
  }
  has(await api.logText(p.id), 'half of a line\r\n');
  type(w, 'exit 17\r');
  await w.wait('exit');
  eq([w.ctl('exit')[0].exitCode, (await api.info(p.id)).exitCode], [17, 17]);
});
terminal('sdk-goes-on', 'the published SDK opens the same shell again', async (s, api, ctx) => {
  const agent = await ctx.sdk(api);
  const p = await bash(api);
  const open = async () => {
    const t = agent.connectProcessTerminal(p.id, { WebSocket: await WebSocketClass() });
    const seen = { text: '', ready: 0, errors: [], exit: null };
    t.onReady(() => { seen.ready++; });
    t.onData((d) => { seen.text += Buffer.from(d).toString(); });
    t.onError((e) => seen.errors.push(e));
    t.onExit((e) => { seen.exit = e; });
    await until(() => seen.ready, { what: 'ready' });
    const shows = (needle) => until(() => seen.text.includes(needle), { what: `the terminal to show ${needle}`, last: () => seen.text.slice(-200) });
    return { t, seen, shows };
  };
  const one = await open();
  one.t.sendInput('kept=from-the-sdk\r');
  await one.shows('kept=from-the-sdk');
  await s.killServer();
  await within(one.t.closed, secs(5), 'the session to close');
  const two = await open();
  await two.shows('kept=from-the-sdk'); // what was on the screen before
  two.t.sendInput('echo "[$kept] $$"\r');
  await two.shows(`[from-the-sdk] ${p.pid}`);
  eq((await agent.listProcesses()).processes.map((x) => [x.id, x.pid, x.status]), [[p.id, p.pid, 'running']]);
  two.t.sendInput('exit 4\r');
  await within(two.t.closed, secs(5), 'the end');
  eq(two.seen.exit.exitCode, 4);
});
terminal('full-screen', 'a program that has the whole screen stays as it is: modes, size, alternate screen', async (s, api) => {
  const p = await api.sh('stty raw -echo; printf "\\033[?1049h\\033[Hfull screen"; exec cat', { tty: true, cols: 100, rows: 40 });
  let w = await api.ws(p.id);
  await w.waitOut('full screen');
  const modes = async () => (await api.run({ command: 'stty', args: ['-F', `/proc/${p.pid}/fd/0`, '-a'] })).stdout;
  const before = await modes();
  match(before, /rows 40; columns 100/);
  await s.killServer();
  await w.waitClose();
  w = await api.ws(p.id);
  includes(await w.ready(), { cols: 100, rows: 40, status: 'running' });
  has(await w.waitOut('full screen'), '\x1b[?1049h', 'the replay');
  eq(await modes(), before);
  w.send(Buffer.from('\x03\x04\x1a\r:wq'));
  await w.waitOut('\x03\x04\x1a\r:wq');
  w.send({ type: 'resize', cols: 90, rows: 20 });
  await until(async () => /rows 20; columns 90/.test(await modes()), { what: 'the new size' });
  await s.killServer();
  const again = await api.ws(p.id);
  includes(await again.ready(), { cols: 90, rows: 20 });
  ok(here(p.pid), 'it runs');
});
terminal('sequences-go-on', 'frames of before and after are one log without a hole or a repeat', async (s, api) => {
  const p = await reader(api);
  let w = await api.ws(p.id, { query: '?since=0' });
  await w.ready();
  let all = Buffer.alloc(0);
  for (let i = 0; i < 5; i++) {
    for (let k = 0; k < 20; k++) say(w, `round ${i} line ${k}`);
    await w.waitOut(`round ${i} line 19`);
    await s.killServer();
    await w.waitClose();
    all = Buffer.concat([all, w.output()]);
    w = await back(api, p.id, w);
  }
  say(w, 'last');
  await w.waitOut('got:last\r\n');
  all = Buffer.concat([all, w.output()]);
  const want = ['ready\r\n', ...Array.from({ length: 100 }, (_, n) => `got:round ${Math.floor(n / 20)} line ${n % 20}\r\n`), 'got:last\r\n'].join('');
  eq(all.toString(), want);
  eq(await api.logText(p.id), want);
});
terminal('job-control', 'a shell keeps its jobs and its controlling terminal', async (s, api) => {
  const p = await bash(api);
  let w = await api.ws(p.id);
  await w.ready();
  type(w, 'sleep 300 & echo "job=$!"\r');
  await w.waitOut(/job=\d+/);
  type(w, 'sh -c "echo it is; exec cat"\r');
  await w.waitOut(/\rit is\r\n|\nit is\r\n/);
  type(w, 'in the foreground\r');
  await w.waitOut(/in the foreground\r\n[^]*in the foreground\r\n/);
  await s.killServer();
  await w.waitClose();
  w = await back(api, p.id, w);
  type(w, '\x03');
  await w.waitOut(/\^C[^]*\$ /);
  type(w, 'jobs; echo "[$?]"\r');
  await w.waitOut(/Running +sleep 300 &[^]*\[0\]/);
  type(w, 'kill %1; exit 3\r');
  await w.wait('exit');
  eq(w.ctl('exit')[0].exitCode, 3);
});
