// info_view.js - the record of a process, as the API gives it.
import { copyButton, h, setText } from './dom.js';

export function createInfoView(process) {
  const text = (record) => JSON.stringify(record, null, 2);
  const pane = h('pre', { class: 'pane json', tabindex: '0', role: 'region', 'aria-label': 'Record' });
  let shown = process;
  const update = (next) => {
    shown = next;
    setText(pane, text(next));
  };
  update(process);
  const element = h(
    'div',
    { class: 'view' },
    h(
      'div',
      { class: 'toolbar', testid: 'toolbar' },
      h('span', { class: 'muted' }, 'The record, as the API gives it'),
      h('span', { class: 'spacer' }),
      copyButton('Copy', () => text(shown)),
    ),
    pane,
  );
  return { element, update, command: () => false, focus: () => pane.focus(), destroy() {} };
}
