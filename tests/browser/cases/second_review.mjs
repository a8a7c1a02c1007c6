// What a second review of the page found: each case is red without its mend.
import { TOKEN, bash, define, eq, fullScreen, has, lacks, match, ok, secs, until } from '../lib.mjs';

const test = define('second-review');
const NETWORK = /ERR_|Failed to load|WebSocket|network/i;
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

const connectedTerminal = (v) => v.says('term-status', /^connected$/);
// Until `unroute` nothing of the API is answered; sockets that are open stay so, as with a server that hangs.
const silence = (v) => v.page.route('**/v1/**', (route) => route.abort('connectionrefused'));
const askNow = (v) => v.page.evaluate(() => dispatchEvent(new Event('online')));
const dialogOf = (v) => v.page.getByRole('dialog');

// --- keys and terminals ---

test('keys-pass-terminal', 'keys that move through the list type nothing into a terminal that they come by', async (t) => {
  const { id } = await t.api.create(bash());
  const v = await t.open();
  await v.press('j');
  await v.termHas('$');
  await connectedTerminal(v);
  await v.frames();
  await v.press('j', 'j', 'k', 'ArrowDown', 'ArrowUp', 'Home');
  await v.focusIs(`row-${id}`);
  eq(v.typed(), [], 'typed into the shell');
  const other = await t.sh('sleep 60');
  await v.says(`row-${other.id}`, /running/);
  await v.press('k');
  await v.focusIs(`row-${other.id}`);
  await v.press('ArrowDown', 'Enter');
  await v.focusIs('term');
  await v.typeLine('echo $((40+2))');
  await v.termHas(/^42$/m);
});

test('replay-focus', 'focus that a program of before asked to be told of is not told to the one that runs now', async (t) => {
  await t.api.create(bash());
  const v = await t.open('#/processes/proc_1');
  await v.termHas('$');
  await v.focusTerminal();
  await v.typeLine(String.raw`printf '\033[?1004h'; read -rsn3 x; printf '\033[?1004l'; echo "told ${'${#x}'}"`);
  await v.page.getByTestId('filter').focus();
  await v.focusTerminal();
  await v.termHas(/^told 3$/m); // of now
  await v.typeLine('echo end-of-it');
  await v.termHas(/^end-of-it$/m);
  const before = v.typed().length;
  await v.reload();
  await v.termHas(/^end-of-it$/m);
  await connectedTerminal(v);
  await v.focusIs('term');
  await v.typeLine('echo $((40+2))');
  await v.termHas(/^42$/m);
  eq(v.typed().slice(before).join(''), 'echo $((40+2))\r', 'typed');
});

// --- places ---

const placesOf = (v) => v.page.evaluate(() => {
  const box = (name) => {
    const { left, right, top, bottom } = document.querySelector(`[data-testid=${name}]`).getBoundingClientRect();
    return [left, right, top, bottom].map(Math.round);
  };
  return Object.fromEntries(['stop', 'kill', 'rerun', 'delete', 'tab-output'].map((name) => [name, box(name)]).concat([['log', box('log').slice(0, 3)]]));
});

for (const options of [{}, PHONE])
  test(`places${options.viewport?.width ?? ''}`, 'what can be done to a process stays in its place when the process ends, and the log too', async (t) => {
    const { id } = await t.sh('echo hello; read x', { interactive: true });
    await t.sh('sleep 60');
    const v = await t.open(`#/processes/${id}/logs`, options);
    await v.logHas('hello');
    const before = await placesOf(v);
    await v.at('kill').focus();
    let go;
    const held = new Promise((open) => { go = open; });
    await v.page.route(/\/stop\?/, async (route) => { await held; await route.abort(); });
    v.expect(NETWORK);
    await v.click('stop');
    await v.says('stop', /Stopping/);
    eq(await placesOf(v), before, 'places while it is being stopped');
    await v.focusIs('stop');
    go();
    await v.says('action-error', /could not stop/i);
    await t.api.input(id, 'x\n');
    await v.says('status', /exited/);
    await v.focusIs('stop');
    await v.press('Enter');
    await v.click('rerun');
    await v.go(`#/processes/${id}/logs`);
    await v.logHas('hello');
    eq(await v.alerts(), [], 'what was said before one left');
    eq(await placesOf(v), before, 'places after the exit');
    eq(await v.at('stop').getAttribute('aria-disabled'), 'true', 'aria-disabled of Stop');
  });

