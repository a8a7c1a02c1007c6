// actions.js - what can be done to a process, from its detail and from the list.
//
// Each process has at most one action under way, and what came of the last one stays beside it until
// the next, or until one leaves it: an error, or that it still runs after it was asked to stop.
import { killProcess, stopProcess } from './api.js';
import { shownCommand } from './format.js';
import { store } from './store.js';

export const STILL_RUNNING = 'Still running 2 s after it was asked to stop';
const confirmed = async (question, action) => (await import('./confirm.js')).confirmDialog(question, action);
const states = new Map(); // id -> {pending, error, stillRunning}
const actionListeners = new Set();

export function actionOf(id) {
  return states.get(id) ?? { pending: null, error: null, stillRunning: false };
}

export function onAction(listener) {
  actionListeners.add(listener);
}

function setAction(id, state) {
  states.set(id, { pending: null, error: null, stillRunning: false, ...state });
  for (const listener of actionListeners) listener(id);
}

// Resolves to whether it went well.
async function perform(id, name, action) {
  if (actionOf(id).pending !== null) return false;
  setAction(id, { pending: name });
  try {
    setAction(id, await action());
    return true;
  } catch (error) {
    setAction(id, { error: `Could not ${name}: ${error.message}` });
    // Whatever went wrong, the list may be out of date.
    store.refresh();
    return false;
  }
}

// asks: a key may be pressed by mistake, a button hardly.
export async function stop(process, asks) {
  if (asks && !(await confirmed(`Stop ${shownCommand(process)}?`, 'Stop'))) return false;
  return perform(process.id, 'stop', async () => {
    const after = await stopProcess(process.id);
    store.put(after);
    return { stillRunning: after.status === 'running' };
  });
}

// Asks before, unless the process has been asked to stop already.
export async function kill(process) {
  const { stillRunning } = actionOf(process.id);
  if (!stillRunning && !(await confirmed(`Kill ${shownCommand(process)}? It cannot clean up.`, 'Kill'))) return;
  await perform(process.id, 'kill', async () => {
    store.put(await killProcess(process.id));
    return {};
  });
}

// Record and log. A running process is killed before, after a question.
export async function remove(process) {
  const running = process.status === 'running';
  const question = `Kill ${shownCommand(process)}, and delete its log?`;
  if (running && !(await confirmed(question, 'Kill and delete'))) return;
  await removeNow(process.id, running);
}

// Resolves to whether it is gone.
export async function removeNow(id, running) {
  const gone = await perform(id, 'delete', async () => {
    if (running) await killProcess(id);
    await store.remove(id);
    return {};
  });
  if (gone) states.delete(id);
  return gone;
}

// Who has left a process has seen what came of the last action.
export function forgetAction(id) {
  if (actionOf(id).pending === null) states.delete(id);
}

export function runAgain(process) {
  location.hash = `#/new?from=${encodeURIComponent(process.id)}`;
}
