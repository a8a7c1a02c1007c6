// run_page.js - running a command once: a form, and what came of it.
//
// The page is made once and stays, also while a run is under way: who looks at something else and
// comes back finds the values, the run and its result. A run is a request that lasts; cancelling is
// ending the request, upon which the server kills the command and all that it started.
// There is one result at most; what it keeps going (panes, output that is still filled in) ends with `shown`.
import { createProcess, decodeBase64, getConfig, runProcess } from './api.js';
import { InputError, createCommandForm, formField } from './command_form.js';
import { announce, copyButton, h, replaceChildren, setAttribute, setText } from './dom.js';
import { commandLine, endOf, formatBytes, formatDuration, statusOf } from './format.js';
import { createLogModel } from './log_model.js';
import { createLogPane } from './log_pane.js';
import { setting } from './settings.js';

const ELAPSED_MS = 100;
const CLAMP_MS = 50;
const SLICE_BYTES = 1 << 16;
let keptRunPage = null;

// { kind, shape, word } as of a process, and a sentence.
function outcomeOf(result) {
  if (result.cancelled) return { kind: 'stopped', shape: '■', word: 'cancelled', sentence: 'was cancelled' };
  if (result.timedOut) return { kind: 'stopped', shape: '■', word: 'timed out', sentence: 'timed out' };
  const end = { ...result, status: 'exited' };
  return { ...statusOf(end), sentence: endOf(end) };
}

// A whole number within limits, or undefined when the field is empty.
function readNumber({ input, least, most, unit }) {
  if (input.value === '' && !input.validity.badInput) return undefined;
  const value = Number(input.value);
  if (input.value !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
  const range = Number.isFinite(most) ? `from ${least} to ${most}` : `of at least ${least}`;
  throw new InputError(input, `Give a whole number ${range}${unit}, or nothing.`);
}

function numberField(label, testid, least, unit) {
  const input = h('input', { type: 'number', min: least, step: 1, inputmode: 'numeric', testid });
  return { input, element: formField(label, input), least, most: Infinity, unit };
}

function limitNumber(field, most, usual) {
  field.most = most;
  setAttribute(field.input, 'max', most);
  setAttribute(field.input, 'placeholder', usual);
}

// In slices, so that the page stays awake.
async function fillOutput(bytes, model, pane, signal) {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    model.add({ stream: 'stdout', timestampMs: 0, data: bytes.subarray(at, at + SLICE_BYTES) });
    pane.schedule();
    await new Promise((resume) => setTimeout(resume));
    if (signal.aborted) return;
  }
  model.end();
  pane.schedule();
}

function textOf(model) {
  const lines = [];
  for (let number = model.first; number < model.next; number++) lines.push(model.line(number).text);
  return lines.join('\n');
}

// Until `signal` says that it is replaced.
function outputBox(name, base64, truncated, signal) {
  const bytes = decodeBase64(base64);
  const size = formatBytes(bytes.length);
  const head = h(
    'div',
    { class: 'toolbar' },
    h('h2', null, name),
    h(
      'span',
      { class: truncated ? 'truncated' : 'muted' },
      truncated ? `truncated at ${size}` : bytes.length > 0 && size,
    ),
  );
  const box = h('section', { class: `output-box${setting('wrap') ? ' wrap' : ''}` }, head);
  if (bytes.length === 0) {
    box.append(h('p', { class: 'muted', testid: name }, truncated ? 'nothing was kept' : 'no output'));
    return box;
  }
  const save = async () => (await import('./save.js')).saveFile(`${name}.log`, [bytes], 'application/octet-stream');
  const model = createLogModel();
  const nothing = () => {};
  const pane = createLogPane(model, {
    accepts: () => true,
    moreWork: () => true,
    onFollow: nothing,
    onMissed: nothing,
  });
  signal.addEventListener('abort', pane.destroy);
  // It is all there: one begins to read at the top.
  pane.setFollowing(false);
  setAttribute(pane.element, 'aria-label', name);
  pane.element.dataset.testid = name;
  head.append(
    h(
      'div',
      null,
      copyButton('Copy', () => textOf(model), { class: 'quiet', 'aria-label': `Copy ${name}` }),
      h('button', { class: 'quiet', 'aria-label': `Download ${name}`, onclick: save }, 'Download'),
    ),
  );
  box.append(pane.element);
  fillOutput(bytes, model, pane, signal).then(() => {
    if (model.dropped > 0)
      head.append(h('p', { class: 'bar' }, `The first ${model.dropped} lines are in the download only.`));
  });
  return box;
}

