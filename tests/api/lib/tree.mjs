// Who is whose child, what program a process runs, and what it weighs; from /proc.
import fs from 'node:fs';
import { CaseFailure } from './assert.mjs';
import { stat } from './proc.mjs';

const pids = () => fs.readdirSync('/proc').filter((x) => /^\d+$/.test(x)).map(Number);
const read = (file) => { try { return fs.readFileSync(file, 'latin1'); } catch { return ''; } };

// The oldest first; a pid is no measure of that once they have wrapped around.
export const childrenOf = (pid) => pids().filter((p) => stat(p)?.ppid === pid).sort((a, b) => startOf(a) - startOf(b));
// In clock ticks since boot; 0 when it is gone.
export const startOf = (pid) => Number(read(`/proc/${pid}/stat`).replace(/^.*\) /s, '').split(' ')[19] ?? 0);
// The file that a process runs, also when another one has taken its place since.
export function programOf(pid) {
  try { return fs.readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, ''); } catch { return ''; }
}
export const inodeOfProgram = (pid) => fs.statSync(`/proc/${pid}/exe`).ino;

const kib = (text, name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? NaN);
export const residentKib = (pid) => kib(read(`/proc/${pid}/status`), 'VmRSS');
// The most it ever was.
export const peakKib = (pid) => kib(read(`/proc/${pid}/status`), 'VmHWM');
export function privateKib(pid) {
  const s = read(`/proc/${pid}/smaps_rollup`);
  return kib(s, 'Private_Clean') + kib(s, 'Private_Dirty');
}
// Sanitizers reserve terabytes, and weigh more than what they watch; so does memcheck.
export const isSanitized = (pid) => kib(read(`/proc/${pid}/status`), 'VmSize') > 1 << 30 || programOf(pid).includes('memcheck');

// A signal to that one process; 0 would be this very suite.
export function send(pid, sig) {
  if (!(pid > 1)) throw new CaseFailure(`no process to send ${sig} to: ${pid}`);
  process.kill(pid, sig);
}
