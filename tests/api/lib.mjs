// Everything a case needs, from one place.
export * from './lib/assert.mjs';
export * from './lib/registry.mjs';
export * from './lib/packages.mjs';
export * from './lib/problem.mjs';
export * from './lib/sse.mjs';
export * from './lib/term.mjs';
export * from './lib/rawws.mjs';
export * from './lib/wire.mjs';
export * from './lib/api.mjs';
export * from './lib/proc.mjs';
