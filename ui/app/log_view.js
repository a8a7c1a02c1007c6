// log_view.js - the output of a process: a toolbar, the lines, and where there is one, its input.
//
// The whole log is fetched, oldest first, and not only its end: it is at most what the server keeps (10
// MiB unless it was told otherwise), the lines are shown as they come, and only so are search, copy and
// line breaks true for all of it. What comes before the last 100,000 lines is passed over, not drawn.
//
// Stream, filter and search look at the same lines; shown() and searched() say which. "Clear" forgets
// the lines of this view alone.
import { getConfig } from './api.js';
import { announce, copyText, errorLine, h, isPressed, setPressed, setText, toggleButton } from './dom.js';
import { formatBytes, formatClock } from './format.js';
import { createLogFeed } from './log_feed.js';
import { createLogModel } from './log_model.js';
import { createLogPane } from './log_pane.js';
import { createLogSearch } from './log_search.js';
import { changeSetting, setting } from './settings.js';

// An answer that has begun and has brought nothing in this time has nothing.
const NOTHING_MS = 250;
const ORDER_NOTE = 'Two pipes: within milliseconds, order is not known';

const plural = (count, word) => `${count.toLocaleString('en')} ${word}${count === 1 ? '' : 's'}`;

// A small button with a picture; while done() holds, a tick.
function iconButton(name, label, onclick, properties) {
  const element = h('button', {
    class: `quiet icon icon-${name}`,
    'aria-label': label,
    title: label,
    onclick,
    ...properties,
  });
  let timer;
  element.done = (text) => {
    element.classList.add('icon-done');
    announce(text);
    clearTimeout(timer);
    timer = setTimeout(() => element.classList.remove('icon-done'), 1200);
  };
  return element;
}

