// The cases, in the order in which their files define them.
//
// A case: define('group')(level, 'id', 'what must hold', async (ctx) => {...}, options).
// level is 'compat' for what the published server 0.4.2 does too, 'better' for what it does not.
// Options: timeout (seconds, default 60), slow (begin early: it takes long without using the
// machine), restoreConfig (put the configuration back afterwards).
export const cases = [];
export function define(group) {
  return (level, id, title, fn, opts = {}) =>
    cases.push({ id: `${group}/${id}`, group, level, title, fn, ...opts });
}
