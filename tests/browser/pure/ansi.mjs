// The looks that SGR sequences ask for.
import assert from 'node:assert/strict';
import test from 'node:test';
import { applySgr, colorText, styleClasses } from '../../../ui/app/ansi.js';

const after = (...sequences) => sequences.reduce((style, parameters) => applySgr(style, parameters), null);
// Class names, and the two colours.
const classes = (...sequences) => {
  const style = after(...sequences);
  return [styleClasses(style), ...[style.ink, style.back].filter((color) => color !== null).map(colorText)].join(' ');
};

test('nothing and 0 are the usual look', () => {
  assert.equal(after('1;31', ''), null);
  assert.equal(after('1;31', '0'), null);
  assert.equal(after('1;31;0'), null);
  assert.equal(after('31;;'), null, 'an empty parameter is 0');
  assert.equal(classes('0;31'), 'ink var(--c1)');
});

test('each attribute goes on and off', () => {
  for (const [on, off, name] of [[1, 22, 'bold'], [2, 22, 'dim'], [3, 23, 'italic'], [4, 24, 'underline'], [21, 24, 'underline'], [7, 27, 'inverse'], [9, 29, 'strike']]) {
    assert.equal(classes(`${on}`), name);
    assert.equal(after(`${on}`, `${off}`), null);
    assert.equal(classes('35', `${on};${off}`), 'ink var(--c5)', 'and takes nothing else along');
  }
  assert.equal(classes('1;3;4'), 'bold italic underline');
  assert.equal(classes('4:3'), 'underline', 'whatever its shape');
  assert.equal(after('4', '4:0'), null);
});

test('blinking, concealed and unknown ones change nothing', () => {
  assert.equal(after('5;6;8;10;51;73;200'), null);
  assert.equal(classes('1', '5;999;25;28'), 'bold');
});

test('sixteen colours', () => {
  for (let i = 0; i < 8; i++) {
    assert.equal(classes(`${30 + i}`), `ink var(--c${i})`);
    assert.equal(classes(`${90 + i}`), `ink var(--c${i + 8})`);
    assert.equal(classes(`${40 + i}`), `fill var(--c${i})`);
    assert.equal(classes(`${100 + i}`), `fill var(--c${i + 8})`);
  }
  assert.equal(classes('31;44', '39'), 'fill var(--c4)');
  assert.equal(classes('31;44', '49'), 'ink var(--c1)');
});

test('256 colours', () => {
  assert.equal(after('38;5;9').ink, 9);
  assert.equal(after('38;5;16').ink, 'rgb(0 0 0)');
  assert.equal(after('38;5;208').ink, 'rgb(255 135 0)');
  assert.equal(after('48;5;231').back, 'rgb(255 255 255)');
  assert.equal(after('48;5;232').back, 'rgb(8 8 8)');
  assert.equal(after('38;5;255').ink, 'rgb(238 238 238)');
  assert.equal(after('38:5:208').ink, 'rgb(255 135 0)');
  assert.equal(classes('38;5;208'), 'ink free rgb(255 135 0)');
  assert.equal(classes('48;5;208'), 'fill rgb(255 135 0)');
});

test('true colours', () => {
  assert.equal(after('38;2;1;20;255').ink, 'rgb(1 20 255)');
  assert.equal(after('48:2:1:20:255').back, 'rgb(1 20 255)');
  assert.equal(after('38:2::1:20:255').ink, 'rgb(1 20 255)', 'with the place of a colour space');
});

test('what follows a colour is not taken for a part of it, nor the other way', () => {
  assert.equal(classes('38;5;1;4'), 'underline ink var(--c1)');
  assert.equal(classes('38;2;1;1;1;4'), 'underline ink free rgb(1 1 1)');
  assert.equal(classes('58;5;1;3'), 'italic', 'the colour of an underline is passed over');
  assert.equal(classes('58;2;4;4;4;3'), 'italic');
  assert.equal(classes('38:5:1;4'), 'underline ink var(--c1)');
});

test('colours that do not exist leave the one before', () => {
  for (const bad of ['38;5;256', '38;2;1;2;256', '38;2;1', '38;5', '38', '38;7;1', '38:5', '38:2:1']) {
    assert.equal(after('32', bad).ink, 2, bad);
  }
});

test('a style is never changed', () => {
  const red = after('31');
  applySgr(red, '1;32');
  assert.deepEqual(red, { flags: 0, ink: 1, back: null });
});
