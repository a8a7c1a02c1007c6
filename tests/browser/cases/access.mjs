// For everybody: names, keys, contrast, narrow windows, themes.
import { bash, define, eq, match, ok, show, until } from '../lib.mjs';
import { axeFaults } from '../lib/axe.mjs';
import { STATES, prepare } from '../lib/states.mjs';

const test = define('access');

// --- every state, by axe-core ---

const THIRDS = 3;
for (let part = 0; part < THIRDS; part++)
  test(`states-${part + 1}`, `in every state axe-core finds nothing serious, light and dark, and at 320 px nothing scrolls sideways (part ${part + 1} of ${THIRDS})`, async (t) => {
    const scene = await prepare(t);
    const faults = [];
    for (const name of Object.keys(STATES).filter((_, i) => i % THIRDS === part)) {
      const v = await scene.enter(name, { colorScheme: 'light' });
      for (const theme of ['light', 'dark']) {
        await v.colorScheme(theme);
        for (const fault of await axeFaults(v.page)) faults.push(`${name}, ${theme}: ${fault}`);
      }
      await v.page.setViewportSize({ width: 320, height: 640 });
      faults.push(...(await sideways(v.page)).map((fault) => `${name}, 320 px: ${fault}`));
      await v.context.close();
    }
    ok(faults.length === 0, `${faults.length} faults\n      ${faults.join('\n      ')}`);
  }, { check: 25, slow: true, timeout: 120 });

// What is wider than the window, and is in no pane that scrolls by itself.
const sideways = (page) => page.evaluate(() => {
  const root = document.documentElement;
  const clipped = (e) => {
    for (let x = e.parentElement; x && x !== document.body; x = x.parentElement) if (getComputedStyle(x).overflowX !== 'visible') return true;
    return false;
  };
  const out = [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()
    && !e.closest('.offscreen') && e.getBoundingClientRect().right > root.clientWidth + 1 && !clipped(e));
  const over = root.scrollWidth - root.clientWidth;
  return [...(over > 0 ? [`the page scrolls by ${over} px`] : []), ...out.slice(0, 3).map((e) => `out of the window: ${e.outerHTML.slice(0, 90)}`)];
});

// --- contrast, measured from what the browser computed ---

// null: it was replaced by its successor just then, and has no colours any more.
const contrastOf = (locator) => locator.evaluate((e) => {
  if (!e.isConnected) return null;
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const layers = [];
  for (let x = e; x; x = x.parentElement) layers.push(rgba(getComputedStyle(x).backgroundColor));
  let back = [255, 255, 255];
  for (const [r, g, b, a] of layers.reverse()) back = [r, g, b].map((c, i) => c * a + back[i] * (1 - a));
  const [r, g, b] = rgba(getComputedStyle(e).color);
  const light = (c) => c.map((x) => x / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)).reduce((s, x, i) => s + x * [0.2126, 0.7152, 0.0722][i], 0);
  const [one, two] = [light([r, g, b]), light(back)].sort((x, y) => y - x);
  return (one + 0.05) / (two + 0.05);
});

for (const theme of ['light', 'dark'])
  test(`contrast-${theme}`, `text, muted text and each status have a contrast of 4.5 at least, ${theme} theme`, async (t) => {
    const zero = await t.sh('echo hello; exit 0'), three = await t.sh('exit 3'), killed = await t.sh('sleep 60'), running = await t.sh('echo hello; sleep 60');
    await t.api.kill(killed.id, '?waitMs=5000');
    await t.api.exited(zero.id);
    await t.api.exited(three.id);
    const v = await t.open('#/', { colorScheme: theme });
    const low = [];
    const measure = async (name, locator) => {
      const ratio = await until(() => contrastOf(locator), { what: `the colours of ${name}` });
      if (!(ratio >= 4.5)) low.push(`${name} ${ratio.toFixed(2)}`);
    };
    const background = await v.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const { isLight } = await v.page.evaluate((colour) => ({ isLight: /\d+/.exec(colour)[0] > 127 }), background);
    eq(isLight, theme === 'light', `a light page (${background})`);
    await measure('conn', v.at('conn'));
    for (const p of [zero, three, killed, running]) {
      await v.row(p.id).waitFor();
      for (const [i, part] of (await v.row(p.id).locator('span:visible').all()).entries())
        if ((await part.innerText()).trim() && (await part.locator('span').count()) === 0) await measure(`part ${i} of the row of ${p.id}`, part);
      await v.go(`#/processes/${p.id}`);
      await until(async () => (await v.row(p.id).getAttribute('aria-selected')) === 'true', { what: 'the selection' });
      await measure(`status of ${p.id}`, v.at('status').first());
      for (const [i, part] of (await v.at('detail').locator('dt:visible, dd:visible').all()).entries()) await measure(`fact ${i} of ${p.id}`, part);
    }
    await v.logHas('hello');
    await measure('log', v.at('log').first());
    eq(low, [], 'too little contrast');
  }, { check: 25 });

