// What a review of the page found: each case is red without its fix.
import { TOKEN, Viewer, bash, define, eq, has, lacks, match, ok, secs, until } from '../lib.mjs';

const test = define('regressions');
const NETWORK = /ERR_|Failed to load|WebSocket|network/i;
const LIST = /\/v1\/processes(\?[^/]*)?$/;
const recordOf = (id) => new RegExp(`/v1/processes/${id}(\\?[^/]*)?$`);

// The page asks at once for what it would ask for within two seconds.
const askNow = (v) => v.page.evaluate(() => dispatchEvent(new Event('online')));
// `count` more answers to the page about the list, from now on.
async function moreLists(v, count) {
  const answers = () => v.answers.filter((a) => LIST.test(a.url())).length;
  for (let i = 0; i < count; i++) {
    const before = answers();
    await askNow(v);
    await until(() => answers() > before, { what: 'one more answer about the list' });
    await v.frames();
  }
}
function gate() {
  const g = { asked: false };
  g.opened = new Promise((open) => { g.open = open; });
  return g;
}
// Another page of the same browser, with what that one remembers.
async function otherTab(t, v) {
  const other = new Viewer(await v.context.newPage(), v.base);
  other.context = v.context;
  t.viewers.push(other);
  return other;
}

// --- the server was started anew and gives the same ids ---

async function sameIdAgain(t, v, spec) {
  await v.page.route('**/v1/**', (route) => route.abort('connectionrefused'));
  await t.server.crash();
  t.server.endMarked();
  await v.says('conn', /not reachable/i);
  await t.server.again();
  eq((await t.server.api.create(spec)).id, 'proc_1', 'id of the second');
  await v.page.unroute('**/v1/**');
  await askNow(v);
  await v.connected();
}

test('same-id-log', 'a process that got the id of one before it is shown as itself: heading and log have nothing of the old one', async (t) => {
  const shell = (script) => ({ command: 'sh', args: ['-c', script] });
  await t.api.create(shell('for i in 1 2 3 4 5; do echo old $i; done; sleep 60'));
  const v = (await t.viewer()).expect(NETWORK);
  await v.open('#/processes/proc_1');
  await v.logHas('old 5');
  await sameIdAgain(t, v, shell('for i in 1 2 3 4 5 6 7; do echo NEW $i; done; sleep 60'));
  await v.logHas('NEW 7');
  eq((await v.logText()).split('\n').map((line) => line.trim()).filter(Boolean), [1, 2, 3, 4, 5, 6, 7].map((i) => `NEW ${i}`), 'lines of the log');
  const heading = await v.at('detail').getByRole('heading', { level: 1 }).first().innerText();
  has(heading, 'NEW', 'heading');
  lacks(heading, 'old', 'heading');
});

test('same-id-terminal', 'a terminal whose id now is that of another process shows that one alone', async (t) => {
  await t.api.create(bash('echo old-one; echo old-two; echo old-three'));
  const v = (await t.viewer()).expect(NETWORK);
  await v.open('#/processes/proc_1');
  await v.termHas('old-three');
  await sameIdAgain(t, v, bash('echo new-one'));
  await v.termHas(/^new-one$/m);
  lacks(await v.termText(), 'old-', 'terminal');
});

// --- addresses ---

const MALFORMED = '#/processes/%E0%A4%A';

test('malformed-route', 'an address that cannot be decoded does not keep the page from its work, at its start or later', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = (await t.viewer()).expect(/status of 40[04]/);
  await v.open(MALFORMED);
  await v.says(`row-${id}`, /running/);
  await v.go(`#/processes/${id}`);
  await v.logHas('hello');
  await v.go(MALFORMED);
  await until(async () => (await v.row(id).getAttribute('aria-selected')) !== 'true', { what: 'the selection to go' });
  await v.says(`row-${id}`, /running/);
  ok(!(await v.at('log').first().isVisible()), 'the log of before is still shown');
  await v.connected();
});

test('search-in-address', 'a search that is changed in the address is taken', async (t) => {
  const { id } = await t.sh('for i in 1 2 3; do echo alpha $i; done; for i in 1 2 3 4 5; do echo beta $i; done; sleep 60');
  const v = await t.open(`#/processes/${id}/logs?q=alpha`);
  await v.says('search-count', /of 3/);
  await v.go(`#/processes/${id}/logs?q=beta`);
  await v.says('search-count', /of 5/);
  eq(await v.at('search').inputValue(), 'beta', 'search');
  await v.hashIs(`#/processes/${id}/logs?q=beta`);
});

