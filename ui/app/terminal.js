// terminal.js - a terminal process in xterm.js; loaded when the first one is opened.
//
// The view: the terminal with its toolbar, the keys that a phone lacks, sizes, shortcuts and paste. Output
// and input go through terminal_connection.js, which says what happens in its place among the output: when
// `ready`, `replayed` or `exit` is called, the terminal shows all of before and nothing of after.
//
// - The process has one size, its viewers many. A page that has the focus sets it, others show the
//   process's size in what room they have. `sizing`: the last size known was set by this page.
// - What is typed goes to the process unless the view is read-only or the process has ended; what a
//   terminal answers goes only where `sizing` is true, since of several viewers one answers.
import { announce, coarsePointer, copyButton, copyText, h, loadStyle, setPressed, setText, toggleButton, uniqueId } from './dom.js';
import { commandLine, endOf } from './format.js';
import { changeSetting, onSetting, setting } from './settings.js';
import { store } from './store.js';
import { ANSWER, createConnection, dimLine } from './terminal_connection.js';
import { createFind, wholeLines } from './terminal_find.js';

// A replay is about as much, see terminal_connection.js.
const SCROLLBACK_LINES = 10000;
const FONT_SIZE = 13;
// So long the list may tell of a size before ours.
const REPORT_MS = 3000;
const WINDOWS = /^win/i.test(navigator.platform);

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

// --- the view ---

function screenText({ buffer: { active }, rows }) {
  const lines = [...wholeLines(active, active.viewportY, active.viewportY + rows)];
  return lines
    .map(({ text }) => text.trimEnd())
    .join('\n')
    .trimEnd();
}

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

export async function createTerminal(process, { onLeave }) {
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
  let reportTimer = 0;
  let reported = process;
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
    h('button', { title, 'aria-label': title && `${label} ${title}`, onclick }, label);
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
      ].map(([label, letter, name]) => phoneKey(label, () => arrowKey(letter), name)),
    ),
  );

  function keepFocus(event) {
    // Else the keyboard of a phone goes away.
    event.preventDefault();
  }

  function phoneKey(label, keys, name) {
    return h('button', { 'aria-label': name, onmousedown: keepFocus, onclick: () => term.input(keys()) }, label);
  }

  const arrowKey = (letter) => (term.modes.applicationCursorKeysMode ? '\x1bO' : '\x1b[') + letter;

  // xterm.js leaves touches alone. On a full screen, which has nothing to go back to, they are arrow keys.
  let touched = 0;
  function onTouch({ type: event, touches: [{ clientY }] }) {
    const height = pane.clientHeight / term.rows;
    const lines = event === 'touchmove' ? Math.trunc((touched - clientY) / height) : 0;
    touched = event === 'touchmove' ? touched - lines * height : clientY;
    if (lines === 0) return;
    if (term.buffer.active.type === 'normal') term.scrollLines(lines);
    else term.input(arrowKey(lines > 0 ? 'B' : 'A').repeat(Math.abs(lines)));
  }

  // Above the keyboard of a phone.
  function showWhole() {
    if (coarsePointer.matches && pane.contains(document.activeElement)) element.scrollIntoView({ block: 'end' });
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
    setText(sizeText, fits || ended || sizing || readOnly ? text : `sized by another viewer ${text}`);
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

  function followReport() {
    const { cols, rows } = reported;
    if (cols === undefined || !connection.isLive() || sameSize({ cols, rows }, size)) return;
    sizing = false;
    followSize({ cols, rows });
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
      showSize();
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
    const record = await store.load(process.id).catch(() => ({ exitCode }));
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
    if (
      await (
        await import('./confirm.js')
      ).confirmDialog(`Paste ${lines} lines? The program may run each of them at once.`, 'Paste')
    )
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
    pane.addEventListener('focusin', showWhole);
    for (const name of ['touchstart', 'touchmove']) pane.addEventListener(name, onTouch, { passive: true });
    // xterm ends the way of what it takes.
    for (const name of ['focusin', 'pointerdown', 'keydown', 'input']) pane.addEventListener(name, claimSize, true);
    if (wantsFocus) term.focus();
    connection.connect();
  }

  const observer = new ResizeObserver(() => {
    if (pane.clientHeight === 0) return;
    if (!term.element) open();
    showWhole();
    clearTimeout(fitTimer);
    fitTimer = setTimeout(applySize, 100);
  });
  observer.observe(pane);
  darkness.addEventListener('change', applyTheme);
  addEventListener('focus', onWindowFocus);
  if (new URLSearchParams(location.search).has('test')) window.__ui = { ...window.__ui, term };

  return {
    element,
    // A record with cols and rows tells of a size that another viewer set. One that was asked for before
    // ours arrived does not count; by the time it does, a later one has taken its place.
    update(record) {
      reported = record;
      clearTimeout(reportTimer);
      reportTimer = setTimeout(followReport, Math.max(0, sizedAt + REPORT_MS - Date.now()));
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
      for (const timer of [nudge, flashTimer, noticeTimer, fitTimer, reportTimer]) clearTimeout(timer);
      observer.disconnect();
      darkness.removeEventListener('change', applyTheme);
      removeEventListener('focus', onWindowFocus);
      unsubscribe();
      connection.destroy();
      term.dispose();
    },
  };
}
