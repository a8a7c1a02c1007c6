// log_search.js - finds a text in the lines of a log, and steps through what was found. No DOM.
//
// Lines are scanned once, from the oldest on, as much at a time as the caller has time for. Kept is how
// often each line matches; where, is found out anew for the few lines that are seen.

export function createLogSearch() {
  let pattern = null;
  let hits = []; // {number, count} of the lines that match, in order
  let total = 0;
  let scanned = 1; // number of the line to look at next
  let current = null; // {number, occurrence}

  // Index of the first hit at or after a line.
  function indexOf(number) {
    let low = 0;
    let high = hits.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (hits[middle].number < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function rangesIn(text) {
    if (pattern === null) return [];
    return Array.from(text.matchAll(pattern), (match) => [match.index, match.index + match[0].length]);
  }

  function countIn(text) {
    pattern.lastIndex = 0;
    let count = 0;
    while (pattern.test(text)) count += 1;
    return count;
  }

  function choose(index, occurrence) {
    const hit = hits[index];
    current =
      hit === undefined ? null : { number: hit.number, occurrence: occurrence < 0 ? hit.count - 1 : occurrence };
    return current;
  }

  return {
    get active() {
      return pattern !== null;
    },
    get total() {
      return total;
    },
    get current() {
      return current;
    },
    rangesIn,

    // An empty text ends the search.
    set(text, matchCase) {
      pattern = text === '' ? null : new RegExp(text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), matchCase ? 'gu' : 'giu');
      this.restart();
    },

    restart() {
      hits = [];
      total = 0;
      scanned = 1;
      current = null;
    },

    matches(text) {
      return pattern !== null && countIn(text) > 0;
    },

    // Looks at what is new in the model, while goOn(). accepts(line): is it searched at all. Returns
    // whether all has been seen.
    scan(model, accepts, goOn) {
      if (pattern === null) return true;
      scanned = Math.max(scanned, model.first);
      for (; scanned < model.next; scanned++) {
        if (scanned % 64 === 0 && !goOn()) return false;
        const line = model.line(scanned);
        const count = accepts(line) ? countIn(line.text) : 0;
        if (count === 0) continue;
        hits.push({ number: scanned, count });
        total += count;
      }
      return true;
    },

    // A line that was scanned is different now.
    update({ number, text }) {
      if (pattern === null || number >= scanned) return;
      const index = indexOf(number);
      const known = hits[index]?.number === number;
      const count = countIn(text);
      total += count - (known ? hits[index].count : 0);
      if (count > 0) hits.splice(index, known ? 1 : 0, { number, count });
      else if (known) hits.splice(index, 1);
      if (current?.number !== number) return;
      current = count === 0 ? null : { number, occurrence: Math.min(current.occurrence, count - 1) };
    },

    // The lines before this one are gone.
    drop(first) {
      const index = indexOf(first);
      for (const { count } of hits.splice(0, index)) total -= count;
      if (current !== null && current.number < first) current = null;
    },

    // 1 for the first match of all; 0 where there is none that one is at.
    position() {
      if (current === null) return 0;
      let position = current.occurrence + 1;
      for (let i = indexOf(current.number) - 1; i >= 0; i--) position += hits[i].count;
      return position;
    },

    // The first match at or after a line, else the last one before it.
    near(number) {
      const index = indexOf(number);
      return index < hits.length ? choose(index, 0) : choose(index - 1, -1);
    },

    // 1 or -1, and round at the ends. `number` is where to begin when one is at no match.
    move(step, number) {
      if (current === null) return this.near(number);
      const index = indexOf(current.number);
      const occurrence = current.occurrence + step;
      if (occurrence >= 0 && occurrence < hits[index].count) current = { number: current.number, occurrence };
      else choose((index + step + hits.length) % hits.length, step < 0 ? -1 : 0);
      return current;
    },
  };
}
