// The cases, in the order in which their files define them.
//
// A case: define('group')('id', 'what must hold', async (t) => {...}, options).
// Options: server (what startServer() is given), context (of the browser: viewport, colorScheme, ...),
// check (its number in the list of acceptance checks), slow (begin early), timeout (seconds, default 60).
export const cases = [];
export function define(group) {
  return (id, title, fn, options = {}) => cases.push({ id: `${group}/${id}`, title, fn, ...options });
}
