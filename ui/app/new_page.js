// new_page.js - starting a process.
//
// What was typed and not started is still there after a look at something else; a form that was
// filled from a process is not kept.
import { createProcess } from './api.js';
import { createCommandForm } from './command_form.js';
import { h } from './dom.js';

let newDraft = null;

function buildNewPage(prefill, from) {
  const page = { onCreated: null };
  page.form = createCommandForm({
    testid: 'new-form',
    action: 'Start',
    forNew: true,
    async submit(body) {
      const process = await createProcess(body);
      if (newDraft === page) newDraft = null;
      page.onCreated(process);
    },
  });
  if (prefill) page.form.fill(prefill);
  page.element = h(
    'section',
    { class: 'page' },
    h('h1', null, 'New process'),
    from &&
      h(
        'p',
        { class: 'muted', testid: 'form-note' },
        prefill
          ? `Filled in from ${from}. The variables that it was given are not known.`
          : `Process ${from} no longer exists; the form is empty.`,
      ),
    page.form.element,
  );
  return page;
}

// from: the id of the process to start once more, or null; prefill: its record, if it is still there.
export function createNewPage({ prefill, from, onCreated }) {
  const page = from ? buildNewPage(prefill, from) : (newDraft ??= buildNewPage());
  page.onCreated = onCreated;
  page.form.attach();
  return {
    element: page.element,
    command: () => false,
    focus: page.form.focus,
    destroy: page.form.detach,
  };
}
