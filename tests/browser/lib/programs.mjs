// Programs that the cases run, with nothing but a shell where that is possible.
import { spawnSync } from 'node:child_process';
import { skip } from '../../api/lib/assert.mjs';

const has = (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0;
const found = new Map();
export function needProgram(name) {
  if (!found.has(name)) found.set(name, has(name));
  if (!found.get(name)) skip(`there is no ${name} here`);
}

// A shell that says "$ " and reads no files of the person who runs the suite. start: what it does before.
// (A shell that is not interactive drops PS1, so it comes again.)
export const bash = (start = '') => ({
  command: 'bash',
  args: ['--norc', '--noprofile', '-c', `${start}${start ? '; ' : ''}exec env PS1='$ ' bash --norc --noprofile -i`],
  env: { HISTFILE: '/dev/null', INPUTRC: '/dev/null' },
  tty: true,
});

// A full-screen program made of a shell: the alternate screen, a frame drawn with colours, and a line
// that tells which key came last and how many there were. `q` ends it.
export const fullScreen = {
  command: 'bash',
  args: [
    '-c',
    String.raw`stty -echo -icanon min 1
printf '\033[?1049h\033[2J\033[1;1H\033[1;37;44m top of the program \033[0m'
for i in 5 6 7 8; do printf '\033[%d;3H\033[3%dmline %d\033[0m' $i $((i-4)) $i; done
n=0; printf '\033[3;1Hready'
while IFS= read -rN1 k; do
  [ "$k" = q ] && break
  n=$((n+1)); printf '\033[3;1H\033[32mkey %s number %d\033[0m' "$k" $n
done
printf '\033[?1049l'`,
  ],
  tty: true,
};

// Ignores SIGTERM; `ready` when it does so.
export const STUBBORN = 'trap "" TERM; echo ready; while :; do sleep 0.1; done';
