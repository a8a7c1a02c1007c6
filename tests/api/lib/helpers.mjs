// Processes that several groups of cases use, and looks at their logs.
// A process that writes one line per line of input, so that a case decides what is logged when.
const ECHO =
  'while IFS= read -r l; do case "$l" in quit*) exit ${l#quit};; err*) printf "%s\\n" "$l" >&2;; *) printf "%s\\n" "$l";; esac; done';
export async function echoer(api, first = 'ready') {
  const p = await api.sh(`echo ${first}; ${ECHO}`);
  await api.logHas(p.id, first);
  p.say = async (line) => {
    await api.input(p.id, `${line}\n`);
    await api.logHas(p.id, `${line}\n`);
  };
  return p;
}
export const seqs = (l) => l.map((e) => e.sequence);
export const contiguous = (l, what = 'sequence') =>
  l.forEach((e, i) => {
    if (i && e.sequence !== l[i - 1].sequence + 1)
      throw new Error(`${what}: ${l[i - 1].sequence} is followed by ${e.sequence}`);
  });

// A terminal that prints "got:LINE" for every line; "quit N" exits with N.
export async function reader(api, extra = '') {
  const p = await api.sh(
    `stty -echo; ${extra} echo ready; while IFS= read -r l; do case "$l" in quit*) exit \${l#quit};; esac; echo "got:$l"; done`,
    { tty: true },
  );
  await api.logHas(p.id, 'ready');
  return p;
}
export const say = (w, l) => w.send({ type: 'input', data: `${l}\n` });
// The member of an answer to input that is there while some of it waits; openapi.json has its range.
export const queued = ({ bytesQueued }) => (bytesQueued === undefined ? {} : { bytesQueued });
