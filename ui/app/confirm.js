// confirm.js - asks before what cannot be taken back. Loaded when the first question is asked.
import { h, loadOverlayStyle } from './dom.js';

// A question with one dangerous answer. Resolves to whether it was given.
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
        h('button', { type: 'button', onclick: () => close(false) }, 'Cancel'),
        h('button', { type: 'button', class: 'danger', onclick: () => close(true) }, action),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector('.danger').focus();
  });
}
