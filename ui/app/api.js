// api.js - the server's public HTTP API.
//
// Everything the page does goes through here. Two kinds of failure: a Problem is an answer of the
// server (RFC 9457), an Unreachable is no answer. Both are told to watchers as well, so that one place
// knows how the connection is.
//
// Addresses are relative to the page: behind a proxy that adds a path, "/box/ui/", it is "/box/v1/".
import { readStored, writeStored } from './settings.js';

const TOKEN_KEY = 'sandbox-agent.token';
const ANSWER_TIMEOUT_MS = 8000;
const SILENCE_MS = 40000; // of a stream, and something is wrong
const HEARD_MS = 20000; // a silent stream brings a comment every 15 s

export class Problem extends Error {
  constructor(status, body) {
    super(body.details?.message ?? body.detail ?? body.title ?? `HTTP status ${status}`);
    this.status = status;
    this.type = body.type?.split(':').pop() ?? '';
  }
}

export class Unreachable extends Error {
  constructor(crowded) {
    super(crowded ? 'this browser has too many windows of this server open' : 'the server does not answer');
    this.crowded = crowded;
  }
}

// --- token ---

let currentToken = readStored('sessionStorage', TOKEN_KEY) ?? readStored('localStorage', TOKEN_KEY);

export function hasToken() {
  return currentToken !== null;
}

// A header carries visible ASCII, and so does every token.
export function isToken(text) {
  return /^[\x21-\x7e]+$/.test(text);
}

// For this tab, or (remember) for this browser. null forgets it in both.
export function setToken(token, remember) {
  currentToken = token;
  writeStored('sessionStorage', TOKEN_KEY, token);
  if (remember || token === null) writeStored('localStorage', TOKEN_KEY, token);
}

// listener() when another tab has a token that is to be remembered: it is ours from then on.
export function onTokenOfOthers(listener) {
  addEventListener('storage', ({ key, newValue }) => {
    if (key !== TOKEN_KEY || newValue === null) return;
    setToken(newValue, false);
    listener();
  });
}

// --- requests ---

const watchers = new Set();
let heardAt = -Infinity; // when a stream brought something

// watcher('answer'), watcher('refused') for a 401, watcher('unreachable') after each request, and
// watcher('crowded') where streams of other windows have all connections. Returns a function to end that.
export function watchRequests(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function tellWatchers(what) {
  for (const watcher of watchers) watcher(what);
}

export function apiUrl(path) {
  return new URL(`../v1/${path}`, document.baseURI);
}

// path: below /v1/. Options: body (made JSON), headers, signal, json (read the answer: `data` of what is
// returned), and timeout in ms for the head of the answer, and the rest where it is read here (0: none).
// Resolves to a Response that is ok, or 304.
export async function request(method, path, { body, headers, signal, json, timeout = ANSWER_TIMEOUT_MS } = {}) {
  const abort = new AbortController();
  const timer = timeout > 0 ? setTimeout(() => abort.abort(), timeout) : 0;
  const stop = () => abort.abort();
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop);
  let response;
  try {
    response = await fetch(apiUrl(path), {
      method,
      headers: {
        ...(currentToken !== null && { Authorization: `Bearer ${currentToken}` }),
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: abort.signal,
      cache: 'no-store',
    });
    if (json && response.ok) response.data = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    // A browser opens six connections to a server. While a stream brings something, the server is there.
    const crowded = abort.signal.aborted && performance.now() < heardAt + HEARD_MS;
    tellWatchers(crowded ? 'crowded' : 'unreachable');
    throw new Unreachable(crowded);
  } finally {
    clearTimeout(timer);
  }
  tellWatchers(response.status === 401 ? 'refused' : 'answer');
  if (!response.ok && response.status !== 304)
    throw new Problem(response.status, await response.json().catch(() => ({})));
  return response;
}

export async function requestJson(method, path, options) {
  return (await request(method, path, { ...options, json: true })).data;
}

export const pathOf = (id, rest = '') => `processes/${encodeURIComponent(id)}${rest}`;

export const getProcess = (id) => requestJson('GET', pathOf(id, '?terminalSize=true'));
export const createProcess = (body) => requestJson('POST', 'processes', { body });
export const runProcess = (body, signal) => requestJson('POST', 'processes/run', { body, signal, timeout: 0 });
// The answers of these two come after the exit, or after 2 s and 1 s.
export const stopProcess = (id) => requestJson('POST', pathOf(id, '/stop?waitMs=2000'));
export const killProcess = (id) => requestJson('POST', pathOf(id, '/kill?waitMs=2000'));
export const deleteProcess = (id) => request('DELETE', pathOf(id));
export const sendInput = (id, body) => requestJson('POST', pathOf(id, '/input'), { body });
export const getHealth = () => requestJson('GET', 'health');
export const getConfig = () => requestJson('GET', 'processes/config');

let listTag = null;
let clockOffset = 0;

// Now, by the server's clock, which its times are of.
export function serverNow() {
  return Date.now() + clockOffset;
}

// The list as the server has it, oldest first; null when it is the same as at the last call.
export async function listProcesses(force) {
  const headers = listTag !== null && !force ? { 'If-None-Match': listTag } : {};
  const response = await request('GET', 'processes?terminalSize=true', { headers, json: true });
  const offset = Date.parse(response.headers.get('date')) - Date.now();
  // The header counts seconds.
  clockOffset = Math.abs(offset) > 2000 ? offset : 0;
  if (response.status === 304) return null;
  listTag = response.headers.get('etag');
  return response.data.processes;
}

// --- logs ---

export function decodeBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function eventOf(block) {
  let type = 'message';
  let data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) type = line.slice(7);
    else if (line.startsWith('data: ')) data = line.slice(6);
  }
  return data === '' ? null : { type, data: JSON.parse(data) };
}

