// main.js - the page: header, list, detail, and the route that says what is shown.
//
// Routes are fragments: #/, #/processes/ID[/logs|terminal|info][?q=...], #/new[?from=ID], #/run. The
// address is the one place where the choice is kept: everything that chooses changes it, and
// showRoute() makes the page follow.
import { serverNow } from './api.js';
import { createDetail, createMissingView } from './detail.js';
import { coarsePointer, h, loadStyle, replaceChildren, setAttribute, setText } from './dom.js';
import { formatClock } from './format.js';
import { listenToKeys } from './keys.js';
import { createList } from './list.js';
import { changeSetting, onSetting, setting } from './settings.js';
import { store } from './store.js';
import { takeTokenFromAddress } from './token.js';

const TAB_OF_PATH = { logs: 'output', terminal: 'terminal', info: 'info' };
const PATH_OF_TAB = { output: '/logs', terminal: '/terminal', info: '/info' };
const STEP_MS = 60; // between two steps through the list nothing is opened
const CONNECTIONS = {
  connecting: ['◌', 'Connecting'],
  connected: ['●', 'Connected'],
  unreachable: ['✕', 'Not reachable'],
  refused: ['!', 'Token needed'],
};

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readRoute() {
  const [path, parameters = ''] = location.hash.slice(1).split(/\?(.*)/s);
  const [, name, id, tab] = path.split('/');
  const query = new URLSearchParams(parameters);
  if (name === 'processes' && id)
    return { page: 'process', id: decoded(id), tab: TAB_OF_PATH[tab] ?? null, query: query.get('q') ?? '' };
  if (name === 'new') return { page: 'new', from: query.get('from') };
  if (name === 'run') return { page: 'run' };
  return { page: 'list' };
}

function processAddress(id, tab, query) {
  const search = query ? `?q=${encodeURIComponent(query)}` : '';
  return `#/processes/${encodeURIComponent(id)}${PATH_OF_TAB[tab] ?? ''}${search}`;
}

function applyTheme() {
  const theme = setting('theme');
  setAttribute(document.documentElement, 'data-theme', theme === 'auto' ? null : theme);
}

function createThemeButton() {
  const order = ['auto', 'light', 'dark'];
  const label = () => `Theme: ${setting('theme')}`;
  const button = h(
    'button',
    {
      class: 'quiet',
      testid: 'theme',
      onclick: () => changeSetting('theme', order[(order.indexOf(setting('theme')) + 1) % order.length]),
    },
    label(),
  );
  onSetting((name) => {
    if (name !== 'theme') return;
    setText(button, label());
    applyTheme();
  });
  return button;
}

function createWelcome() {
  const some = [
    h('h1', null, 'No process selected'),
    h('p', { class: 'muted' }, 'Choose one at the left, or press ', h('kbd', null, '?'), ' for the keys.'),
  ];
  const element = h('section', { class: 'empty welcome' });
  let wasEmpty = null;
  return {
    element,
    async update(back) {
      const isEmpty = store.processes.size === 0;
      if (!store.loaded || (isEmpty === wasEmpty && !back)) return;
      wasEmpty = isEmpty;
      const content = isEmpty
        ? await import('./first_steps.js')
            .then((part) => part.firstSteps())
            .catch(async () => (await createMissingView()).element)
        : some;
      if (isEmpty === wasEmpty) replaceChildren(element, content);
    },
  };
}