// --- tokens ---

const wantsToken = { server: { token: TOKEN } };
const PLUS = 'ab+cd/efg+==';

test('token-remembered', 'a token that comes with an address does not forget the one to remember', async (t) => {
  const v = (await t.viewer()).expect(/status of 401/);
  await v.open('#/', { connected: false });
  await v.shown('token-dialog');
  await v.at('token-input').fill(TOKEN);
  await v.at('token-dialog').getByRole('checkbox').check();
  await v.press('Enter');
  await v.connected();
  const link = await otherTab(t, v);
  await link.open(`#token=${encodeURIComponent(TOKEN)}`);
  const third = await otherTab(t, v);
  await third.open('#/', { connected: false });
  await third.says('conn', /connected|token needed/i);
  match(await third.text('conn'), /connected/i, 'a tab opened afterwards');
}, wantsToken);

test('token-pasted', 'a token pasted into the address of a page that asks for one is used at once', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = (await t.viewer()).expect(/status of 401/);
  await v.open('#/', { connected: false });
  await v.shown('token-dialog');
  await v.go(`#token=${encodeURIComponent(TOKEN)}`);
  await v.connected();
  await v.gone('token-dialog');
  lacks(v.page.url(), 'token', 'address');
  await v.says(`row-${id}`, /running/);
}, wantsToken);

test('token-plus', 'a plus in the token of an address is a plus', async (t) => {
  const v = await t.viewer();
  await v.open(`#token=${PLUS}`);
  lacks(v.page.url(), 'token', 'address');
  const other = await t.viewer();
  await other.open(`#/?token=${PLUS}`);
  lacks(other.page.url(), 'token', 'address');
}, { server: { token: PLUS } });

test('menu-refused', 'what the menu of a row is refused is told, though the process is not open', async (t) => {
  const { id } = await t.sh('sleep 60');
  const v = (await t.viewer()).expect(/status of 403/);
  await v.open('#token=look');
  await v.row(id).click({ button: 'right' });
  await v.page.getByRole('menuitem', { name: 'Stop' }).click();
  const said = await v.says('list-error', /could not stop/i);
  match(said, /may only read/, 'what is said');
  has(said, id, 'what is said');
  await v.oneAlert(/may only read/);
  eq((await t.api.info(id)).status, 'running', 'status');
}, { server: { token: 'full', auth: 'none', pre: "printf 'full\\nlook read\\n' >tokens", flags: '--token-file tokens' } });

// --- the place where one reads ---

const firstNumber = (v) => v.at('log').first().evaluate((log) => {
  const { top, left, width } = log.getBoundingClientRect();
  for (let y = top + 3; y < top + 60; y += 4)
    for (let x = left + 12; x < left + width / 2; x += 24) {
      const found = /^\D*(\d+) /.exec(document.elementFromPoint(x, y)?.closest('.line')?.textContent ?? '');
      if (found) return Number(found[1]);
    }
  return null;
});
const placeIs = (v, wanted, what) => {
  let last = null;
  return until(async () => { last = await firstNumber(v); return last !== null && Math.abs(last - wanted) <= 1; }, { what: `line ${wanted} to be the first in sight ${what}`, last: () => last });
};

test('reading-place', 'who reads in the middle of a log stays there when lines wrap, are filtered, and are not any more', async (t) => {
  const { id } = await t.sh(`long=$(printf 'x%.0s' $(seq 1 400)); for i in $(seq 1 3000); do case $i in *7) echo "$i needle $long";; *) echo "$i line";; esac; done; sleep 60`);
  const v = await t.open(`#/processes/${id}`);
  await v.logHas(/^3000 line/m);
  await v.setPressed('Wrap', false, v.at('toolbar'));
  await v.at('search').fill('needle');
  await v.says('search-count', /of 300|300 found/);
  await v.setPressed('Filter', false, v.at('toolbar'));
  await v.setPressed('Follow', false, v.at('toolbar'));
  await v.at('log').first().evaluate((log) => { log.scrollTop = log.scrollHeight / 2; });
  await v.frames();
  await v.frames();
  ok(!(await v.pressed('Follow')), 'follows');
  const before = await firstNumber(v);
  ok(before > 1000 && before < 2000, () => `the first line in sight is ${before}`);
  let lines = 0; // of the whole log; what is out of sight has no text for innerText
  const allLines = (count) => until(async () => (lines = await v.at('log').first().evaluate((log) => [...log.querySelectorAll('.line')].filter((e) => !e.hidden).length)) === count, { what: `${count} lines`, last: () => lines });

  await v.setPressed('Wrap', true, v.at('toolbar'));
  await v.frames();
  await placeIs(v, before, 'with Wrap on');
  await v.setPressed('Wrap', false, v.at('toolbar'));
  await v.frames();
  await placeIs(v, before, 'with Wrap off');

  await v.setPressed('Filter', true, v.at('toolbar'));
  await allLines(300);
  await v.frames();
  const match = before + ((17 - (before % 10)) % 10); // the next that ends in 7
  let at = null;
  await until(async () => { at = await firstNumber(v); return at === match || at === match - 10; }, { what: `the needle nearest to line ${before} to be the first in sight`, last: () => at });
  await v.setPressed('Filter', false, v.at('toolbar'));
  await allLines(3000);
  await v.frames();
  await placeIs(v, at, 'with Filter off');
  ok(!(await v.pressed('Follow')), 'follows afterwards');
});