test('places-still-running', 'that a process still runs is told in a place that moves nothing', async (t) => {
  const { id } = await t.sh('trap "" TERM; echo ready; while :; do sleep 0.1; done');
  for (const options of [{}, PHONE]) {
    const v = await t.open(`#/processes/${id}/logs`, options);
    await v.logHas('ready');
    const before = await placesOf(v);
    await v.click('stop');
    await v.shown('kill-now');
    eq(await placesOf(v), before, 'places');
    match(await v.oneAlert(/still running/i), /kill/i, 'what is said');
  }
});

test('confirm-enter', 'Enter alone does not answer a question with what cannot be taken back', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('hello');
  await v.press('Shift+K');
  await dialogOf(v).waitFor();
  await v.press('Enter');
  await dialogOf(v).waitFor({ state: 'hidden' });
  eq((await t.api.info(id)).status, 'running', 'status');
});

// Anchoring of the browser in a page that drops lines comes late, and looks like a person who scrolls up. That is
// seen with many small pieces, and not with few large ones.
test('follow-flood', 'a log that is followed is followed on while old lines are dropped', async (t) => {
  const { id } = await t.sh('seq 1 60000; while :; do seq 1 200; sleep .02; done');
  const v = await t.open(`#/processes/${id}`);
  const follow = v.at('follow');
  const dropped = async () => Number((/([\d,]+) earlier/.exec(await v.at('dropped').first().textContent())?.[1] ?? '0').replaceAll(',', ''));
  let last = 0;
  const enough = async () => (last = await dropped()) > 20000 || (await follow.getAttribute('aria-pressed')) === 'false';
  await until(enough, { within: secs(110), every: 200, what: 'lines to be dropped', last: () => last });
  eq(await follow.getAttribute('aria-pressed'), 'true', `aria-pressed of Follow with ${last} lines dropped`);
}, { slow: true, timeout: 120 });

test('redraw-size', 'after the replay of a full screen the size that is shown is that of the process', async (t) => {
  const { id } = await t.api.create(fullScreen);
  const v = await t.open(`#/processes/${id}`);
  await v.termHas('ready');
  await v.focusTerminal();
  await v.type('a');
  await v.termHas('key a number 1');
  const before = v.resizes().length;
  await v.reload();
  await v.termHas('key a number 1');
  await until(() => v.resizes().length >= before + 2, { what: 'the screen to be drawn anew' });
  await v.frames();
  const [cols, rows] = await v.termSize();
  eq({ cols, rows, type: 'resize' }, v.resizes().at(-1), 'size of the terminal');
  eq(await v.text('term-size'), `${cols}x${rows}`, 'size that is shown');
  lacks(await v.at('term').getAttribute('class'), 'letterbox', 'class of the terminal');
});

// --- phones ---

async function drag(v, from, to) {
  const session = await v.context.newCDPSession(v.page);
  const { x, y } = await v.at('term').boundingBox();
  const touch = (type, at) => session.send('Input.dispatchTouchEvent', { type, touchPoints: at === null ? [] : [{ x: x + 100, y: y + at }] });
  await touch('touchStart', from);
  for (let step = 1; step <= 10; step++) await touch('touchMove', from + ((to - from) * step) / 10);
  await touch('touchEnd', null);
}

const tapTerminal = (v) =>
  v.tap(v.page.locator('[data-testid=term] .xterm-screen'), async () => (await v.focused()).within === 'term', 'the focus to be in the terminal');

