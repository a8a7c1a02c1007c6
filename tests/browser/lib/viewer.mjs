// One page in a browser context of its own, with all that it said and asked recorded: a case fails on
// any error in its console, any exception, and any request that leaves the server, unless it named
// the error beforehand with expect().
import { eq, fail, ok, secs, until } from '../../api/lib/assert.mjs';

const SHORT = secs(10);

// What the console says of an answer that is no success, or of none.
export const ANSWER = (status) => new RegExp(`status of ${status}\\b`);
export const NO_ANSWER = /ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_ABORTED|WebSocket connection|ERR_SOCKET/;

export class Viewer {
  constructor(page, base) {
    this.page = page;
    this.base = base; // of the server, without a slash at the end
    this.requests = []; // {method, url, headers, type, body}
    this.answers = []; // playwright responses
    this.sockets = []; // {url, sent: [], received: number, closed}
    this.errors = [];
    this.allowed = [];
    this.watch();
  }
  watch() {
    const { page } = this;
    const host = new URL(this.base).host;
    const foreign = (url) => {
      const u = new URL(url);
      if (!['data:', 'blob:'].includes(u.protocol) && u.host !== host) this.errors.push(`request to another host: ${url}`);
    };
    page.on('console', (m) => {
      if (m.type() === 'error') this.errors.push(`console: ${m.text()} (${m.location()?.url ?? ''})`);
    });
    page.on('pageerror', (e) => this.errors.push(`exception: ${e.message} ${e.stack ?? ''}`));
    page.on('request', (r) => {
      foreign(r.url());
      this.requests.push({ method: r.method(), url: r.url(), headers: r.headers(), type: r.resourceType(), body: r.postData() });
    });
    page.on('response', (r) => this.answers.push(r));
    page.on('websocket', (socket) => {
      foreign(socket.url());
      const record = { url: socket.url(), sent: [], received: 0, closed: false };
      this.sockets.push(record);
      socket.on('framesent', ({ payload }) => record.sent.push(payload));
      socket.on('framereceived', () => record.received++);
      socket.on('close', () => { record.closed = true; });
    });
  }
  // Errors that this case brings about itself.
  expect(...patterns) {
    this.allowed.push(...patterns);
    return this;
  }
  faults() {
    return this.errors.filter((e) => !this.allowed.some((re) => re.test(e)));
  }

  // --- going places ---

  url(hash = '#/') {
    return `${this.base}/ui/?test${hash}`;
  }
  // The page, connected. With `connected: false` as soon as it is there.
  async open(hash = '#/', { connected = true } = {}) {
    await this.page.goto(this.url(hash));
    if (connected) await this.connected();
    return this;
  }
  // Within the page, as a link would.
  async go(hash) {
    await this.page.evaluate((to) => { location.hash = to; }, hash);
  }
  async reload() {
    await this.page.reload();
    await this.connected();
  }
  connected() {
    return this.says('conn', /^\W*connected/i);
  }
  hash() {
    return this.page.evaluate(() => location.hash);
  }
  async hashIs(expected) {
    await until(async () => (await this.hash()) === expected, {
      within: SHORT, what: `the address to be ${expected}`, last: () => this.page.url(),
    });
  }
  async hashMatches(re) {
    return until(async () => re.exec(await this.hash()), {
      within: SHORT, what: `the address to match ${re}`, last: () => this.page.url(),
    });
  }

  // Until the page has drawn: what it does with an answer that has come is done two frames later.
  async frames(count = 2) {
    await this.page.evaluate(async (n) => {
      for (let i = 0; i < n; i++) await new Promise((next) => requestAnimationFrame(next));
    }, count);
  }
  // The system's theme, with the page drawn in it: it hears of it in one frame, gives it to the terminal
  // in the next, and that is drawn in one more.
  async colorScheme(theme) {
    await this.page.emulateMedia({ colorScheme: theme });
    await this.frames(4);
  }

  // --- parts of the page ---