// --- what is deleted stays deleted ---

// A terminal that is open while its process is killed and deleted; the page's question about the end of
// the process is held until `answer(route, record of before)` is to answer it. Returns how to let it.
async function deletedUnderTerminal(t, answer) {
  const { id } = await t.api.create(bash());
  const other = await t.sh('echo other; sleep 60');
  // With an older answer its terminal may be tried for a moment.
  const v = (await t.viewer()).expect(/status of 404/, NETWORK);
  await v.open(`#/processes/${id}`);
  await v.termHas('$');
  const record = (await t.api.get(`/v1/processes/${id}`)).text;
  const held = gate();
  const done = gate();
  await v.page.route(recordOf(id), async (route) => {
    if (held.asked) return route.continue();
    held.asked = true;
    await held.opened;
    await answer(route, record);
    done.open();
  });
  await t.api.kill(id, '?waitMs=5000');
  await until(() => held.asked, { what: 'the page to ask for the end of the process' });
  await t.api.del(`/v1/processes/${id}`);
  await askNow(v);
  await v.row(id).waitFor({ state: 'detached' });
  await v.row(other.id).waitFor();
  return { v, id, release: async () => { held.open(); await done.opened; await v.frames(); } };
}
const asBefore = (route, record) => route.fulfill({ status: 200, contentType: 'application/json', body: record });
const staysAway = async (v, id) => {
  await moreLists(v, 3);
  eq(await v.row(id).count(), 0, `rows of ${id}, which was deleted`);
};

test('phantom-404', 'a process deleted while its terminal is open does not come back when the page learns that it is not there', async (t) => {
  const { v, id, release } = await deletedUnderTerminal(t, (route) => route.continue());
  await release();
  await staysAway(v, id);
});

test('phantom-late', 'nor when an older answer about it comes late', async (t) => {
  const { v, id, release } = await deletedUnderTerminal(t, asBefore);
  await release();
  await staysAway(v, id);
});

test('phantom-during-304', 'nor when that comes while the list is being asked for, and has not changed', async (t) => {
  const { v, id, release } = await deletedUnderTerminal(t, asBefore);
  await moreLists(v, 1); // from here on the list is as it was
  const list = gate();
  await v.page.route(LIST, async (route) => {
    if (list.asked) return route.continue();
    list.asked = true;
    list.tag = route.request().headers()['if-none-match'];
    await list.opened;
    await route.continue();
  });
  await askNow(v);
  await until(() => list.asked, { what: 'the page to ask for the list' });
  ok(list.tag, 'the list is asked for whole');
  await release();
  list.open();
  await staysAway(v, id);
});

test('deleted-already', 'to delete what somebody else has deleted is no error', async (t) => {
  const { id } = await t.sh('true');
  await t.api.exited(id);
  const v = (await t.viewer()).expect(/status of 404/);
  await v.open(`#/processes/${id}`);
  await v.says('status', /exited 0/);
  const list = gate(); // the page does not learn of it otherwise
  await v.page.route(LIST, async (route) => { await list.opened; await route.continue(); });
  await t.api.del(`/v1/processes/${id}`);
  await v.click('delete');
  await v.hashIs('#/');
  await v.row(id).waitFor({ state: 'detached' });
  eq(await v.alerts(), [], 'alerts');
  list.open();
});

// --- small windows ---

