// shell_words.js - command lines to words and back, quoted as POSIX shells do (XCU 2.2).
//
// Only quoting is understood, nothing is expanded: a `$` or a `|` is a character like others, as the
// server runs no shell. What a shell would have made of it is reported, so that a form can offer one.
//
// Invariant: splitWords(joinWords(words)) gives the same words, whatever is in them, and wants no shell.

// Blanks, a line that goes on, an escaped character, the two kinds of quotes, and any other character.
const WORD_PIECES = /([ \t\n]+)|\\\n|\\([^])|'([^']*)'|"((?:[^"\\]|\\[^])*)"|([^])/g;
const ASSIGNMENT = /^[A-Za-z_]\w*=/;
// Blanks, controls, and what means something to a shell anywhere in a word or at its beginning.
const NEEDS_QUOTES = /[\s\x00-\x1f\x7f|&;<>()$`*?[\\"'!{]|^[#~=]|^$/;

// { words, wants }: wants is the first text that only a shell would understand, or ''. Or { error },
// in words for a person. Adjacent pieces are one word, "" is an empty one.
export function splitWords(text) {
  const words = [];
  let word = null; // what is read of a word, null between words
  let wants = '';
  for (const { index, 0: piece, 1: blank, 2: escaped, 3: single, 4: double, 5: plain } of text.matchAll(WORD_PIECES)) {
    if (blank) {
      if (word !== null) words.push(word);
      word = null;
      continue;
    }
    if (plain && /['"\\]/.test(plain)) {
      const what = plain === '\\' ? 'nothing after the backslash' : 'unclosed quote';
      return { error: `${what} at character ${[...text.slice(0, index)].length + 1}` };
    }
    const added = escaped ?? single ?? double?.replace(/\\(?:([$`"\\])|\n)/g, '$1') ?? plain;
    if (added === undefined) continue;
    wants ||= double?.replace(/\\[^]/g, '').match(/[$`]/)?.[0] ?? '';
    if (plain && (/[|&;<>()$`*]/.test(plain) || (word === null && /[#~]/.test(plain)))) wants ||= plain;
    word = (word ?? '') + added;
    if (plain === '=' && words.length === 0 && ASSIGNMENT.test(word)) wants ||= word;
  }
  if (word !== null) words.push(word);
  return { words, wants };
}

function quoteWord(word, index) {
  if (!NEEDS_QUOTES.test(word) && !(index === 0 && ASSIGNMENT.test(word))) return word;
  // "it's" reads better than 'it'\''s', where nothing in it is special to double quotes.
  if (word.includes("'") && !/["$`\\!]/.test(word)) return `"${word}"`;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

// A line that splitWords, and any POSIX shell, reads as these words.
export function joinWords(words) {
  return words.map(quoteWord).join(' ');
}
