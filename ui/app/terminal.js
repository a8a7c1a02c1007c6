// terminal.js - a terminal process in xterm.js; loaded when the first one is opened.
//
// The server does the replay: it sends what is kept over the same WebSocket, one binary frame for each
// entry of the log, without the questions that a terminal would answer. Fetching the log beside the
// socket and joining the two was rejected: it needs frames that are held back, and old questions would
// be answered into a shell.
//
// - Frames are counted, so that `next` is always the sequence of the next one. Each connection after
//   the first says `since`, the terminal itself is kept: nothing is lost, nothing comes twice.
// - All that depends on the place in the output (a size, the end of the replay, the end of the process)
//   goes through the write queue of xterm, see inOrder().
// - The process has one size, its viewers many. A page that has the focus sets it, others show the
//   process's size in what room they have. `sizing`: the last size known was set by this page.
import { openTerminalSocket } from './api.js';
import { announce, confirmDialog, copyButton, copyText, h, loadStyle, setPressed, setText, toggleButton, uniqueId } from './dom.js';
import { commandLine, endOf, formatBytes } from './format.js';
import { changeSetting, onSetting, setting } from './settings.js';
import { store } from './store.js';

// The scrollback holds 10,000 lines, which is about this much; a larger replay would be parsed in vain.
const REPLAY_BYTES = 1 << 20;
const SCROLLBACK_LINES = 10000;
// xterm throws output away when 50 MB wait in it, and a WebSocket in a browser cannot be paused.
const PENDING_MAX = 8 << 20;
const PENDING_LOW = 1 << 20;
const RETRY_MIN_MS = 300;
const RETRY_MAX_MS = 5000;
// At most 49,152 bytes: below the limit of one message.
const INPUT_UNITS = 16384;
const FONT_SIZE = 13;
const WINDOWS = /^win/i.test(navigator.platform);
// What a terminal answers to a question; no key sends these but F3 with modifiers.
const ANSWER = /^\x1b(?:[P\]].|\[[?>]?[\d;]*\$?[cnRty]$)/s;

// --- xterm.js ---

let libraries = null;

function loadLibraries() {
  libraries ??= Promise.all([
    import('../vendor/xterm.mjs'),
    import('../vendor/addon-fit.mjs'),
    import('../vendor/addon-unicode11.mjs'),
    import('../vendor/addon-web-links.mjs'),
    loadStyle(new URL('../vendor/xterm.css', import.meta.url)),
    loadStyle(new URL('./terminal.css', import.meta.url)),
  ]).catch((error) => {
    libraries = null;
    throw new Error('this page may be older than the server. Reload it.', { cause: error });
  });
  return libraries;
}

// The colours of the page, resolved: a variable is handed out as it was written, light-dark() and all.
function themeOf(parent) {
  const probe = parent.appendChild(h('i'));
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const selectionBackground = colour('terminal-selection');
  const theme = {
    background: colour('surface'),
    foreground: colour('text'),
    cursor: colour('accent'),
    cursorAccent: colour('surface'),
    selectionBackground,
    selectionInactiveBackground: selectionBackground,
  };
  probe.remove();
  return theme;
}

// --- the text on the screen ---

// Lines as the program wrote them: what the terminal wrapped is one line again.
function* wholeLines(buffer, row, end) {
  while (row < end) {
    const first = row;
    let text = '';
    do text += buffer.getLine(row++).translateToString();
    while (buffer.getLine(row)?.isWrapped);
    yield { first, text };
  }
}

function screenText({ buffer: { active }, rows }) {
  const lines = [...wholeLines(active, active.viewportY, active.viewportY + rows)];
  return lines
    .map(({ text }) => text.trimEnd())
    .join('\n')
    .trimEnd();
}

