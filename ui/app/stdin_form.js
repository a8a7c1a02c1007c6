// stdin_form.js - a line for the standard input of a running process that has no terminal.
import { sendInput } from './api.js';
import { errorLine, h, setText } from './dom.js';

export function createStdinForm(id) {
  const sent = []; // oldest first
  let at = 0; // in `sent`; at its end: the line that is being written
  let draft = '';
  let busy = false;

  const input = h('input', {
    type: 'text',
    class: 'mono',
    testid: 'stdin-line',
    'aria-label': 'Line for standard input',
    placeholder: 'Line for standard input',
    autocomplete: 'off',
    autocapitalize: 'off',
    spellcheck: 'false',
    enterkeyhint: 'send',
    onkeydown: onKey,
  });
  const sendButton = h('button', { type: 'submit', testid: 'stdin-send' }, 'Send');
  const endButton = h(
    'button',
    { testid: 'stdin-eof', title: 'Ends the input of the process', onclick: sendEnd },
    'Send EOF',
  );
  const note = h('span', { class: 'muted', role: 'status' });
  const problem = errorLine();
  const element = h(
    'form',
    { class: 'stdin', testid: 'stdin', onsubmit: sendLine },
    input,
    sendButton,
    endButton,
    note,
    problem,
  );

  function recall(to) {
    if (to < 0 || to > sent.length || to === at) return;
    if (at === sent.length) draft = input.value;
    at = to;
    input.value = sent[at] ?? draft;
    input.setSelectionRange(input.value.length, input.value.length);
  }

  function onKey(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step === undefined || event.isComposing) return;
    event.preventDefault();
    recall(at + step);
  }

  function close(text) {
    for (const control of [input, sendButton, endButton]) control.disabled = true;
    setText(note, text);
  }

  // Resolves to whether it was taken.
  async function send(body) {
    if (busy) return false;
    busy = true;
    try {
      const { bytesQueued } = await sendInput(id, body);
      problem.show(null);
      setText(note, bytesQueued ? `${bytesQueued} bytes not yet read` : '');
      return true;
    } catch (error) {
      if (error.status === 409 && error.message.includes('closed')) close('End of input sent');
      else problem.show(`Not sent: ${error.message}. The line is still here; try again.`);
      return false;
    } finally {
      busy = false;
    }
  }

  async function sendLine(event) {
    event.preventDefault();
    const line = input.value;
    if (!(await send({ data: `${line}\n`, encoding: 'utf8' }))) return;
    if (line !== '' && sent.at(-1) !== line) sent.push(line);
    at = sent.length;
    draft = '';
    if (input.value === line) input.value = '';
  }

  async function sendEnd() {
    if (await send({ eof: true })) close('End of input sent');
  }

  return { element, focus: () => input.focus() };
}