test('theme', 'the page follows the system, unless a theme was chosen; that one is kept', async (t) => {
  const v = await t.open('#/', { colorScheme: 'dark' });
  const isDark = () => v.page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.body).backgroundColor)[0]) < 128);
  ok(await isDark(), 'a dark system has a light page');
  await v.colorScheme('light');
  ok(!(await isDark()), 'a light system has a dark page');
  for (let i = 0; i < 3 && !(await isDark()); i++) await v.click('theme');
  ok(await isDark(), 'no dark theme in three steps');
  await v.reload();
  ok(await isDark(), 'the choice is forgotten');
}, { check: 25 });

// --- names and keys ---

test('names', 'each control has a name, and is large enough for a finger', async (t) => {
  const scene = await prepare(t);
  const faults = [];
  for (const name of ['list', 'log', 'terminal', 'new', 'run-result', 'settings', 'token']) {
    const v = await scene.enter(name);
    const found = await v.page.evaluate(() => [...document.querySelectorAll('input, select, textarea, button, a[href]')]
      .filter((e) => e.checkVisibility?.() && !e.closest('.xterm, .offscreen') && e.getClientRects().length > 0)
      .map((e) => {
        const label = e.labels?.[0]?.textContent ?? '';
        const box = (e.type === 'checkbox' || e.type === 'radio' ? e.closest('label') ?? e : e).getBoundingClientRect();
        const inText = e.tagName === 'A' && getComputedStyle(e).display === 'inline';
        const text = e.getAttribute('aria-label') ?? (label || e.textContent || e.title);
        return { what: e.outerHTML.slice(0, 100), named: text.trim() !== '' && !(e.matches('input, textarea, select') && !label && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')), small: !inText && Math.min(box.width, box.height) < 23.5, low: !inText && box.height < 27.5, box: [Math.round(box.width), Math.round(box.height)] };
      })
      .filter((x) => !x.named || x.small || x.low));
    faults.push(...found.map((x) => `${name}: ${x.named ? `${x.box.join('x')} px` : 'no name'}: ${x.what}`));
    await v.context.close();
  }
  eq([...new Set(faults)], [], 'controls');
}, { check: 25 });

test('tab-order', 'Tab goes through header, list and detail, and out of the terminal Ctrl+F6 leads', async (t) => {
  await t.sh('echo hello; sleep 60');
  const { id } = await t.api.create(bash());
  const v = await t.open(`#/processes/proc_1`);
  await v.logHas('hello');
  await v.page.evaluate(() => { document.activeElement?.blur(); getSelection().removeAllRanges(); });
  const steps = [];
  for (let i = 0; i < 60; i++) {
    await v.press('Tab');
    const at = await v.page.evaluate(() => {
      const e = document.activeElement;
      if (e === document.body) return null;
      const style = getComputedStyle(e);
      const place = e.closest('header.top, [data-testid=list], nav, [data-testid=detail]');
      return {
        place: place?.dataset?.testid || place?.tagName.toLowerCase() || '?',
        ring: style.outlineStyle !== 'none' || style.boxShadow !== 'none' || (e.parentElement && getComputedStyle(e.parentElement).outlineStyle !== 'none'),
        what: e.outerHTML.slice(0, 90),
      };
    });
    if (at === null) break;
    steps.push(at);
  }
  const places = steps.map((s) => s.place).filter((p, i, all) => p !== all[i - 1]);
  for (const place of ['header', 'list', 'detail']) ok(places.includes(place), () => `Tab does not reach ${place}: ${places}`);
  ok(places.indexOf('list') < places.indexOf('detail'), () => `order: ${places}`);
  eq(steps.filter((s) => s.place === 'list').length, 1, 'stops in the list');
  eq(steps.filter((s) => !s.ring).map((s) => s.what), [], 'stops whose focus is not seen');
  await v.go(`#/processes/${id}`);
  await v.termHas('$');
  await v.focusTerminal();
  await v.press('Control+F6');
  await until(() => v.page.evaluate(() => !document.activeElement.closest('.xterm')), { what: 'the focus outside the terminal' });
  await v.press('Tab');
  ok(await v.page.evaluate(() => document.activeElement !== document.body), 'the focus is lost');
}, { check: 25 });

test('keys', 'single keys are commands, but not inside fields, and they can be turned off', async (t) => {
  await t.sh('echo one; sleep 60');
  await t.sh('echo two; sleep 60');
  const v = await t.open();
  await v.row('proc_2').waitFor();
  await v.press('?');
  const help = v.page.getByRole('dialog');
  await help.waitFor();
  match(await help.innerText(), /New process/, 'help');
  await v.press('Escape');
  await help.waitFor({ state: 'hidden' });
  await v.press('j');
  await v.hashMatches(/proc_/);
  await v.logHas(/one|two/);
  await v.press('g', 'i');
  await v.hashMatches(/\/info$/);
  await v.press('g', 'l');
  await v.hashMatches(/proc_\d(\/logs)?$/);
  await v.logHas(/one|two/);
  await v.press('f');
  await until(async () => !(await v.pressed('Follow')), { what: 'f to stop following' });
  await v.press('Escape');
  await v.hashIs('#/');
  await v.press('/');
  await v.focusIs('filter');
  await v.type('nrs?');
  eq(await v.at('filter').inputValue(), 'nrs?', 'filter');
  await v.hashIs('#/');
  await v.press('Escape');
  await v.click('settings');
  await v.page.getByRole('dialog').getByRole('checkbox', { name: /keys/i }).uncheck();
  await v.press('Escape');
  await v.page.getByRole('dialog').waitFor({ state: 'hidden' });
  await v.page.evaluate(() => document.activeElement?.blur());
  await v.press('n');
  await v.frames();
  eq(await v.hash(), '#/', 'address after a key that is off');
}, { check: 25 });

test('landmarks', 'header, navigation, main, one first heading, and one polite region that tells of the end of a process', async (t) => {
  const { id } = await t.sh('read x; exit 3');
  const v = await t.open(`#/processes/${id}`);
  await v.says('status', /running/);
  for (const role of ['banner', 'navigation', 'main']) ok((await v.page.getByRole(role).count()) === 1, `landmark ${role}`);
  eq(await v.page.locator('h1:visible').count(), 1, 'first headings');
  const log = await v.at('log').first().evaluate((e) => [e.getAttribute('role'), e.getAttribute('aria-live')]);
  eq(log, ['log', 'off'], 'role and aria-live of the log');
  await t.api.input(id, 'x\n');
  await until(async () => /exited with code 3/.test(await v.page.locator('[aria-live=polite]').first().textContent()), { what: 'the announcement' });
}, { check: 25 });

// --- narrow windows ---

test('one-pane', 'on a phone list and detail are shown one at a time, with a way back', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = await t.open('#/', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await v.tap(v.row(id), () => v.at('detail').isVisible(), 'the process');
  await v.logHas('hello');
  ok(!(await v.at('list').isVisible()), 'the list is still shown');
  await v.tap(v.at('back'), () => v.row(id).isVisible(), 'the list');
  ok(!(await v.at('log').first().isVisible()), 'the log is still shown');
}, { check: 25 });

test('zoom', 'at 200 % everything is still there', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = await t.open(`#/processes/${id}`, { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 });
  await v.logHas('hello');
  const box = await v.at('log').first().boundingBox();
  ok(box.height >= 80, `the log is ${Math.round(box.height)} px high`);
  for (const name of ['stop', 'kill', 'rerun']) await v.at(name).scrollIntoViewIfNeeded();
}, { check: 25 });

test('no-jump', 'nothing on the page moves when data arrives', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = await t.viewer();
  await v.page.addInitScript(() => {
    window.shifts = [];
    new PerformanceObserver((list) => { for (const e of list.getEntries()) window.shifts.push([e.value, e.sources.map((s) => s.node?.outerHTML?.slice(0, 80) ?? s.node?.nodeName)]); }).observe({ type: 'layout-shift', buffered: true });
  });
  await v.open(`#/processes/${id}`);
  await v.logHas('hello');
  await t.sh('echo another; sleep 60');
  await v.row('proc_2').waitFor();
  const shifts = await v.page.evaluate(() => window.shifts);
  const sum = shifts.reduce((s, [value]) => s + value, 0);
  ok(sum < 0.05, () => `the layout shifts by ${sum.toFixed(3)}: ${show(shifts)}`);
});
