// dialogs.js - help, settings, and the question for the token. Loaded when the first of them opens.
//
// The question for the token belongs to this page's own server and to no other.
import { hasToken, isToken, setToken } from './api.js';
import { errorLine, h, loadOverlayStyle } from './dom.js';
import { COMMANDS } from './keys.js';
import { changeSetting, onSetting, setting } from './settings.js';
import { store } from './store.js';

const MEANINGS = {
  help: 'Show these keys',
  new: 'New process; in a search, next match',
  previous: 'In a search, previous match',
  run: 'Run once',
  search: 'Search the log, or filter the list',
  down: 'Next process',
  up: 'Previous process',
  enter: 'Open the selected process',
  output: 'Output',
  terminal: 'Terminal',
  info: 'Info',
  follow: 'Follow the output',
  wrap: 'Wrap long lines',
  timestamps: 'Show times',
  stop: 'Stop (asks first)',
  kill: 'Kill (asks first)',
  escape: 'Back',
  end: 'End of the log, and follow it',
};
const OTHER_KEYS = [
  ['↑ ↓ Home End', 'Move in the list'],
  ['Ctrl+Shift+C', 'Terminal: copy'],
  ['Ctrl+Shift+V', 'Terminal: paste'],
  ['Ctrl+Shift+F', 'Terminal: find'],
  ['Ctrl+= Ctrl+- Ctrl+0', 'Terminal: larger, smaller, usual text'],
  ['Ctrl+F6', 'Leave the terminal'],
];

function createPageDialog(title, testid, ...content) {
  const dialog = h(
    'dialog',
    { class: 'page-dialog', 'aria-label': title, testid, tabindex: '-1' },
    h('h2', null, title),
    content,
    h('div', { class: 'buttons' }, h('button', { class: 'primary', onclick: () => dialog.close() }, 'Close')),
  );
  // A click beside it closes it, as people expect.
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  return dialog;
}

function settingBox(name, label) {
  const box = h('input', { type: 'checkbox', onchange: () => changeSetting(name, box.checked) });
  box.checked = setting(name);
  return h('label', { class: 'check' }, box, label);
}

function createSettingsDialog() {
  const themes = h(
    'select',
    { id: 'theme-choice', onchange: () => changeSetting('theme', themes.value) },
    [
      ['auto', 'As the system'],
      ['light', 'Light'],
      ['dark', 'Dark'],
    ].map(([value, label]) => h('option', { value }, label)),
  );
  themes.value = setting('theme');
  onSetting((name, value) => {
    if (name === 'theme') themes.value = value;
  });
  const forget = () => {
    setToken(null, false);
    // What is open goes on with the connections that it has.
    location.reload();
  };
  const dialog = createPageDialog(
    'Settings',
    'settings-dialog',
    h('label', { for: 'theme-choice' }, 'Theme'),
    themes,
    settingBox('shortcuts', 'Single keys are commands (? lists them)'),
    settingBox('screenReader', 'Terminal for screen readers (slower; from the next terminal on)'),
    h('p', null, h('button', { onclick: forget }, 'Forget the token')),
    h(
      'p',
      { class: 'muted' },
      `Page ${document.querySelector('meta[name=version]').content}. `,
      h('a', { href: 'licenses.txt' }, 'Licenses'),
    ),
  );
  return dialog;
}

function createHelpDialog() {
  const keys = [...COMMANDS].filter(([key]) => !key.startsWith('Arrow')).map(([key, name]) => [key, MEANINGS[name]]);
  return createPageDialog(
    'Keys',
    'help-dialog',
    h(
      'dl',
      { class: 'keys' },
      [...keys, ...OTHER_KEYS].map(([key, meaning]) =>
        h(
          'div',
          null,
          h(
            'dt',
            null,
            key.split(' ').map((part) => [h('kbd', null, part), ' ']),
          ),
          h('dd', null, meaning),
        ),
      ),
    ),
    h('p', { class: 'muted' }, 'All other keys of a terminal are for its program.'),
  );
}

function createTokenDialog() {
  const input = h('input', {
    type: 'password',
    id: 'token-input',
    testid: 'token-input',
    autocomplete: 'current-password',
    spellcheck: 'false',
    'aria-describedby': 'token-error',
  });
  const remember = h('input', { type: 'checkbox' });
  const error = errorLine({ id: 'token-error' });
  const submit = h('button', { type: 'submit', class: 'primary' }, 'Continue');
  const form = h(
    'form',
    { method: 'dialog', onsubmit: send },
    h('h2', { id: 'token-title' }, 'Token needed'),
    h('p', { class: 'muted' }, `${location.host} wants the token that its owner chose.`),
    h('label', { for: 'token-input' }, 'Token'),
    input,
    error,
    h('label', { class: 'check' }, remember, 'Remember in this browser'),
    h('div', { class: 'buttons' }, h('button', { onclick: () => dialog.close() }, 'Not now'), submit),
  );
  const dialog = h('dialog', { class: 'token', testid: 'token-dialog', 'aria-labelledby': 'token-title' }, form);
  document.body.append(dialog);

  let tried = false;

  async function send(event) {
    event.preventDefault();
    const token = input.value.trim();
    if (token === '') {
      error.show('Token missing: type it here.');
      input.focus();
      return;
    }
    submit.disabled = true;
    tried = true;
    if (isToken(token)) {
      setToken(token, remember.checked);
      await store.refresh();
    }
    submit.disabled = false;
    if (store.connection !== 'connected') refuse();
  }

  function refuse() {
    if (store.connection === 'unreachable') error.show('The server does not answer.');
    else error.show(tried || hasToken() ? 'Token wrong: the server does not know it.' : null);
    if (!error.hidden) input.select();
  }

  // Another part may find out that the token is right by now, or another tab.
  store.subscribe(() => {
    if (store.connection !== 'connected') return;
    tried = false;
    dialog.close();
  });
  return {
    showModal() {
      if (dialog.open) return;
      input.value = '';
      dialog.showModal();
      refuse();
      input.focus();
    },
  };
}

const CREATORS = { help: createHelpDialog, settings: createSettingsDialog, token: createTokenDialog };
const created = {};

export async function openDialog(name) {
  await loadOverlayStyle();
  created[name] ??= CREATORS[name]();
  created[name].showModal();
}
