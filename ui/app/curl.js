// curl.js - requests as commands to paste into a POSIX shell.
//
// A token is never part of one: it stands there as $TOKEN, which whoever pastes it has to set.
import { joinWords } from './shell_words.js';

// body: what is made JSON, or undefined.
export function curlOf(method, url, body, hasToken) {
  const words = ['curl'];
  if (method !== (body === undefined ? 'GET' : 'POST')) words.push('-X', method);
  const parts = [joinWords(words)];
  if (hasToken) parts.push('-H "Authorization: Bearer $TOKEN"');
  if (body !== undefined) parts.push(joinWords(['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)]));
  parts.push(joinWords([String(url)]));
  return parts.join(' ');
}

// The request that would make this process once more, but for its environment, which the server
// does not tell.
export function createBodyOf(process) {
  const { command, args, cwd, tty, interactive } = process;
  return {
    command,
    args,
    ...(cwd !== undefined && { cwd }),
    ...(tty && { tty }),
    ...(interactive && { interactive }),
  };
}
