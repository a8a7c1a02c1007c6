// command_form.js - the form in which a command is given, to be started or to be run once.
//
// A command is words, and there are three ways to give them: as a line with quotes, as a text for a
// shell, and one by one. Each has fields of its own; those of the chosen one count, and on a change of
// the way the content goes along. At most one error is shown, below the field that it is about.
import { Problem } from './api.js';
import { errorLine, h, replaceChildren, setAttribute, setText, uniqueId } from './dom.js';
import { changeSetting, setting } from './settings.js';
import { joinWords, splitWords } from './shell_words.js';
import { store } from './store.js';

const COMMAND_MODES = { line: 'Command line', shell: 'Shell', words: 'Arguments' };
const RECENT_COMMANDS = 10;
const RECENT_LENGTH = 2000;
const RECENT_SHOWN = 60;
const AREA_ROWS = 12;
const SPAWN_FAILURE = /^failed to spawn (?:tty )?process: (command|cwd) "([^]*)": (.*?)(?: \(os error (\d+)\))?$/;
const CODE_INPUT = { class: 'mono', spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off' };
const NOT_CONNECTED = {
  connecting: 'Connecting to the server',
  unreachable: 'The server is not reachable',
  refused: 'The server wants a token',
};

// What a person has to change; input is where.
export class InputError extends Error {
  constructor(input, message) {
    super(message);
    this.input = input;
  }
}

// An input below its label. hint: an element or a text about it.
export function formField(label, input, hint) {
  input.id = uniqueId('field');
  const note = typeof hint === 'string' ? h('p', { class: 'form-hint' }, hint) : hint;
  if (note) {
    note.id = `${input.id}-hint`;
    setAttribute(input, 'aria-describedby', note.id);
  }
  return h('div', { class: 'form-field' }, h('label', { for: input.id }, label), input, note);
}

function checkField(testid, label, hint) {
  const input = h('input', { type: 'checkbox', testid });
  return {
    input,
    element: h('label', { class: 'check' }, input, h('span', null, label, h('span', { class: 'muted' }, ` ${hint}`))),
  };
}

// Ctrl+Enter submits; with enters, so does Enter alone, and Shift+Enter is a newline.
function codeArea(testid, enters) {
  const area = h('textarea', { ...CODE_INPUT, testid, rows: 1 });
  // Browsers without field-sizing (form.css) get at least the lines into view.
  const fit = () => {
    area.rows = Math.min(AREA_ROWS, area.value.split('\n').length);
  };
  area.addEventListener('input', fit);
  area.addEventListener('keydown', (event) => {
    const submits = event.ctrlKey || event.metaKey || (enters && !event.shiftKey);
    if (event.key !== 'Enter' || event.isComposing || !submits) return;
    event.preventDefault();
    area.form.requestSubmit();
  });
  area.write = (text) => {
    area.value = text;
    fit();
  };
  return area;
}

const asSentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;

// --- the command ---

const isShellCall = ([command, option, ...rest]) =>
  /^(\/bin\/)?sh$/.test(command) && option === '-c' && rest.length === 1;

// The words of a text for a shell; its own where a shell would make of it just these.
function wordsOfShell(text) {
  if (text.trim() === '') return [];
  const { words, wants } = splitWords(text);
  return words && !wants && !text.includes('\n') ? words : ['/bin/sh', '-c', text];
}

// onMode() before another way is chosen.
function createCommandInput(onMode) {
  let mode = 'line';
  let areas = []; // of the words, each with its label and its button
  const line = codeArea('command', true);
  const shell = codeArea('command');
  shell.classList.add('tall');

  const argv = h('ol', { class: 'argv', testid: 'argv', 'aria-label': 'Words of the command' });
  const lineHint = h('p', { class: 'form-hint' });
  const wordList = h('div', { class: 'word-list' });
  const fields = {
    line: formField('Command', line, h('div', null, argv, lineHint)),
    shell: formField('Command for /bin/sh', shell, 'Enter begins a new line, Ctrl+Enter starts.'),
    words: h(
      'div',
      { class: 'form-field' },
      wordList,
      h('button', { class: 'add', testid: 'add-argument', onclick: () => addArea('').focus() }, 'Add argument'),
    ),
  };
  const name = uniqueId('mode');
  const choices = Object.keys(COMMAND_MODES).map((value) =>
    h('input', { type: 'radio', name, value, testid: `mode-${value}`, onchange: () => changeMode(value) }),
  );
  const modes = h(
    'fieldset',
    { class: 'segments' },
    h('legend', { class: 'offscreen' }, 'How the command is given'),
    choices.map((input) => h('label', null, input, COMMAND_MODES[input.value])),
  );
  const element = h('div');
  line.addEventListener('input', showLine);

  const current = () => ({ line, shell, words: areas[0] })[mode];

  function showLine() {
    const { words = [], wants, error } = splitWords(line.value);
    replaceChildren(
      argv,
      words.map((word) => h('li', null, h('code', null, word))),
    );
    if (!wants) {
      setText(lineHint, error ? `${asSentence(error)}.` : 'Quotes as in a shell. Nothing is expanded.');
      return;
    }
    const toShell = () => {
      changeMode('shell');
      shell.focus();
    };
    replaceChildren(
      lineHint,
      h('code', null, wants),
      ' means nothing here: no shell reads this line. ',
      h('button', { class: 'link', testid: 'use-shell', onclick: toShell }, 'Run in a shell instead'),
    );
  }

  function numberAreas() {
    areas.forEach(({ label, removal, dataset }, index) => {
      setText(label, index === 0 ? 'Command' : `Argument ${index}`);
      dataset.testid = index === 0 ? 'command' : `arg-${index}`;
      removal.hidden = index === 0;
      setAttribute(removal, 'aria-label', `Remove argument ${index}`);
    });
  }

  function addArea(text) {
    const area = codeArea('', true);
    const field = formField('', area);
    const remove = () => {
      const index = areas.indexOf(area);
      areas.splice(index, 1);
      row.remove();
      numberAreas();
      areas[index - 1].focus();
    };
    area.label = field.firstChild;
    area.removal = h('button', { class: 'quiet', onclick: remove }, '✕');
    const row = h('div', { class: 'word' }, field, area.removal);
    area.write(text);
    areas.push(area);
    wordList.append(row);
    numberAreas();
    return area;
  }

  // As far as they can be told.
  function currentWords() {
    if (mode === 'line') return splitWords(line.value).words ?? [line.value];
    if (mode === 'shell') return wordsOfShell(shell.value);
    const words = areas.map(({ value }) => value);
    return words.join('') === '' ? [] : words;
  }

  function changeMode(next) {
    onMode();
    const words = currentWords();
    // What a line has for a shell is to reach it as it is.
    const text = mode === 'line' ? line.value : joinWords(words);
    show(next, words, isShellCall(words) ? words[2] : text);
  }

  function show(next, words, text) {
    mode = next;
    if (mode === 'line') line.write(joinWords(words));
    else if (mode === 'shell') shell.write(text);
    else {
      areas = [];
      replaceChildren(wordList);
      for (const word of words.length > 0 ? words : ['']) addArea(word);
    }
    for (const input of choices) input.checked = input.value === mode;
    replaceChildren(element, fields[mode]);
    showLine();
  }

  return {
    modes,
    element,
    current,
    write(words) {
      const inShell = words[0] === '/bin/sh' && isShellCall(words);
      show(inShell ? 'shell' : 'line', words, words[2]);
    },
    read() {
      const { error } = splitWords(line.value);
      if (mode === 'line' && error) throw new InputError(line, `${asSentence(error)}.`);
      const words = mode === 'shell' && shell.value.trim() !== '' ? ['/bin/sh', '-c', shell.value] : currentWords();
      if (!words[0]) throw new InputError(current(), 'Type a command.');
      return words;
    },
  };
}

// A button with the commands that were started last.
function createRecent(choose) {
  const element = h('button', { class: 'quiet', testid: 'recent', 'aria-haspopup': 'menu', onclick: open }, 'Recent ▾');

  async function open() {
    const { openMenu } = await import('./menu.js');
    const { left, bottom } = element.getBoundingClientRect();
    openMenu(left, bottom + 4, 'Recent commands', [
      ...setting('commands').map((text) => ({
        label: text.length > RECENT_SHOWN ? `${text.slice(0, RECENT_SHOWN)}…` : text,
        run: () => choose(splitWords(text).words),
      })),
      { label: 'Forget these', danger: true, run: () => keep([]) },
    ]);
  }

  function keep(commands) {
    changeSetting('commands', commands);
    update();
  }

  function update() {
    element.hidden = setting('commands').length === 0;
  }

  return {
    element,
    update,
    add(text) {
      if (text.length > RECENT_LENGTH) return;
      keep([text, ...setting('commands').filter((other) => other !== text)].slice(0, RECENT_COMMANDS));
    },
  };
}

// --- the form ---

function readEnvironment(area) {
  const variables = new Map();
  area.value.split('\n').forEach((line, index) => {
    if (line.trim() === '') return;
    const [, key, value] = line.match(/^\s*([^\s=]+)=(.*)$/) ?? [];
    if (key === undefined) throw new InputError(area, `Line ${index + 1} is not KEY=VALUE: ${line}`);
    if (variables.has(key)) throw new InputError(area, `Line ${index + 1} sets ${key} once more.`);
    variables.set(key, value);
  });
  return variables;
}

// What the server refused, in words that say what to do, and the name of the field it is about.
function explainProblem({ message }) {
  const [, name, value, reason, code] = message.match(SPAWN_FAILURE) ?? [];
  if (name === 'cwd') return [`The directory ${value} cannot be used: ${reason}.`, name];
  if (name === 'command') {
    const absent = value.includes('/') ? ' Is the path right?' : ' Is it spelled right, and in the PATH?';
    return [`${value} cannot be started: ${reason}.${{ 2: absent, 13: ' Is it executable?' }[code] ?? ''}`, name];
  }
  const [, limit] = message.match(/^max concurrent process limit reached \((\d+)\)/) ?? [];
  if (limit) return [`As many processes run as the server allows (${limit}). Stop one first.`];
  const text = message.replace(/^invalid request: /, '');
  return [`${asSentence(text)}.`, text.match(/^\w+/)?.[0]];
}

// action: the label of the button. forNew: with what only a managed process has. fields: more of them,
// {input, element} by the name that the server uses. buttons: beside the first one. submit(body) gets
// what a request needs, and rejects with what is to be shown.
export function createCommandForm({ testid, action, forNew = false, fields = {}, buttons = [], submit }) {
  let busy = false;
  let faulty = null; // {input, describedBy before}
  let unsubscribe = null;

  const error = errorLine({ id: uniqueId('error') });
  const command = createCommandInput(() => showError(null));
  const recent = createRecent((words) => {
    showError(null);
    command.write(words);
    command.current().focus();
  });
  // Off at first: pipes keep stdout and stderr apart and in plain text, as services and scripts want it.
  // Shells and editors need the terminal, so the choice is beside the command and not among the rest.
  const tty = checkField('tty', 'Terminal (tty)', 'for shells, editors, and what draws on the screen');
  const cwd = h('input', { ...CODE_INPUT, testid: 'cwd', placeholder: 'that of the server' });
  const env = codeArea('env');
  const interactive = checkField('interactive', 'Interactive', 'with a line to type its input');
  const transient = checkField('transient', 'Keep the output out of the log store', 'in memory only');
  const more = h(
    'details',
    { class: 'more', testid: 'more' },
    h('summary', null, forNew ? 'More: directory, environment, input, log' : 'More: directory, environment'),
    h(
      'div',
      { class: 'form-stack' },
      formField('Directory', cwd),
      formField('Environment', env, 'KEY=VALUE, one a line, on top of the variables of the server.'),
      forNew && [interactive.element, transient.element],
    ),
  );
  const start = h('button', { type: 'submit', class: 'primary', testid: 'submit' }, action);
  const reason = h('span', { class: 'muted' });
  const foot = h('div', { class: 'form-field' }, h('div', { class: 'toolbar' }, start, buttons, reason));
  const element = h(
    'form',
    { class: 'command-form form-stack', testid, novalidate: true },
    h('div', { class: 'toolbar' }, command.modes, recent.element),
    command.element,
    forNew
      ? tty.element
      : h(
          'div',
          { class: 'number-fields' },
          Object.values(fields).map((field) => field.element),
        ),
    more,
    foot,
  );
  element.addEventListener('input', ({ target }) => target === faulty?.input && showError(null));
  element.addEventListener('submit', (event) => {
    event.preventDefault();
    send(submit);
  });

  function read() {
    const [first, ...args] = command.read();
    const variables = readEnvironment(env);
    return {
      command: first,
      args,
      ...(cwd.value !== '' && { cwd: cwd.value }),
      ...(variables.size > 0 && { env: Object.fromEntries(variables) }),
      ...(tty.input.checked && { tty: true }),
      ...(interactive.input.checked && { interactive: true }),
      ...(transient.input.checked && { persist: false }),
    };
  }

  // input: the field at fault, or none. A text of null takes the error away.
  function showError(text, input) {
    if (faulty !== null) {
      setAttribute(faulty.input, 'aria-invalid', null);
      setAttribute(faulty.input, 'aria-describedby', faulty.describedBy);
      faulty = null;
    }
    (input?.closest('.form-field') ?? foot).append(error);
    error.show(text);
    if (!input) return;
    const describedBy = input.getAttribute('aria-describedby');
    faulty = { input, describedBy };
    setAttribute(input, 'aria-invalid', 'true');
    setAttribute(input, 'aria-describedby', `${describedBy ?? ''} ${error.id}`.trim());
    const closed = input.closest('details:not([open])');
    if (closed) closed.open = true;
    input.focus();
  }

  function showFailure(failure, creates) {
    if (failure instanceof InputError) {
      showError(failure.message, failure.input);
    } else if (failure instanceof Problem) {
      const [text, name] = explainProblem(failure);
      showError(text, { command: command.current(), args: command.current(), cwd, env }[name] ?? fields[name]?.input);
    } else {
      const advice = creates
        ? 'It may have been started all the same: look at the list first.'
        : 'A run ends with its connection.';
      showError(`${asSentence(failure.message)}. ${advice}`);
    }
  }

  function showState() {
    const reasonNot = NOT_CONNECTED[store.connection] ?? '';
    for (const button of [start, ...buttons]) button.disabled = busy || reasonNot !== '';
    setText(reason, reasonNot);
  }

  // Reads the form and hands it to perform(body), unless that cannot be now.
  async function send(perform) {
    if (start.disabled) return;
    const focused = document.activeElement;
    showError(null);
    try {
      const body = read();
      busy = true;
      showState();
      await perform(body);
      recent.add(joinWords([body.command, ...body.args]));
    } catch (failure) {
      showFailure(failure, forNew || perform !== submit);
    } finally {
      busy = false;
      showState();
      // A button that is disabled loses the focus.
      if (document.activeElement === document.body) focused.focus();
    }
  }

  command.write([]);

  return {
    element,
    send,
    // With what a process was made of, to make one more.
    fill(process) {
      command.write([process.command, ...process.args]);
      cwd.value = process.cwd ?? '';
      tty.input.checked = process.tty;
      interactive.input.checked = process.interactive;
      more.open = cwd.value !== '' || process.interactive;
    },
    focus: () => command.current().focus(),
    // While it is on the page it follows the connection.
    attach() {
      unsubscribe ??= store.subscribe(showState);
      showState();
      recent.update();
    },
    detach() {
      unsubscribe?.();
      unsubscribe = null;
    },
  };
}
