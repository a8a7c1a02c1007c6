// Commands to paste: a shell is given them, with a curl that prints what it was given.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { createBodyOf, curlOf } from '../../../ui/app/curl.js';

const URL_OF_LIST = 'http://127.0.0.1:2468/v1/processes';

function pasted(line) {
  const script = `curl() { printf '%s\\0' "$@"; }\n${line}\n`;
  const output = execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8', env: { ...process.env, TOKEN: 'two words' } });
  return output.split('\0').slice(0, -1);
}

test('a plain request is a plain command', () => {
  assert.equal(curlOf('GET', URL_OF_LIST), `curl ${URL_OF_LIST}`);
  assert.equal(curlOf('DELETE', `${URL_OF_LIST}/proc_1`, undefined, false), `curl -X DELETE ${URL_OF_LIST}/proc_1`);
  assert.equal(curlOf('POST', new URL(`${URL_OF_LIST}/proc_1/stop?waitMs=1&x=2`)),
    `curl -X POST '${URL_OF_LIST}/proc_1/stop?waitMs=1&x=2'`);
});

test('a body arrives as it was, whatever is in it', () => {
  const body = { command: 'sh', args: ['-c', `echo "$HOME" 'it'\\''s' \`id\` !x @y \\n`, '', 'a\nb\u0001\u001b', 'é漢😀', '\ud800'] };
  const words = pasted(curlOf('POST', URL_OF_LIST, body, false));
  assert.deepEqual(words, ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body), URL_OF_LIST]);
  assert.deepEqual(JSON.parse(words[3]), body);
});

test('the token is the variable, never the value', () => {
  const words = pasted(curlOf('POST', URL_OF_LIST, { command: 'true' }, true));
  assert.deepEqual(words.slice(0, 2), ['-H', 'Authorization: Bearer two words']);
  assert.equal(words.at(-1), URL_OF_LIST);
});

test('the body to make a process once more has what it was made of, and nothing else', () => {
  const record = { id: 'proc_1', command: 'bash', args: ['-i', ''], cwd: '/srv', tty: true, interactive: true, owner: 'user',
    status: 'exited', exitCode: 3, createdAtMs: 1, exitedAtMs: 2 };
  assert.deepEqual(createBodyOf(record), { command: 'bash', args: ['-i', ''], cwd: '/srv', tty: true, interactive: true });
  assert.deepEqual(createBodyOf({ id: 'proc_2', command: 'ls', args: [], tty: false, interactive: false, status: 'running' }), { command: 'ls', args: [] });
});
