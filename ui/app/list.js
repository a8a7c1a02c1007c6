// list.js - the list of processes at the left.
//
// Rows are kept by process id and changed in place, so that focus, selection and scroll position
// survive each poll. It is a listbox with roving focus; the selection is the route. The menu of a row
// opens by its dots, a right click, a long press, or the keyboard's menu key; the dots are for the
// mouse alone, since an option must not contain another control.
import { STILL_RUNNING, actionOf, onAction } from './actions.js';
import { serverNow } from './api.js';
import { errorLine, h, replaceChildren, setAttribute, setPressed, setText, toggleButton } from './dom.js';
import { commandLine, formatAge, shownCommand, statusOf } from './format.js';
import { changeSetting, setting } from './settings.js';
import { store } from './store.js';

function createRow(id, select) {
  const status = h('span', { class: 'status' });
  const age = h('span', { class: 'age' });
  const command = h('span', { class: 'command' });
  const tty = h('span', { class: 'tag' }, 'tty');
  const dots = h('span', { class: 'dots', 'aria-hidden': 'true', title: 'Actions' }, '⋯');
  const element = h(
    'div',
    { class: 'row', role: 'option', tabindex: '-1', id: `row-${id}`, testid: `row-${id}`, 'aria-selected': 'false' },
    h('span', { class: 'first' }, command, tty, dots),
    h('span', { class: 'second' }, status, age, h('span', { class: 'id' }, id)),
  );
  const row = { element, process: null, update, tick };

  function update(process) {
    if (row.process === process) return;
    row.process = process;
    const { kind, shape, word } = statusOf(process);
    const line = shownCommand(process);
    replaceChildren(status, h('span', { 'aria-hidden': 'true' }, `${shape} `), word);
    status.dataset.kind = kind;
    setText(command, line);
    element.title = line.slice(0, 1000);
    tty.hidden = !process.tty;
    tick(serverNow());
  }

  function tick(now) {
    const { status: state, createdAtMs, exitedAtMs } = row.process;
    setText(age, state === 'running' ? formatAge(now - createdAtMs) : `${formatAge(now - exitedAtMs)} ago`);
  }

  element.addEventListener('click', (event) => {
    if (event.target === dots) openRowMenu(row, event.clientX, event.clientY);
    else select(id, 'click');
  });
  element.addEventListener('contextmenu', (event) => {
    event.preventDefault();
    // From the keyboard it has no place of its own.
    const box = element.getBoundingClientRect();
    openRowMenu(row, event.clientX || box.left + 24, event.clientY || box.bottom - 8);
  });
  return row;
}

const openRowMenu = async (row, x, y) => (await import('./menu.js')).openRowMenu(row.process, x, y);

const CLEAR = 'Delete exited';

function matches(process, words) {
  const parts = [process.id, process.pid, commandLine(process), process.cwd, statusOf(process).word];
  const text = parts.join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}