test('touch-terminal', 'a finger scrolls a terminal back, and is arrow keys on a full screen; a tap gives the focus', async (t) => {
  const { id } = await t.api.create(bash('seq 1 300'));
  const v = await t.open(`#/processes/${id}`, PHONE);
  await v.termHas(/^300$/m);
  await connectedTerminal(v);
  const top = () => v.page.evaluate(() => window.__ui.term.buffer.active.viewportY);
  const end = await top();
  await drag(v, 100, 300);
  await until(async () => (await top()) < end - 5, { what: 'the terminal to be scrolled back', last: () => top() });
  await drag(v, 300, 100);
  await until(async () => (await top()) === end, { what: 'the end to be in sight again' });
  eq(v.typed(), [], 'typed');
  await tapTerminal(v);
  await v.typeLine(String.raw`printf '\033[?1049h\033[?1h'; echo full`);
  await v.termHas(/^full/m);
  const before = v.typed().length;
  await drag(v, 100, 200);
  await until(() => v.typed().length > before, { what: 'keys' });
  match(v.typed().slice(before).join(''), /^(\x1bOA)+$/, 'keys of the finger');
});

test('touch-keys', 'with the keyboard of a phone up the row of keys is in sight', async (t) => {
  await t.api.create(bash());
  const v = await t.open('#/processes/proc_1', PHONE);
  await v.termHas('$');
  await connectedTerminal(v);
  await tapTerminal(v);
  await v.page.setViewportSize({ width: 390, height: 420 });
  let box;
  await until(async () => {
    box = await v.button('Esc').boundingBox();
    return box.y >= 0 && box.y + box.height <= 420;
  }, { what: 'the keys to be in the window', last: () => box });
});

test('phone-first-steps', 'an empty list has its example on a phone, too', async (t) => {
  const v = await t.open('#/', PHONE);
  await v.page.getByText(/curl .*processes/).waitFor();
  const { id } = await t.sh('sleep 60');
  await v.row(id).waitFor();
  await v.page.getByText(/curl .*processes/).waitFor({ state: 'hidden' });
});

// --- looks ---

test('edges', 'heading, toolbar, text of a terminal and input begin at the same edge', async (t) => {
  const shell = await t.api.create(bash());
  const { id } = await t.sh('echo hello; sleep 60', { interactive: true });
  for (const options of [{ viewport: { width: 1440, height: 900 } }, { viewport: { width: 390, height: 844 } }]) {
    const v = await t.open(`#/processes/${shell.id}`, options);
    await v.termHas('$');
    const left = async (locator) => Math.round((await locator.first().boundingBox()).x);
    const heading = await left(v.at('detail').getByRole('heading', { level: 1 }));
    eq(await left(v.at('term-status')), heading, 'left edge of the toolbar');
    eq(await left(v.page.locator('[data-testid=term] .xterm-screen')), heading, 'left edge of the terminal');
    await v.go(`#/processes/${id}`);
    await v.shown('stdin-line');
    eq(await left(v.at('stdin-line')), heading, 'left edge of the input');
  }
});

test('narrow', 'at 720 px what copies stays together; at 320x568 a log has room', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = await t.open(`#/processes/${id}`, { viewport: { width: 720, height: 900 } });
  await v.logHas('hello');
  const top = async (locator) => (await locator.boundingBox()).y;
  eq(await top(v.button('Copy id')), await top(v.at('copy-curl')), 'top of what copies');
  await v.page.setViewportSize({ width: 320, height: 568 });
  await v.frames();
  const { height } = await v.at('log').first().boundingBox();
  ok(height >= 300, `the log is ${height} px high`);
});

test('noscript', 'without JavaScript the page names the server that it is of, by no address of another', async (t) => {
  const v = await t.viewer({ javaScriptEnabled: false });
  await v.open('#/', { connected: false });
  const text = await v.page.locator('body').innerText();
  has(text, '/v1/processes', 'text');
  lacks(text, '127.0.0.1', 'text');
});

