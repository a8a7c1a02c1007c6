// Everything a case needs, from one place.
export * from '../api/lib/assert.mjs';
export { here, commandLine } from '../api/lib/proc.mjs';
export * from './lib/registry.mjs';
export * from './lib/viewer.mjs';
export * from './lib/programs.mjs';
export { TOKEN } from './lib/runner.mjs';
