// Finding in a log: counts, steps, live lines, lines that go.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createLogSearch } from '../../../ui/app/log_search.js';

// As much of a log model as a search looks at.
function modelOf(...texts) {
  const model = { lines: [], first: 1, next: 1, line: (number) => model.lines[number - 1] };
  model.add = (text, more = {}) => model.lines.push({ number: model.next++, text, ...more });
  texts.forEach((text) => model.add(text));
  return model;
}

const all = () => true;
const always = () => true;

function searchIn(model, text, matchCase = false) {
  const search = createLogSearch();
  search.set(text, matchCase);
  assert.ok(search.scan(model, all, always));
  return search;
}

test('counts every occurrence', () => {
  assert.equal(searchIn(modelOf('aXa', 'none', 'XX', 'x'), 'x').total, 4);
  assert.equal(searchIn(modelOf('aXa', 'none', 'XX', 'x'), 'x', true).total, 1);
  assert.equal(searchIn(modelOf('aaaa'), 'aa').total, 2, 'they do not overlap');
  assert.equal(searchIn(modelOf('a'), '').total, 0);
});

test('the text is no pattern', () => {
  for (const text of ['.', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$', '\\', '/', '-', '[a-z]+', '\\d', 'a.c$']) {
    const search = searchIn(modelOf(`x${text}y`, 'abc 123'), text);
    assert.equal(search.total, 1, text);
    assert.deepEqual(search.rangesIn(`x${text}y`), [[1, 1 + text.length]]);
  }
});

test('ranges are those of the text as it is', () => {
  const search = searchIn(modelOf(), 'é');
  assert.deepEqual(search.rangesIn('İÉ é'), [[1, 2], [3, 4]]);
  assert.deepEqual(searchIn(modelOf(), '😀').rangesIn('a😀b😀'), [[1, 3], [4, 6]]);
});

test('steps through all and round', () => {
  const model = modelOf('x', '-', 'x x', '-', 'x');
  const search = searchIn(model, 'x');
  assert.equal(search.position(), 0);
  const walk = (step, times) => Array.from({ length: times }, () => {
    const { number, occurrence } = search.move(step, 1);
    return [search.position(), number, occurrence];
  });
  assert.deepEqual(walk(1, 5), [[1, 1, 0], [2, 3, 0], [3, 3, 1], [4, 5, 0], [1, 1, 0]]);
  assert.deepEqual(walk(-1, 4), [[4, 5, 0], [3, 3, 1], [2, 3, 0], [1, 1, 0]]);
});

test('begins near a line', () => {
  const search = searchIn(modelOf('x', '-', 'x x', '-'), 'x');
  assert.deepEqual(search.near(2), { number: 3, occurrence: 0 });
  assert.deepEqual(search.near(4), { number: 3, occurrence: 1 }, 'the last one, where none is after it');
  assert.equal(searchIn(modelOf('a'), 'x').near(1), null);
});

test('looks at as much as there is time for, and at nothing twice', () => {
  const model = modelOf(...Array(1000).fill('x'));
  const search = createLogSearch();
  search.set('x', false);
  let slices = 0;
  let asked = 0;
  while (!search.scan(model, all, () => ++asked % 2 === 1)) slices += 1;
  assert.ok(slices > 3);
  assert.equal(search.total, 1000);
  model.add('more x');
  assert.ok(search.scan(model, all, always));
  assert.equal(search.total, 1001);
});

test('passes over what is not searched', () => {
  const model = modelOf();
  model.add('x', { stream: 'stdout' });
  model.add('x', { stream: 'stderr' });
  const search = createLogSearch();
  search.set('x', false);
  search.scan(model, ({ stream }) => stream === 'stderr', always);
  assert.equal(search.total, 1);
  assert.equal(search.near(1).number, 2);
  search.restart();
  search.scan(model, all, always);
  assert.equal(search.total, 2, 'another choice is a new scan');
});

test('a line that changes is counted anew', () => {
  const model = modelOf('x', 'pending', 'x');
  const search = searchIn(model, 'x');
  const change = (text) => {
    model.line(2).text = text;
    search.update(model.line(2));
  };
  change('x and x');
  assert.equal(search.total, 4);
  search.near(2);
  search.move(1, 1);
  assert.equal(search.position(), 3);
  change('x only');
  assert.deepEqual([search.total, search.position()], [3, 2], 'the current match stays in its line');
  change('none');
  assert.deepEqual([search.total, search.current], [2, null]);
  search.update({ number: 9, text: 'x' });
  assert.equal(search.total, 2, 'one that was not scanned yet waits for its turn');
});

test('lines that are dropped take their matches along', () => {
  const model = modelOf('x x', 'x', 'x');
  const search = searchIn(model, 'x');
  search.near(3);
  assert.equal(search.position(), 4);
  model.first = 2;
  search.drop(2);
  assert.deepEqual([search.total, search.position()], [2, 2]);
  search.drop(4);
  assert.deepEqual([search.total, search.current, search.position()], [0, null, 0]);
});
