// log_pane.js - the lines of a log model on the page.
//
// Lines are elements, in blocks that the browser skips while they are out of sight; so selecting, copying
// and finding are the browser's own. All work is done in slices of a frame: forget what the model has
// dropped, draw again what changed, append what is new, hide or show after a change of the filter, and
// then what the view wants (its search). Each step goes on where it was stopped.
//
// While it follows, the end stays in sight: whenever the content or the pane changes its size, before
// that is painted. While it does not, nothing that comes moves what is read.
import { colorText, styleClasses } from './ansi.js';
import { h } from './dom.js';
import { formatClock } from './format.js';

const BLOCK_LINES = 200;
const BLOCK_CHARACTERS = 1 << 14;
const SLICE_MS = 8;
const ATTACH_MS = 250;
const END_PIXELS = 4; // so near to the end is at the end

function createRun(text, style) {
  const span = document.createElement('span');
  span.className = styleClasses(style);
  if (style.ink !== null) span.style.setProperty('--ink', colorText(style.ink));
  if (style.back !== null) span.style.setProperty('--fill', colorText(style.back));
  span.textContent = text;
  return span;
}

// The text of a line, with its looks, into an element.
export function fillLine(element, line) {
  if (line.spans === null) {
    element.textContent = `${line.text}\n`;
    return;
  }
  let at = 0;
  const nodes = line.spans.map(({ length, style }) => {
    const text = line.text.slice(at, (at += length));
    return style === null ? text : createRun(text, style);
  });
  element.replaceChildren(...nodes, '\n');
}

// The nodes and offsets of characters from..to.
function rangeOf(element, [from, to]) {
  const range = new Range();
  let at = 0;
  for (const child of element.childNodes) {
    const node = child.firstChild ?? child;
    const end = at + node.length;
    if (from >= at && from < end) range.setStart(node, from - at);
    if (to > at && to <= end) range.setEnd(node, to - at);
    at = end;
  }
  return range;
}

let clockMs = -1;
let clockText = '';
// Lines of one entry have one time.
function lineClock(ms) {
  if (ms !== clockMs) [clockMs, clockText] = [ms, formatClock(ms, true)];
  return clockText;
}

