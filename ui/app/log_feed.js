// log_feed.js - the entries of a log as they come, each once and in order.
//
// One stream at a time, while the page is seen. After a break it goes on from the last entry: at once
// when the server answers again, else after a while that grows. It ends with the exit of the process, or
// when there is no such process.
//
// Where windows of this server have all the connections that the browser opens to it, each follows for a
// moment and gives its connection back for a while.
import { followLogs, watchRequests } from './api.js';
import { store } from './store.js';

const RETRY_FIRST_MS = 500;
const RETRY_LAST_MS = 10000;
const TURN_MS = 1000;
const REST_MS = 2500;

// on: open(), log(entry), gap(gap), exit(process), problem(error) where the server refuses or is not there.
export function createLogFeed(id, on) {
  let last = 0; // sequence
  let abort = null; // of the stream that is open
  let over = false;
  let retryMs = RETRY_FIRST_MS;
  let timer = 0;
  let crowded = false;

  async function start() {
    if (over || abort !== null || document.hidden) return;
    clearTimeout(timer);
    const mine = new AbortController();
    abort = mine;
    // What is still under way of a stream that was left comes again in the next one.
    const ifMine = (handle) => (value) => {
      if (abort === mine) handle(value);
    };
    let failure = null;
    try {
      await followLogs(
        id,
        { since: last, signal: mine.signal },
        {
          open: ifMine(() => {
            retryMs = RETRY_FIRST_MS;
            if (crowded) timer = setTimeout(rest, TURN_MS);
            on.open();
          }),
          log: ifMine((entry) => {
            if (entry.sequence <= last) return;
            last = entry.sequence;
            on.log(entry);
          }),
          gap: ifMine((gap) => {
            last = Math.max(last, gap.toSequence);
            on.gap(gap);
          }),
          exit: ifMine((process) => {
            over = true;
            on.exit(process);
          }),
        },
      );
    } catch (error) {
      failure = error;
    }
    if (abort !== mine) return;
    abort = null;
    if (!over) retry(failure);
  }

  function retry(failure) {
    if (failure?.status === 404) {
      over = true;
      store.refresh();
      return;
    }
    // With a new token the connection comes back, and this with it.
    if (failure?.status === 401) return;
    if (failure) on.problem(failure);
    timer = setTimeout(start, retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_LAST_MS);
  }

  function pause() {
    clearTimeout(timer);
    abort?.abort();
    abort = null;
  }

  function rest() {
    pause();
    timer = setTimeout(start, REST_MS);
  }

  const unwatch = watchRequests((what) => {
    if (what !== 'crowded' || crowded) return;
    crowded = true;
    if (!over) rest();
  });

  function onVisibility() {
    if (document.hidden) pause();
    else start();
  }

  const unsubscribe = store.subscribe((back) => {
    if (!back) return;
    // A stream that was open all the while may hang on a connection that is dead.
    pause();
    start();
  });
  document.addEventListener('visibilitychange', onVisibility);
  start();

  return {
    destroy() {
      over = true;
      pause();
      unsubscribe();
      unwatch();
      document.removeEventListener('visibilitychange', onVisibility);
    },
  };
}