// --- without a server ---

async function withoutServer(t, hash, options) {
  const v = (await t.viewer(options)).expect(NETWORK, /status of 404/);
  await v.open(hash);
  await t.server.crash();
  t.server.endMarked();
  await v.says('conn', /not reachable/i);
  return v;
}
const IN_MEMORY = { server: { dataDir: ':memory:' } };

test('form-comes-back', 'a form that could not be loaded comes by itself when the server is back', async (t) => {
  const v = await withoutServer(t, '#/');
  await v.go('#/new');
  const said = await v.oneAlert(/when the server is back/i);
  lacks(said, 'http', 'what is said');
  await t.server.again();
  await v.connected();
  await v.shown('new-form');
}, IN_MEMORY);

test('welcome-comes-back', 'what a list without processes says comes by itself, too, when the server is back', async (t) => {
  const v = (await t.viewer()).expect(NETWORK);
  // The server goes away between the list and the part of the page that an empty one needs.
  await v.page.route(/first_steps/, async (route) => {
    await silence(v);
    await route.abort('connectionrefused');
  });
  await v.open('#/', { connected: false });
  await v.oneAlert(/when the server is back/i);
  await v.page.unroute(/first_steps/);
  await v.page.unroute('**/v1/**');
  await askNow(v);
  await v.connected();
  await v.page.getByRole('heading', { name: 'No processes yet' }).waitFor();
  eq(await v.alerts(), [], 'alerts');
});

test('dialog-missing', 'a dialog that cannot be loaded without the server says so', async (t) => {
  const v = (await withoutServer(t, '#/')).expect(/dynamically imported/);
  await v.press('?');
  await v.says('connection-bar', /not loaded yet/i);
  await t.server.again();
  await v.connected();
  await v.gone('connection-bar');
  await v.press('?');
  await v.shown('help-dialog');
}, IN_MEMORY);

test('log-without-server', 'the log of a process that is opened without the server says what it waits for', async (t) => {
  const a = await t.sh('echo first; sleep 60');
  const b = await t.sh('echo second; sleep 60');
  const v = (await t.viewer()).expect(NETWORK);
  await v.open(`#/processes/${a.id}`);
  await v.logHas('first');
  await v.row(b.id).waitFor();
  await silence(v);
  await askNow(v);
  await v.says('conn', /not reachable/i);
  await v.go(`#/processes/${b.id}`);
  await v.says('detail', /when the server is back/);
  await v.page.unroute('**/v1/**');
  await v.logHas('second');
  lacks(await v.text('detail'), 'when the server', 'what is said afterwards');
});

test('bar-over', 'that the server does not answer changes the size of no terminal, and the terminal says the same', async (t) => {
  const { id } = await t.api.create(bash());
  const v = (await t.viewer()).expect(NETWORK);
  await v.open(`#/processes/${id}`);
  await v.termHas('$');
  await connectedTerminal(v);
  const box = await v.at('term').boundingBox();
  const sent = v.resizes().length;
  await silence(v);
  await askNow(v);
  await v.shown('connection-bar');
  await v.says('term-status', /not reachable/i);
  eq(await v.at('term').boundingBox(), box, 'place of the terminal');
  await v.page.unroute('**/v1/**');
  await v.connected();
  await connectedTerminal(v);
  eq(v.resizes().length, sent, 'sizes sent');
});

test('forget-closes', 'to forget the token closes what is open with it', async (t) => {
  const { id } = await t.api.create(bash());
  const v = (await t.viewer()).expect(/status of 401/, NETWORK);
  await v.open(`#/processes/${id}?token=${encodeURIComponent(TOKEN)}`);
  await v.termHas('$');
  await v.click('settings');
  await v.button('Forget the token').click();
  await v.shown('token-dialog');
  ok(!(await v.at('term').isVisible()), 'the terminal is still shown');
  eq(v.requests.filter((r) => r.type === 'document').length, 2, 'loads of the page');
}, { server: { token: TOKEN } });

