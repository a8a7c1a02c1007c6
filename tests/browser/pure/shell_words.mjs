// Command lines to words and back. /bin/sh is asked as the judge where its rules are ours.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { joinWords, splitWords } from '../../../ui/app/shell_words.js';

const split = (text) => splitWords(text).words;

test('blanks, tabs and newlines part words', () => {
  assert.deepEqual(split('  ls\t-l\n/tmp  '), ['ls', '-l', '/tmp']);
  assert.deepEqual(split(''), []);
  assert.deepEqual(split(' \n '), []);
});

test('quotes keep what is in them, and pieces without a blank are one word', () => {
  assert.deepEqual(split(`sh -c 'echo "a b"; echo  '`), ['sh', '-c', 'echo "a b"; echo  ']);
  assert.deepEqual(split(`a"b c"'d e'f\\ g`), ['ab cd ef g']);
  assert.deepEqual(split(`"" '' x""`), ['', '', 'x']);
  assert.deepEqual(split(`"it's" 'say "so"'`), ["it's", 'say "so"']);
  assert.deepEqual(split(`'two\nlines'`), ['two\nlines']);
});

test('a backslash takes the meaning of the next character, in double quotes of few', () => {
  assert.deepEqual(split(`\\a \\\\ \\" \\' \\$`), ['a', '\\', '"', "'", '$']);
  assert.deepEqual(split(`"\\a \\\\ \\" \\' \\$ \\\`"`), [`\\a \\ " \\' $ \``]);
  assert.deepEqual(split(`'\\'x`), ['\\x']);
  assert.deepEqual(split('ab\\\ncd "ab\\\ncd" \\\n'), ['abcd', 'abcd']);
});

test('nothing is expanded', () => {
  assert.deepEqual(split('echo $HOME `id` * ~ a|b >c && d;e #f'),
    ['echo', '$HOME', '`id`', '*', '~', 'a|b', '>c', '&&', 'd;e', '#f']);
});

test('an error says where, in characters and not in code units', () => {
  assert.deepEqual(splitWords(`echo  'a`), { error: 'unclosed quote at character 7' });
  assert.deepEqual(splitWords(`😀 "a`), { error: 'unclosed quote at character 3' });
  assert.deepEqual(splitWords(`"a\\"`), { error: 'unclosed quote at character 1' });
  assert.deepEqual(splitWords(`"a\\`), { error: 'unclosed quote at character 1' });
  assert.deepEqual(splitWords('a \\'), { error: 'nothing after the backslash at character 3' });
});

test('what only a shell understands is reported, unless it is quoted', () => {
  const wanted = { 'ls | wc': '|', 'a && b': '&', 'a > f': '>', 'a < f': '<', 'a; b': ';', 'echo $x': '$', 'echo "$x"': '$',
    'echo `id`': '`', 'echo "`id`"': '`', 'ls *.c': '*', '(cd x)': '(', '~/bin/x': '~', 'a #b': '#', 'A_1=b c': 'A_1=' };
  for (const [text, wants] of Object.entries(wanted)) assert.equal(splitWords(text).wants, wants, text);
  for (const text of [`echo '$x | *'`, 'echo \\$x "\\$x" "a*" "|"', 'a~ b#', 'env A=b', '"A"\'=b\'', 'make -j2 A=1', 'a =', '1=2']) {
    assert.equal(splitWords(text).wants, '', text);
  }
});

test('quotes are used where they are needed', () => {
  assert.equal(joinWords(['ls', '-la', '/a_b/c.d', 'x=1,2:3@4%5+6^7', 'é漢😀', 'a#b', 'a~', ']}']), 'ls -la /a_b/c.d x=1,2:3@4%5+6^7 é漢😀 a#b a~ ]}');
  assert.equal(joinWords(['', 'a b', "it's", `'"`, '#', '~', '=x', '$x', 'a\nb', 'a!']),
    `'' 'a b' "it's" ''\\''"' '#' '~' '=x' '$x' 'a\nb' 'a!'`);
  // As the first word it would be an assignment.
  assert.equal(joinWords(['A=b', 'A=b']), `'A=b' A=b`);
  assert.equal(joinWords([]), '');
});

function randomWords(random) {
  const alphabet = [...' \t\n\'"\\$`|&;<>()*?[]{}#~=!ab/é漢😀\u0001\u001b\u007f\r\v\u00a0\u2028'];
  const word = () => Array.from({ length: random(7) }, () => alphabet[random(alphabet.length)]).join('');
  return Array.from({ length: random(5) }, word);
}

function randomFrom(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

test('words come back as they were, and want no shell', () => {
  const random = randomFrom(7);
  for (let i = 0; i < 20000; i++) {
    const words = randomWords(random);
    assert.deepEqual(splitWords(joinWords(words)), { words, wants: '' });
  }
  assert.deepEqual(split(joinWords(['a\0b'])), ['a\0b']);
});

test('a shell reads the same words', () => {
  const random = randomFrom(11);
  const print = 'printf "%s\\0" "$@"';
  for (let i = 0; i < 40; i++) {
    const words = ['x', ...Array.from({ length: 20 }, () => randomWords(random)).flat()];
    const output = execFileSync('/bin/sh', ['-c', `set -- ${joinWords(words)}\n${print}`], { encoding: 'utf8' });
    assert.deepEqual(output.split('\0').slice(0, -1), words);
  }
});

test('a shell splits what people type in the same way', () => {
  for (const text of [`sh -c 'echo "a b"; echo  '`, `a"b c"'d'\\ e "" '' "\\a\\"\\\\" x\\\ny "p\\\nq"`, `'a'"'"'b'`, '\\n "\\n" \'\\n\'']) {
    const output = execFileSync('/bin/sh', ['-c', `set -- ${text}\nprintf '%s\\0' "$@"`], { encoding: 'utf8' });
    assert.deepEqual(output.split('\0').slice(0, -1), split(text), text);
  }
});
