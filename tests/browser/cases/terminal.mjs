// Processes with a terminal.
import { bash, define, eq, fullScreen, lacks, match, needProgram, ok, secs, show, until } from '../lib.mjs';

const test = define('terminal');
const NETWORK = /ERR_|Failed to load|WebSocket|network/i;

// The page at a shell that has said its prompt, the terminal has the focus.
async function atShell(t, start, hashOf = (id) => `#/processes/${id}`) {
  const { id } = await t.api.create(bash(start));
  const v = await t.viewer();
  await v.open(hashOf(id));
  await v.termHas(/\$ ?$/);
  await v.says('term-status', /^connected$/);
  await v.focusTerminal();
  return { id, v };
}
// rows and columns as the process sees them
async function sizeOf(v, tag) {
  await v.typeLine(`echo ${tag}$((0))-$(stty size)-`);
  const text = await v.termHas(new RegExp(`^${tag}0-\\d+ \\d+-`, 'm'));
  const [, rows, cols] = new RegExp(`^${tag}0-(\\d+) (\\d+)-`, 'm').exec(text);
  return [Number(cols), Number(rows)];
}

test('shell', 'what is typed is run, and TERM tells of 256 colours', async (t) => {
  const { v } = await atShell(t);
  await v.typeLine('echo $((40+2)) $TERM');
  await v.termHas(/^42 xterm-256color$/m);
}, { check: 16 });

test('size', 'the process has the size of the screen, also after the window changed', async (t) => {
  const { v } = await atShell(t);
  const first = await v.termSize();
  eq(await sizeOf(v, 'first'), first, 'size');
  await v.page.setViewportSize({ width: 900, height: 600 });
  await until(async () => (await v.termSize())[0] !== first[0], { what: 'the screen to follow the window' });
  let seen = null;
  await until(async () => { seen = await sizeOf(v, 'then'.concat('x'.repeat(Math.floor(Math.random() * 20)))); return String(seen) === String(await v.termSize()); },
    { what: 'the process to have the new size', last: () => seen, every: 200 });
}, { check: 16 });

test('default-tab', 'a process with a terminal opens in it, one without in its output', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const { v } = await atShell(t);
  eq(await v.at('tab-terminal').getAttribute('aria-selected'), 'true', 'aria-selected of the terminal');
  await v.go(`#/processes/${id}`);
  await v.logHas('hello');
  ok(!(await v.at('tab-terminal').isVisible()), 'a process without a terminal has a tab for one');
}, { check: 16 });

test('replay', 'a reload shows the same screen; old questions to the terminal are not answered into the shell', async (t) => {
  const { v } = await atShell(t, String.raw`printf '\033[1;32mgreen\033[0m \033[44mback\033[0m\r\n\033[c\033[6n\033]11;?\007\033[>c'`);
  await v.termHas('green back');
  eq(v.typed(), [], 'typed by nobody');
  await v.typeLine('x=4; echo typed');
  await v.termHas(/^typed$/m);
  await v.typeLine(String.raw`printf '\033[35mmagenta\033[0m\n'`);
  await v.termHas(/^magenta\n\$ ?$/m);
  const typed = v.typed().length;
  const before = await v.termScreen();
  await v.reload();
  await v.termHas(/^magenta\n\$ ?$/m);
  await v.says('term-status', /^connected$/);
  let after;
  await until(async () => { after = await v.termScreen(); return show(after) === show(before) && JSON.stringify(after) === JSON.stringify(before); },
    { what: 'the same screen', last: () => difference(before, after) });
  eq(v.typed().length, typed, 'frames that type');
  await v.focusTerminal();
  await v.typeLine('echo once$((x+1))');
  await v.termHas(/^once5$/m);
  const text = await v.termText();
  eq(text.match(/^once5$/gm).length, 1, 'runs of the line');
}, { check: 17 });

