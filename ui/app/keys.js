// keys.js - single keys as commands; dialogs.js lists them.
//
// They are for the page, not for what is typed into: inputs, terminals and open dialogs have their
// keys to themselves. Whoever dictates or presses keys by accident turns them off in the settings
// (WCAG 2.1.4); Escape and what has a modifier stays.
import { setting } from './settings.js';

export const COMMANDS = new Map([
  ['?', 'help'],
  ['n', 'new'],
  ['N', 'previous'],
  ['r', 'run'],
  ['/', 'search'],
  ['j', 'down'],
  ['k', 'up'],
  ['Enter', 'enter'],
  ['g l', 'output'],
  ['g t', 'terminal'],
  ['g i', 'info'],
  ['f', 'follow'],
  ['w', 'wrap'],
  ['t', 'timestamps'],
  ['s', 'stop'],
  ['K', 'kill'],
  ['Escape', 'escape'],
  ['ArrowDown', 'down'],
  ['ArrowUp', 'up'],
  ['End', 'end'],
]);

const FOREIGN = 'input, textarea, select, dialog, .xterm, [role=menu], [contenteditable]';
const OWN_KEYS = {
  Enter: 'button, a, summary, [role=option]',
  ArrowDown: '.pane, [role=tab], [role=option]',
  ArrowUp: '.pane, [role=tab], [role=option]',
};

// perform(command) returns whether the key was used.
export function listenToKeys(perform) {
  let prefix = '';
  addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target.closest?.(FOREIGN) || document.querySelector('dialog[open]')) return;
    if (event.key !== 'Escape' && !setting('shortcuts')) return;
    if (event.target.closest?.(OWN_KEYS[event.key] ?? 'never')) return;
    const keys = prefix + event.key;
    prefix = keys === 'g' ? 'g ' : '';
    const command = COMMANDS.get(keys);
    if (command !== undefined && perform(command)) event.preventDefault();
  });
}