// select(id, how): the person chose a process by 'click', 'step' or 'enter', which goes on in it.
export function createList({ select }) {
  const rows = new Map();
  let selected = null;
  let shown = []; // ids, in their order on the page

  const filter = h('input', {
    type: 'search',
    testid: 'filter',
    placeholder: 'Filter',
    'aria-label': 'Filter processes',
    autocomplete: 'off',
    spellcheck: 'false',
    oninput: update,
    onkeydown: (event) => {
      if (event.key === 'Escape') clearFilter();
      else if (event.key === 'ArrowDown') focusRow(shown.includes(selected) ? selected : shown[0]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
  });
  const runningOnly = toggleButton(
    'Running',
    setting('runningOnly'),
    (on) => {
      changeSetting('runningOnly', on);
      update();
    },
    { testid: 'running-only', title: 'Show running processes only' },
  );
  const counts = h('span', { class: 'counts' });
  const clear = h('button', { class: 'quiet', testid: 'clear-exited', onclick: clearExited }, CLEAR);
  const list = h('div', {
    class: 'rows',
    role: 'listbox',
    'aria-label': 'Processes',
    testid: 'list',
    onkeydown: onKey,
  });
  const note = h('div', { class: 'empty', testid: 'empty', hidden: true });
  const trouble = errorLine({ testid: 'list-error' });
  const element = h(
    'nav',
    { class: 'side', 'aria-label': 'Processes' },
    h(
      'div',
      { class: 'side-head' },
      h(
        'div',
        { class: 'toolbar one-row' },
        h('h2', null, 'Processes'),
        counts,
        h('span', { class: 'spacer' }),
        h('a', { class: 'button primary', href: '#/new', testid: 'new', 'aria-keyshortcuts': 'n' }, 'New'),
      ),
      h('div', { class: 'toolbar' }, filter, runningOnly),
    ),
    list,
    note,
    trouble,
    h(
      'div',
      { class: 'side-foot toolbar' },
      h(
        'button',
        {
          class: 'quiet',
          testid: 'refresh',
          onclick: () => store.refresh(),
        },
        'Refresh',
      ),
      h('span', { class: 'spacer' }),
      clear,
    ),
  );

  // Those that are shown: what the filter hides is nobody's choice.
  async function clearExited() {
    const { removeAll } = await import('./confirm.js');
    await removeAll(exited(), shown.length < store.processes.size, (text) => setText(clear, text ?? CLEAR));
  }

  const exited = () => shown.filter((id) => store.processes.get(id).status !== 'running');

  function clearFilter() {
    filter.value = '';
    changeSetting('runningOnly', false);
    setPressed(runningOnly, false);
    update();
    filter.focus();
  }

  function focusRow(id) {
    const row = rows.get(id);
    if (row === undefined) return;
    setFocusable(id);
    row.element.focus();
    row.element.scrollIntoView({ block: 'nearest' });
  }

  // The one row that Tab reaches.
  function setFocusable(id) {
    for (const [other, { element: row }] of rows) row.tabIndex = other === id ? 0 : -1;
  }

  function onKey(event) {
    const at = shown.indexOf(event.target.id.slice('row-'.length));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey || at < 0) return;
    if (event.key === 'Enter' || event.key === ' ') select(shown[at], 'enter');
    else if (to !== undefined) move(to);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function move(to) {
    const id = shown[Math.max(0, Math.min(to, shown.length - 1))];
    if (id === undefined) return;
    focusRow(id);
    select(id, 'step');
  }

  function showSelection() {
    for (const [id, row] of rows) setAttribute(row.element, 'aria-selected', String(id === selected));
    setFocusable(shown.includes(selected) ? selected : shown[0]);
  }

  function describeEmptiness() {
    const none = store.processes.size === 0;
    note.hidden = shown.length > 0 || !store.loaded;
    if (note.hidden) return;
    if (none) {
      replaceChildren(note, h('p', null, 'No processes yet'));
      return;
    }
    const what = filter.value.trim();
    replaceChildren(
      note,
      h('p', null, what ? `No process matches “${what}”` : 'No process is running'),
      h('button', { onclick: clearFilter }, 'Clear'),
    );
  }

  function placeRows() {
    const had = list.contains(document.activeElement) ? document.activeElement : null;
    const at = [...list.children].indexOf(had);
    const wanted = shown.map((id) => rows.get(id).element);
    const stay = new Set(wanted);
    // First what goes, then what comes, so that nothing else is moved.
    for (const row of [...list.children]) if (!stay.has(row)) row.remove();
    wanted.forEach((row, i) => {
      if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
    });
    if (had !== null && document.activeElement !== had)
      (had.isConnected ? had : (wanted[at] ?? wanted.at(-1)))?.focus({ preventScroll: true });
  }

  function update() {
    for (const id of rows.keys()) if (!store.processes.has(id)) rows.delete(id);
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let running = 0;
    shown = [];
    for (const [id, process] of store.processes) {
      if (!rows.has(id)) rows.set(id, createRow(id, select));
      rows.get(id).update(process);
      running += process.status === 'running';
      const wanted = !setting('runningOnly') || process.status === 'running';
      if (wanted && matches(process, words)) shown.unshift(id);
    }
    placeRows();
    showSelection();
    describeEmptiness();
    setText(counts, store.processes.size > 0 ? `${running}/${store.processes.size} running` : '');
    clear.hidden = exited().length === 0;
    clear.disabled = store.connection !== 'connected';
  }

  // What the detail does not show, because it shows another process.
  onAction((id) => {
    const { error, stillRunning } = actionOf(id);
    const text = error ?? (stillRunning ? STILL_RUNNING : null);
    trouble.show(text === null || id === selected ? null : `${id}: ${text}`);
    update();
  });
  return {
    element,
    update,
    tick: (now) => {
      for (const { process, tick } of rows.values()) if (process) tick(now);
    },
    focusFilter: () => {
      filter.focus();
      filter.select();
    },
    focus: () => focusRow(shown.includes(selected) ? selected : shown[0]),
    // by: +1 or -1. Moves the selection, and the focus if nothing else has it.
    move: (by) => {
      const at = shown.indexOf(selected);
      const id = shown[Math.max(0, Math.min(at < 0 ? 0 : at + by, shown.length - 1))];
      if (id === undefined) return;
      // A terminal that one passes by takes a free focus, and with it what is typed next.
      if (document.activeElement.matches('body, .row')) focusRow(id);
      else rows.get(id).element.scrollIntoView({ block: 'nearest' });
      select(id, 'step');
    },
    select: (id) => {
      if (id !== selected) trouble.show(null);
      selected = id;
      showSelection();
    },
  };
}
