// log_model.js - from the bytes of a log to lines. No DOM.
//
// Each stream has a decoder and a writer of its own, as if each had a terminal of one row: text goes
// to a column of the current line and replaces what is there; \r and a few escape sequences move the
// column or erase; the rest of the control characters and sequences is dropped. What an entry cuts, a
// character or a sequence, waits for the next one.
//
// Lines are numbered from 1 in the order in which they began, without holes. A line may change until it
// has ended. The oldest are dropped, DROP_LINES at a time, so that at most MAX_LINES are kept.
import { applySgr } from './ansi.js';

export const MAX_LINES = 100000;
const DROP_LINES = 200;
const MAX_CHARACTERS = 1 << 25;
const COMPACT_LINES = 1 << 15;
// A line that is longer is broken: no browser lays out megabytes of one line while one waits.
const LINE_CHARACTERS = 20000;
// Sequences that move the column go no further: one of them must not make a line of blanks.
const COLUMN_MAX = 1000;
const SEQUENCE_CHARACTERS = 256;

const ESC = '\x1b';
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;
const SEQUENCE = /\x1b(?:\[([0-?]*)[ -/]*|[ -/]+)?/y;
// A string (title, image, ...) ends with its line as well: one that was cut must not swallow the log.
const STRING_END = /[\x07\x18\x1a\x1b\x9c\n]/g;

// Runs are the looks of a line: {length, style} from its beginning to its end.
function cutRuns(runs, from, to) {
  const cut = [];
  let at = 0;
  for (const { length, style } of runs) {
    const part = Math.min(at + length, to) - Math.max(at, from);
    if (part > 0) cut.push({ length: part, style });
    at += length;
  }
  return cut;
}

function joinRuns(runs) {
  const joined = [];
  for (const run of runs) {
    if (run.length === 0) continue;
    if (joined.at(-1)?.style === run.style) joined.at(-1).length += run.length;
    else joined.push(run);
  }
  return joined;
}

const isLowSurrogate = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xdc00;

// Replaces the characters from..to of a line. Never leaves half of a surrogate pair behind.
function replaceText(line, from, to, text, style) {
  const { length } = line.text;
  if (from === length) {
    if (text === '') return;
    line.text += text;
    if (line.spans === null && style === null) return;
    line.spans ??= length > 0 ? [{ length, style: null }] : [];
    const last = line.spans.at(-1);
    if (last?.style === style) last.length += text.length;
    else line.spans.push({ length: text.length, style });
    return;
  }
  if (isLowSurrogate(line.text, from)) from -= 1;
  if (isLowSurrogate(line.text, to)) to += 1;
  line.text = line.text.slice(0, from) + text + line.text.slice(to);
  if (line.spans === null && style === null) return;
  const runs = line.spans ?? [{ length, style: null }];
  line.spans = joinRuns([...cutRuns(runs, 0, from), { length: text.length, style }, ...cutRuns(runs, to, length)]);
}

// Writes the text of one stream. openLine() makes a line, closeLine(line) is told of its end.
function createLineWriter(openLine, closeLine) {
  let line = null;
  let column = 0;
  let style = null;
  let rest = ''; // the beginning of a sequence
  let inString = false;

  function endLine() {
    line ??= openLine();
    line.ended = true;
    closeLine(line);
    line = null;
    column = 0;
  }

  function put(text) {
    line ??= openLine();
    let room = LINE_CHARACTERS - column;
    while (text.length > room) {
      if (isLowSurrogate(text, room)) room -= 1;
      putInLine(text.slice(0, room));
      endLine();
      line = openLine();
      text = text.slice(room);
      room = LINE_CHARACTERS;
    }
    putInLine(text);
  }

  function putInLine(text) {
    const { length } = line.text;
    if (column > length) replaceText(line, length, length, ' '.repeat(column - length), null);
    replaceText(line, column, Math.min(column + text.length, line.text.length), text, style);
    column += text.length;
  }

  function eraseInLine(mode) {
    if (line === null) return;
    const { length } = line.text;
    if (mode === 1) replaceText(line, 0, Math.min(column + 1, length), ' '.repeat(Math.min(column + 1, length)), null);
    else replaceText(line, mode === 2 ? 0 : Math.min(column, length), length, '', null);
  }

  function perform(command, parameters) {
    if (command === 'm' && !/[<-?]/.test(parameters)) style = applySgr(style, parameters);
    const number = parseInt(parameters, 10) || 0;
    const reach = Math.max(column, COLUMN_MAX);
    if (command === 'K') eraseInLine(number);
    else if (command === 'J' && number === 0) eraseInLine(0);
    else if (command === 'G') column = Math.min(Math.max(number, 1) - 1, reach);
    else if (command === 'C') column = Math.min(column + Math.max(number, 1), reach);
    else if (command === 'D') column = Math.max(column - Math.max(number, 1), 0);
  }

  // The sequence at `at`; returns where the text goes on.
  function readSequence(text, at) {
    SEQUENCE.lastIndex = at;
    const [head, parameters] = SEQUENCE.exec(text);
    const end = at + head.length;
    if (end === text.length) {
      if (head.length < SEQUENCE_CHARACTERS) rest = head;
      return end;
    }
    const final = text[end];
    if (final < ' ' || final > '~') return end;
    if (parameters !== undefined) perform(final, parameters);
    else if (head === ESC && ']PX^_'.includes(final)) inString = true;
    return end + 1;
  }

  function readControl(text, at) {
    const character = text[at];
    if (character === ESC) return readSequence(text, at);
    if (character === '\n') endLine();
    else if (character === '\r') column = 0;
    else if (character === '\b' && column > 0) column -= line !== null && isLowSurrogate(line.text, column - 1) ? 2 : 1;
    return at + 1;
  }

  function skipString(text, at) {
    STRING_END.lastIndex = at;
    if (!STRING_END.test(text)) return text.length;
    inString = false;
    const end = STRING_END.lastIndex - 1;
    return text[end] === ESC || text[end] === '\n' ? end : end + 1;
  }

  return {
    line: () => line,
    write(chunk) {
      const text = rest + chunk;
      rest = '';
      let at = 0;
      while (at < text.length) {
        if (inString) {
          at = skipString(text, at);
          continue;
        }
        CONTROL.lastIndex = at;
        const control = CONTROL.test(text) ? CONTROL.lastIndex - 1 : text.length;
        if (control > at) put(text.slice(at, control));
        at = control < text.length ? readControl(text, control) : control;
      }
    },
    // What comes next begins a line, with the usual look.
    reset() {
      if (line !== null) endLine();
      style = null;
      rest = '';
      inString = false;
    },
    // The line is not kept any more; what comes next begins another one.
    forget() {
      line = null;
      column = 0;
    },
  };
}

export function createLogModel() {
  const streams = new Map(); // name -> {decoder, writer}
  let lines = []; // of the numbers from `base` on; those before `first` are empty
  let base = 1;
  let first = 1;
  let next = 1;
  let characters = 0; // of the lines that ended
  let timeMs = 0;

  function openLine(properties) {
    const line = { number: next, timeMs, text: '', spans: null, ended: false, ...properties };
    lines.push(line);
    next += 1;
    return line;
  }

  function closeLine(line) {
    characters += line.text.length;
  }

  function streamOf(name) {
    let stream = streams.get(name);
    if (stream === undefined) {
      const properties = { stream: name };
      stream = { decoder: new TextDecoder(), writer: createLineWriter(() => openLine(properties), closeLine) };
      streams.set(name, stream);
    }
    return stream;
  }

  function dropLine(line) {
    if (line.ended) characters -= line.text.length;
    else streams.get(line.stream).writer.forget();
    model.changed.delete(line);
    lines[first - base] = null;
    first += 1;
  }

  function dropOld() {
    const before = first;
    while ((next - first > MAX_LINES - DROP_LINES || characters > MAX_CHARACTERS) && next - first > DROP_LINES) {
      for (let i = 0; i < DROP_LINES; i++) dropLine(lines[first - base]);
    }
    model.dropped += first - before;
    if (first - base < COMPACT_LINES) return;
    lines = lines.slice(first - base);
    base = first;
  }

  function finish(stream) {
    const line = stream.writer.line();
    if (line !== null) model.changed.add(line);
    stream.writer.write(stream.decoder.decode());
    stream.writer.reset();
  }

  const model = {
    changed: new Set(), // lines that were there before and are different now; who shows them empties it
    dropped: 0,
    get first() {
      return first;
    }, // number of the oldest line
    get next() {
      return next;
    }, // number that the next line will have
    line: (number) => lines[number - base],

    // {stream, timestampMs, data: Uint8Array}
    add(entry) {
      const { decoder, writer } = streamOf(entry.stream);
      timeMs = entry.timestampMs;
      const line = writer.line();
      if (line !== null) model.changed.add(line);
      writer.write(decoder.decode(entry.data, { stream: true }));
      dropOld();
    },

    // A line that says so. What was begun before it does not go on after it.
    addGap({ fromSequence, toSequence, bytes }) {
      model.end();
      const what = bytes === undefined ? 'Output' : `${bytes} bytes`;
      const text = `${what} lost (sequences ${fromSequence} to ${toSequence})`;
      closeLine(openLine({ stream: 'gap', gap: true, text, ended: true }));
    },

    // Nothing more will come.
    end() {
      for (const stream of streams.values()) finish(stream);
    },

    clear() {
      for (const { writer } of streams.values()) writer.forget();
      lines = [];
      base = first = next;
      characters = model.dropped = 0;
      model.changed.clear();
    },
  };
  return model;
}
