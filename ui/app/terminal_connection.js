// terminal_connection.js - what a terminal gets from a process and sends to it, over WebSockets.
//
// The server does the replay: it sends what is kept over the same WebSocket, one binary frame for each
// entry of the log, without the questions that a terminal would answer. Fetching the log beside the
// socket and joining the two was rejected: it needs frames that are held back, and old questions would
// be answered into a shell.
//
// - Frames are counted, so that `next` is always the sequence of the next one. Each connection after
//   the first says `since`, the terminal itself is kept: nothing is lost, nothing comes twice.
// - All that depends on the place in the output (a size, the end of the replay, the end of the process)
//   goes through the write queue of xterm, see inOrder().
// - There is one socket at most, and one that was given up is heard no more. Without one, a timer, the
//   output that xterm has still to parse, or the server's return connects again, until it is `over`.
import { openTerminalSocket } from './api.js';
import { formatBytes } from './format.js';
import { store } from './store.js';

// The scrollback holds 10,000 lines, which is about this much; a larger replay would be parsed in vain.
const REPLAY_BYTES = 1 << 20;
// xterm throws output away when 50 MB wait in it, and a WebSocket in a browser cannot be paused.
const PENDING_MAX = 8 << 20;
const PENDING_LOW = 1 << 20;
const RETRY_MIN_MS = 300;
const RETRY_MAX_MS = 5000;
// At most 49,152 bytes: below the limit of one message.
const INPUT_UNITS = 16384;
// What a terminal answers to a question; no key sends these but F3 with modifiers.
export const ANSWER = /^\x1b(?:[P\]].|\[[?>]?[\d;]*\$?[cnRty]$)/s;

// Told as soon as a program asks for it; one of the replay may have ended since.
const FOCUS = /^\x1b\[[IO]$/;

// Grey, and not dim, which xterm makes paler than its least contrast.
export const dimLine = (text, lead) => `${lead}\x1b[0;90m[${text}]\x1b[0m`;

// on: state(word, retryAt), ready(message, again), replayed(cut), exit(exitCode), refused(text), each
// but state and refused in its place among the output.
export function createConnection(id, term, on) {
  let socket = null;
  // `ready` came over this socket.
  let greeted = false;
  let greetedAt = 0;
  // The server fell silent after that.
  let doubtful = false;
  let serverState = store.connection;
  // Sequence of the next binary frame; 0 before the first connection.
  let next = 0;
  // The last sequence of the replay.
  let replayEnd = 0;
  // Frames of the replay are still to come.
  let replaying = false;
  // They are being parsed: answers are to old questions.
  let guarded = false;
  // Output is missing: modes and the screen may be wrong.
  let cut = false;
  // It is not the first connection, and the terminal has all of before.
  let again = false;
  // Bytes that xterm has not parsed yet.
  let pending = 0;
  // Closed by us until it has.
  let draining = false;
  // What is typed after a socket that took keys was given up for another one.
  let held = null;
  let failures = 0;
  let timer = 0;
  // Nothing more will come.
  let over = false;

  const inOrder = (callback) => term.write('', callback);

  function connect() {
    clearTimeout(timer);
    if (over || socket !== null) return;
    on.state('connecting');
    greeted = false;
    socket = openTerminalSocket(id, next > 0 ? { since: next - 1 } : { replay: REPLAY_BYTES });
    socket.onmessage = ({ data }) => {
      if (typeof data === 'string') onMessage(JSON.parse(data));
      else onOutput(new Uint8Array(data));
    };
    socket.onclose = onClose;
  }

  function drop() {
    clearTimeout(timer);
    if (socket === null) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
    socket = null;
  }

  function onOutput(bytes) {
    next += 1;
    pending += bytes.length;
    term.write(bytes, () => onWritten(bytes.length));
    endReplay();
    if (pending < PENDING_MAX) return;
    draining = true;
    held = [];
    drop();
    on.state('catching up');
  }

  function onWritten(length) {
    pending -= length;
    if (!draining || pending > PENDING_LOW) return;
    draining = false;
    connect();
  }

  function onMessage(message) {
    if (message.type === 'ready') onReady(message);
    else if (message.toSequence !== undefined) onGap(message);
    else if (message.type === 'error') on.refused(message.message);
    else if (message.type === 'exit') {
      over = true;
      inOrder(() => on.exit(message.exitCode));
    }
  }

  function onReady(message) {
    again = next > 0;
    cut = !again && message.firstSequence > 1;
    greeted = true;
    doubtful = false;
    greetedAt = Date.now();
    next = message.firstSequence;
    replayEnd = message.sequence;
    replaying = true;
    on.state('replaying');
    inOrder(() => {
      guarded = true;
      on.ready(message, again);
    });
    for (const data of held ?? []) send(data);
    held = null;
    endReplay();
  }

  function endReplay() {
    if (!replaying || next <= replayEnd) return;
    replaying = false;
    const connection = socket;
    inOrder(() => {
      guarded = false;
      if (socket !== connection) return;
      on.state('connected');
      on.replayed(cut, again);
    });
  }

  function onGap({ toSequence, bytes }) {
    next = toSequence + 1;
    cut = true;
    term.write(
      dimLine(
        `${bytes === undefined ? 'some output is' : `${formatBytes(bytes)} of output are`} no longer kept`,
        '\r\n',
      ),
    );
    term.write('\r\n');
    endReplay();
  }

  async function onClose() {
    socket = null;
    held = null;
    if (over) return;
    if (greeted && Date.now() - greetedAt > RETRY_MAX_MS) failures = 0;
    // The browser does not say why a socket cannot be opened; a request does.
    const problem = greeted
      ? null
      : await store.load(id).then(
          () => null,
          (error) => error,
        );
    if (over || socket !== null) return;
    over = problem?.status === 404;
    if (over || problem?.status === 401) {
      on.state(over ? 'Process no longer exists' : 'waiting for the token');
      return;
    }
    const wait = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** failures);
    failures += 1;
    timer = setTimeout(connect, wait);
    on.state('disconnected', Date.now() + wait);
  }

  // The server is back: a socket of before may be half open after a sleep. One that was greeted since is
  // not; the timer may be faster than the list.
  const unsubscribe = store.subscribe((back) => {
    doubtful ||= !back && store.connection !== serverState;
    serverState = store.connection;
    // The socket of a server that hangs stays open.
    if (store.connection === 'unreachable' && doubtful && live()) on.state('not reachable');
    if (!back || over || draining || (greeted && !doubtful && socket !== null)) return;
    if (isOpen()) held = [];
    drop();
    connect();
  });

  function send(data) {
    if (isOpen()) socket.send(data);
    else held?.push(data);
  }

  const isOpen = () => greeted && socket?.readyState === WebSocket.OPEN;

  const live = () => isOpen() && !guarded && !replaying;

  const sendMessage = (message) => send(JSON.stringify(message));

  return {
    connect,
    isLive: live,
    isWaiting: () => socket === null && !over && !draining,
    resize: ({ cols, rows }) => sendMessage({ type: 'resize', cols, rows }),
    type(data) {
      if (guarded && (ANSWER.test(data) || FOCUS.test(data))) return;
      for (let from = 0, to; from < data.length; from = to) {
        to = from + INPUT_UNITS;
        // Both halves of a character go together.
        if (/[\ud800-\udbff]/.test(data[to - 1])) to += 1;
        sendMessage({ type: 'input', data: data.slice(from, to) });
      }
    },
    typeBytes: (data) => send(Uint8Array.from(data, (char) => char.charCodeAt(0))),
    destroy() {
      over = true;
      unsubscribe();
      drop();
    },
  };
}
