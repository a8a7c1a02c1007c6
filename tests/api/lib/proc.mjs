// What /proc tells about processes of this machine: liveness, descriptors, and who descends from
// a server (found by a mark in the environment, which also finds those that left its tree).
import fs from 'node:fs';

export const MARK = 'SBX_TEST_SERVER'; // set in the environment of every server of the suite

const MEMCHECK_LOG = /\/valgrind\/logs\/\d+\.log$/; // a descriptor of memcheck, not of the program

const read = (file) => {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return '';
  }
};
const pids = () =>
  fs
    .readdirSync('/proc')
    .filter((x) => /^\d+$/.test(x))
    .map(Number);

// {ppid, state, name} of a process, or null.
export function stat(pid) {
  const m = /^\d+ \((.*)\) (\S) (\d+)/s.exec(read(`/proc/${pid}/stat`));
  return m && { name: m[1], state: m[2], ppid: Number(m[3]) };
}
// Neither gone nor a zombie.
export function here(pid) {
  const s = stat(pid);
  return !!s && s.state !== 'Z' && s.state !== 'X';
}
export function endHere(pid) {
  if (!Number.isInteger(pid) || pid <= 1) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    /* gone */
  }
}
// Live processes whose environment at start had MARK=value.
export function marked(value) {
  const want = `${MARK}=${value}`;
  return pids().filter((p) => read(`/proc/${p}/environ`).split('\0').includes(want) && here(p));
}
export const commandLine = (pid) => read(`/proc/${pid}/cmdline`).split('\0').join(' ').trim();
export const zombiesOf = (pid) =>
  pids().filter((p) => {
    const s = stat(p);
    return s?.ppid === pid && s.state === 'Z';
  });

// What the descriptors of a process point to, sorted.
export function descriptors(pid) {
  const dir = `/proc/${pid}/fd`;
  let list;
  try {
    list = fs.readdirSync(dir);
  } catch {
    return [];
  }
  return list
    .flatMap((fd) => {
      try {
        return [fs.readlinkSync(`${dir}/${fd}`)];
      } catch {
        return [];
      }
    })
    .filter((to) => !MEMCHECK_LOG.test(to))
    .sort();
}