export function createLogView(process, { onProcess, query = '', onQuery }) {
  const { id, tty } = process;
  const model = createLogModel();
  const search = createLogSearch();
  const paints = globalThis.Highlight ? { match: new Highlight(), 'current-match': new Highlight() } : {};
  let stream = 'combined';
  let running = process.status === 'running';
  let told = false; // the server has said all that it has, be it nothing
  let cleared = false;
  let silent = false; // the server is not there
  let lostBefore = null; // of the server: text, once it is known that it dropped something
  let seek = query !== ''; // go to a match, once everything has been looked at
  let marked = null; // element of the line with the current match
  let painted = [];
  let nothingTimer = 0;
  let stdin = null; // promise of the form

  // --- controls ---

  const followButton = toggleButton('Follow', true, (on) => pane.setFollowing(on), {
    testid: 'follow',
    title: 'Keep the end in sight (f)',
  });
  const streamSelect = h(
    'select',
    { testid: 'stream', 'aria-label': 'Stream', title: ORDER_NOTE, onchange: chooseStream },
    [
      ['combined', 'All'],
      ['stdout', 'stdout'],
      ['stderr', 'stderr'],
    ].map(([value, label]) => h('option', { value }, label)),
  );
  const timesButton = toggleButton('Times', setting('timestamps'), (on) => change('timestamps', on), {
    testid: 'timestamps',
    title: 'When each line came (t)',
  });
  const wrapButton = toggleButton('Wrap', setting('wrap'), (on) => change('wrap', on), {
    testid: 'wrap',
    title: 'Wrap long lines (w)',
  });
  const searchInput = h('input', {
    type: 'text',
    testid: 'search',
    'aria-label': 'Search the output',
    placeholder: 'Search',
    value: query,
    autocomplete: 'off',
    autocapitalize: 'off',
    spellcheck: 'false',
    enterkeyhint: 'search',
    oninput: () => startSearch(true),
    onkeydown: onSearchKey,
  });
  const count = h('span', { class: 'search-count', testid: 'search-count' });
  const stepButton = (label, step, name) =>
    h('button', { class: 'quiet', 'aria-label': name, title: name, onclick: () => go(step) }, label);
  const caseButton = toggleButton(
    'Aa',
    setting('matchCase'),
    (on) => {
      changeSetting('matchCase', on);
      startSearch(false);
    },
    { testid: 'search-case', 'aria-label': 'Match case', title: 'Match case' },
  );
  const filterButton = toggleButton(
    'Filter',
    setting('filterMatches'),
    (on) => {
      changeSetting('filterMatches', on);
      pane.filter();
    },
    { testid: 'search-filter', title: 'Matching lines only' },
  );
  const searchBox = h(
    'div',
    { class: 'log-search', role: 'search' },
    searchInput,
    count,
    stepButton('↑', -1, 'Previous match (Shift+Enter)'),
    stepButton('↓', 1, 'Next match (Enter)'),
    caseButton,
    filterButton,
  );
  const copyIcon = iconButton('copy', 'Copy', copyShown, {
    testid: 'copy',
    title: 'Copy the selection, or all',
    onmousedown: (event) => event.preventDefault(),
  });
  const saveIcon = iconButton('save', 'Download', download, {
    testid: 'download',
    title: 'Download the whole log',
  });
  const clearIcon = iconButton('clear', 'Clear view', clearView, {
    testid: 'clear',
    title: 'Clear the view',
  });
  const stdinSlot = h('div', { class: 'stdin-slot', hidden: true });
  const inputButton = toggleButton('Input', false, () => showStdin(true), {
    testid: 'input-toggle',
    title: 'Standard input',
  });
  const problem = errorLine({ testid: 'log-error' });
  const toolbar = h(
    'div',
    { class: 'toolbar log-bar', testid: 'toolbar' },
    followButton,
    tty ? null : streamSelect,
    timesButton,
    wrapButton,
    tty ? null : inputButton,
    searchBox,
    h('div', { class: 'log-actions' }, copyIcon, saveIcon, clearIcon),
  );

  // --- lines ---

  const pane = createLogPane(model, {
    accepts: shown,
    moreWork: searchOn,
    onFollow: (on) => setPressed(followButton, on),
    onMissed: showMissed,
  });
  const empty = h('div', { class: 'empty muted log-empty', hidden: true });
  const newLines = h('button', {
    class: 'primary new-lines',
    testid: 'new-lines',
    hidden: true,
    onclick: toEnd,
  });
  const frame = h('div', { class: 'log-frame' }, pane.element, empty, newLines);
  const element = h('div', { class: 'view log-view' }, toolbar, problem, frame, stdinSlot);

  const inStream = (line) => stream === 'combined' || line.stream === stream;
  const filtering = () => search.active && isPressed(filterButton);

  function searched(line) {
    return !line.gap && inStream(line);
  }

  function shown(line) {
    return line.gap || (inStream(line) && (!filtering() || search.matches(line.text)));
  }

  function change(name, on) {
    changeSetting(name, on);
    applyLooks();
  }

  function applyLooks() {
    pane.keepPlace(() => {
      pane.element.classList.toggle('wrap', setting('wrap'));
      pane.element.classList.toggle('times', setting('timestamps'));
    });
    setPressed(wrapButton, setting('wrap'));
    setPressed(timesButton, setting('timestamps'));
  }

  function chooseStream() {
    stream = streamSelect.value;
    search.restart();
    pane.filter();
  }

  function toEnd() {
    pane.setFollowing(true);
    pane.element.focus({ preventScroll: true });
  }

  function showMissed(lines) {
    newLines.hidden = lines === 0;
    setText(newLines, `${plural(lines, 'new line')} ↓`);
  }

  function showEmpty() {
    empty.hidden = !(told || silent) || !pane.empty;
    if (!told) setText(empty, 'The output comes when the server is back');
    else if (model.next > model.first) setText(empty, filtering() ? 'No line matches' : `Nothing on ${stream}`);
    else setText(empty, cleared ? 'Nothing since the view was cleared' : running ? 'No output yet' : 'No output');
  }

  function showDropped() {
    const texts = [];
    if (model.dropped > 0)
      texts.push(`${plural(model.dropped, 'earlier line')} not shown here; Download has everything.`);
    if (lostBefore !== null) texts.push(lostBefore);
    pane.notice.hidden = texts.length === 0;
    setText(pane.notice, texts.join(' '));
  }

  async function tellLost(bytes) {
    const what = bytes === undefined ? 'Older output' : `${formatBytes(bytes)} of older output`;
    lostBefore = `${what} dropped by the server.`;
    const { maxLogBytesPerProcess: limit } = await getConfig().catch(() => ({}));
    if (limit && lostBefore !== null) lostBefore = `${what} dropped by the server (${formatBytes(limit)} buffer).`;
    showDropped();
  }

  // --- the stream ---

  function gotSomething() {
    told = true;
    pane.schedule();
  }

  const feed = createLogFeed(id, {
    open() {
      silent = false;
      problem.show(null);
      clearTimeout(nothingTimer);
      nothingTimer = setTimeout(() => {
        told = true;
        showEmpty();
      }, NOTHING_MS);
    },
    log(entry) {
      if (!told && entry.sequence > 1 && lostBefore === null) tellLost();
      model.add(entry);
      gotSomething();
    },
    gap(gap) {
      if (!told && gap.fromSequence === 1) {
        tellLost(gap.bytes);
        return;
      }
      model.addGap(gap);
      gotSomething();
    },
    exit(record) {
      model.end();
      told = true;
      running = false;
      pane.schedule();
      showStdin();
      onProcess(record);
    },
    problem({ status, message }) {
      if (status) problem.show(`No output: ${message}. Trying again.`);
      silent = !status;
      showEmpty();
    },
  });

  // --- search ---

  function startSearch(typed) {
    search.set(searchInput.value, isPressed(caseButton));
    if (typed) seek = search.active && !filtering();
    if (isPressed(filterButton)) pane.filter();
    mark();
    pane.schedule();
    if (typed) onQuery?.(searchInput.value);
  }

  // In what is left of a frame.
  function searchOn(goOn, changed) {
    for (const line of changed) if (searched(line)) search.update(line);
    search.drop(model.first);
    showDropped();
    showEmpty();
    const done = search.scan(model, searched, goOn);
    if (seek && done && pane.drawnTo === model.next && search.total > 0) {
      search.near(pane.firstInView());
      reveal();
      seek = false;
    }
    showCount();
    paint();
    return done;
  }

  function showCount() {
    const position = search.position();
    const total = search.total.toLocaleString('en');
    searchBox.classList.toggle('searching', search.active);
    if (!search.active) setText(count, '');
    else if (search.total === 0) setText(count, 'None');
    else setText(count, position === 0 ? `${total} found` : `${position.toLocaleString('en')} of ${total}`);
  }

  function mark() {
    marked?.classList.remove('current');
    marked = search.current === null ? null : (pane.elementOf(search.current.number) ?? null);
    marked?.classList.add('current');
  }

  // Only what is in sight: ranges cost with every change of the page.
  function paint() {
    mark();
    for (const lineElement of painted) lineElement.classList.remove('match');
    painted = [];
    for (const paint of Object.values(paints)) paint.clear();
    if (!search.active) return;
    pane.forEachInView((number, lineElement) => {
      const line = model.line(number);
      if (!line || !searched(line)) return;
      search.rangesIn(line.text).forEach((range, i) => {
        const now = search.current?.number === number && search.current.occurrence === i;
        paints[now ? 'current-match' : 'match']?.add(pane.rangeOf(lineElement, range));
        if (!paints.match) painted.push(lineElement);
      });
    });
    for (const lineElement of painted) lineElement.classList.add('match');
  }

  function reveal() {
    const { number, occurrence } = search.current;
    const lineElement = pane.elementOf(number);
    if (lineElement) pane.reveal(lineElement, search.rangesIn(model.line(number).text)[occurrence]);
  }

  function go(step) {
    search.drop(model.first);
    if (search.total === 0) return;
    seek = false;
    search.move(step, pane.firstInView());
    reveal();
    showCount();
    paint();
    announce(`${count.textContent}: ${model.line(search.current.number).text}`);
  }

  function endSearch() {
    searchInput.value = '';
    startSearch(true);
    pane.element.focus({ preventScroll: true });
  }

  function onSearchKey(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter') go(event.shiftKey ? -1 : 1);
    else if (event.key === 'Escape') endSearch();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // --- actions ---

  function shownText() {
    const selection = getSelection();
    const inPane = (node) => node !== null && pane.element.contains(node);
    if (!selection.isCollapsed && inPane(selection.anchorNode) && inPane(selection.focusNode))
      return selection.toString();
    const withTimes = setting('timestamps');
    const lines = [];
    for (let number = model.first; number < model.next; number++) {
      const line = model.line(number);
      if (shown(line)) lines.push(`${withTimes ? `${formatClock(line.timeMs, true)} ` : ''}${line.text}\n`);
    }
    return lines.join('');
  }

  async function copyShown() {
    if (await copyText(shownText())) copyIcon.done('Copied');
    else problem.show('Not copied: the browser does not allow it.');
  }

  async function download() {
    saveIcon.disabled = true;
    problem.show(null);
    try {
      await (await import('./save.js')).saveLog(id, tty ? 'pty' : stream);
      saveIcon.done('Downloaded');
    } catch (error) {
      problem.show(`Not downloaded: ${error.message}. Try again.`);
    }
    saveIcon.disabled = false;
  }

  function clearView() {
    model.clear();
    pane.clear();
    search.restart();
    cleared = told = true;
    lostBefore = null;
    toEnd();
    pane.schedule();
  }

  // Loaded when it is wanted first: most processes are watched and not written to.
  async function showStdin(focus) {
    inputButton.hidden = !running || process.interactive;
    stdinSlot.hidden = tty || !running || !(process.interactive || isPressed(inputButton));
    if (stdinSlot.hidden) return;
    stdin ??= import('./stdin_form.js').then(({ createStdinForm }) => createStdinForm(id));
    try {
      const form = await stdin;
      // Anew it would lose the focus.
      if (form.element.parentNode !== stdinSlot) stdinSlot.append(form.element);
      if (focus === true) form.focus();
    } catch {
      stdin = null;
      problem.show('The input line could not be loaded. Reload the page.');
    }
  }

  // Who selects wants the text to stay where it is.
  function onSelection() {
    const { isCollapsed, anchorNode } = getSelection();
    if (pane.following && !isCollapsed && pane.element.contains(anchorNode)) pane.setFollowing(false);
  }
  document.addEventListener('selectionchange', onSelection);

  const commands = {
    follow: () => pane.setFollowing(!pane.following),
    end: toEnd,
    wrap: () => change('wrap', !setting('wrap')),
    timestamps: () => change('timestamps', !setting('timestamps')),
    search() {
      searchInput.focus();
      searchInput.select();
    },
    next: () => search.active && go(1),
    previous: () => search.active && go(-1),
    escape: () => search.active && endSearch(),
  };
  // "n" is a new process elsewhere.
  commands.new = commands.next;

  for (const [name, paint] of Object.entries(paints)) CSS.highlights.set(name, paint);
  applyLooks();
  showStdin();
  if (query !== '') startSearch(false);

  return {
    element,
    update(record) {
      running = record.status === 'running' && running;
      showStdin();
    },
    command(name) {
      return commands[name] !== undefined && commands[name]() !== false;
    },
    focus: () => pane.element.focus(),
    setQuery(text) {
      if (text === searchInput.value) return;
      searchInput.value = text;
      startSearch(true);
    },
    destroy() {
      feed.destroy();
      pane.destroy();
      clearTimeout(nothingTimer);
      document.removeEventListener('selectionchange', onSelection);
      for (const name of Object.keys(paints)) CSS.highlights.delete(name);
    },
  };
}
