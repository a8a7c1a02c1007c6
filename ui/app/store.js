// store.js - what the page knows of the server: the processes, and whether it answers.
//
// The list is polled while the page is seen, every two seconds, and at once after whatever may have
// changed it. Polling and not a stream, on purpose: a browser opens six connections to an HTTP/1.1
// server, and a stream in each of three tabs beside their logs would use them up. An unchanged list
// costs a 304.
//
// Connection: connecting -> connected <-> unreachable, and refused when a token is wanted.
import { deleteProcess, getHealth, getProcess, listProcesses, onTokenOfOthers, watchRequests } from './api.js';

const POLL_MS = 2000;
const HEALTH_POLLS = 10; // the list is asked for that often before health is again
const RETRY_MS = [500, 1000, 2000, 3000];

function createStore() {
  const listeners = new Set();
  let timer = 0;
  let failures = 0;
  let polling = null;
  let again = false;
  let changes = 0; // of what is known, by other ways than the list
  let polls = 0;
  let stale = true; // the list is wanted whole, changed or not

  const store = {
    processes: new Map(), // id -> record, oldest first
    deleted: new Set(), // ids that this page has deleted
    loaded: false,
    connection: 'connecting',
    asOf: 0, // when the server last answered, ms
    retryAt: 0,
    trouble: null, // what it answers with, if it is not silent
    storage: null, // why the server cannot store at the moment

    // listener(back) after each change; back: the server answers again. Returns a function that ends that.
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    start() {
      watchRequests((what) => {
        if (what === 'refused') setConnection('refused');
        // A request of another part finds out first, or sees that it is over.
        else if (
          what !== 'crowded' &&
          (what === 'unreachable') !== (store.connection === 'unreachable') &&
          polling === null
        )
          store.refresh();
      });
      document.addEventListener('visibilitychange', () => {
        if (document.hidden) clearTimeout(timer);
        else store.refresh();
      });
      addEventListener('online', store.refresh);
      onTokenOfOthers(store.refresh);
      store.refresh();
    },

    // Asks the server now. What changed while a poll was under way needs another one.
    refresh() {
      clearTimeout(timer);
      if (polling !== null) {
        again = true;
        return polling;
      }
      polling = poll().finally(() => {
        polling = null;
        if (again) {
          again = false;
          store.refresh();
        } else {
          schedule();
        }
      });
      return polling;
    },

    // A record that came by another way. It may be older than a deletion by somebody else, so the next
    // list counts, changed or not.
    put(process) {
      if (store.deleted.has(process.id)) return;
      store.processes.set(process.id, process);
      changes += 1;
      stale = true;
      notify();
    },

    // A record that the list may not have yet. Rejects as the request does.
    async load(id) {
      const process = await getProcess(id);
      store.put(process);
      return process;
    },

    async remove(id) {
      await deleteProcess(id).catch((error) => {
        if (error.status !== 404) throw error; // somebody else was faster
      });
      changes += 1;
      store.deleted.add(id);
      store.processes.delete(id);
      notify();
    },
  };

  function notify(back) {
    for (const listener of [...listeners]) listener(back);
  }

  function setConnection(state) {
    if (state === store.connection) return;
    store.connection = state;
    notify();
  }

  function schedule() {
    if (document.hidden || store.connection === 'refused') return;
    const wait = store.connection === 'unreachable' ? RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] : POLL_MS;
    store.retryAt = Date.now() + wait;
    timer = setTimeout(store.refresh, wait);
    if (store.connection === 'unreachable') notify();
  }

  // Beside the point of a poll, so a failure here is none of the poll's.
  async function storageTrouble() {
    const health = await getHealth().catch(() => ({}));
    return health.storageReason ?? null;
  }

  async function poll() {
    const before = changes;
    try {
      const list = await listProcesses(stale);
      // A list that was made before a change would undo it for a moment.
      stale = before !== changes;
      again ||= stale;
      failures = 0;
      store.asOf = Date.now();
      const changed = list !== null && !stale;
      if (changed) {
        store.processes = new Map(list.map((process) => [process.id, process]));
        // A server that was started anew may give an id again.
        for (const { id } of list) store.deleted.delete(id);
        store.loaded = true;
      }
      const storage = polls % HEALTH_POLLS === 1 ? await storageTrouble() : store.storage;
      const was = store.connection;
      const back = was !== 'connected' && was !== 'connecting';
      const news = changed || was !== 'connected' || storage !== store.storage;
      polls += 1;
      store.storage = storage;
      store.connection = 'connected';
      if (news) notify(back);
    } catch (error) {
      if (error.status === 401 || error.crowded) return;
      store.trouble = error.status ? error.message : null;
      failures += 1;
      setConnection('unreachable');
    }
  }

  return store;
}

export const store = createStore();
