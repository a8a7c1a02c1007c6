// From bytes to lines: what a terminal of one row would show, whatever the cuts between entries.
import assert from 'node:assert/strict';
import test from 'node:test';
import { MAX_LINES, createLogModel } from '../../../ui/app/log_model.js';

const bytesOf = (data) => (typeof data === 'string' ? new TextEncoder().encode(data) : Uint8Array.from(data));
const entry = (data, stream = 'stdout', timestampMs = 0) => ({ stream, timestampMs, data: bytesOf(data) });

function modelOf(...chunks) {
  const model = createLogModel();
  for (const chunk of chunks) model.add(Array.isArray(chunk) && typeof chunk[0] === 'object' ? chunk[0] : entry(chunk));
  return model;
}

function linesOf(model) {
  const lines = [];
  for (let number = model.first; number < model.next; number++) lines.push(model.line(number));
  return lines;
}

const textsOf = (...chunks) => linesOf(modelOf(...chunks)).map(({ text }) => text);

// The same lines as from one piece, wherever the bytes are cut.
function assertTexts(text, expected) {
  const bytes = bytesOf(text);
  assert.deepEqual(textsOf(text), expected, JSON.stringify(text));
  for (let cut = 1; cut < bytes.length; cut++) {
    assert.deepEqual(textsOf([...bytes.subarray(0, cut)], [...bytes.subarray(cut)]), expected, `${JSON.stringify(text)} cut at ${cut}`);
  }
  assert.deepEqual(textsOf(...[...bytes].map((byte) => [byte])), expected, `${JSON.stringify(text)} byte by byte`);
}

test('lines, blank ones and an unfinished last one', () => {
  assertTexts('a\n\n b\tc \nd', ['a', '', ' b\tc ', 'd']);
  assert.deepEqual(linesOf(modelOf('a\nb')).map(({ number, ended }) => [number, ended]), [[1, true], [2, false]]);
  assertTexts('', []);
});

test('UTF-8 over entries; U+FFFD for what is none', () => {
  assertTexts('café 漢 😀\n', ['café 漢 😀']);
  assert.deepEqual(textsOf([0x61, 0xff, 0x62, 0x0a]), ['a\ufffdb']);
  const cut = modelOf([0x61, 0xc3]);
  assert.deepEqual(linesOf(cut).map(({ text }) => text), ['a']);
  cut.end();
  assert.deepEqual(linesOf(cut).map(({ text, ended }) => [text, ended]), [['a\ufffd', true]]);
});

test('carriage return', () => {
  assertTexts('10%\r100%\n', ['100%']);
  assertTexts('100%\r5%\n', ['5%0%']);
  assertTexts('dos\r\nline\r\r\n', ['dos', 'line']);
  assertTexts('one\r', ['one']);
});

test('backspace', () => {
  assertTexts('abc\b\bX\n', ['aXc']);
  assertTexts('\b\ba\n', ['a']);
  assertTexts('a😀\bb\n', ['ab']);
});

test('overwriting leaves no half of a character', () => {
  assertTexts('😀x\ra\n', ['ax']);
  assertTexts('a😀x\rbc\n', ['bcx']);
});

test('erasing', () => {
  assertTexts('12345\rab\x1b[K\n', ['ab']);
  assertTexts('12345\rab\x1b[0Kc\n', ['abc']);
  assertTexts('12345\b\b\x1b[1K\n', ['    5']);
  assertTexts('12345\x1b[2Kx\n', ['     x']);
  assertTexts('\x1b[Ka\n', ['a']);
  assertTexts('abc\r\x1b[J\n', ['']);
});

test('moving in the line', () => {
  assertTexts('abc\x1b[Gx\n', ['xbc']);
  assertTexts('abc\x1b[2Gx\n', ['axc']);
  assertTexts('abc\x1b[2Dx\x1b[Cy\n', ['axc'.concat('y')]);
  assertTexts('a\x1b[3Cb\n', ['a   b']);
  assertTexts('abc\x1b[99Dx\n', ['xbc']);
  assert.equal(textsOf('\x1b[999999999Cx\n')[0].length, 1001, 'a sequence makes no endless line');
});

test('other sequences are dropped, over entries as well', () => {
  assertTexts('a\x1b[?25l\x1b[2J\x1b[10;5Hb\x1b[>0c\x1b[1 q\n', ['ab']);
  assertTexts('a\x1b(Bb\x1b=c\x1b7d\x1bMe\n', ['abcde']);
  assertTexts('a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\c\n', ['ablinkc']);
  assertTexts('a\x1bPq#0;1\x1b\\b\x1b_G\x1b\\c\x1b^x\x1b\\d\x1bXy\x1b\\e\n', ['abcde']);
  assertTexts('a\x1b[3\nb\n', ['a', 'b']);
  assertTexts('a\x1b\nb\n', ['a', 'b']);
  assertTexts('a\x1b\x1b[1mb\n', ['ab']);
});

test('a string that is not ended takes no more than its line', () => {
  assertTexts('a\x1b]0;cut\nb\n', ['a', 'b']);
  assertTexts('a\x1bPcut\nb\n', ['a', 'b']);
});

test('control characters are dropped, tabs kept', () => {
  assertTexts('a\0\x07\x0b\x0c\x7fb\t\u0085\u009bc\n', ['ab\tc']);
});