// How many cells the first `length` characters of a line take: a wide one has two, one of several
// units has one or two.
function cellsOf(term, first, length) {
  const cell = (at) => term.buffer.active.getLine(first + Math.floor(at / term.cols))?.getCell(at % term.cols);
  let cells = 0;
  while (length > 0) {
    const current = cell(cells);
    if (current.getWidth() > 0) length -= current.getChars().length || 1;
    cells += 1;
  }
  while (cell(cells)?.getWidth() === 0) cells += 1;
  return cells;
}

// A search over the buffer. It begins at the end, where one is looking.
function createFind(term) {
  const input = h('input', {
    type: 'search',
    placeholder: 'Find',
    'aria-label': 'Find in the terminal',
    spellcheck: 'false',
  });
  const count = h('span', { class: 'muted', role: 'status' });
  const button = (label, text, onclick) =>
    h('button', { type: 'button', 'aria-label': label, title: label, onclick }, text);
  const element = h(
    'search',
    { class: 'terminal-find', hidden: true },
    input,
    count,
    button('Previous match (Enter)', '↑', () => find(-1)),
    button('Next match (Shift+Enter)', '↓', () => find(1)),
    button('Close (Esc)', '✕', close),
  );
  let current = null;

  function find(step) {
    const fold = (text) => (setting('matchCase') ? text : text.toLowerCase());
    const needle = fold(input.value);
    const found = [];
    const buffer = term.buffer.active;
    for (const { first, text } of needle === '' ? [] : wholeLines(buffer, 0, buffer.length)) {
      const folded = fold(text);
      for (let at = folded.indexOf(needle); at >= 0; at = folded.indexOf(needle, at + needle.length))
        found.push({ first, at });
    }
    const isBefore = (a, b) => a.first < b.first || (a.first === b.first && a.at < b.at);
    let index =
      step > 0
        ? found.findIndex((match) => current && isBefore(current, match))
        : found.findLastIndex((match) => !current || isBefore(match, current));
    if (index < 0) index = step > 0 ? 0 : found.length - 1;
    current = found[index] ?? null;
    setText(count, needle === '' ? '' : current ? `${index + 1} of ${found.length}` : 'not found');
    if (current) show(current, needle.length);
    else term.clearSelection();
  }

  function show({ first, at }, length) {
    const start = cellsOf(term, first, at);
    const row = first + Math.floor(start / term.cols);
    term.select(start % term.cols, row, cellsOf(term, first, at + length) - start);
    const { viewportY } = term.buffer.active;
    if (row < viewportY || row >= viewportY + term.rows) term.scrollToLine(Math.max(0, row - (term.rows >> 1)));
  }

  function close() {
    element.hidden = true;
    term.focus();
  }

  input.addEventListener('input', () => {
    current = null;
    find(-1);
  });
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') close();
    else if (event.key !== 'Enter' || event.target !== input) return;
    else find(event.shiftKey ? 1 : -1);
    event.preventDefault();
  });
  return {
    element,
    find,
    close,
    open() {
      element.hidden = false;
      input.select();
      input.focus();
    },
  };
}

// --- the connection ---