  at(testid) {
    return this.page.getByTestId(testid);
  }
  row(id) {
    return this.at(`row-${id}`);
  }
  button(name, within = this.page) {
    return within.getByRole('button', { name });
  }
  async text(testid) {
    return (await this.at(testid).first().innerText()).trim();
  }
  // Waits until what is shown under the test id matches; the shown text is returned.
  async says(testid, expected, within = SHORT) {
    const re = expected instanceof RegExp ? expected : new RegExp(escapeRegExp(expected), 'i');
    let last = null;
    const seen = async () => {
      const locator = this.at(testid).first();
      if (!(await locator.isVisible())) {
        last = null;
        return false;
      }
      last = (await locator.innerText()).trim();
      return re.test(last);
    };
    await until(seen, { within, what: `${testid} to show ${re}`, last: () => last ?? 'nothing' });
    return last;
  }
  async shown(testid, within = SHORT) {
    await this.at(testid).first().waitFor({ state: 'visible', timeout: within }).catch(() => fail(`${testid} is not shown`));
    return this.at(testid).first();
  }
  async gone(testid, within = SHORT) {
    await this.at(testid).first().waitFor({ state: 'hidden', timeout: within }).catch(() => fail(`${testid} is still shown`));
  }
  async click(testid) {
    await this.at(testid).first().click({ timeout: SHORT }).catch((e) => fail(`${testid} cannot be clicked: ${firstLines(e)}`));
  }
  // On a busy machine a tap may last so long that it is a long press: until it did what it is for.
  async tap(locator, done, what) {
    await until(async () => {
      if (await done()) return true;
      if (await this.at('row-menu').isVisible()) await this.press('Escape'); // a long press opened it
      await locator.tap({ timeout: secs(2) });
      return done();
    }, { within: secs(20), what, every: 250 });
  }
  async press(...keys) {
    for (const key of keys) await this.page.keyboard.press(key);
  }
  focused() {
    return this.page.evaluate(() => {
      const e = document.activeElement;
      return { tag: e?.tagName.toLowerCase() ?? '', testid: e?.dataset?.testid ?? '', within: e?.closest?.('[data-testid]')?.dataset.testid ?? '', name: e?.getAttribute?.('aria-label') ?? e?.textContent?.trim().slice(0, 40) ?? '' };
    });
  }
  async focusIs(testid) {
    let last;
    await until(async () => {
      last = await this.focused();
      return last.testid === testid || last.within === testid;
    }, { within: SHORT, what: `the focus to be in ${testid}`, last: () => last });
  }
  // The texts of all alerts that are shown; a case says how many there have to be.
  async alerts() {
    const all = await this.page.getByRole('alert').all();
    const texts = [];
    for (const one of all) if (await one.isVisible()) texts.push((await one.innerText()).trim());
    return texts.filter(Boolean);
  }
  async oneAlert(re) {
    let last = [];
    await until(async () => {
      last = await this.alerts();
      return last.length > 0 && re.test(last[0]);
    }, { within: SHORT, what: `an alert like ${re}`, last: () => last });
    eq(last.length, 1, `alerts (${JSON.stringify(last)})`);
    return last[0];
  }
  async pressed(name, within = this.page) {
    return (await within.getByRole('button', { name }).first().getAttribute('aria-pressed')) === 'true';
  }
  async setPressed(name, wanted, within = this.page) {
    if ((await this.pressed(name, within)) !== wanted) await within.getByRole('button', { name }).first().click();
    ok((await this.pressed(name, within)) === wanted, `${name} does not stay ${wanted ? '' : 'un'}pressed`);
  }

  // --- log ---

  logText() {
    return this.at('log').first().innerText();
  }
  logHas(expected, within = SHORT) {
    return this.says('log', expected, within);
  }

  // --- terminal ---

  async terminal() {
    await this.page.waitForFunction(() => Boolean(window.__ui?.term), null, { timeout: SHORT, polling: 50 })
      .catch(() => fail('window.__ui.term does not come'));
  }
  // All lines of the buffer that is shown, the history with them, without blanks at their ends.
  termLines() {
    return this.page.evaluate(() => {
      const buffer = window.__ui?.term?.buffer.active;
      if (!buffer) return [];
      const lines = Array.from({ length: buffer.length }, (_, i) => buffer.getLine(i).translateToString(true));
      while (lines.length > 0 && lines.at(-1) === '') lines.pop();
      return lines;
    });
  }
  async termText() {
    return (await this.termLines()).join('\n');
  }
  async termHas(expected, within = SHORT) {
    let last = '';
    const there = async () => {
      last = await this.termText();
      return expected instanceof RegExp ? expected.test(last) : last.includes(expected);
    };
    await until(there, { within, what: `the terminal to show ${expected}`, last: () => last.slice(-300) });
    return last;
  }
  // The screen as it looks: characters, colours and attributes of each cell, and the cursor.
  termScreen() {
    return this.page.evaluate(() => {
      const { term } = window.__ui;
      const buffer = term.buffer.active;
      const rows = [];
      for (let y = 0; y < term.rows; y++) {
        const line = buffer.getLine(buffer.baseY + y);
        const cells = [];
        for (let x = 0; x < term.cols; x++) {
          const c = line.getCell(x);
          cells.push(`${c.getChars() || ' '}${c.getFgColorMode()}.${c.getFgColor()}.${c.getBgColor()}.${c.isBold()}.${c.isInverse()}.${c.isUnderline()}`);
        }
        rows.push(cells.join('|'));
      }
      return { kind: buffer.type, cursor: [buffer.cursorX, buffer.cursorY], cols: term.cols, rows: term.rows, cells: rows };
    });
  }
  termSize() {
    return this.page.evaluate(() => [window.__ui.term.cols, window.__ui.term.rows]);
  }
  async type(text) {
    await this.page.keyboard.type(text);
  }
  async typeLine(text) {
    await this.page.keyboard.type(text);
    await this.page.keyboard.press('Enter');
  }
  async focusTerminal() {
    await this.terminal();
    await this.page.locator('[data-testid=term] .xterm-screen').first().click();
  }
  // What was typed into terminals, of all connections that this page had: text of input messages.
  typed() {
    return this.sockets.flatMap((s) => s.sent).map(inputOf).filter((x) => x !== null);
  }
  resizes() {
    return this.sockets.flatMap((s) => s.sent).map(messageOf).filter((m) => m?.type === 'resize');
  }

  clipboard() {
    return this.page.evaluate(() => navigator.clipboard.readText());
  }
  apiRequests(re = /\/v1\//) {
    return this.requests.filter((r) => re.test(r.url));
  }
}

function messageOf(payload) {
  if (typeof payload !== 'string') return null;
  try {
    return JSON.parse(payload);
  } catch {
    return null;
  }
}
// Text that a frame types, or null when it types nothing.
function inputOf(payload) {
  if (typeof payload !== 'string') return payload.toString('utf8');
  const m = messageOf(payload);
  if (m?.type !== 'input') return null;
  return m.encoding === 'base64' ? Buffer.from(m.data, 'base64').toString('utf8') : m.data ?? '';
}
const firstLines = (e) => String(e.message).split('\n').slice(0, 6).join(' ');
export const escapeRegExp = (s) => s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
