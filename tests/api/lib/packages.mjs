// The npm packages of the suite, from tests/node_modules or from NODE_PEER/node_modules.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const home = process.env.NODE_PEER || fileURLToPath(new URL('../../', import.meta.url));
const require = createRequire(path.join(home, 'package.json'));
const loaded = new Map();

// Imported by the "import" entry of its exports, as a program with modules would get it.
export async function peer(name) {
  if (!loaded.has(name)) loaded.set(name, await load(name));
  return loaded.get(name);
}
async function load(name) {
  if (name === 'ws' || name.startsWith('ajv')) return require(name);
  const base = path.join(home, 'node_modules', name);
  const pkg = JSON.parse(fs.readFileSync(path.join(base, 'package.json'), 'utf8'));
  let entry = pkg.exports?.['.'];
  while (entry && typeof entry === 'object')
    entry = entry.import ?? entry.default ?? Object.values(entry)[0];
  return import(pathToFileURL(path.join(base, entry ?? pkg.main ?? 'index.js')).href);
}
export async function WebSocketClass() {
  const m = await peer('ws');
  return m.WebSocket ?? m;
}
