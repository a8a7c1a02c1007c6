// detail.js - one process: what it is, what can be done to it, and its output, terminal and record.
//
// The record comes from the store; a link may be to a process that the list does not have yet, so
// that one is asked for by itself before it is said to be gone. A tab's view lives as long as it is
// shown; changes of the record are handed to it.
import { STILL_RUNNING, actionOf, forgetAction, kill, onAction, remove, runAgain, stop } from './actions.js';
import { apiUrl, hasToken, serverNow } from './api.js';
import { announce, coarsePointer, copyButton, errorLine, h, replaceChildren, setAttribute, setText } from './dom.js';
import { commandLine, endOf, formatAge, formatDuration, lifetimeOf, shownCommand, statusOf } from './format.js';
import { createLogView } from './log_view.js';
import { store } from './store.js';

const TABS = [
  ['output', 'Output'],
  ['terminal', 'Terminal'],
  ['info', 'Info'],
];
const TERMINAL_BUILT_IN = document.querySelector('meta[name=terminal]')?.content !== 'none';

function createNoticeView(text, more) {
  const element = h('div', { class: 'view' }, h('div', { class: 'empty', role: 'alert' }, h('p', null, text), more));
  return { element, failed: true, update() {}, command: () => false, focus() {}, destroy() {} };
}

// In the place of a part of the page that did not come. After an upgrade, an old page may ask for files
// that the server has no more.
export async function createMissingView() {
  await store.refresh();
  if (store.connection !== 'connected') return createNoticeView('This comes when the server is back.');
  const reload = h('button', { onclick: () => location.reload() }, 'Reload');
  return createNoticeView('A part of this page is missing: the server has a newer one.', reload);
}

// Nothing has the focus, and taking it does not open a keyboard over half of the screen.
function isFocusFree() {
  return document.activeElement === document.body && !coarsePointer.matches;
}

async function loadTerminal(process, options) {
  if (!TERMINAL_BUILT_IN) {
    return createNoticeView(
      'This server was built without the terminal.',
      h('p', { class: 'muted' }, `Its WebSocket is there: /v1/processes/${process.id}/terminal/ws`),
    );
  }
  try {
    return await (await import('./terminal.js')).createTerminal(process, options);
  } catch {
    return createMissingView();
  }
}

// A term and its value, in one place.
function createFact(name, properties) {
  const value = h('dd', properties);
  const element = h('div', { class: 'fact' }, h('dt', null, name), value);
  return {
    element,
    set(text, title) {
      element.hidden = text === null;
      setText(value, text ?? '');
      setAttribute(value, 'title', title);
    },
  };
}

