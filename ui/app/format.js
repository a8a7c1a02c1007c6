// format.js - values as people read them.
import { joinWords } from './shell_words.js';

// "3m 12s": the two largest units.
export function formatDuration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10) return `${(ms / 1000).toFixed(1)} s`;
  if (seconds < 60) return `${seconds}s`;
  const units = [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'm'],
    [1, 's'],
  ];
  const first = units.findIndex(([size]) => seconds >= size);
  const [size, name] = units[first];
  const [nextSize, nextName] = units[first + 1];
  return `${Math.floor(seconds / size)}${name} ${Math.floor((seconds % size) / nextSize)}${nextName}`;
}

// For what goes on: whole seconds, so that a list does not flicker.
export function formatAge(ms) {
  return ms < 10000 ? `${Math.max(0, Math.floor(ms / 1000))}s` : formatDuration(ms);
}

const pad = (number, width) => String(number).padStart(width, '0');

// Local time of day, "12:03:11" or with milliseconds.
export function formatClock(ms, withMilliseconds) {
  const date = new Date(ms);
  const text = `${pad(date.getHours(), 2)}:${pad(date.getMinutes(), 2)}:${pad(date.getSeconds(), 2)}`;
  return withMilliseconds ? `${text}.${pad(date.getMilliseconds(), 3)}` : text;
}

export function formatBytes(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const units = ['KiB', 'MiB', 'GiB'];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < 2) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function commandLine(process) {
  return joinWords([process.command, ...process.args]);
}

// For the eye: what would turn the direction of the text around is spelt out.
export function shownCommand(process) {
  return commandLine(process).replace(
    /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16)}`,
  );
}

// {kind, shape, word}: kind for the colour, shape for those who see none, word for all.
export function statusOf(process) {
  if (process.status === 'running') return { kind: 'running', shape: '●', word: 'running' };
  if (process.exitReason === 'lost') return { kind: 'lost', shape: '?', word: 'lost' };
  if (process.exitSignal === 'SIGKILL') return { kind: 'failed', shape: '✕', word: 'killed' };
  if (process.exitReason === 'stopped') return { kind: 'stopped', shape: '■', word: 'stopped' };
  if (process.exitSignal) return { kind: 'failed', shape: '✕', word: process.exitSignal };
  if (process.exitCode === 0) return { kind: 'done', shape: '○', word: 'exited 0' };
  return { kind: 'failed', shape: '✕', word: `exited ${process.exitCode ?? '?'}` };
}

// "exited with code 3", for sentences.
export function endOf(process) {
  if (process.exitReason === 'lost') return 'was lost: the machine or the server went away';
  const how = process.exitSignal
    ? `ended by ${process.exitSignal}`
    : `exited with code ${process.exitCode ?? 'unknown'}`;
  return process.exitReason === 'stopped' ? `${how} after being asked to stop` : how;
}

export function lifetimeOf(process, now) {
  return (process.exitedAtMs ?? now) - process.createdAtMs;
}