// on: state(word, retryAt), ready(message, again), replayed(cut), exit(exitCode), refused(text), each
// but state and refused in its place among the output.
function createConnection(id, term, on) {
  let socket = null;
  // `ready` came over this socket.
  let greeted = false;
  let greetedAt = 0;
  // Sequence of the next binary frame; 0 before the first connection.
  let next = 0;
  // The last sequence of the replay.
  let replayEnd = 0;
  // Frames of the replay are still to come.
  let replaying = false;
  // They are being parsed: answers are to old questions.
  let guarded = false;
  // Output is missing: modes and the screen may be wrong.
  let cut = false;
  // It is not the first connection, and the terminal has all of before.
  let again = false;
  // Bytes that xterm has not parsed yet.
  let pending = 0;
  // Closed by us until it has.
  let draining = false;
  // What is typed meanwhile.
  let held = null;
  let failures = 0;
  let timer = 0;
  // Nothing more will come.
  let over = false;
  let before = store.connection;

  const inOrder = (callback) => term.write('', callback);

  function connect() {
    clearTimeout(timer);
    if (over || socket !== null) return;
    on.state('connecting');
    greeted = false;
    socket = openTerminalSocket(id, next > 0 ? { since: next - 1 } : { replay: REPLAY_BYTES });
    socket.onmessage = ({ data }) => {
      if (typeof data === 'string') onMessage(JSON.parse(data));
      else onOutput(new Uint8Array(data));
    };
    socket.onclose = onClose;
  }

  function drop() {
    clearTimeout(timer);
    if (socket === null) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
    socket = null;
  }

  function onOutput(bytes) {
    next += 1;
    pending += bytes.length;
    term.write(bytes, () => onWritten(bytes.length));
    endReplay();
    if (pending < PENDING_MAX) return;
    draining = true;
    held = [];
    drop();
    on.state('catching up');
  }

  function onWritten(length) {
    pending -= length;
    if (!draining || pending > PENDING_LOW) return;
    draining = false;
    connect();
  }

  function onMessage(message) {
    if (message.type === 'ready') onReady(message);
    else if (message.toSequence !== undefined) onGap(message);
    else if (message.type === 'error') on.refused(message.message);
    else if (message.type === 'exit') {
      over = true;
      inOrder(() => on.exit(message.exitCode));
    }
  }

  function onReady(message) {
    again = next > 0;
    cut = !again && message.firstSequence > 1;
    greeted = true;
    greetedAt = Date.now();
    next = message.firstSequence;
    replayEnd = message.sequence;
    replaying = true;
    on.state('replaying');
    inOrder(() => {
      guarded = true;
      on.ready(message, again);
    });
    for (const data of held ?? []) send(data);
    held = null;
    endReplay();
  }

  function endReplay() {
    if (!replaying || next <= replayEnd) return;
    replaying = false;
    const connection = socket;
    inOrder(() => {
      guarded = false;
      if (socket !== connection) return;
      on.state('connected');
      on.replayed(cut, again);
    });
  }

  function onGap({ toSequence, bytes }) {
    next = toSequence + 1;
    cut = true;
    term.write(
      dimLine(
        `${bytes === undefined ? 'some output is' : `${formatBytes(bytes)} of output are`} no longer kept`,
        '\r\n',
      ),
    );
    term.write('\r\n');
    endReplay();
  }

  async function onClose() {
    socket = null;
    held = null;
    if (over) return;
    if (greeted && Date.now() - greetedAt > RETRY_MAX_MS) failures = 0;
    // The browser does not say why a socket cannot be opened; a request does.
    const problem = greeted
      ? null
      : await store.load(id).then(
          () => null,
          (error) => error,
        );
    if (over || socket !== null) return;
    over = problem?.status === 404;
    if (over || problem?.status === 401) {
      on.state(over ? 'Process no longer exists' : 'waiting for the token');
      return;
    }
    const wait = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** failures);
    failures += 1;
    timer = setTimeout(connect, wait);
    on.state('disconnected', Date.now() + wait);
  }

  // The server is back: this socket may be of before, and half open after a sleep.
  const unsubscribe = store.subscribe(() => {
    const isBack = store.connection === 'connected' && before !== 'connected' && before !== 'connecting';
    before = store.connection;
    if (!isBack || over || draining) return;
    drop();
    connect();
  });

  function send(data) {
    if (greeted && socket?.readyState === WebSocket.OPEN) socket.send(data);
    else held?.push(data);
  }

  const sendMessage = (message) => send(JSON.stringify(message));

  return {
    connect,
    isLive: () => greeted && !guarded && !replaying && socket?.readyState === WebSocket.OPEN,
    isWaiting: () => socket === null && !over && !draining,
    resize: ({ cols, rows }) => sendMessage({ type: 'resize', cols, rows }),
    type(data) {
      if (guarded && ANSWER.test(data)) return;
      for (let from = 0, to; from < data.length; from = to) {
        to = from + INPUT_UNITS;
        // Both halves of a character go together.
        if (/[\ud800-\udbff]/.test(data[to - 1])) to += 1;
        sendMessage({ type: 'input', data: data.slice(from, to) });
      }
    },
    typeBytes: (data) => send(Uint8Array.from(data, (char) => char.charCodeAt(0))),
    destroy() {
      over = true;
      unsubscribe();
      drop();
    },
  };
}

