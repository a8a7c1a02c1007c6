// The list of processes.
import { STUBBORN, bash, define, eq, has, lacks, ok, secs, until } from '../lib.mjs';

const test = define('list');
const ids = (v) => v.page.locator('[data-testid=list] [data-testid^=row-]').evaluateAll((rows) => rows.map((r) => r.dataset.testid.slice(4)));
const listed = (v, expected) => until(async () => JSON.stringify(await ids(v)) === JSON.stringify(expected), { what: `the rows ${expected}` });

test('empty', 'a fresh server shows that there are no processes; n opens the form in its command field', async (t) => {
  const v = await t.open();
  await v.says('empty', 'No processes yet');
  await v.press('n');
  await v.hashIs('#/new');
  await v.focusIs('command');
}, { check: 5 });

test('live-status', 'a process made elsewhere appears, and its end is seen, without a click', async (t) => {
  const v = await t.open();
  const { id } = await t.sh('read x', { interactive: true });
  await v.says(`row-${id}`, /running/);
  await t.api.input(id, 'x\n');
  await v.says(`row-${id}`, /exited 0/);
}, { check: 8 });

test('hidden', 'a page that nobody sees asks for nothing, and asks at once when it is seen again', async (t) => {
  await t.sh('echo one; sleep 60');
  const v = await t.viewer();
  await v.page.clock.install();
  await v.open();
  await v.row('proc_1').waitFor();
  const see = (state) => v.page.evaluate((value) => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => value });
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value === 'hidden' });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);
  await see('hidden');
  const asked = () => v.page.evaluate(() => fetch('../healthz')); // a request that was made before this is known by its answer
  await asked();
  const before = v.apiRequests().length;
  await v.page.clock.runFor(10000);
  await asked();
  eq(v.apiRequests().length, before, 'requests while hidden');
  const { id } = await t.sh('echo two; sleep 60');
  await see('visible');
  await v.says(`row-${id}`, /running/);
  // The same clock does move a page that is seen, or the above would prove nothing.
  const seen = v.apiRequests().length;
  await v.page.clock.runFor(10000);
  await until(() => v.apiRequests().length > seen, { what: 'requests of a page that is seen' });
}, { check: 8 });

test('idle-cost', 'an unchanged list is not sent again', async (t) => {
  await t.sh('sleep 60');
  const v = await t.open();
  await until(() => v.answers.some((a) => a.status() === 304 && /\/v1\/processes(\?|$)/.test(a.url())), { what: 'a 304 for the list', within: secs(10) });
});

test('status', 'each end is told in words and by a shape', async (t) => {
  const api = t.api;
  const zero = await t.sh('exit 0'), three = await t.sh('exit 3');
  const killed = await t.sh('sleep 60'), stopped = await t.sh('sleep 60'), running = await t.sh('sleep 60');
  await api.kill(killed.id, '?waitMs=5000');
  await api.stop(stopped.id, '?waitMs=5000');
  await api.exited(zero.id);
  await api.exited(three.id);
  const v = await t.open();
  const texts = {};
  for (const [id, re] of [[zero.id, /exited 0/], [three.id, /exited 3/], [killed.id, /killed/], [stopped.id, /stopped|SIGTERM/], [running.id, /running/]])
    texts[id] = await v.says(`row-${id}`, re);
  const shape = (id) => /[●○✕■?◌◆▲◼]/.exec(texts[id])?.[0];
  ok(shape(zero.id) && shape(three.id) && shape(running.id), `no shape in ${JSON.stringify(texts)}`);
  eq(new Set([shape(zero.id), shape(three.id), shape(running.id)]).size, 3, 'different shapes');
});

test('filter', 'the filter and the switch for running ones narrow the list; no hit offers to clear', async (t) => {
  const a = await t.sh('echo apple; sleep 60'), b = await t.sh('echo banana');
  await t.api.exited(b.id);
  const v = await t.open();
  await listed(v, [b.id, a.id]);
  await v.at('filter').fill('apple');
  await listed(v, [a.id]);
  await v.at('filter').fill('cherry');
  await v.says('empty', /No process matches .cherry./);
  await v.button('Clear', v.at('empty')).click();
  await listed(v, [b.id, a.id]);
  await v.at('running-only').click();
  await listed(v, [a.id]);
  await v.reload();
  await listed(v, [a.id]); // the switch is kept
  await v.at('running-only').click();
  await listed(v, [b.id, a.id]);
});

