// Assertions and waiting. Every wait polls a condition up to a deadline; a deadline that passes
// is a failure which tells what was last seen.

// SLOW=3 stretches every deadline (not the sizes of the work) by that factor.
export const SLOW = Math.max(0.1, Number(process.env.SLOW ?? 1) || 1);
export const secs = (n) => Math.round(n * 1000 * SLOW);
export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

export class CaseFailure extends Error {}
export class CaseSkip extends Error {}
export class Fatal extends CaseFailure {} // ends an until() at once

export const skip = (why) => {
  throw new CaseSkip(why);
};
export function fail(msg) {
  throw new CaseFailure(msg);
}

const plain = (k, v) => (typeof v === 'bigint' ? `${v}n` : v);
export function show(v) {
  let s;
  try {
    s = typeof v === 'string' ? JSON.stringify(v) : JSON.stringify(v, plain);
  } catch {
    s = String(v);
  }
  if (s === undefined) s = String(v);
  return s.length > 400 ? `${s.slice(0, 400)}...(${s.length} chars)` : s;
}

export function deepEq(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== typeof b || a === null || b === null || typeof a !== 'object') return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const ka = Object.keys(a),
    kb = Object.keys(b);
  return ka.length === kb.length && ka.every((k) => Object.hasOwn(b, k) && deepEq(a[k], b[k]));
}

export function ok(cond, msg) {
  if (!cond) fail(typeof msg === 'function' ? msg() : msg);
}
export function eq(actual, expected, what = 'value') {
  if (!deepEq(actual, expected)) fail(`${what}: expected ${show(expected)}, got ${show(actual)}`);
}
export function oneOf(actual, list, what = 'value') {
  if (!list.some((x) => deepEq(actual, x)))
    fail(`${what}: expected one of ${show(list)}, got ${show(actual)}`);
}
export function has(hay, needle, what = 'text') {
  if (!String(hay).includes(needle))
    fail(`${what}: expected to contain ${show(needle)}, got ${show(hay)}`);
}
export function lacks(hay, needle, what = 'text') {
  if (String(hay).includes(needle))
    fail(`${what}: expected not to contain ${show(needle)}, got ${show(hay)}`);
}
export function match(s, re, what = 'text') {
  if (!re.test(String(s))) fail(`${what}: expected to match ${re}, got ${show(s)}`);
}
export function keys(obj, expected, what = 'keys') {
  eq(Object.keys(obj).sort(), [...expected].sort(), what);
}
// The members of `expected` are there with these values; others may be there too.
export function includes(obj, expected, what = 'object') {
  ok(obj && typeof obj === 'object', () => `${what}: expected an object, got ${show(obj)}`);
  for (const [k, v] of Object.entries(expected)) eq(obj[k], v, `${what}.${k}`);
}

// Polls fn until it returns something truthy and returns that.
export async function until(fn, { within = secs(10), every = 25, what = 'condition', last } = {}) {
  const end = Date.now() + within;
  let err,
    step = every;
  for (;;) {
    err = undefined;
    try {
      const v = await fn();
      if (v) return v;
    } catch (e) {
      if (e instanceof CaseSkip || e instanceof Fatal) throw e;
      err = e;
    }
    if (Date.now() >= end) {
      const seen = last ? ` (last: ${show(last())})` : '';
      fail(
        `timed out after ${within}ms waiting for ${what}${seen}${err ? ` (${err.message})` : ''}`,
      );
    }
    await sleep(Math.min(step, Math.max(1, end - Date.now())));
    step = Math.min(250, step * 1.5);
  }
}
export async function within(promise, ms, what) {
  let t;
  const late = new Promise((_, no) => {
    t = setTimeout(() => no(new CaseFailure(`timed out after ${ms}ms waiting for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(t);
  }
}
