// The output of a process without a terminal.
import fs from 'node:fs';
import { TOKEN, define, eq, has, lacks, match, ok, secs, show, until } from '../lib.mjs';

const test = define('log');

const position = (v) => v.at('log').evaluate((e) => ({ top: e.scrollTop, left: e.scrollHeight - e.clientHeight - e.scrollTop }));
const atBottom = (v) => until(async () => (await position(v)).left <= 2, { what: 'the end of the log to be in view', last: () => 'not at the bottom' });
// The element that holds exactly this text.
const cell = (v, text) => v.at('log').getByText(text, { exact: true }).last();

test('live', 'output is shown as it is written, without a click', async (t) => {
  const { id } = await t.sh('i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo tick $i; sleep 0.2; done', { tty: false });
  const v = await t.open(`#/processes/${id}`);
  await v.logHas(/tick 1$/m);
  await v.logHas(/tick 6$/m);
  const text = await v.logText();
  const ticks = [...text.matchAll(/tick (\d+)/g)].map((m) => Number(m[1]));
  eq(ticks, ticks.map((_, i) => i + 1), 'ticks');
}, { check: 9 });

test('follow', 'scrolling up stops following, new output is counted and moves nothing, End goes on', async (t) => {
  const { id } = await t.sh('seq 1 500; read x; seq 501 520; read x; seq 521 530; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas(/^500$/m);
  await atBottom(v);
  ok(await v.pressed('Follow'), 'does not follow at first');
  await v.at('log').hover();
  await v.page.mouse.wheel(0, -1500);
  await until(async () => (await position(v)).left > 200, { what: 'the log to scroll up' });
  await until(async () => !(await v.pressed('Follow')), { what: 'Follow to be off' });
  const before = (await position(v)).top;
  await t.api.input(id, 'x\n');
  await v.says('new-lines', /\b20\b.*new/i);
  eq((await position(v)).top, before, 'scroll position');
  await v.press('End');
  await atBottom(v);
  await until(() => v.pressed('Follow'), { what: 'Follow to be on' });
  await v.gone('new-lines');
  await t.api.input(id, 'x\n');
  await v.logHas(/^530$/m);
  await atBottom(v);
}, { check: 10 });

test('new-lines', 'the count of new lines is a button that goes there', async (t) => {
  const { id } = await t.sh('seq 1 500; read x; echo last line; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas(/^500$/m);
  await atBottom(v);
  await v.at('log').hover();
  await v.page.mouse.wheel(0, -1500);
  await until(async () => !(await v.pressed('Follow')), { what: 'Follow to be off' });
  await t.api.input(id, 'x\n');
  await v.says('new-lines', /\b1\b.*new/i);
  await v.click('new-lines');
  await atBottom(v);
});

test('colours', 'colours and weights of a program are shown, other sequences are not, and markup is text', async (t) => {
  const { id } = await t.sh(String.raw`printf '\033[2K\033[1;31mredbold\033[0m plain <b>x</b> \033]0;title\007\033[?25lend\n'; printf '\033[38;2;10;200;30mtrue\033[0m \033[38;5;33mindexed\033[0m \033[4munder\033[24m \033[3mitalic\033[0m\n'; sleep 60`);
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('indexed');
  const style = (text) => cell(v, text).evaluate((e) => {
    const s = getComputedStyle(e);
    return { weight: s.fontWeight, colour: s.color, line: s.textDecorationLine, style: s.fontStyle };
  });
  const plain = await v.at('log').evaluate((e) => getComputedStyle(e).color);
  const bold = await style('redbold');
  eq(bold.weight, '700', 'weight');
  ok(bold.colour !== plain, 'red is the ordinary colour');
  ok((await style('indexed')).colour !== plain, 'indexed is the ordinary colour');
  ok((await style('true')).colour !== plain, 'true colour is the ordinary colour');
  match((await style('under')).line, /underline/, 'underlined');
  eq((await style('italic')).style, 'italic', 'italic');
  const text = await v.at('log').evaluate((e) => e.textContent);
  lacks(text, '\u001b', 'text');
  lacks(text, '[2K', 'text');
  lacks(text, '[?25l', 'text');
  lacks(text, 'title', 'text');
  has(text, '<b>x</b>', 'text');
  eq(await v.at('log').locator('b').count(), 0, 'b elements');
}, { check: 11 });

test('characters', 'a character in two pieces is one, and a carriage return rewrites the line', async (t) => {
  const { id } = await t.sh(String.raw`printf 'caf\303'; sleep .3; printf '\251\n'; printf '10%%\r100%%\n'; echo after; sleep 60`);
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('after');
  const text = await v.logText();
  match(text, /^café$/m, 'text');
  lacks(text, '\uFFFD', 'text');
  match(text, /^100%$/m, 'text');
  lacks(text, '10%\n', 'text');
  lacks(text, '10%100%', 'text');
}, { check: 12 });

test('prompt', 'a line that is not finished is shown', async (t) => {
  const { id } = await t.sh('printf "your name? "; read x; echo "hello $x"; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('your name?');
  await t.api.input(id, 'Ann\n');
  await v.logHas('hello Ann');
});

test('big', '300,000 lines: the last is shown, the page holds at most 100,000 and says so', async (t) => {
  const { id } = await t.sh('seq 1 300000; sleep 60');
  await t.api.logHas(id, '300000\n', { query: '?tail=1', ms: secs(20) });
  const v = await t.open(`#/processes/${id}`);
  await v.logHas(/^300000$/m, secs(30));
  await v.shown('dropped');
  const lines = await v.at('log').evaluate((log) => log.querySelectorAll('.line').length);
  ok(lines > 1000 && lines <= 100000, `${lines} lines in the page`);
  await atBottom(v);
}, { check: 13, slow: true, timeout: 90 });

test('search', 'a search counts, n and N move to the next and the last match, the filter hides the rest, Escape ends it', async (t) => {
  const { id } = await t.sh('for i in $(seq 1 400); do if [ $((i % 25)) = 0 ]; then echo "line $i has a Needle"; else echo "line $i"; fi; done; echo "needle in the end"; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('needle in the end');
  await v.at('log').click();
  await v.press('/');
  await v.focusIs('search');
  await v.type('needle');
  await v.says('search-count', /of 17/);
  await v.press('Enter');
  const first = await v.says('search-count', /^(\d+) of 17/);
  const number = (text) => Number(/(\d+) of 17/.exec(text)[1]);
  // n and N are keys of the log, not of the field.
  await v.at('log').focus();
  const wrap = (n) => ((n - 1 + 17) % 17) + 1;
  await v.press('n');
  const next = await v.says('search-count', new RegExp(`^(${wrap(number(first) + 1)}) of 17`));
  await v.press('n');
  await v.says('search-count', new RegExp(`^${wrap(number(next) + 1)} of 17`));
  await v.press('Shift+N');
  await v.says('search-count', new RegExp(`^${number(next)} of 17`));
  // What is marked as the present match is in view.
  const box = await v.page.evaluate(() => {
    const log = document.querySelector('[data-testid=log]').getBoundingClientRect();
    const now = document.querySelector('[data-testid=log] .current');
    const b = now?.getBoundingClientRect();
    return b ? { inside: b.top >= log.top - 2 && b.bottom <= log.bottom + 2, text: now.textContent } : null;
  });
  ok(box, 'no match is marked as the present one');
  ok(box.inside, 'the present match is not in view');
  await v.setPressed('Filter', true, v.at('toolbar'));
  await until(async () => !/^line 1$/m.test(await v.logText()), { what: 'lines without a match to go' });
  eq((await v.logText()).split('\n').filter((l) => l.trim()).length, 17, 'lines that are shown');
  await v.at('search').focus();
  await v.press('Escape');
  await until(async () => /^line 399$/m.test(await v.logText()), { what: 'all lines to be back' });
}, { check: 14 });

test('search-link', 'a search is in the address, and a link with one opens with it', async (t) => {
  const { id } = await t.sh('seq 1 30; echo needle one; seq 1 30; sleep 60');
  const v = await t.open(`#/processes/${id}/logs?q=needle`);
  await v.logHas('needle one');
  await v.says('search-count', /of 1\b/);
  eq(await v.at('search').inputValue(), 'needle', 'search field');
}, { check: 14 });

async function downloadEquals(t, v, id) {
  const bytes = Buffer.concat((await t.api.logs(id)).entries.map((e) => Buffer.from(e.data, 'base64')));
  const [download] = await Promise.all([v.page.waitForEvent('download'), v.click('download')]);
  match(download.suggestedFilename(), /\.log$/, 'name of the file');
  const saved = fs.readFileSync(await download.path());
  ok(saved.equals(bytes), () => `the file has ${saved.length} bytes, the log ${bytes.length}: ${show(saved.toString('latin1').slice(0, 200))}`);
}
const EVERY_BYTE = String.raw`i=0; while [ $i -lt 256 ]; do printf "\\$(printf %03o $i)"; i=$((i+1)); done; printf '\ncaf\303\251 \033[31mred\033[0m\nlast'; sleep 60`;

test('copy', 'Copy puts the shown text on the clipboard', async (t) => {
  const { id } = await t.sh(String.raw`printf '\033[31mred\033[0m one\ntwo  spaces\n\nfour\n'; sleep 60`);
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('four');
  await v.click('copy');
  await until(async () => (await v.clipboard()).includes('four'), { what: 'the clipboard to have the text' });
  eq((await v.clipboard()).trimEnd(), 'red one\ntwo  spaces\n\nfour', 'clipboard');
}, { check: 15 });

test('copy-selection', 'with a selection Copy takes that alone', async (t) => {
  const { id } = await t.sh('echo one; echo two; echo three; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('three');
  await cell(v, 'two').evaluate((e) => {
    const range = document.createRange();
    range.selectNodeContents(e);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  });
  await v.click('copy');
  await until(async () => (await v.clipboard()).trim() === 'two', { what: 'the clipboard to have the selection' });
}, { check: 15 });

test('download', 'the file has the very bytes of the log', async (t) => {
  const { id } = await t.sh(EVERY_BYTE);
  await t.api.logHas(id, 'last');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('last');
  await downloadEquals(t, v, id);
}, { check: 15 });

test('download-with-token', 'also from a server that wants a token', async (t) => {
  const { id } = await t.sh(EVERY_BYTE);
  await t.api.logHas(id, 'last');
  const v = await t.viewer();
  await v.open(`#/?token=${encodeURIComponent(TOKEN)}`);
  await v.go(`#/processes/${id}`);
  await v.logHas('last');
  await downloadEquals(t, v, id);
}, { check: 15, server: { token: TOKEN } });

test('streams', 'stderr is marked, not by colour alone; each stream can be seen by itself', async (t) => {
  const { id } = await t.sh('echo from out; echo from err >&2; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('from out');
  await v.logHas('from err');
  const marks = await cell(v, 'from err').evaluate((e) => {
    const seen = [];
    for (let x = e; x && x.dataset?.testid !== 'log'; x = x.parentElement) seen.push(x.getAttribute('aria-label') ?? '', x.className, getComputedStyle(x).borderLeftWidth, getComputedStyle(x).boxShadow, getComputedStyle(x, '::before').content);
    return seen.join(' ');
  });
  match(marks, /stderr/i, 'marks of a line of stderr');
  const choose = (name) => v.at('toolbar').getByRole('combobox', { name: 'Stream' }).selectOption({ label: name });
  await choose('stderr');
  await until(async () => { const s = await v.logText(); return s.includes('from err') && !s.includes('from out'); }, { what: 'stderr alone' });
  await choose('stdout');
  await until(async () => { const s = await v.logText(); return s.includes('from out') && !s.includes('from err'); }, { what: 'stdout alone' });
});

test('switches', 'times and wrapping can be switched, by button and by key, and stay so', async (t) => {
  const { id } = await t.sh(`echo short; echo ${'long '.repeat(400)}; sleep 60`);
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('long ');
  const pressed = async (name) => (await v.at(name).getAttribute('aria-pressed')) === 'true';
  const turns = (name, on) => until(async () => (await pressed(name)) === on, { what: `${name} to be ${on}` });
  const wide = () => v.at('log').evaluate((e) => e.scrollWidth > e.clientWidth + 1);
  ok(await wide(), 'a long line is wrapped at first');
  await v.click('wrap');
  await turns('wrap', true);
  await until(async () => !(await wide()), { what: 'a long line to be wrapped' });
  // Times are not part of the text, so that copying leaves them out.
  const times = () => v.at('log').evaluate((log) => [...log.querySelectorAll('.line')].some((e) => /\d\d:\d\d:\d\d|attr\(/.test(getComputedStyle(e, '::before').content)));
  eq(await times(), false, 'times at first');
  await v.click('timestamps');
  await until(times, { what: 'times to be shown' });
  await v.reload();
  await v.logHas('short');
  ok((await pressed('wrap')) && (await pressed('timestamps')), 'a reload forgets the switches');
  await v.at('log').focus();
  await v.press('w');
  await turns('wrap', false);
  await v.press('t');
  await turns('timestamps', false);
});

test('nothing-yet', 'a log without output says so', async (t) => {
  const running = await t.sh('sleep 60'), ended = await t.sh('true');
  await t.api.exited(ended.id);
  const v = await t.open(`#/processes/${running.id}`);
  await v.says('detail', /No output yet/);
  await v.go(`#/processes/${ended.id}`);
  await v.says('detail', /No output(?! yet)/);
});

test('dropped', 'output that the server no longer has is told of', async (t) => {
  const config = await t.api.config();
  await t.api.post('/v1/processes/config', { ...config, maxLogBytesPerProcess: 65536 });
  const { id } = await t.sh('seq 1 60000; echo done; sleep 60');
  await t.api.logHas(id, 'done', { query: '?tail=1' });
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('done');
  await v.says('dropped', /dropped|no longer/i);
});

test('stdin', 'a line typed under the log goes to the process, and its input can be ended', async (t) => {
  const { id } = await t.sh('while read x; do echo "got <$x>"; done; echo over', { interactive: true });
  const v = await t.open(`#/processes/${id}`);
  const field = v.at('stdin').first();
  await field.waitFor();
  const input = (await field.evaluate((e) => e.tagName)) === 'INPUT' ? field : field.locator('input');
  await input.fill('hello  world');
  await input.press('Enter');
  await v.logHas('got <hello  world>');
  await until(async () => (await input.inputValue()) === '', { what: 'the field to be empty again' });
  await v.at('stdin').getByRole('button', { name: /EOF/ }).click();
  await v.logHas('over');
  await v.says('status', /exited 0/);
});

// What is sent to the process is held until `open` is called with what becomes of it.
async function holdInput(v) {
  const held = { asked: 0 };
  held.answer = new Promise((open) => { held.open = open; });
  await v.page.route(/\/input(\?|$)/, async (route) => {
    held.asked++;
    if ((await held.answer) === 'lost') await route.abort('connectionreset');
    else await route.continue();
  });
  return held;
}

test('stdin-order', 'lines and the end of input that come while one is under way wait for it, in order', async (t) => {
  const { id } = await t.sh('while read x; do echo "got <$x>"; done; echo over', { interactive: true });
  const v = await t.open(`#/processes/${id}`);
  await v.shown('stdin-line');
  const held = await holdInput(v);
  for (const line of ['one', 'two', 'three']) {
    await v.at('stdin-line').fill(line);
    await v.press('Enter');
  }
  await v.click('stdin-eof');
  await until(() => held.asked > 0, { what: 'the first line to be sent' });
  await v.frames();
  eq(held.asked, 1, 'requests while the first is under way');
  held.open();
  await v.logHas('over');
  eq((await v.logText()).match(/got <\w+>/g), ['got <one>', 'got <two>', 'got <three>'], 'lines of the process');
  await v.says('status', /exited 0/);
});

test('stdin-lost', 'a line that was not taken comes back, and nothing that was to come after it is sent', async (t) => {
  const { id } = await t.sh('while read x; do echo "got <$x>"; done; echo over', { interactive: true });
  const v = (await t.viewer()).expect(/ERR_|Failed to load/);
  await v.open(`#/processes/${id}`);
  await v.shown('stdin-line');
  const held = await holdInput(v);
  for (const line of ['one', 'two']) {
    await v.at('stdin-line').fill(line);
    await v.press('Enter');
  }
  await v.click('stdin-eof');
  await until(() => held.asked > 0, { what: 'the first line to be sent' });
  held.open('lost');
  match(await v.oneAlert(/not sent/i), /still here/, 'what is said');
  await v.says('stdin', /after it was not sent either/);
  eq(await v.at('stdin-line').inputValue(), 'one', 'the field');
  eq(held.asked, 1, 'requests');
  await v.page.unroute(/\/input(\?|$)/);
  await v.at('stdin-line').press('Enter');
  await v.logHas('got <one>');
  await v.at('stdin-line').press('ArrowUp');
  await v.at('stdin-line').press('ArrowUp');
  eq(await v.at('stdin-line').inputValue(), 'two', 'the line before');
  await v.at('stdin-line').press('Enter');
  await v.logHas('got <two>');
});

test('end-of-process', 'the end of a process is told under its output at once, the output stays', async (t) => {
  const { id } = await t.sh('echo before; read x; echo after; exit 4');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('before');
  await t.api.input(id, 'x\n');
  await v.says('status', /exited 4/);
  await v.logHas('before');
  await v.logHas('after');
});

test('server-killed', 'when the server is killed the log goes on with nothing lost and nothing twice', async (t) => {
  const { id } = await t.sh('i=0; while :; do i=$((i+1)); echo n$i; sleep 0.02; done');
  const v = (await t.viewer()).expect(/ERR_|Failed to load|network/i);
  await v.open(`#/processes/${id}`);
  await v.logHas(/^n20$/m);
  await t.server.killServer();
  const count = Number(/n(\d+)\n?$/.exec(await t.api.logText(id, '?tail=1'))?.[1] ?? 50) + 50;
  await v.logHas(new RegExp(`^n${count}$`, 'm'), secs(15));
  const numbers = (await v.logText()).split('\n').map((l) => /^n(\d+)$/.exec(l.trim())?.[1]).filter(Boolean).map(Number);
  eq(numbers, numbers.map((_, i) => i + 1), 'numbers');
}, { check: 22, server: { dataDir: undefined } });