// Grey, and not dim, which xterm makes paler than its least contrast.
const dimLine = (text, lead) => `${lead}\x1b[0;90m[${text}]\x1b[0m`;

// --- the view ---

const CHORDS = {
  'C-F6': 'leave',
  'C-S-c': 'copy',
  'M-c': 'copy',
  'C-S-v': 'paste',
  'C-S-f': 'find',
  'M-f': 'find',
  'C-=': 'larger',
  'C-+': 'larger',
  'C-S-+': 'larger',
  'M-=': 'larger',
  'C--': 'smaller',
  'M--': 'smaller',
  'C-0': 'normal',
  'M-0': 'normal',
};

function chordOf({ ctrlKey, shiftKey, altKey, metaKey, key }) {
  const modifiers = (ctrlKey ? 'C-' : '') + (altKey ? 'A-' : '') + (shiftKey ? 'S-' : '') + (metaKey ? 'M-' : '');
  return modifiers + (key.length === 1 ? key.toLowerCase() : key);
}

const sameSize = (a, b) => a.cols === b.cols && a.rows === b.rows;

function openLink(event, uri) {
  if (event.ctrlKey || event.metaKey) window.open(uri, '_blank', 'noopener,noreferrer');
}

export async function createTerminal(process, { onProcess, onLeave }) {
  const [{ Terminal }, { FitAddon }, { Unicode11Addon }, { WebLinksAddon }] = await loadLibraries();
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const term = new Terminal({
    // For the widths of characters.
    allowProposedApi: true,
    cursorBlink: !calm,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'),
    fontSize: setting('fontSize'),
    linkHandler: { activate: openLink },
    minimumContrastRatio: 4.5,
    screenReaderMode: setting('screenReader'),
    scrollback: SCROLLBACK_LINES,
  });
  const fit = new FitAddon();
  const find = createFind(term);
  let readOnly = false;
  // The token may only read.
  let denied = false;
  let ended = false;
  // Of the process's terminal.
  let size = null;
  // As `ready` said it.
  let greetedSize = null;
  let sizing = false;
  let connected = false;
  let sizedAt = 0;
  let nudge = 0;
  let flashTimer = 0;
  let noticeTimer = 0;
  let fitTimer = 0;
  let wantsFocus = false;

  // --- parts ---

  const status = h('span', { testid: 'term-status' });
  const sizeText = h('span', { class: 'muted', testid: 'term-size' });
  const hint = h('span', { class: 'muted terminal-hint', id: uniqueId('hint') }, 'Ctrl+F6 leaves the terminal');
  const readOnlyButton = toggleButton('Read-only', false, setReadOnly, { title: 'Send nothing to the process' });
  const ctrlKeyButton = toggleButton('Ctrl', false, () => {}, { onmousedown: keepFocus });
  const pane = h('div', { class: 'terminal-pane', testid: 'term' });
  const notice = h('p', { class: 'terminal-notice', hidden: true });
  const flash = h('p', { class: 'terminal-flash', 'aria-hidden': 'true', hidden: true });
  const button = (label, onclick, title) =>
    h('button', { type: 'button', title, 'aria-label': title && `${label} ${title}`, onclick }, label);
  const element = h(
    'div',
    { class: 'view terminal' },
    h(
      'div',
      { class: 'toolbar', testid: 'toolbar' },
      h('p', { class: 'terminal-facts' }, status, sizeText, hint),
      h(
        'div',
        { class: 'terminal-buttons' },
        button('Find', find.open, 'Ctrl+Shift+F'),
        copyButton('Copy', () => term.getSelection() || screenText(term), { title: 'The selection, or what is seen' }),
        readOnlyButton,
        button('A−', () => perform('smaller'), 'Smaller text'),
        button('A+', () => perform('larger'), 'Larger text'),
        document.fullscreenEnabled && button('Full screen', toggleFullScreen),
      ),
    ),
    h('div', { class: 'terminal-frame' }, pane, h('div', { class: 'terminal-over' }, find.element, notice), flash),
    h(
      'div',
      { class: 'terminal-keys', role: 'group', 'aria-label': 'Keys' },
      phoneKey('Esc', () => '\x1b'),
      phoneKey('Tab', () => '\t'),
      ctrlKeyButton,
      [
        ['←', 'D', 'Left'],
        ['↓', 'B', 'Down'],
        ['↑', 'A', 'Up'],
        ['→', 'C', 'Right'],
      ].map(([label, letter, name]) =>
        phoneKey(label, () => (term.modes.applicationCursorKeysMode ? '\x1bO' : '\x1b[') + letter, name),
      ),
    ),
  );

  function keepFocus(event) {
    // Else the keyboard of a phone goes away.
    event.preventDefault();
  }

  function phoneKey(label, keys, name) {
    return h(
      'button',
      { type: 'button', 'aria-label': name, onmousedown: keepFocus, onclick: () => term.input(keys()) },
      label,
    );
  }

  function toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else element.requestFullscreen();
    term.focus();
  }

  // --- what is said ---

  function showNotice(text) {
    clearTimeout(noticeTimer);
    notice.hidden = text === null;
    setText(notice, text ?? '');
  }

  function showBriefly(text) {
    showNotice(text);
    announce(text);
    noticeTimer = setTimeout(() => showNotice(null), 6000);
  }

  function showRetry(retryAt) {
    const left = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    showNotice(`Disconnected, retrying in ${left} s - Enter to retry now`);
    noticeTimer = setTimeout(() => showRetry(retryAt), 500);
  }

  function showState(state, retryAt) {
    if (ended) return;
    if (state === 'disconnected' && status.textContent === 'connected') announce('Terminal disconnected');
    setText(status, state);
    if (retryAt !== undefined) showRetry(retryAt);
    else if (state !== 'connecting') showNotice(null);
  }

  function showSize() {
    const text = `${term.cols}x${term.rows}`;
    const room = fit.proposeDimensions();
    const fits = !room || sameSize(room, term);
    pane.classList.toggle('letterbox', !fits);
    setText(sizeText, fits || ended || sizing ? text : `sized by another viewer ${text}`);
    sizeText.title = sizeText.textContent;
  }

  function showFlash() {
    setText(flash, `${term.cols} x ${term.rows}`);
    flash.hidden = false;
    clearTimeout(flashTimer);
    flashTimer = setTimeout(() => {
      flash.hidden = true;
    }, 1000);
  }

  // --- size ---

  const maySize = () => connection.isLive() && !ended && !readOnly && document.hasFocus() && !document.hidden;

  function sendSize(to) {
    clearTimeout(nudge);
    nudge = 0;
    size = to;
    sizedAt = Date.now();
    connection.resize(to);
  }

  // Whether a size was sent.
  function applySize() {
    const room = fit.proposeDimensions();
    const sends = sizing && room !== undefined && maySize() && !sameSize(room, size);
    if (sends) {
      term.resize(room.cols, room.rows);
      // The first size is no news.
      if (sizedAt > 0) showFlash();
      sendSize({ cols: room.cols, rows: room.rows });
    }
    showSize();
    return sends;
  }

  function claimSize() {
    if (sizing || !maySize()) return;
    sizing = true;
    applySize();
  }

  // Another window may have set a size meanwhile, and no message tells: ours is said again.
  function onWindowFocus() {
    if (!maySize()) return;
    sizing = true;
    if (!applySize()) connection.resize(size);
  }

  function followSize({ cols, rows }) {
    size = { cols, rows };
    if (!sameSize(size, term)) term.resize(cols, rows);
    showSize();
  }

  // Programs draw all anew only for a size that differs. The terminal takes it too: that ends a scroll
  // region of the size in which the output was written, which programs rely on after a change of size.
  function redraw() {
    const whole = size;
    const less = { cols: whole.cols, rows: Math.max(1, whole.rows - 1) };
    term.resize(less.cols, less.rows);
    sendSize(less);
    size = whole;
    nudge = setTimeout(() => {
      term.resize(whole.cols, whole.rows);
      sendSize(whole);
    }, 150);
  }

  // --- connection ---

  const connection = createConnection(process.id, term, {
    state: showState,
    refused: onRefused,
    ready(message, again) {
      if (again && !sameSize(message, size)) sizing = false;
      greetedSize = message;
      followSize(message);
    },
    // A replay from the beginning is exact for a shell, which is left in peace. One that was cut lacks
    // what was drawn and switched on before, and a full screen may have been drawn in another size.
    replayed(cut, again) {
      sizing ||= maySize() && !connected;
      connected = true;
      const stale = cut || (!again && term.buffer.active.type === 'alternate');
      if (!applySize() && stale && sizing && maySize()) redraw();
    },
    exit: onExit,
  });
  function onRefused(text) {
    if (ended) return;
    const first = !denied;
    denied ||= text.startsWith('permission denied');
    if (!denied || first) showBriefly(denied ? 'This token may only read' : `The server refused: ${text}`);
    if (!denied || !first) return;
    readOnlyButton.disabled = true;
    setPressed(readOnlyButton, true);
    setReadOnly(true);
    sizing = false;
    followSize(greetedSize);
  }

  async function onExit(exitCode) {
    ended = true;
    showNotice(null);
    const record = await store.load(process.id).catch(() => ({ ...process, exitCode }));
    const end = endOf(record);
    setText(status, end);
    readOnlyButton.hidden = true;
    element.querySelector('.terminal-keys').hidden = true;
    const { type, cursorX } = term.buffer.active;
    // A full-screen program that was killed leaves its screen: one line up, the mouse is ours again.
    const lead = type === 'alternate' ? '\x1b[r\x1b[999H\r\n' : cursorX > 0 ? '\r\n' : '';
    term.write(`${dimLine(end, lead)}\x1b[?25l\x1b[?1000l\x1b[?1002l\x1b[?1003l`);
    term.options.disableStdin = true;
    showSize();
    onProcess(record);
  }

  // --- keys and paste ---

  function setReadOnly(on) {
    readOnly = on || denied;
    term.options.disableStdin = readOnly;
    if (readOnly) return;
    sizing ||= maySize();
    applySize();
  }

  function type(data) {
    // Of several viewers one answers.
    if (readOnly || ended || (!sizing && ANSWER.test(data))) return;
    const code = data.length === 1 ? data.toUpperCase().charCodeAt(0) : 0;
    const withCtrl = code >= 63 && code < 96 && ctrlKeyButton.getAttribute('aria-pressed') === 'true';
    if (withCtrl) setPressed(ctrlKeyButton, false);
    connection.type(withCtrl ? String.fromCharCode(code & 31) : data);
  }

  function setFontSize(points) {
    changeSetting('fontSize', Math.min(32, Math.max(8, points)));
  }

  function perform(action) {
    if (action === 'leave') onLeave();
    else if (action === 'copy') copyText(term.getSelection());
    else if (action === 'find') find.open();
    else setFontSize({ larger: setting('fontSize') + 1, smaller: setting('fontSize') - 1, normal: FONT_SIZE }[action]);
  }

  function actionOf(event) {
    const chord = chordOf(event);
    // There Ctrl+C is what copies everywhere, when there is something to copy.
    if (WINDOWS && chord === 'C-c' && term.hasSelection()) return 'copy';
    if (WINDOWS && chord === 'C-v') return 'paste';
    return CHORDS[chord];
  }

  // false: not for xterm. Shift+Tab is a key of programs like any other; where nothing is sent, Tab
  // leaves.
  function onKey(event) {
    if (event.type !== 'keydown' || event.isComposing) return true;
    const action = actionOf(event);
    // By the browser, which then sends a paste event.
    if (action === 'paste') return false;
    if (action === undefined && event.key === 'Enter' && connection.isWaiting()) connection.connect();
    else if (action === undefined) return !(event.key === 'Tab' && (readOnly || ended));
    else if (action !== 'copy' || term.hasSelection()) perform(action);
    event.preventDefault();
    return false;
  }

  async function onPaste(event) {
    const text = event.clipboardData.getData('text/plain');
    if (readOnly || ended || term.modes.bracketedPasteMode || !/[\r\n]+[^\r\n]/.test(text)) return;
    event.preventDefault();
    event.stopPropagation();
    const lines = text.trimEnd().split(/\r\n?|\n/).length;
    if (await confirmDialog(`Paste ${lines} lines? The program may run each of them at once.`, 'Paste'))
      term.paste(text);
    term.focus();
  }

  // --- life ---

  const applyTheme = () =>
    requestAnimationFrame(() => {
      term.options.theme = themeOf(element);
    });
  const darkness = matchMedia('(prefers-color-scheme: dark)');
  const unsubscribe = onSetting((name, value) => {
    if (name === 'theme') applyTheme();
    if (name !== 'fontSize') return;
    term.options.fontSize = value;
    applySize();
  });

  // Once there is room: xterm measures its font when it is opened.
  function open() {
    term.options.theme = themeOf(element);
    term.open(pane);
    term.loadAddon(fit);
    term.loadAddon(new Unicode11Addon());
    term.unicode.activeVersion = '11';
    term.loadAddon(
      new WebLinksAddon(openLink, {
        hover: (event, uri) => {
          pane.title = `${uri}\nCtrl+click opens it`;
        },
        leave: () => {
          pane.title = '';
        },
      }),
    );
    term.textarea.setAttribute('aria-label', `Terminal: ${commandLine(process)}`);
    term.textarea.setAttribute('aria-describedby', hint.id);
    term.attachCustomKeyEventHandler(onKey);
    term.onData(type);
    term.onBinary((data) => {
      if (!readOnly && !ended) connection.typeBytes(data);
    });
    pane.addEventListener('paste', onPaste, true);
    // xterm ends the way of what it takes.
    for (const name of ['focusin', 'pointerdown', 'keydown', 'input']) pane.addEventListener(name, claimSize, true);
    if (wantsFocus) term.focus();
    connection.connect();
  }

  const observer = new ResizeObserver(() => {
    if (pane.clientHeight === 0) return;
    if (!term.element) open();
    clearTimeout(fitTimer);
    fitTimer = setTimeout(applySize, 100);
  });
  observer.observe(pane);
  darkness.addEventListener('change', applyTheme);
  addEventListener('focus', onWindowFocus);
  if (new URLSearchParams(location.search).has('test')) window.__ui = { ...window.__ui, term };

  return {
    element,
    // A record with cols and rows tells of a size that another viewer set; one that was asked for
    // before ours arrived does not count.
    update({ cols, rows }) {
      if (cols === undefined || !connection.isLive() || Date.now() - sizedAt < 3000 || sameSize({ cols, rows }, size))
        return;
      sizing = false;
      followSize({ cols, rows });
    },
    command(name) {
      if (name === 'search') find.open();
      else if (name === 'end') term.scrollToBottom();
      else if (find.element.hidden) return false;
      else if (name === 'escape') find.close();
      else if (name === 'next' || name === 'previous') find.find(name === 'next' ? 1 : -1);
      else return false;
      return true;
    },
    focus() {
      wantsFocus = true;
      if (term.element) term.focus();
    },
    destroy() {
      if (nudge) sendSize(size);
      for (const timer of [nudge, flashTimer, noticeTimer, fitTimer]) clearTimeout(timer);
      observer.disconnect();
      darkness.removeEventListener('change', applyTheme);
      removeEventListener('focus', onWindowFocus);
      unsubscribe();
      connection.destroy();
      term.dispose();
    },
  };
}