test('styles', () => {
  const spansOf = (...chunks) => linesOf(modelOf(...chunks)).map(({ spans }) => spans?.map(({ length, style }) => [length, style && style.ink]) ?? null);
  assert.deepEqual(spansOf('plain\n'), [null]);
  assert.deepEqual(spansOf('\x1b[31mred\x1b[0m no\n'), [[[3, 1], [3, null]]]);
  assert.deepEqual(spansOf('a\x1b[31mb\nc\n'), [[[1, null], [1, 1]], [[1, 1]]], 'go on over lines');
  assert.deepEqual(spansOf('a\x1b[3', '1mb\n'), [[[1, null], [1, 1]]], 'over entries');
  assert.deepEqual(spansOf('\x1b[31mab', 'cd\n'), [[[4, 1]]], 'one run');
  assert.deepEqual(spansOf('\x1b[31mabcd\x1b[0m\b\b\bX\n'), [[[1, 1], [1, null], [2, 1]]], 'overwritten in the middle');
  assert.deepEqual(spansOf('\x1b[31mab\x1b[0m\rXY\n'), [[[2, null]]]);
  assert.deepEqual(spansOf('\x1b[31mabcd\r\x1b[2C\x1b[K\n'), [[[2, 1]]], 'erased');
  assert.deepEqual(spansOf('\x1b[>4;1m\x1b[?4ma\n'), [null], 'what looks like one and is none');
  const both = createLogModel();
  both.add(entry('\x1b[31mout '));
  both.add(entry('err\n', 'stderr'));
  assert.equal(both.line(2).spans, null, 'each stream has its own');
});

test('spans always cover the text', () => {
  let state = 1;
  const random = (below) => (state = (state * 1103515245 + 12345) % 2147483648) % below;
  const pieces = ['a', 'bc😀', '\r', '\b', '\x1b[31m', '\x1b[m', '\x1b[K', '\x1b[1K', '\x1b[2K', '\x1b[3G', '\x1b[2C', '\x1b[2D', '漢', '\x1b[7m'];
  for (let round = 0; round < 2000; round++) {
    const [line] = linesOf(modelOf(Array.from({ length: 12 }, () => pieces[random(pieces.length)]).join('')));
    if (!line) continue;
    assert.ok(line.text.isWellFormed?.() ?? true, JSON.stringify(line.text));
    if (line.spans) assert.equal(line.spans.reduce((sum, { length }) => sum + length, 0), line.text.length, JSON.stringify(line));
    assert.ok(line.spans?.every(({ length }) => length > 0) ?? true);
  }
});

test('streams do not mix, lines are in the order in which they began', () => {
  const model = createLogModel();
  model.add(entry('out', 'stdout', 10));
  model.add(entry('err\n', 'stderr', 20));
  model.add(entry('put\nnext\n', 'stdout', 30));
  assert.deepEqual(linesOf(model).map(({ number, stream, timeMs, text }) => [number, stream, timeMs, text]),
    [[1, 'stdout', 10, 'output'], [2, 'stderr', 20, 'err'], [3, 'stdout', 30, 'next']]);
});

test('a line that was there and goes on is told', () => {
  const model = modelOf('a\nb');
  assert.equal(model.changed.size, 0);
  model.add(entry('c\nd\n'));
  assert.deepEqual([...model.changed].map(({ number }) => number), [2]);
});

test('very long lines are broken, and not in a character', () => {
  assert.deepEqual(textsOf('x'.repeat(45000), '\n').map(({ length }) => length), [20000, 20000, 5000]);
  const texts = textsOf(`x${'😀'.repeat(15000)}\n`);
  assert.deepEqual(texts.map(({ length }) => length), [19999, 10002]);
  assert.ok(texts.every((text) => text.isWellFormed?.() ?? true));
});

test('a gap is a line, and cuts what was begun', () => {
  const model = modelOf('begun \x1b[31', [0xc3]);
  model.addGap({ fromSequence: 8, toSequence: 41, bytes: 270336 });
  model.add(entry('mafter\n'));
  model.addGap({ fromSequence: 50, toSequence: 51 });
  assert.deepEqual(linesOf(model).map(({ text, ended }) => [text, ended]), [['begun \ufffd', true],
    ['270336 bytes lost (sequences 8 to 41)', true], ['mafter', true], ['Output lost (sequences 50 to 51)', true]]);
  assert.deepEqual(linesOf(model).map(({ gap }) => Boolean(gap)), [false, true, false, true]);
});

test('the oldest lines go, in blocks, and are counted', () => {
  const model = createLogModel();
  model.add(entry('begun', 'stderr'));
  for (let i = 0; i < 300; i++) model.add(entry(Array.from({ length: 1000 }, (_, k) => `${i * 1000 + k}\n`).join('')));
  const kept = model.next - model.first;
  assert.ok(kept <= MAX_LINES && kept > MAX_LINES - 1000, `${kept}`);
  assert.equal(model.dropped, 300001 - kept);
  assert.equal(model.line(model.first - 1) ?? null, null);
  assert.equal(model.line(model.next - 1).text, '299999');
  assert.equal(model.line(model.first).text, String(model.first - 2));
  model.add(entry(' on\n', 'stderr'));
  assert.equal(model.line(model.next - 1).text, ' on', 'what was begun in a line that is gone goes on in a new one');
});

test('many characters are too much as well', () => {
  const model = createLogModel();
  for (let i = 0; i < 3000; i++) model.add(entry(`${'x'.repeat(19999)}\n`));
  assert.ok((model.next - model.first) * 20000 < 40e6, `${model.next - model.first}`);
  assert.equal(model.dropped, 3000 - (model.next - model.first));
});

test('clear forgets the lines, not where things are', () => {
  const model = modelOf('a\n\x1b[31mb');
  model.clear();
  assert.equal(model.first, model.next);
  assert.equal(model.changed.size, 0);
  model.add(entry('c\n'));
  assert.deepEqual(linesOf(model).map(({ number, text, spans }) => [number, text, spans[0].style.ink]), [[3, 'c', 1]]);
});
