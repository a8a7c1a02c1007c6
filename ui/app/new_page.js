// new_page.js - starting a process.
//
// What was typed and not started is still there after a look at something else; a form that was
// filled from a process is not kept.
import { createProcess } from './api.js';
import { createCommandForm } from './command_form.js';
import { h } from './dom.js';

let newDraft = null;

function buildNewPage(prefill) {
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
    prefill &&
      h('p', { class: 'muted' }, `Filled in from ${prefill.id}. The variables that it was given are not known.`),
    page.form.element,
  );
  return page;
}

// prefill: the process to start once more, or null.
export function createNewPage({ prefill, onCreated }) {
  const page = prefill ? buildNewPage(prefill) : (newDraft ??= buildNewPage(null));
  page.onCreated = onCreated;
  page.form.attach();
  return {
    element: page.element,
    command: () => false,
    focus: page.form.focus,
    destroy: page.form.detach,
  };
}