for (const [width, height] of [[640, 360], [320, 256]])
  test(`low-${width}x${height}`, `at ${width}x${height} everything of a process can be scrolled to, and log and terminal have room`, async (t) => {
    const { id } = await t.sh('echo hello; sleep 60');
    const shell = await t.api.create(bash());
    const v = await t.open(`#/processes/${id}`, { viewport: { width, height } });
    // By the wheel, as a person would; what is cut off could still be scrolled to by a program.
    const wheelTo = async (testid, needed) => {
      let last = 0;
      const visible = async () => last = await v.at(testid).first().evaluate((e) => {
        const box = e.getBoundingClientRect();
        return Math.round(Math.min(box.bottom, innerHeight) - Math.max(box.top, 0));
      });
      for (const by of [-3000, 3000]) {
        await v.page.mouse.move(width - 40, height - 30);
        await v.page.mouse.wheel(0, by);
        await v.frames();
        if ((await visible()) >= needed) return;
      }
      await until(async () => (await visible()) >= needed, { what: `${needed} px of ${testid} to be in sight`, last: () => `${last} px` });
    };
    await v.at('log').first().getByText('hello').waitFor({ state: 'attached' }); // it may be below the window
    await wheelTo('log', 120);
    await v.logHas('hello');
    for (const name of ['stop', 'kill', 'delete', 'tab-info', 'follow', 'search']) await v.at(name).first().click({ trial: true, timeout: secs(5) });
    ok(await v.page.locator('main').evaluate((main) => ['auto', 'scroll'].includes(getComputedStyle(main).overflowY) && main.scrollHeight > main.clientHeight), 'main does not scroll');
    await v.go(`#/processes/${shell.id}`);
    await v.termHas('$');
    await wheelTo('term', 120);
  });

// --- answers that break off, that come late ---

test('list-cut', 'a list that breaks off in the middle is asked for again', async (t) => {
  const { id } = await t.sh('sleep 60');
  const v = await t.viewer();
  let cut = 0;
  await v.page.route(LIST, async (route) => {
    if (cut > 0) return route.continue();
    const response = await route.fetch();
    if (response.status() !== 200) return route.fulfill({ response }); // 304: there is nothing to cut
    const text = await response.text();
    const { etag, date } = response.headers();
    ok(etag, 'the list has no tag');
    cut++;
    await route.fulfill({ status: 200, headers: { etag, date, 'content-type': 'application/json' }, body: text.slice(0, -40) });
  });
  await v.open('#/', { connected: false });
  await v.says(`row-${id}`, /running/);
  await v.connected();
  eq(cut, 1, 'answers that were cut');
  // And a later one, about a process more.
  cut = 0;
  const second = await t.sh('sleep 60');
  await v.says(`row-${second.id}`, /running/);
  eq(cut, 1, 'later answers that were cut');
});

test('start-slow', 'who has gone elsewhere while a process is started stays there', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = await t.open('#/new');
  await v.shown('new-form');
  const slow = gate();
  const done = gate();
  await v.page.route(LIST, async (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    const response = await route.fetch();
    slow.asked = true;
    await slow.opened;
    await route.fulfill({ response });
    done.open();
  });
  await v.at('command').fill('sleep 60');
  await v.click('submit');
  await until(() => slow.asked, { what: 'the start of the process' });
  await v.go(`#/processes/${id}`);
  await v.logHas('hello');
  const address = await v.hash();
  slow.open();
  await done.opened;
  await v.frames();
  await v.says('row-proc_2', /running/);
  await moreLists(v, 1);
  eq(await v.hash(), address, 'address');
  eq(await v.row(id).getAttribute('aria-selected'), 'true', 'aria-selected of the row');
});

// --- keys that are meant for a terminal ---

test('type-after-click', 'what is typed after a click on the row of a shell goes into its terminal', async (t) => {
  const { id } = await t.api.create(bash());
  const v = await t.open();
  await v.row(id).click();
  await v.termHas('$');
  await v.typeLine('s() { echo typed$((40+2)); }; s');
  await v.termHas(/^typed42$/m);
  eq((await t.api.info(id)).status, 'running', 'status');
  await v.hashMatches(new RegExp(`^#/processes/${id}\\b`));
});

test('stop-key-asks', 's on the page asks before it stops anything', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('hello');
  const dialog = v.page.getByRole('dialog');
  await v.press('s');
  await dialog.waitFor();
  match(await dialog.innerText(), /stop/i, 'question');
  await v.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  eq((await t.api.info(id)).status, 'running', 'status after no');
  await v.press('s');
  await v.button('Stop', dialog).click();
  await v.says('status', /stopped|SIGTERM/);
});