function difference(a, b) {
  if (!b) return 'none';
  if (String(a.cursor) !== String(b.cursor)) return `cursor ${a.cursor} and ${b.cursor}`;
  const y = a.cells.findIndex((row, i) => row !== b.cells[i]);
  return y < 0 ? `${a.kind} ${a.cols}x${a.rows}, ${b.kind} ${b.cols}x${b.rows}` : `row ${y}: ${a.cells[y].slice(0, 120)} / ${(b.cells[y] ?? '').slice(0, 120)}`;
}

test('questions-live', 'a question of a program that runs now is answered', async (t) => {
  const { v } = await atShell(t);
  await v.typeLine(String.raw`printf '\033[6n'; IFS= read -rsdR pos; echo "at ${'${#pos}'} ${'${pos#*[}'}"`);
  await v.termHas(/^at \d+ \d+;\d+$/m);
}, { check: 17 });

test('replay-while-running', 'with output coming all the time a reload loses no line and doubles none', async (t) => {
  const { id } = await t.api.create({ command: 'sh', args: ['-c', 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo n$i; [ $((i % 5)) = 0 ] && sleep 0.01; done; sleep 60'], tty: true });
  const v = await t.open(`#/processes/${id}`);
  await v.termHas(/^n100$/m);
  for (let i = 0; i < 2; i++) {
    await v.reload();
    await v.termHas(/^n\d+$/m);
  }
  await v.termHas(/^n3000$/m, secs(30));
  const numbers = (await v.termLines()).map((l) => /^n(\d+)$/.exec(l)?.[1]).filter(Boolean).map(Number);
  eq(numbers, Array.from({ length: 3000 }, (_, i) => i + 1), 'numbers');
}, { check: 17, slow: true });

test('full-screen', 'a full-screen program looks the same after a visit elsewhere', async (t) => {
  const other = await t.sh('echo other; sleep 60');
  const { id } = await t.api.create(fullScreen);
  const v = await t.open(`#/processes/${id}`);
  await v.termHas('ready');
  await v.focusTerminal();
  await v.type('ab');
  await v.termHas('key b number 2');
  const before = await v.termScreen();
  eq(before.kind, 'alternate', 'screen');
  await v.go(`#/processes/${other.id}`);
  await v.logHas('other');
  await v.go(`#/processes/${id}`);
  await v.termHas('key b number 2');
  await v.says('term-status', /^connected$/);
  let after;
  await until(async () => { after = await v.termScreen(); return JSON.stringify(after) === JSON.stringify(before); }, { what: 'the same screen', last: () => difference(before, after) });
  await v.focusTerminal();
  await v.type('c');
  await v.termHas('key c number 3');
}, { check: 18 });

for (const program of ['vim', 'less'])
  test(`full-screen-${program}`, `${program} looks the same after a visit elsewhere`, async (t) => {
    needProgram(program);
    const other = await t.sh('echo other; sleep 60');
    const { id } = await t.api.create(editor(program));
    const v = await t.open(`#/processes/${id}`);
    await v.says('term-status', /^connected$/);
    await showsFrom(v, program, 1);
    await v.focusTerminal();
    await v.type('jjjj');
    const before = await showsFrom(v, program, ...(program === 'vim' ? [1, 5] : [5]));
    eq(before.kind, 'alternate', 'screen');
    await v.go(`#/processes/${other.id}`);
    await v.logHas('other');
    await v.go(`#/processes/${id}`);
    await v.terminal();
    let after;
    await until(async () => { after = await v.termScreen(); return JSON.stringify(after) === JSON.stringify(before); }, { what: 'the same screen', last: () => difference(before, after) });
  }, { check: 18 });

function editor(program) {
  const file = 'seq -f "line %g" 1 300 >file-of-lines';
  const command = { vim: 'exec vim -u NONE -N --cmd "set number ruler noswapfile viminfo=" file-of-lines', less: 'LESS= exec less file-of-lines' }[program];
  return { command: 'sh', args: ['-c', `${file}; ${command}`], env: { LESSHISTFILE: '-' }, tty: true };
}
// Until the screen has what the program draws last: its lines from `top` on in each row but the last, and
// then the prompt of less, or the ruler of vim and the cursor in `line`.
async function showsFrom(v, program, top, line = 1) {
  let text, screen;
  await until(async () => {
    text = (await v.termLines()).join('\n');
    screen = await v.termScreen();
    const { cursor: [x, y], rows } = screen;
    const lines = text.split('\n');
    const drawn = lines.length === rows && lines.slice(0, -1).every((one, i) => one.endsWith(`line ${top + i}`));
    if (program === 'less') return drawn && y === rows - 1 && x === lines.at(-1).length && x > 0;
    return drawn && lines.at(-1).includes(`${line},1 `) && y === line - top && x === 4;
  }, { what: `${program} to show its lines from ${top} on`, last: () => [screen?.cursor, screen?.rows, text.slice(0, 40), text.slice(-80)] });
  return screen;
}

// What is typed before the server is killed, what is on the screen when all of it is drawn; and what is typed then.
const KEYS = {
  script: {
    first: 'ab',
    drawn: (v) => cursorAfter(v, /^key b number 2$/m),
    more: 'c',
    then: (v) => v.termHas('key c number 3'),
  },
  vim: {
    first: '10Gohello from before',
    drawn: (v) => cursorAfter(v, /^ *11 hello from before$(?=[^]*\b11,18\b)/m),
    more: ' and after',
    then: (v) => v.termHas('hello from before and after'),
  },
  less: { first: 'jjjj', drawn: (v) => showsFrom(v, 'less', 5), more: 'j', then: (v) => showsFrom(v, 'less', 6) },
};
// Until the screen has this line, and the cursor stands at its end.
async function cursorAfter(v, line) {
  let screen;
  await until(async () => {
    const text = await v.termText();
    screen = await v.termScreen();
    const found = line.exec(text);
    if (!found) return false;
    const y = text.slice(0, found.index).split('\n').length - 1;
    return String(screen.cursor) === String([found[0].length, y]);
  }, { what: `the cursor after ${line}`, last: () => screen?.cursor });
  return screen;
}

for (const program of ['script', 'vim', 'less'])
  test(`server-killed-${program}`, `kill -9 of the server under a full-screen program (${program}): the screen is the same, and typing goes on`, async (t) => {
    if (program !== 'script') needProgram(program);
    const { id } = await t.api.create(program === 'script' ? fullScreen : editor(program));
    const v = (await t.viewer()).expect(NETWORK);
    await v.open(`#/processes/${id}`);
    await v.says('term-status', /^connected$/);
    const { first, drawn, more, then } = KEYS[program];
    if (program === 'script') await v.termHas('ready');
    else await showsFrom(v, program, 1);
    await v.focusTerminal();
    await v.type(first);
    const before = await drawn(v);
    const sockets = v.sockets.length;
    await t.server.killServer();
    await until(() => v.sockets.length > sockets && v.sockets.at(-1).received > 0, { what: 'another connection of the terminal', within: secs(15) });
    let after;
    await until(async () => { after = await v.termScreen(); return JSON.stringify(after) === JSON.stringify(before); }, { what: 'the same screen', last: () => difference(before, after) });
    await v.connected();
    await v.says('term-status', /^connected$/);
    await v.type(more);
    await then(v);
  }, { check: 22, server: { dataDir: undefined } });

test('exit', 'after the exit the screen stays, says the code, and takes no more keys; so it is when opened later', async (t) => {
  const { id, v } = await atShell(t);
  await v.typeLine('echo last words');
  await v.termHas(/^last words$/m);
  await v.typeLine('exit 3');
  await v.says('status', /exited 3/);
  const told = async (who) => until(async () => /exited with code 3/.test(`${await who.termText()} ${await who.at('term').first().innerText().catch(() => '')} ${await who.at('term-status').first().innerText().catch(() => '')}`), { what: 'the exit to be told in the terminal' });
  await told(v);
  match(await v.termText(), /^last words$/m, 'screen');
  const typed = v.typed().length;
  await v.type('abc');
  await v.press('Enter');
  const later = await t.open(`#/processes/${id}`);
  await later.termHas(/^last words$/m);
  await told(later);
  eq(v.typed().length, typed, 'frames after the exit');
  eq(later.typed(), [], 'frames of the later viewer');
}, { check: 19 });

test('copy-keys', 'Ctrl+Shift+C copies the selection and sends nothing; Ctrl+C without one interrupts', async (t) => {
  const { v } = await atShell(t);
  await v.typeLine('echo selectable');
  await v.termHas(/^selectable$/m);
  const row = (await v.termLines()).indexOf('selectable');
  await v.page.evaluate((y) => window.__ui.term.select(0, y, 10), row);
  const typed = v.typed().length;
  await v.press('Control+Shift+C');
  await until(async () => (await v.clipboard()) === 'selectable', { what: 'the clipboard to have the selection' });
  eq(v.typed().length, typed, 'frames');
  await v.page.evaluate(() => window.__ui.term.clearSelection());
  await v.typeLine(`sh -c 'echo run$((1)); exec sleep 50'`);
  await v.termHas(/^run1$/m);
  await v.press('Control+C');
  await v.termHas('^C');
  await v.typeLine('echo again$((1))');
  await v.termHas(/^again1$/m);
}, { check: 20 });

test('paste', 'Ctrl+Shift+V pastes; several lines into a program without bracketed paste only after a question', async (t) => {
  const { id } = await t.api.create({ command: 'sh', args: ['-c', 'echo ready; exec cat'], tty: true });
  const v = await t.open(`#/processes/${id}`);
  await v.termHas('ready');
  await v.focusTerminal();
  await v.page.evaluate(() => navigator.clipboard.writeText('one piece'));
  await v.press('Control+Shift+V');
  await v.termHas('one piece');
  await v.press('Enter');
  await v.page.evaluate(() => navigator.clipboard.writeText('first\nsecond\n'));
  const typed = v.typed().length;
  await v.press('Control+Shift+V');
  const dialog = v.page.getByRole('dialog');
  await dialog.waitFor({ timeout: secs(5) });
  eq(v.typed().length, typed, 'frames before the answer');
  await v.button(/paste/i, dialog).click();
  await v.termHas(/^second$/m);
}, { check: 20 });

test('unicode', 'text that comes without keys reaches the process, and an emoji is two cells wide', async (t) => {
  const { id } = await t.api.create({ command: 'sh', args: ['-c', 'stty -echo; printf "\\r😀|"; while read x; do printf "\\r\\ngot <%s>\\r\\n" "$x"; done'], tty: true });
  const v = await t.open(`#/processes/${id}`);
  await v.termHas('😀|');
  eq(await v.page.evaluate(() => window.__ui.term.buffer.active.cursorX), 3, 'column of the cursor');
  await v.focusTerminal();
  await v.page.keyboard.insertText('漢é😀');
  await v.press('Enter');
  await v.termHas('got <漢é😀>');
}, { check: 20 });

test('leave', 'Ctrl+F6 leaves the terminal, and Tab does not', async (t) => {
  const { v } = await atShell(t);
  await v.press('Tab');
  ok(await v.page.evaluate(() => Boolean(document.activeElement.closest('.xterm'))), 'Tab left the terminal');
  await v.press('Control+F6');
  await until(() => v.page.evaluate(() => !document.activeElement.closest('.xterm') && document.activeElement !== document.body), { what: 'the focus to be elsewhere' });
}, { check: 20 });

test('keys-are-its-own', 'single keys of the page mean nothing inside a terminal', async (t) => {
  const { v } = await atShell(t);
  await v.typeLine('echo nrsK?/jk');
  await v.termHas(/^nrsK\?\/jk$/m);
  await v.hashMatches(/^#\/processes\//);
}, { check: 16 });

test('link', 'an address in the output is a link that opens by Ctrl and a click, without a way back', async (t) => {
  const { v } = await atShell(t);
  const address = `${v.base}/healthz`;
  await v.typeLine(`echo ${address}`);
  await until(async () => (await v.termLines()).includes(address), { what: 'the address on a line of its own' });
  const opened = [];
  v.context.on('page', (p) => opened.push(p));
  const row = (await v.termLines()).indexOf(address);
  const at = await v.page.evaluate((y) => {
    const { term } = window.__ui;
    const box = document.querySelector('[data-testid=term] .xterm-screen').getBoundingClientRect();
    return { x: box.left + (box.width / term.cols) * 6.5, y: box.top + (box.height / term.rows) * (y - term.buffer.active.viewportY + 0.5) };
  }, row);
  await v.page.mouse.move(at.x - 8, at.y);
  await v.page.mouse.move(at.x, at.y);
  await until(async () => /Ctrl/.test(await v.at('term').getAttribute('title')), { what: 'the address to be seen as a link' });
  await v.page.mouse.click(at.x, at.y);
  await v.page.keyboard.down('Control');
  await v.page.mouse.move(at.x + 1, at.y);
  await v.page.mouse.click(at.x + 1, at.y);
  await v.page.keyboard.up('Control');
  await until(() => opened.length > 0, { what: 'another page' });
  await opened[0].waitForURL(address);
  eq(await opened[0].evaluate(() => window.opener === null), true, 'no way back');
  eq(opened.length, 1, 'pages: a mere click before opened none');
  await opened[0].close();
});

test('two-viewers', 'of two viewers the one who has the focus sets the size; the other is told of it', async (t) => {
  const { id, v: wide } = await atShell(t);
  const wideSize = await wide.termSize();
  await wide.press('Control+F6'); // a key in it would take the size back
  const narrow = await t.open(`#/processes/${id}`, { viewport: { width: 900, height: 600 } });
  await narrow.termHas(/\$ ?$/);
  await narrow.says('term-status', /^connected$/);
  await narrow.focusTerminal();
  const narrowSize = await (async () => {
    let size;
    await until(async () => { size = await sizeOf(narrow, `n${'i'.repeat(Math.floor(Math.random() * 20))}`); return size[0] < wideSize[0]; }, { what: 'the size of the narrow one', last: () => size, every: 200 });
    return size;
  })();
  eq(await narrow.termSize(), narrowSize, 'size of the narrow one');
  // The first page is told, and sends nothing by itself, also when its window has another size: that it has
  // measured its room is seen by the border, which comes where that is larger than the terminal.
  const sent = wide.resizes().length;
  await wide.says('toolbar', new RegExp(`${narrowSize[0]}.{1,3}${narrowSize[1]}`));
  const border = (there) => until(async () => /letterbox/.test(await wide.at('term').getAttribute('class')) === there, { what: `a border to be ${there}` });
  await wide.page.setViewportSize({ width: 900, height: 600 });
  await border(false);
  await wide.page.setViewportSize({ width: 1100, height: 700 });
  await border(true);
  await narrow.typeLine('echo still');
  await wide.termHas(/^still$/m);
  eq(await sizeOf(narrow, 'again'), narrowSize, 'size after the other window changed');
  eq(wide.resizes().length, sent, 'resize frames of the one without focus');
  // Whoever takes the focus gets the size.
  await wide.focusTerminal();
  let size;
  await until(async () => { size = await sizeOf(wide, `w${'i'.repeat(Math.floor(Math.random() * 20))}`); return size[0] > narrowSize[0]; }, { what: 'the size of the wide one', last: () => size, every: 200 });
}, { timeout: 120 });

test('both-see', 'all viewers see all output, and all may type', async (t) => {
  const { id, v: one } = await atShell(t);
  const two = await t.open(`#/processes/${id}`);
  await two.termHas(/\$ ?$/);
  await one.typeLine('a=7');
  await two.termHas(/a=7\n\$ ?$/);
  await two.focusTerminal();
  await two.typeLine('echo from-two-$a');
  await one.termHas(/^from-two-7$/m);
});

test('server-killed-shell', 'kill -9 of the server: the same shell goes on, with the half of a line that was typed', async (t) => {
  const { id } = await t.api.create(bash());
  const v = (await t.viewer()).expect(NETWORK);
  await v.open(`#/processes/${id}`);
  await v.termHas(/\$ ?$/);
  await v.focusTerminal();
  await v.typeLine('x=41');
  await v.type('echo $((x+1');
  await v.termHas('echo $((x+1');
  const sockets = v.sockets.length;
  await t.server.killServer();
  await until(() => v.sockets.length > sockets && v.sockets.at(-1).received > 0, { what: 'another connection of the terminal', within: secs(15) });
  await v.connected();
  await v.says('term-status', /^connected$/);
  await v.typeLine('))');
  await v.termHas(/^42$/m);
  const text = await v.termText();
  eq(text.match(/^42$/gm).length, 1, 'runs of the line');
  lacks(text.replace(/^.*echo \$\(\(x\+1\)\)$/m, ''), 'x+1', 'text typed twice');
}, { check: 22, server: { dataDir: undefined } });

// --- the terminal and the list find the server at different times ---

const LISTS = '**/v1/**';
const askNow = (v) => v.page.evaluate(() => dispatchEvent(new Event('online')));

test('faster-than-list', 'a terminal that is connected again before the list is stays so, and takes keys all the time', async (t) => {
  const { id } = await t.api.create(bash());
  const v = (await t.viewer()).expect(NETWORK);
  await v.open(`#/processes/${id}`);
  await v.termHas(/\$ ?$/);
  await v.says('term-status', /^connected$/);
  await v.focusTerminal();
  await v.page.route(LISTS, (route) => route.abort('connectionrefused')); // not the sockets
  await askNow(v);
  await v.says('conn', /not reachable/i);
  const before = v.sockets.length;
  await t.server.killServer();
  await until(() => v.sockets.length > before && v.sockets.at(-1).received > 0, { what: 'another connection of the terminal', within: secs(15) });
  await v.says('term-status', /^connected$/);
  const sockets = v.sockets.length;
  await v.page.unroute(LISTS);
  await askNow(v);
  await v.connected();
  await v.typeLine('echo $((40+2))');
  await v.termHas(/^42$/m);
  eq(v.sockets.length, sockets, 'connections of the terminal');
}, { check: 22, server: { dataDir: undefined } });

test('keys-between', 'what is typed while one connection is given up for another one is not lost', async (t) => {
  const { id } = await t.api.create(bash());
  const v = (await t.viewer()).expect(NETWORK);
  await v.open(`#/processes/${id}`);
  await v.termHas(/\$ ?$/);
  await v.says('term-status', /^connected$/);
  await v.page.route(LISTS, (route) => route.abort('connectionrefused'));
  await askNow(v);
  await v.says('term-status', /not reachable/i);
  // A key in the moment in which there is no socket.
  await v.page.evaluate(() => {
    const { term } = window.__ui;
    window.WebSocket = class extends WebSocket {
      constructor(...args) {
        super(...args);
        term.input('echo $((40+2))\r');
      }
    };
  });
  const before = v.sockets.length;
  await v.page.unroute(LISTS);
  await askNow(v);
  await v.termHas(/^42$/m);
  eq(v.sockets.length, before + 1, 'connections of the terminal');
});