test('keyed', 'polls change rows in place: focus and selection stay where they are', async (t) => {
  for (let i = 0; i < 3; i++) await t.sh(`echo ${i}; sleep 60`);
  const v = await t.open('#/processes/proc_2');
  await v.row('proc_2').focus();
  await v.page.evaluate(() => { document.querySelector('[data-testid=row-proc_2]').mark = true; });
  const { id } = await t.sh('echo new; sleep 60');
  await t.api.kill('proc_1', '?waitMs=5000');
  await v.row(id).waitFor();
  await v.says('row-proc_1', /killed/);
  ok(await v.page.evaluate(() => document.querySelector('[data-testid=row-proc_2]').mark === true), 'the row was made anew');
  await v.focusIs('row-proc_2');
  eq(await v.row('proc_2').getAttribute('aria-selected'), 'true', 'aria-selected');
  await v.hashMatches(/^#\/processes\/proc_2\b/);
});

test('arrows', 'arrows, Home and End move the selection and the focus; Enter goes on to the detail', async (t) => {
  for (let i = 0; i < 4; i++) await t.sh(`echo ${i}; sleep 60`);
  const v = await t.open('#/processes/proc_4');
  await v.row('proc_4').focus();
  for (const [key, id] of [['ArrowDown', 'proc_3'], ['ArrowDown', 'proc_2'], ['ArrowUp', 'proc_3'], ['End', 'proc_1'], ['Home', 'proc_4']]) {
    await v.press(key);
    await v.focusIs(`row-${id}`);
    await v.hashMatches(new RegExp(`^#/processes/${id}\\b`));
  }
  await v.logHas('3');
  await v.press('Enter');
  await until(async () => {
    const { within } = await v.focused();
    return within !== '' && !within.startsWith('row-') && within !== 'list';
  }, { what: 'the focus in the detail' });
}, { check: 25 });

test('many', 'with 50 processes the detail is in view after a selection, and rows stay 44 px or so', async (t) => {
  await Promise.all(Array.from({ length: 50 }, (_, i) => t.sh(`echo out-${i}; sleep 60`)));
  const v = await t.open();
  await until(async () => (await ids(v)).length === 50, { what: '50 rows' });
  const row = v.row('proc_1');
  await row.scrollIntoViewIfNeeded();
  await row.click();
  await v.logHas('out-');
  const { width, height } = v.page.viewportSize();
  for (const part of ['detail', 'status', 'log']) {
    const box = await v.at(part).first().boundingBox();
    ok(box.y >= 0 && box.y + Math.min(box.height, 40) <= height && box.x + 10 <= width, `${part} is at ${JSON.stringify(box)}`);
  }
  const rowBox = await row.boundingBox();
  ok(rowBox.y >= 0 && rowBox.y < height, 'the selected row is out of view');
  ok(rowBox.height >= 28 && rowBox.height <= 64, `a row is ${rowBox.height} px high`);
  const page = await v.page.evaluate(() => document.documentElement.scrollHeight - innerHeight);
  ok(page <= 1, `the page itself scrolls by ${page} px`);
}, { check: 25, server: { flags: '' }, slow: true });

test('delete-exited', 'all that have exited are deleted after one question', async (t) => {
  const running = await t.sh('sleep 60');
  for (let i = 0; i < 3; i++) await t.api.exited((await t.sh('true')).id);
  const v = await t.open();
  await until(async () => (await ids(v)).length === 4, { what: 'four rows' });
  await v.click('clear-exited');
  const dialog = v.page.getByRole('dialog');
  await dialog.waitFor();
  await v.button('Cancel', dialog).click();
  eq((await ids(v)).length, 4, 'rows after Cancel');
  await v.click('clear-exited');
  await v.button(/delete/i, v.page.getByRole('dialog')).click();
  await listed(v, [running.id]);
  eq((await t.api.get('/v1/processes')).json.processes.length, 1, 'processes of the server');
});

test('row-menu', 'a row has its actions in a menu: by the right button, and by the keyboard', async (t) => {
  const { id } = await t.sh(STUBBORN);
  const v = await t.open();
  await v.row(id).click({ button: 'right' });
  const menu = await v.shown('row-menu');
  const items = await menu.getByRole('menuitem').allInnerTexts();
  for (const word of ['Stop', 'Kill', 'Run again']) has(items.join(), word, 'items of the menu');
  await v.press('Escape');
  await v.gone('row-menu');
  await v.row(id).focus();
  await v.press('Shift+F10');
  await v.shown('row-menu');
  await menu.getByRole('menuitem', { name: 'Kill', exact: true }).click();
  await v.button('Kill', v.page.getByRole('dialog')).click();
  await v.says(`row-${id}`, /killed/);
});

test('link-to-newer', 'a link to a process that no poll has seen yet shows it', async (t) => {
  const v = await t.open();
  const { id } = await t.sh('echo newer; sleep 60');
  await v.go(`#/processes/${id}`);
  await v.logHas('newer');
  lacks(await v.page.locator('body').innerText(), 'no longer exists', 'page');
});

test('gone', 'a link to a process that does not exist says so', async (t) => {
  const v = (await t.viewer()).expect(/status of 404/);
  await v.open('#/processes/proc_99');
  await v.says('gone', /no longer exists/i);
  ok(!(await v.at('status').isVisible()), 'a status is shown');
});

test('terminal-row', 'a row says which have a terminal', async (t) => {
  const a = await t.api.create(bash()), b = await t.sh('sleep 60');
  const v = await t.open();
  await v.says(`row-${a.id}`, /\btty\b/i);
  lacks(await v.row(b.id).innerText(), 'tty', 'row without');
});