function createConnectionBar(openToken) {
  const text = h('span');
  const button = h('button');
  const element = h('div', { class: 'bar', testid: 'connection-bar', role: 'status', hidden: true }, text, button);
  let missing = null; // of this page: a part, since the server 'waits' or is 'newer'
  button.addEventListener('click', () => {
    if (store.connection === 'refused') openToken();
    else if (store.connection === 'unreachable') store.refresh();
    else location.reload();
  });

  function update() {
    const { connection, asOf, retryAt, storage, trouble } = store;
    const asks = connection === 'unreachable' || connection === 'refused';
    if (missing === 'waits' && !asks) missing = null;
    button.hidden = !asks && missing === null;
    element.hidden = button.hidden && storage === null;
    // What comes and goes with the connection must not change the size of a terminal.
    element.classList.toggle('over', !button.hidden);
    if (connection === 'unreachable') {
      const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
      const since = asOf === 0 ? '' : ` What you see is as of ${formatClock(asOf)}.`;
      const what = trouble === null ? 'Server not reachable' : `The server answers with an error (${trouble})`;
      const wait = seconds > 0 ? `retrying in ${seconds} s` : 'retrying';
      setText(text, `${what}, ${wait}.${since}${missing ? ' A part of this page is not loaded yet.' : ''}`);
      setText(button, 'Retry now');
    } else if (connection === 'refused') {
      setText(text, 'The server wants a token.');
      setText(button, 'Enter token');
    } else if (missing) {
      setText(text, 'A part of this page is missing: the server has a newer one.');
      setText(button, 'Reload');
    } else if (storage !== null) {
      setText(text, `The server cannot store logs at the moment and keeps them in memory: ${storage}`);
    }
  }
  // After an upgrade, an old page may ask for files that the server has no more.
  async function tellMissing() {
    await store.refresh();
    missing = store.connection === 'connected' ? 'newer' : 'waits';
    update();
  }
  return { element, update, tellMissing };
}

