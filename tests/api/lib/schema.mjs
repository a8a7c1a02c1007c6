// Answers against openapi.json. What the file does not say about an answer is a failure: an
// undocumented status, another content type, a member that is not in the schema. Clients must
// bear unknown members, so the file leaves its objects open; here they are closed, because a
// member that the server sends and the document does not know is a fault of one of the two.
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CaseFailure, show } from './assert.mjs';
import { peer } from './packages.mjs';

const Ajv = (await peer('ajv/dist/2020.js')).default;
export const OPENAPI = fileURLToPath(new URL('../../../openapi.json', import.meta.url));
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

let loaded;
// { doc, validator(pointer) }; a pointer is a JSON pointer into the document, such as
// /components/schemas/Process.
export function loadSchema() {
  loaded ??= load(JSON.parse(fs.readFileSync(OPENAPI, 'utf8')));
  return loaded;
}
function load(doc) {
  const ajv = new Ajv({ strict: false, allErrors: true, validateSchema: false });
  ajv.addSchema(close(doc), 'openapi');
  return { doc, validator: (pointer) => ajv.getSchema(`openapi#${encodeURI(pointer)}`) };
}
// A copy in which every object with named members has no others.
function close(v) {
  if (Array.isArray(v)) return v.map(close);
  if (typeof v !== 'object' || v === null) return v;
  const out = Object.fromEntries(Object.entries(v).map(([k, x]) => [k, close(x)]));
  if (out.properties && out.additionalProperties === true) out.additionalProperties = false;
  return out;
}

export const escape = (name) => name.replaceAll('~', '~0').replaceAll('/', '~1');
// What a $ref or a plain member leads to, and where that is.
export function resolve(doc, pointer) {
  const at = pointer.split('/').slice(1).map((p) => p.replaceAll('~1', '/').replaceAll('~0', '~'));
  const value = at.reduce((v, k) => v?.[k], doc);
  return typeof value?.$ref === 'string' ? resolve(doc, value.$ref.slice(1)) : { value, pointer };
}

const fail = (msg) => { throw new CaseFailure(`openapi: ${msg}`); };
function fits(pointer, value, what) {
  const check = loadSchema().validator(pointer);
  if (!check) fail(`no schema at ${pointer}`);
  if (check(value)) return;
  const why = check.errors.map((e) => `${e.instancePath || '/'} ${e.message} ${JSON.stringify(e.params)}`);
  fail(`${what}: ${[...new Set(why)].slice(0, 4).join('; ')} in ${show(value)}`);
}
// Does value fit the schema component of that name? For events and frames.
export function checkSchema(name, value) { fits(`/components/schemas/${name}`, value, name); }

// The path of the document that a request target leads to; a literal segment wins over {id}, and
// {path} is all that is left.
function template(target) {
  const path = target.replace(/^[a-z]+:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '') || '/';
  const want = path.split('/');
  const suits = (s, i) => s === want[i] || (s === '{id}' && want[i] !== '') || (s === '{path}' && want.slice(i).join('/') !== '');
  const same = (t) => (t.at(-1) === '{path}' ? t.length <= want.length : t.length === want.length) && t.every(suits);
  const found = Object.keys(loadSchema().doc.paths).filter((t) => same(t.split('/')));
  return found.sort((a, b) => a.split('{').length - b.split('{').length)[0];
}
// Statuses that any request can meet before its path matters: those of GET /, without its own.
function beforeRouting(doc) {
  const { 200: own, 405: method, ...rest } = doc.paths['/'].get.responses;
  return rest;
}
function documented(doc, method, target) {
  const path = template(target);
  const early = beforeRouting(doc);
  if (method === 'OPTIONS') return { ...early, 200: { description: 'preflight' } };
  if (!path) return { ...early, 404: { $ref: '#/components/responses/EndpointNotFound' } };
  const item = doc.paths[path];
  const op = item[(method === 'HEAD' ? 'get' : method).toLowerCase()];
  if (op) return served(op.responses, method);
  const any = METHODS.map((m) => item[m]).find(Boolean).responses;
  return { ...early, 405: any[405], ...(any[401] ? { 401: any[401] } : {}) };
}
// A method that the path has is never answered with 405, except HEAD where GET would upgrade.
function served(responses, method) {
  const { 101: upgrade, 405: refused, ...rest } = responses;
  if (method === 'HEAD') return upgrade ? { ...rest, 405: refused } : rest;
  return upgrade ? { ...rest, 101: upgrade } : rest;
}

// Throws unless the document allows this answer. contentType is '' when there was none, json
// undefined when the body was none.
export function checkResponse(method, path, status, contentType, json) {
  const { doc } = loadSchema();
  const what = `${method} ${path} answered ${status}`;
  const entry = documented(doc, method, path)[status];
  if (!entry) fail(`${what}: not a documented status`);
  const response = entry.$ref ? resolve(doc, entry.$ref.slice(1)) : { value: entry, pointer: inline(method, path, status) };
  const type = (contentType ?? '').split(';')[0].trim().toLowerCase();
  const content = response.value.content;
  if (!content) {
    if (type || json !== undefined) fail(`${what}: no body is documented, got ${type} ${show(json)}`);
    return;
  }
  if (!content[type]) fail(`${what}: content type ${show(contentType)}, documented ${Object.keys(content).join(', ')}`);
  if (method === 'HEAD') {
    if (json !== undefined) fail(`${what} with a body: ${show(json)}`);
    return;
  }
  if (!type.endsWith('json')) return; // text, bytes and events
  fits(`${response.pointer}/content/${escape(type)}/schema`, json, what);
  if (type === 'application/problem+json') checkProblem(json, what);
}
function inline(method, path, status) {
  const verb = (method === 'HEAD' ? 'get' : method).toLowerCase();
  return `/paths/${escape(template(path) ?? '')}/${verb}/responses/${status}`;
}
function checkProblem(body, what) {
  const bare = body.type === 'urn:sandbox-agent:error:invalid_request';
  if (bare && body.details !== undefined) fail(`${what}: invalid_request has no details, got ${show(body.details)}`);
}
