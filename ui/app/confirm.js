// confirm.js - asks before what cannot be taken back. Loaded when the first question is asked.
import { actionOf, removeNow } from './actions.js';
import { h, loadOverlayStyle } from './dom.js';

const AT_ONCE = 4;

// A question with one dangerous answer, which Enter alone does not give. Resolves to whether it was given.
export async function confirmDialog(question, action) {
  await loadOverlayStyle();
  // A command may be long; its beginning and its end tell which it is.
  const text = question.length > 400 ? `${question.slice(0, 250)} … ${question.slice(-120)}` : question;
  return new Promise((resolve) => {
    const close = (value) => {
      dialog.close();
      dialog.remove();
      resolve(value);
    };
    const dialog = h(
      'dialog',
      { class: 'confirm', 'aria-label': text, oncancel: () => close(false) },
      h('p', null, text),
      h(
        'div',
        { class: 'buttons' },
        h('button', { onclick: () => close(false) }, 'Cancel'),
        h('button', { class: 'danger', onclick: () => close(true) }, action),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

// some: there are more than these, which are shown. tell(how far it is, or null at the end).
export async function removeAll(ids, some, tell) {
  ids = ids.filter((id) => actionOf(id).pending === null);
  const all = ids.length;
  const where = some ? ' shown here' : '';
  const what = all === 1 ? `exited process${where} and its log` : `${all} exited processes${where} and their logs`;
  if (!(await confirmDialog(`Delete the ${what}?`, 'Delete'))) return;
  const work = async () => {
    while (ids.length > 0) {
      tell(`Deleting ${all - ids.length + 1} of ${all}`);
      // What one of them is refused, all are.
      if (!(await removeNow(ids.shift()))) ids = [];
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  tell(null);
}