// What the server made of the timeout that was asked for, when its limit has been lowered since the
// page learned it. (How much of the output was kept is said in any case.)
function clampOf(body, result) {
  const cut = result.timedOut && body.timeoutMs - result.durationMs > CLAMP_MS;
  return cut ? `The server allows ${formatDuration(result.durationMs)} at most.` : null;
}

function buildRunPage() {
  const page = { onCreated: null };
  let shown = new AbortController();
  const fields = {
    timeoutMs: numberField('Timeout in ms', 'timeout', 1, ' ms'),
    maxOutputBytes: numberField('Output limit in bytes', 'max-output', 0, ' bytes'),
  };
  const managed = h('button', { testid: 'start-managed' }, 'Start as a managed process');
  managed.onclick = () => page.form.send(startManaged);
  const result = h('section', { class: 'result', testid: 'result', 'aria-label': 'Result', hidden: true });
  const elapsed = h('span', { testid: 'elapsed' });
  const cancel = h('button', { testid: 'cancel' }, 'Cancel');

  page.form = createCommandForm({ testid: 'run-form', action: 'Run', fields, buttons: [managed], submit: run });
  page.element = h(
    'section',
    { class: 'page' },
    h('h1', null, 'Run once'),
    h('p', { class: 'muted' }, 'Waits for the end of the command. It has no input, and is not in the list.'),
    page.form.element,
    result,
  );

  async function startManaged(body) {
    page.onCreated(await createProcess(body));
  }

  function showRunning(body) {
    shown.abort();
    shown = new AbortController();
    result.hidden = false;
    replaceChildren(
      result,
      h(
        'div',
        { class: 'toolbar' },
        h('span', { class: 'badge', 'data-kind': 'running' }, '● running ', elapsed),
        h('code', { class: 'result-command' }, commandLine(body)),
        cancel,
      ),
    );
    result.scrollIntoView({ block: 'nearest' });
  }

  function showResult(body, answer) {
    const { kind, shape, word, sentence } = outcomeOf(answer);
    const clamp = clampOf(body, answer);
    replaceChildren(
      result,
      h(
        'div',
        { class: 'toolbar' },
        h(
          'span',
          { class: 'badge', 'data-kind': kind, testid: 'outcome' },
          h('span', { 'aria-hidden': 'true' }, `${shape} `),
          word,
        ),
        h('span', { class: 'muted', testid: 'duration' }, `after ${formatDuration(answer.durationMs)}`),
        h('code', { class: 'result-command' }, commandLine(body)),
      ),
      clamp && h('p', { class: 'muted' }, clamp),
      answer.cancelled
        ? h('p', { class: 'muted' }, 'The command and all that it started were killed. What it wrote is not known.')
        : h(
            'div',
            { class: 'outputs' },
            outputBox('stdout', answer.stdout, answer.stdoutTruncated, shown.signal),
            outputBox('stderr', answer.stderr, answer.stderrTruncated, shown.signal),
          ),
    );
    announce(`${body.command} ${sentence}`);
  }

  async function run(body) {
    for (const [name, field] of Object.entries(fields)) {
      const value = readNumber(field);
      if (value !== undefined) body[name] = value;
    }
    const abort = new AbortController();
    const began = performance.now();
    const tick = () =>
      setText(elapsed, formatDuration(Math.round((performance.now() - began) / ELAPSED_MS) * ELAPSED_MS));
    const timer = setInterval(tick, ELAPSED_MS);
    cancel.onclick = () => abort.abort();
    tick();
    showRunning(body);
    // Its button is disabled now.
    if (page.element.querySelector('[data-testid=submit]') === document.activeElement) cancel.focus();
    try {
      showResult(body, await runProcess({ ...body, stdoutEncoding: 'base64' }, abort.signal));
    } catch (failure) {
      result.hidden = !abort.signal.aborted;
      if (!abort.signal.aborted) throw failure;
      showResult(body, { cancelled: true, durationMs: performance.now() - began });
    } finally {
      clearInterval(timer);
    }
  }

  page.learnLimits = async () => {
    try {
      const limits = await getConfig();
      limitNumber(fields.timeoutMs, limits.maxRunTimeoutMs, limits.defaultRunTimeoutMs);
      limitNumber(fields.maxOutputBytes, limits.maxOutputBytes, limits.maxOutputBytes);
    } catch {
      // Without them the server's answer has to do.
    }
  };
  return page;
}

export function createRunPage({ onCreated }) {
  const page = (keptRunPage ??= buildRunPage());
  page.onCreated = onCreated;
  page.form.attach();
  page.learnLimits();
  return {
    element: page.element,
    command: () => false,
    focus: page.form.focus,
    destroy: page.form.detach,
  };
}