// changeRoute(parts): replaces what is given of {tab, query} in the address.
export function createDetail({ changeRoute, leave }) {
  let id = null;
  let process = null;
  let lookup = null; // of a record that is not in the list: null, 'asking' or 'gone'
  let wantedTab = null; // by the address; null: what suits the process
  let tab = null; // the one whose view is open, or being loaded
  let query = '';
  let view = null;
  let viewSerial = 0;
  let focusWanted = false; // into the view, once it is there

  const heading = h('h1', { class: 'command', tabindex: '-1' });
  const status = h('span', { class: 'badge', testid: 'status' });
  const facts = {
    end: createFact('End'),
    pid: createFact('pid'),
    cwd: createFact('Directory', { class: 'mono' }),
    created: createFact('Started'),
    lifetime: createFact('Ran'),
    input: createFact('Input lost'),
    note: createFact('Note'),
    id: createFact('id', { class: 'mono' }),
  };
  // Not disabled, which would take the focus away.
  const usable = (action) => (event) => event.currentTarget.ariaDisabled === 'true' || action(process);
  const buttons = {
    stop: h('button', { testid: 'stop', onclick: usable(stop) }, 'Stop'),
    kill: h('button', { class: 'danger', testid: 'kill', onclick: usable(kill) }, 'Kill'),
    rerun: h('button', { testid: 'rerun', onclick: () => runAgain(process) }, 'Run again'),
    remove: h('button', { class: 'danger', testid: 'delete', onclick: usable(remove) }, 'Delete'),
  };
  const error = errorLine({ testid: 'action-error' });
  const killNow = h('button', { class: 'danger', testid: 'kill-now', onclick: usable(kill) }, 'Kill');
  const stillRunning = h(
    'div',
    { class: 'bar', role: 'alert', hidden: true },
    h('span', { title: STILL_RUNNING }, STILL_RUNNING),
    killNow,
  );
  const tabs = new Map(
    TABS.map(([name, label]) => [
      name,
      h(
        'button',
        {
          role: 'tab',
          id: `tab-${name}`,
          testid: `tab-${name}`,
          'aria-controls': 'tab-panel',
          onclick: () => changeRoute({ tab: name, query: '' }),
        },
        label,
      ),
    ]),
  );
  const panel = h('div', { class: 'panel', role: 'tabpanel', id: 'tab-panel' });
  const body = h(
    'div',
    { class: 'detail-body' },
    h(
      'header',
      { class: 'detail-head' },
      h(
        'div',
        { class: 'title' },
        heading,
        copyButton('Copy', () => commandLine(process), { class: 'quiet', 'aria-label': 'Copy command' }),
      ),
      h(
        'div',
        { class: 'facts' },
        status,
        h(
          'dl',
          null,
          Object.values(facts).map(({ element }) => element),
        ),
      ),
      h(
        'div',
        { class: 'toolbar' },
        Object.values(buttons),
        h(
          'span',
          { class: 'copies' },
          copyButton('Copy id', () => process.id, { class: 'quiet' }),
          copyButton('Copy as curl', () => copiedCurl(), { class: 'quiet', testid: 'copy-curl' }),
        ),
      ),
    ),
    error,
    h(
      'div',
      { class: 'tabs' },
      h('div', { role: 'tablist', 'aria-label': 'Views', onkeydown: onTabKey }, [...tabs.values()]),
      stillRunning,
    ),
    panel,
  );
  const gone = h('div', { class: 'empty', testid: 'gone', role: 'alert', tabindex: '-1', hidden: true });
  const element = h('section', { class: 'detail', testid: 'detail', 'aria-label': 'Process' }, body, gone);

  const copiedCurl = async () => {
    const { curlOf, createBodyOf } = await import('./curl.js');
    return curlOf('POST', apiUrl('processes'), createBodyOf(process), hasToken());
  };

  function onTabKey(event) {
    const names = [...tabs.keys()].filter((name) => !tabs.get(name).hidden);
    const at = names.indexOf(tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const name = names.at(to % names.length);
    changeRoute({ tab: name, query: '' });
    tabs.get(name).focus();
  }

  function closeView() {
    viewSerial += 1;
    view?.destroy();
    view = null;
    tab = null;
    replaceChildren(panel);
  }

  async function openView() {
    const serial = viewSerial;
    const options = {
      onProcess: (record) => store.put(record),
      onLeave: () => tabs.get(tab).focus(),
      query,
      onQuery: (text) => changeRoute({ query: text }),
    };
    let next;
    if (tab === 'info') next = (await import('./info_view.js')).createInfoView(process);
    else if (tab === 'output') next = createLogView(process, options);
    else next = await loadTerminal(process, options);
    // Loading takes a while, and the person may be elsewhere by then.
    if (serial !== viewSerial) {
      next.destroy();
      return;
    }
    view = next;
    replaceChildren(panel, view.element);
    view.update(process);
    if (focusWanted || (tab === 'terminal' && isFocusFree())) view.focus();
    focusWanted = false;
  }

  function showTab(wanted) {
    const fallback = process.tty && TERMINAL_BUILT_IN ? 'terminal' : 'output';
    const name = wanted === null || (wanted === 'terminal' && !process.tty) ? fallback : wanted;
    if (name === tab) return;
    closeView();
    tab = name;
    for (const [other, button] of tabs) {
      setAttribute(button, 'aria-selected', String(other === tab));
      button.tabIndex = other === tab ? 0 : -1;
    }
    setAttribute(panel, 'aria-labelledby', `tab-${tab}`);
    tabs.get('terminal').hidden = !process.tty;
    openView();
  }

  function showStatus() {
    const { kind, shape, word } = statusOf(process);
    const before = status.dataset.kind;
    if (status.dataset.word === word) return;
    status.dataset.word = word;
    status.dataset.kind = kind;
    replaceChildren(status, h('span', { 'aria-hidden': 'true' }, `${shape} `), word);
    if (before === 'running' && kind !== 'running') announce(`${process.id} ${endOf(process)}`);
  }

  function showFacts(now) {
    const running = process.status === 'running';
    const at = (ms) => new Date(ms).toLocaleString();
    facts.end.set(process.exitSignal ?? null, process.coreDumped ? 'core dumped' : null);
    facts.pid.set(process.pid === undefined ? null : String(process.pid));
    facts.cwd.set(process.cwd ?? null, process.cwd);
    facts.created.set(`${formatAge(now - process.createdAtMs)} ago`, at(process.createdAtMs));
    facts.lifetime.set(
      running ? null : formatDuration(lifetimeOf(process)),
      running ? null : `until ${at(process.exitedAtMs)}`,
    );
    facts.input.set(process.inputBytesDropped ? `${process.inputBytesDropped} bytes` : null);
    facts.note.set(process.exitNote ?? null);
    facts.id.set(process.id);
  }

  function showActions() {
    const running = process.status === 'running';
    const { pending, error: text, stillRunning: still } = actionOf(id);
    const free = store.connection === 'connected' && pending === null;
    setText(buttons.remove, running ? 'Kill and delete' : 'Delete');
    setText(buttons.stop, pending === 'stop' ? 'Stopping…' : 'Stop');
    // In their places also where they mean nothing, so that none comes to be under a pointer in its stead.
    for (const button of [buttons.stop, buttons.kill, killNow])
      setAttribute(button, 'aria-disabled', String(!free || !running));
    setAttribute(buttons.remove, 'aria-disabled', String(!free));
    if (error.textContent !== (text ?? '')) error.show(text);
    stillRunning.hidden = !(still && running);
  }

  function showProcess() {
    body.hidden = false;
    gone.hidden = true;
    setText(heading, shownCommand(process));
    heading.title = heading.textContent;
    showStatus();
    showFacts(serverNow());
    showActions();
    const { shape, word } = statusOf(process);
    document.title =
      process.status === 'running'
        ? `${shape} ${process.command} (${id})`
        : `${shape} ${word} ${process.command} (${id})`;
  }

  function showGone() {
    closeView();
    process = null;
    body.hidden = true;
    gone.hidden = false;
    replaceChildren(
      gone,
      h('h1', null, `Process ${id} no longer exists`),
      h('p', { class: 'muted' }, 'It was deleted, or the server was started anew without its records.'),
      h('p', null, h('a', { href: '#/' }, 'All processes')),
    );
    document.title = `${id} is gone`;
    // What is being typed into a terminal that goes away must not become commands.
    if (document.activeElement === document.body) gone.focus();
  }

  // A process that the list does not have, or not yet.
  async function lookFor() {
    const wanted = id;
    lookup = 'asking';
    try {
      await store.load(wanted);
    } catch (failure) {
      if (wanted !== id) return;
      lookup = failure.status === 404 ? 'gone' : null;
      if (lookup === 'gone') showGone();
    }
  }

  // back: the server answers again.
  function update(back) {
    if (id === null) return;
    const record = store.processes.get(id);
    if (record === undefined) {
      if (store.deleted.has(id)) leave();
      else if (store.connection === 'connected' && lookup === null) lookFor();
      else if (process !== null) showActions();
      return;
    }
    // A server that was started anew without its records gives ids again.
    if (process !== null && process.createdAtMs !== record.createdAtMs) reset(id);
    if (back && view?.failed) closeView();
    const news = record !== process;
    process = record;
    lookup = null;
    showProcess();
    if (tab === null) showTab(wantedTab);
    else if (news) view?.update(process);
  }

  onAction((changed) => {
    if (changed === id && process !== null) showActions();
  });
  body.hidden = true;

  function reset(nextId) {
    closeView();
    focusWanted = false;
    forgetAction(id);
    id = nextId;
    process = null;
    lookup = null;
    delete status.dataset.word;
    delete status.dataset.kind;
    body.hidden = gone.hidden = stillRunning.hidden = true;
    error.show(null);
  }

  return {
    element,
    // route: {id, tab or null, query}
    show(route) {
      query = route.query;
      wantedTab = route.tab;
      if (route.id !== id) reset(route.id);
      if (process === null) update();
      else showTab(wantedTab);
      view?.setQuery?.(query);
    },
    hide: () => reset(null),
    update,
    tick: (now) => {
      if (process !== null && !body.hidden) showFacts(now);
    },
    command(name) {
      if (process === null) return false;
      const running = process.status === 'running' && store.connection === 'connected';
      if (name === 'output' || name === 'info' || (name === 'terminal' && process.tty))
        changeRoute({ tab: name, query: '' });
      else if (name === 'stop' && running) stop(process, true);
      else if (name === 'kill' && running) kill(process);
      else if (view?.command(name)) return true;
      else if (name === 'escape') leave();
      else return false;
      return true;
    },
    focus() {
      focusWanted = view === null;
      if (focusWanted) heading.focus();
      else view.focus();
    },
  };
}