function startPage() {
  takeTokenFromAddress();
  applyTheme();
  let selecting = 0; // timer: moving through the list opens what one stops at
  let forms = null; // what creates them, once it is loaded
  let form = null; // the page that is shown in the place of the detail: {page, from, view}

  const connection = h('span', { class: 'conn', testid: 'conn', role: 'status' });
  const bar = createConnectionBar(() => openDialog('token'));
  const welcome = createWelcome();
  const list = createList({ select });
  const detail = createDetail({
    changeRoute,
    leave: () => {
      location.hash = '#/';
      list.focus();
    },
  });
  const formSlot = h('section', { class: 'form-slot' });
  const back = h('a', { class: 'button quiet back', href: '#/', testid: 'back' }, '← Processes');
  const main = h('main', { id: 'main' }, back, welcome.element, detail.element, formSlot);
  const panes = h('div', { class: 'panes' }, list.element, main);

  const header = h(
    'header',
    { class: 'top' },
    h(
      'a',
      { class: 'brand', href: '#/', title: `Version ${document.querySelector('meta[name=version]').content}` },
      'Sandbox Agent',
    ),
    connection,
    h('span', { class: 'spacer' }),
    h('a', { class: 'button quiet', href: '#/run', testid: 'run' }, 'Run once'),
    createThemeButton(),
    h('button', { class: 'quiet', testid: 'settings', onclick: () => openDialog('settings') }, 'Settings'),
    h('button', { class: 'quiet', testid: 'help', 'aria-label': 'Keys', onclick: () => openDialog('help') }, '?'),
  );
  document.body.append(header, bar.element, panes);

  const openDialog = async (name) => (await import('./dialogs.js')).openDialog(name);

  // how: 'click', 'step' (there may be many, so they make one step back), or 'enter'.
  function select(id, how) {
    clearTimeout(selecting);
    list.select(id);
    const { page, id: current } = readRoute();
    const address = processAddress(id);
    if (how === 'step') {
      selecting = setTimeout(
        () => (page === 'process' ? location.replace(address) : location.assign(address)),
        STEP_MS,
      );
      return;
    }
    if (current !== id) location.hash = address;
    // Who opens a terminal wants to type; on a phone that would bring up the keyboard.
    const types = store.processes.get(id)?.tty && !coarsePointer.matches;
    if (how === 'click' && !types) return;
    showRoute();
    detail.focus();
  }

  function changeRoute({ tab, query }) {
    const route = readRoute();
    const address = processAddress(route.id, tab ?? route.tab, query ?? route.query);
    if (tab !== undefined) location.hash = address;
    // What is typed into a search is no step that one goes back over.
    else history.replaceState(null, '', address);
  }

  async function prefillOf(id) {
    if (id === null) return null;
    return (
      store.processes.get(id) ??
      store.load(id).catch((error) => {
        if (error.status !== 404) throw error;
      })
    );
  }

  async function openForm(route) {
    const wanted = { page: route.page, from: route.from ?? null, view: null };
    form = wanted;
    const onCreated = (process) => {
      store.put(process);
      if (form !== wanted) return;
      location.hash = processAddress(process.id);
      // The event comes later; until then one more Enter would start one more process.
      showRoute();
    };
    try {
      forms ??= import('./forms.js').then(({ loadForms }) => loadForms());
      const prefill = await prefillOf(wanted.from);
      const create = (await forms)[route.page];
      if (form !== wanted) return;
      wanted.view = create({ prefill, from: wanted.from, onCreated });
    } catch {
      forms = null;
      wanted.view = await createMissingView();
      if (form !== wanted) return;
    }
    replaceChildren(formSlot, wanted.view.element);
    wanted.view.focus();
  }

  function closeForm() {
    form?.view?.destroy();
    form = null;
    replaceChildren(formSlot);
  }

  function showRoute() {
    const route = readRoute();
    panes.dataset.page = route.page;
    list.select(route.id ?? null);
    const keepsForm = form !== null && form.page === route.page && form.from === (route.from ?? null);
    if (!keepsForm) closeForm();
    if (route.page === 'process') detail.show(route);
    else detail.hide();
    if (!keepsForm && (route.page === 'new' || route.page === 'run')) openForm(route);
    if (route.page !== 'process')
      document.title = { list: 'Sandbox Agent', new: 'New process', run: 'Run once' }[route.page];
  }

  function update(back) {
    const [shape, word] = CONNECTIONS[store.connection];
    if (store.connection === 'refused' && connection.dataset.state !== 'refused') openDialog('token');
    connection.dataset.state = store.connection;
    if (connection.dataset.word !== word) {
      connection.dataset.word = word;
      replaceChildren(connection, h('span', { 'aria-hidden': 'true' }, `${shape} `), word);
    }
    setAttribute(panes, 'data-stale', store.connection === 'unreachable');
    bar.update();
    welcome.update(back);
    list.update();
    detail.update(back);
    if (back && form?.view?.failed) {
      closeForm();
      showRoute();
    }
  }

  function perform(command) {
    const { page, id } = readRoute();
    if (id && !['down', 'up', 'help', 'run'].includes(command) && detail.command(command)) return true;
    if ((command === 'enter' && !id) || (command === 'escape' && page === 'list')) return false;
    const action = {
      help: () => openDialog('help'),
      new: () => location.assign('#/new'),
      run: () => location.assign('#/run'),
      search: list.focusFilter,
      down: () => list.move(1),
      up: () => list.move(-1),
      enter: detail.focus,
      escape: () => location.assign('#/'),
    }[command];
    action?.();
    return action !== undefined;
  }

  // Only whom it is for has to load it.
  if (matchMedia('(forced-colors: active)').matches) loadStyle(new URL('./forced.css', import.meta.url));
  store.subscribe(update);
  addEventListener('hashchange', () => {
    if (takeTokenFromAddress()) store.refresh();
    showRoute();
  });
  listenToKeys(perform);
  // Each browser says in other words that a part of the page did not come, but all name the module.
  addEventListener('unhandledrejection', ({ reason }) => {
    if (!(reason instanceof TypeError && /module/i.test(reason.message))) return;
    bar.tellMissing();
  });
  setInterval(() => {
    if (document.hidden) return;
    const now = serverNow();
    list.tick(now);
    detail.tick(now);
    bar.update();
  }, 1000);
  update();
  store.start();
  showRoute();
}

startPage();
