// menu.js - a menu of actions at a point of the page (WAI-ARIA menu pattern), and the one of a process.
//
// There is at most one. It takes the focus and gives it back when it closes.
import { actionOf, kill, remove, runAgain, stop } from './actions.js';
import { copyText, h, loadOverlayStyle } from './dom.js';
import { commandLine } from './format.js';
import { store } from './store.js';

let openedMenu = null;
// It would stand beside the window.
addEventListener('resize', () => closeMenu(true));

function closeMenu(giveBack) {
  if (openedMenu === null) return;
  const { element, before } = openedMenu;
  openedMenu = null;
  element.remove();
  if (giveBack) before?.focus({ preventScroll: true });
}

function moveInMenu(items, key) {
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[key];
  items.at(to % items.length).focus();
}

// items: {label, run, danger, testid}. x, y: where, in the viewport.
export async function openMenu(x, y, label, items) {
  await loadOverlayStyle();
  closeMenu(false);
  const before = document.activeElement;
  const buttons = items.map(({ label: text, run, danger, testid }) =>
    h(
      'button',
      {
        role: 'menuitem',
        tabindex: '-1',
        class: danger ? 'danger' : null,
        testid,
        onclick: () => {
          closeMenu(true);
          run();
        },
      },
      text,
    ),
  );
  const element = h('div', { class: 'menu', role: 'menu', 'aria-label': label, testid: 'row-menu' }, buttons);
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' || event.key === 'Tab') closeMenu(true);
    else if (['ArrowDown', 'ArrowUp', 'Home', 'End'].includes(event.key)) moveInMenu(buttons, event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  element.addEventListener('focusout', (event) => {
    if (!element.contains(event.relatedTarget)) closeMenu(false);
  });
  openedMenu = { element, before };
  document.body.append(element);
  const box = element.getBoundingClientRect();
  // In the window also after that has become smaller, until the menu closes for it.
  element.style.left = `clamp(4px, ${x}px, calc(100vw - ${box.width + 4}px))`;
  element.style.top = `clamp(4px, ${y}px, calc(100vh - ${box.height + 4}px))`;
  buttons[0].focus();
}

export function openRowMenu(process, x, y) {
  const running = process.status === 'running';
  const usable = store.connection === 'connected' && actionOf(process.id).pending === null;
  openMenu(
    x,
    y,
    `Actions of ${process.id}`,
    [
      usable && running && { label: 'Stop', run: () => stop(process) },
      usable && running && { label: 'Kill', run: () => kill(process), danger: true },
      { label: 'Run again', run: () => runAgain(process) },
      { label: 'Copy command', run: () => copyText(commandLine(process)) },
      { label: 'Copy id', run: () => copyText(process.id) },
      usable && { label: running ? 'Kill and delete' : 'Delete', run: () => remove(process), danger: true },
    ].filter(Boolean),
  );
}