const ENTRIES_LONG_MS = 12;

// Follows a log from after the entry `since`; query: further parameters. Calls on.open() when the
// answer begins, then on.log(entry), on.gap(gap) and on.exit(process). Resolves at the end of the
// stream, rejects where it breaks. Lets the page breathe while much is coming.
export async function followLogs(id, { since, signal, ...query }, on) {
  const parameters = new URLSearchParams({ follow: 'true', since: String(since), ...query });
  const response = await request('GET', pathOf(id, `/logs?${parameters}`), { signal, timeout: 0 });
  on.open?.();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let watchdog = 0;
  let sliceEnd = performance.now() + ENTRIES_LONG_MS;
  for (;;) {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => reader.cancel(), SILENCE_MS);
    const { value, done } = await reader.read().catch((error) => {
      clearTimeout(watchdog);
      if (!signal?.aborted) tellWatchers('unreachable');
      throw error;
    });
    if (done) {
      clearTimeout(watchdog);
      return;
    }
    heardAt = performance.now();
    rest += value;
    const blocks = rest.split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const event = eventOf(block);
      if (event?.type === 'log') on.log({ ...event.data, data: decodeBase64(event.data.data) });
      else if (event) on[event.type]?.(event.data);
      if (performance.now() < sliceEnd) continue;
      await new Promise((resume) => setTimeout(resume));
      sliceEnd = performance.now() + ENTRIES_LONG_MS;
    }
  }
}

// --- terminal ---

// Opens the terminal after the entry `since`. The token cannot go into a header here.
export function openTerminalSocket(id, query) {
  const url = apiUrl(pathOf(id, `/terminal/ws?${new URLSearchParams(query)}`));
  url.protocol = url.protocol.replace('http', 'ws');
  // Parentheses are no characters of a subprotocol (RFC 9110, 5.6.2), but encodeURIComponent leaves them.
  const encoded = (token) => encodeURIComponent(token).replace(/[()]/g, (c) => (c === '(' ? '%28' : '%29'));
  const socket = new WebSocket(url, currentToken === null ? [] : [`bearer.${encoded(currentToken)}`]);
  socket.binaryType = 'arraybuffer';
  return socket;
}
