// forms.js - the pages that start processes. Loaded when the first of them is opened, with their
// style sheet: most who look at processes start none.
import { loadStyle } from './dom.js';
import { createNewPage } from './new_page.js';
import { createRunPage } from './run_page.js';

export async function loadForms() {
  await loadStyle(new URL('./form.css', import.meta.url));
  return { new: createNewPage, run: createRunPage };
}
