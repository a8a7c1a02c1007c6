// terminal_find.js - finding text in a terminal: a field, and a search over the buffer of xterm.
//
// Each step searches all of the buffer anew, since output moves and changes its lines; what was found
// last, `current`, is a place from which to go on. The first search begins at the end, where one is looking.
//
// - A line is one as the program wrote it, so that what the terminal wrapped is found too.
// - Places are counted in characters (units of a string); only what is selected is counted in cells.
import { h, setText } from './dom.js';
import { setting } from './settings.js';

// Lines as the program wrote them: what the terminal wrapped is one line again.
export function* wholeLines(buffer, row, end) {
  while (row < end) {
    const first = row;
    let text = '';
    do text += buffer.getLine(row++).translateToString();
    while (buffer.getLine(row)?.isWrapped);
    yield { first, text };
  }
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

export function createFind(term) {
  const input = h('input', {
    type: 'search',
    placeholder: 'Find',
    'aria-label': 'Find in the terminal',
    spellcheck: 'false',
  });
  const count = h('span', { class: 'muted', role: 'status' });
  const button = (label, text, onclick) => h('button', { 'aria-label': label, title: label, onclick }, text);
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
