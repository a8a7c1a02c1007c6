// Programs that cases start on the server's machine, and what cases ask about their output.
import { fail, secs, until } from './assert.mjs';
import { bytesOf } from './sse.mjs';

// The number that a script printed as "name=123".
export const numberOf = (name, s) => Number(new RegExp(`\\b${name}=(\\d+)`).exec(s)?.[1]);

// Waits until a process has ended; asked through the server.
export const gone = (api, pid, what, ms = secs(5)) => until(
  async () => !(await api.alive(pid)),
  { within: ms, what: `the end of ${what} (pid ${pid})` },
);

// Writes its first line at once and SCRIPT's output only after a line of input, so that readers
// can take their places first. In a terminal the bytes pass unchanged.
export async function onCue(api, script, extra = {}) {
  const p = await api.sh(`${extra.tty ? 'stty raw -echo; ' : ''}echo ready; head -n 1 >/dev/null; ${script}`, extra);
  await api.logHas(p.id, 'ready\n');
  return p;
}
export const cue = (api, id) => api.input(id, '\n');

// What `seq 1 N` prints.
export const counted = (n) => Buffer.from(Array.from({ length: n }, (_, i) => `${i + 1}\n`).join(''));

// No entry is missing or doubled, counted from the first one or from a given sequence.
export function unbroken(entries, from = entries[0]?.sequence) {
  entries.forEach((e, i) => {
    if (e.sequence !== from + i) fail(`entry ${i} should be sequence ${from + i} and is ${e.sequence}`);
  });
}
// Compares long outputs without printing them.
export function sameBytes(got, want, what) {
  if (got.equals(want)) return;
  let i = 0;
  while (i < got.length && got[i] === want[i]) i++;
  fail(`${what}: ${got.length} bytes instead of ${want.length}, first difference at ${i}: ${JSON.stringify(got.subarray(i, i + 40).toString('latin1'))}`);
}
export const sameEntries = (entries, want, what) => sameBytes(bytesOf(entries), want, what);
