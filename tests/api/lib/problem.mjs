// What an error answer looks like: RFC 9457 with the URNs of this API.
import { eq, match, ok } from './assert.mjs';

const PROBLEM_JSON = /^application\/problem\+json(;|$)/;
const URN = 'urn:sandbox-agent:error:';

export function problem(r, { status, type, title, detail, details } = {}) {
  eq(r.status, status, 'status');
  match(r.type, PROBLEM_JSON, 'content-type');
  ok(
    r.json && typeof r.json === 'object' && !Array.isArray(r.json),
    () => `body is not a problem object: ${r.text}`,
  );
  eq(r.json.status, status, 'problem.status');
  ok(
    typeof r.json.type === 'string' && r.json.type.startsWith(URN),
    () => `problem.type: ${r.json.type}`,
  );
  ok(typeof r.json.title === 'string' && r.json.title.length > 0, 'problem.title missing');
  if (type) eq(r.json.type, URN + type, 'problem.type');
  if (title) eq(r.json.title, title, 'problem.title');
  if (detail instanceof RegExp) match(r.json.detail, detail, 'problem.detail');
  else if (detail) eq(r.json.detail, detail, 'problem.detail');
  if (details) eq(r.json.details, details, 'problem.details');
  return r.json;
}
export const notFound = (r, id) =>
  problem(r, {
    status: 404,
    type: 'not_found',
    title: 'Not Found',
    detail: `not found: process ${id}`,
    details: { id, resource: 'process' },
  });
export const conflict = (r, message) =>
  problem(r, {
    status: 409,
    type: 'conflict',
    title: 'Conflict',
    detail: `conflict: ${message}`,
    details: { message },
  });
export const invalid = (r, message) =>
  problem(r, {
    status: 400,
    type: 'invalid_request',
    title: 'Invalid Request',
    detail: `invalid request: ${message}`,
  });
