// copy_command.js - the clipboard where navigator.clipboard is not: an agent is often reached over plain
// http, and there the old command still works. Focus and selection are as before afterwards.
import { h } from './dom.js';

// Whether it worked.
export function copyByCommand(text) {
  const area = h('textarea', { class: 'offscreen', 'aria-hidden': 'true', value: text });
  const focused = document.activeElement;
  const selection = getSelection();
  const selected = selection.rangeCount > 0 ? selection.getRangeAt(0) : null;
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  focused?.focus({ preventScroll: true });
  if (selected !== null) selection.addRange(selected);
  return copied;
}