// accepts(line): is it shown. moreWork(goOn): further work of each frame, returns whether it is done.
// onFollow(following), onMissed(count of new lines below).
export function createLogPane(model, { accepts, moreWork, onFollow, onMissed }) {
  const blocks = []; // {element, first: number, elements, shown: count, characters}
  let attachedAt = 0;
  let next = 1; // number of the first line that has no element
  let refilter = -1; // index of the block that is next to be hidden or shown anew, from the end
  let following = true;
  let anchor = null; // {number, offset}: the line that is to be back in its place after a change of looks
  let missed = 0;
  let frame = 0;
  let lastTop = 0;
  let lastHeight = 0;

  const notice = h('div', { class: 'bar log-dropped', testid: 'dropped', hidden: true });
  const content = h('div', { class: 'log-lines' }, notice);
  const element = h(
    'div',
    { class: 'pane log', role: 'log', 'aria-live': 'off', 'aria-label': 'Output', tabindex: '0', testid: 'log' },
    content,
  );

  // Else the browser's own anchoring looks like a person who scrolls up.
  element.style.overflowAnchor = 'none';

  const lineClass = (line) =>
    `line${line.stream === 'stderr' ? ' stderr' : ''}${line.gap ? ' gap' : ''}${line.ended ? '' : ' partial'}`;

  function draw(lineElement, line) {
    lineElement.className = lineClass(line);
    fillLine(lineElement, line);
  }

  function openBlock(first) {
    const block = { element: h('div', { class: 'block' }), first, elements: [], shown: 0, characters: 0 };
    blocks.push(block);
    return block;
  }

  function settle(block) {
    block.element.style.setProperty('--lines', block.shown);
    block.element.hidden = block.shown === 0;
  }

  function show(block, lineElement, shown) {
    if (lineElement.hidden === !shown) return;
    lineElement.hidden = !shown;
    block.shown += shown ? 1 : -1;
  }

  function appendLine(line) {
    let block = blocks.at(-1);
    if (!block || block.elements.length >= BLOCK_LINES || block.characters > BLOCK_CHARACTERS)
      block = openBlock(line.number);
    const lineElement = document.createElement('div');
    draw(lineElement, line);
    lineElement.dataset.time = lineClock(line.timeMs);
    block.elements.push(lineElement);
    block.characters += line.text.length;
    block.shown += 1;
    show(block, lineElement, accepts(line));
    block.element.append(lineElement);
    if (!following && !lineElement.hidden) missed += 1;
    return block;
  }

  // --- the work of a frame ---

  function dropOld(goOn) {
    let stale = 0;
    while (stale < blocks.length && blocks[stale].first + blocks[stale].elements.length <= model.first && goOn())
      stale += 1;
    if (stale === 0) return true;
    // What is read stays where it is. Browsers that do so by themselves do it later, and find it done.
    const anchor = following ? null : anchorElement(stale);
    const before = anchor?.getBoundingClientRect().top;
    for (const block of blocks.splice(0, stale)) block.element.remove();
    refilter -= stale;
    if (anchor) element.scrollTop += anchor.getBoundingClientRect().top - before;
    return goOn();
  }

  function anchorElement(stale) {
    const block = blocks[Math.max(stale, blockInView())];
    return (
      block &&
      (block.elements.find((line) => line.getBoundingClientRect().bottom > element.getBoundingClientRect().top) ??
        block.element)
    );
  }

  function drawChanged(lines) {
    for (const line of lines) {
      const block = blockOf(line.number);
      if (block === undefined) continue;
      const lineElement = block.elements[line.number - block.first];
      draw(lineElement, line);
      show(block, lineElement, accepts(line));
      settle(block);
    }
  }

  function append(goOn) {
    next = Math.max(next, model.first);
    let open = null;
    for (; next < model.next; next++) {
      if (next % 16 === 0 && !goOn()) break;
      const block = appendLine(model.line(next));
      if (open !== null && open !== block) settle(open);
      open = block;
    }
    if (open !== null) settle(open);
    if (next === model.next || performance.now() > attachedAt + ATTACH_MS) attach();
    return next === model.next;
  }

  // While much is coming, most of it is out of sight before it is painted. Blocks that come onto the page
  // many at once are never laid out; one after the other, each would be.
  function attach() {
    attachedAt = performance.now();
    let from = blocks.length;
    while (from > 0 && !blocks[from - 1].element.parentNode) from -= 1;
    content.append(...blocks.slice(from).map((block) => block.element));
  }

  function filterAgain(goOn) {
    for (; refilter >= 0; refilter--) {
      if (!goOn()) return false;
      const block = blocks[refilter];
      block.elements.forEach((lineElement, i) => {
        const line = model.line(block.first + i);
        if (line) show(block, lineElement, accepts(line));
      });
      settle(block);
    }
    return true;
  }

  function work() {
    frame = 0;
    const end = performance.now() + SLICE_MS;
    const goOn = () => performance.now() < end;
    const before = missed;
    const changed = [...model.changed];
    model.changed.clear();
    drawChanged(changed);
    const done = dropOld(goOn) && append(goOn) && filterAgain(goOn);
    if (missed !== before) onMissed(missed);
    if (done) takePlace();
    if (!(moreWork(goOn, changed) && done)) schedule();
  }

  function schedule() {
    if (frame === 0) frame = requestAnimationFrame(work);
  }

  // --- where things are ---

  function blockOf(number) {
    let low = 0;
    let high = blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (blocks[middle].first <= number) low = middle;
      else high = middle - 1;
    }
    const block = blocks[low];
    return block !== undefined && number >= block.first && number < block.first + block.elements.length
      ? block
      : undefined;
  }

  // Index of the first block that reaches into view.
  function blockInView() {
    const { top } = element.getBoundingClientRect();
    const index = blocks.findIndex(({ shown, element: box }) => shown > 0 && box.getBoundingClientRect().bottom > top);
    return index < 0 ? blocks.length : index;
  }

  function forEachInView(visit) {
    const view = element.getBoundingClientRect();
    for (let i = blockInView(); i < blocks.length; i++) {
      const block = blocks[i];
      if (block.shown === 0) continue;
      if (block.element.getBoundingClientRect().top >= view.bottom) return;
      for (let j = 0; j < block.elements.length; j++) {
        if (block.elements[j].hidden) continue;
        const { top, bottom } = block.elements[j].getBoundingClientRect();
        if (top >= view.bottom) return;
        if (bottom > view.top && visit(block.first + j, block.elements[j]) === false) return;
      }
    }
  }

  const offsetOf = (lineElement) => lineElement.getBoundingClientRect().top - element.getBoundingClientRect().top;

  // Number of the first line in view; of the next one where there is none.
  function firstInView() {
    let found = next;
    forEachInView((number) => {
      found = number;
      return false;
    });
    return found;
  }

  function elementOf(number) {
    const block = blockOf(number);
    return block && block.elements[number - block.first];
  }

  // change() alters what is shown, or how; who is reading goes on at the same line.
  function keepPlace(change) {
    const number = firstInView();
    const lineElement = elementOf(number);
    if (!following && anchor === null && lineElement) anchor = { number, offset: offsetOf(lineElement) };
    change();
    schedule();
  }

  function takePlace() {
    if (anchor === null) return;
    let { number } = anchor;
    while (number < next && (elementOf(number)?.hidden ?? true)) number += 1;
    const lineElement = elementOf(number);
    if (!following && lineElement) {
      // Twice, since blocks that were out of sight get their true height when they come into it.
      lineElement.scrollIntoView({ behavior: 'instant' });
      element.scrollTop += offsetOf(lineElement) - anchor.offset;
    }
    anchor = null;
  }

  const atEnd = () => element.scrollHeight - element.clientHeight - element.scrollTop <= END_PIXELS;

  function pin() {
    if (following) element.scrollTop = element.scrollHeight;
  }

  function setFollowing(value) {
    if (value) {
      missed = 0;
      onMissed(0);
    }
    if (value !== following) {
      following = value;
      element.style.overflowAnchor = value ? 'none' : 'auto';
      onFollow(value);
    }
    pin();
  }

  element.addEventListener(
    'wheel',
    (event) => {
      if (event.deltaY < 0 && !event.ctrlKey && element.scrollTop > 0) setFollowing(false);
    },
    { passive: true },
  );

  // A person who scrolls up stops following, and one who scrolls down to the end goes on.
  element.addEventListener(
    'scroll',
    () => {
      const { scrollTop, scrollHeight } = element;
      const byHand = scrollHeight === lastHeight;
      if (following && scrollTop < lastTop - 1 && !atEnd()) setFollowing(false);
      else if (!following && byHand && scrollTop > lastTop && atEnd()) setFollowing(true);
      lastTop = scrollTop;
      lastHeight = scrollHeight;
      schedule();
    },
    { passive: true },
  );

  element.addEventListener('keydown', (event) => {
    if (event.key !== 'End' || event.shiftKey) return;
    event.preventDefault();
    setFollowing(true);
  });

  const sizes = new ResizeObserver(() => {
    pin();
    schedule();
  });
  sizes.observe(content);
  sizes.observe(element);

  return {
    element,
    notice,
    schedule,
    setFollowing,
    get following() {
      return following;
    },
    get drawnTo() {
      return next;
    },
    get empty() {
      return next === model.next && refilter < 0 && blocks.every(({ shown }) => shown === 0);
    },

    // What accepts() says has changed.
    filter() {
      keepPlace(() => {
        refilter = blocks.length - 1;
      });
    },
    keepPlace,

    clear() {
      for (const block of blocks.splice(0)) block.element.remove();
      refilter = -1;
      next = model.next;
    },

    firstInView,
    forEachInView,
    rangeOf,
    elementOf,

    // Into the middle, if it is not in sight.
    reveal(lineElement, ranges) {
      setFollowing(false);
      const box = () => (ranges ? rangeOf(lineElement, ranges) : lineElement).getBoundingClientRect();
      const view = element.getBoundingClientRect();
      const far = () => box().top < view.top || box().bottom > view.top + element.clientHeight;
      // Blocks that were out of sight get their true height when they come into it.
      for (let tries = 0; tries < 3 && far(); tries++)
        lineElement.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' });
      const { left, right } = box();
      if (left < view.left + 16) element.scrollLeft += left - view.left - 48;
      else if (right > view.left + element.clientWidth)
        element.scrollLeft += right - view.left - element.clientWidth + 48;
    },

    destroy() {
      cancelAnimationFrame(frame);
      sizes.disconnect();
    },
  };
}
