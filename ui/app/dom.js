// dom.js - elements, and the few things that all parts of the page do with them.

// h('button', { class: 'primary', testid: 'stop', onclick: stop }, 'Stop'): an element. Properties
// that begin with "on" are listeners; true is an attribute without value; null and false are none. A button
// submits nothing unless it says so.
// Children are nodes and texts, in lists of any depth; null and false are none.
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  if (tag === 'button') element.type = 'button';
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'testid') element.dataset.testid = value;
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...nodesOf(children));
  return element;
}

function nodesOf(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

export function replaceChildren(element, ...children) {
  element.replaceChildren(...nodesOf(children));
}

// Only when it differs: a text that is set anew ends a selection in it.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  const text = value === true ? '' : value;
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(text)) element.setAttribute(name, text);
}

// Of a finger: the focus in a field brings up a keyboard, over half of the screen.
export const coarsePointer = matchMedia('(pointer: coarse)');

let lastId = 0;
export function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

// A button that stays pressed. onchange(pressed).
export function toggleButton(label, pressed, onchange, properties) {
  const element = h('button', { class: 'toggle', 'aria-pressed': String(pressed), ...properties }, label);
  element.addEventListener('click', () => {
    setPressed(element, !isPressed(element));
    onchange(isPressed(element));
  });
  return element;
}

export function isPressed(element) {
  return element.getAttribute('aria-pressed') === 'true';
}

export function setPressed(element, pressed) {
  setAttribute(element, 'aria-pressed', String(pressed));
}

// For people who listen: one polite region for the whole page (#announcer in index.html).
export function announce(text) {
  const region = document.getElementById('announcer');
  region.textContent = '';
  // A region that is emptied and filled in one go is not read again when the text is the same.
  setTimeout(() => {
    region.textContent = text;
  }, 30);
}

// navigator.clipboard exists on https and on loopback only. Resolves to whether it worked.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return (await import('./copy_command.js')).copyByCommand(text);
  }
}

// A button that copies what makeText() gives, and says that it did in its own place.
export function copyButton(label, makeText, properties) {
  const element = h('button', { ...properties }, label);
  let timer;
  element.addEventListener('click', async () => {
    const copied = await copyText(await makeText());
    element.textContent = copied ? 'Copied' : 'Not copied';
    announce(element.textContent);
    clearTimeout(timer);
    timer = setTimeout(() => {
      element.textContent = label;
    }, 1200);
  });
  return element;
}

// The one place for an error beside what failed: empty it with null. Shown once, and announced.
export function errorLine(properties) {
  const element = h('p', { class: 'error', role: 'alert', hidden: true, ...properties });
  element.show = (text) => {
    element.hidden = text === null;
    element.textContent = text;
  };
  return element;
}

const styles = new Map();

// A style sheet that only a part of the page needs. Resolves when it is in force.
export function loadStyle(url) {
  if (!styles.has(url.href)) {
    const loading = new Promise((onload, onerror) => {
      document.head.append(h('link', { rel: 'stylesheet', href: url, onload, onerror }));
    });
    styles.set(url.href, loading);
    loading.catch(() => styles.delete(url.href));
  }
  return styles.get(url.href);
}

// Of dialogs and menus, which can be used without it, too.
export const loadOverlayStyle = () => loadStyle(new URL('./overlay.css', import.meta.url)).catch(() => {});
