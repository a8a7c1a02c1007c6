// stdin_form.js - a line for the standard input of a running process that has no terminal.
//
// A line leaves the field when it is sent. Lines and the end go out one after the other; what waits behind
// one that was not taken is not sent either, since it was meant to come after it.
import { sendInput } from './api.js';
import { errorLine, h, setText } from './dom.js';

export function createStdinForm(id) {
  const sent = []; // oldest first
  let at = 0; // in `sent`; at its end: the line that is being written
  let draft = '';
  let last = null; // what is under way, or the last that waits

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

  async function post(body) {
    try {
      const { bytesQueued } = await sendInput(id, body);
      problem.show(null);
      setText(note, bytesQueued ? `${bytesQueued} bytes not yet read` : '');
      return true;
    } catch (error) {
      const where = input.value === '' ? 'The line is still here; try again' : 'Arrow Up brings the line back';
      if (error.status === 409 && error.message.includes('closed')) close('End of input sent');
      else problem.show(`Not sent: ${error.message}. ${where}.`);
      return false;
    }
  }

  async function postAfter(before, body) {
    if (before === null || (await before)) return post(body);
    if (!input.disabled) setText(note, 'What came after it was not sent either; Arrow Up brings lines back');
    return false;
  }

  // Resolves to whether it was taken.
  async function send(body) {
    const turn = postAfter(last, body);
    last = turn;
    const taken = await turn;
    if (last === turn) last = null;
    return taken;
  }

  async function sendLine(event) {
    event.preventDefault();
    const line = input.value;
    if (line !== '' && sent.at(-1) !== line) sent.push(line);
    at = sent.length;
    draft = '';
    input.value = '';
    if (!(await send({ data: `${line}\n`, encoding: 'utf8' })) && input.value === '') input.value = line;
  }

  async function sendEnd() {
    if (await send({ eof: true })) close('End of input sent');
  }

  return { element, focus: () => input.focus() };
}