// --- the list, the forms ---

test('delete-shown', 'Delete exited deletes what is shown, and nothing that the filter hides', async (t) => {
  for (const word of ['alpha', 'beta', 'beta']) await t.api.exited((await t.sh(`: ${word}`)).id);
  const v = await t.open();
  await v.row('proc_3').waitFor();
  await v.at('filter').fill('beta');
  await v.row('proc_1').waitFor({ state: 'detached' });
  await v.click('clear-exited');
  await dialogOf(v).waitFor();
  match(await dialogOf(v).innerText(), /2 exited processes.*shown/, 'question');
  await v.button('Delete', dialogOf(v)).click();
  await v.row('proc_3').waitFor({ state: 'detached' });
  await v.at('filter').fill('');
  await v.row('proc_1').waitFor();
  eq((await t.api.get('/v1/processes')).json.processes.map((p) => p.id), ['proc_1'], 'processes of the server');
});

test('delete-many', 'many are deleted a few at a time, and it says how far it is', async (t) => {
  for (let i = 0; i < 12; i++) await t.api.exited((await t.sh('true')).id);
  const v = await t.open();
  let most = 0;
  let open = 0;
  let go;
  const held = new Promise((ready) => { go = ready; });
  await v.page.route(/\/processes\/proc_\d+$/, async (route) => {
    most = Math.max(most, ++open);
    await held;
    const response = await route.fetch();
    open--;
    await route.fulfill({ response });
  });
  await v.says('list', /proc_12/);
  await v.click('clear-exited');
  await v.button('Delete', dialogOf(v)).click();
  await v.says('clear-exited', /Deleting 4 of 12/);
  await until(() => open >= 4, { what: 'four requests' });
  go();
  await until(async () => (await t.api.get('/v1/processes')).json.processes.length === 0, { what: 'all to be deleted' });
  eq(most, 4, 'requests at once');
  await v.says('empty', /no processes/i);
});

test('help-complete', 'the keys that are shown are all that there are', async (t) => {
  const v = await t.open();
  await v.press('?');
  const text = await (await v.shown('help-dialog')).innerText();
  for (const key of ['End', 'Home', '↓', 'Ctrl+Shift+C', 'Ctrl+Shift+V', 'Ctrl+Shift+F', 'Ctrl+=', 'Ctrl+-', 'Ctrl+0', 'Ctrl+F6']) has(text, key, 'keys');
  lacks(text, 'undefined', 'keys');
});

test('form-from-gone', 'a form for a process that is gone says why it is empty', async (t) => {
  const v = (await t.viewer()).expect(/status of 404/);
  await v.open('#/new?from=proc_99');
  await v.says('form-note', /proc_99 no longer exists/);
  eq(await v.at('command').inputValue(), '', 'command');
});

test('field-error-goes', 'an error about a field goes when the field is changed', async (t) => {
  const v = (await t.viewer()).expect(/status of 502/);
  await v.open('#/new');
  await v.at('command').fill('no-such-program-x');
  await v.click('submit');
  await v.oneAlert(/no-such-program-x/);
  await v.at('command').fill('sleep 1');
  await until(async () => (await v.alerts()).length === 0, { what: 'the error to go' });
});

test('read-only-size', 'a terminal that may only read does not tell of viewers that are not there', async (t) => {
  const { id } = await t.api.create(bash());
  const v = (await t.viewer()).expect(/status of 403/);
  await v.open('#token=look');
  await v.go(`#/processes/${id}`);
  await v.termHas('$');
  await until(async () => /letterbox/.test(await v.at('term').getAttribute('class')), { what: 'the border' });
  await until(() => v.pressed('Read-only'), { what: 'Read-only' });
  await v.frames();
  eq(await v.text('term-size'), (await v.termSize()).join('x'), 'size');
}, { server: { token: 'full', auth: 'none', pre: "printf 'full\\nlook read\\n' >tokens", flags: '--token-file tokens' } });
