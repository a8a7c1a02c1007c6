// A small server of npm packages as modules for a page, without a bundler: files of packages that are
// modules as they are, and those that are CommonJS in a wrapper. An import map names them.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const HOME = fileURLToPath(new URL('../../node_modules/', import.meta.url));
const require = createRequire(import.meta.url);
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };

// The file of a package that a program with modules gets: its "import" entry.
function entryOf(wanted) {
  const [, name, inside] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(wanted);
  const { exports, module, main } = JSON.parse(fs.readFileSync(path.join(HOME, name, 'package.json'), 'utf8'));
  let entry = exports?.[`.${inside}`] ?? exports;
  while (entry && typeof entry === 'object') entry = entry.import ?? entry.default ?? Object.values(entry)[0];
  return path.posix.join(name, entry ?? module ?? main);
}
// A module with the names that the CommonJS one has. What it requires are wrappers like it.
function wrapper(name) {
  const text = fs.readFileSync(require.resolve(name), 'utf8');
  const file = /require\(['"](\.\/cjs\/[^'"]*production[^'"]*)['"]\)/.exec(text)?.[1];
  const code = file ? fs.readFileSync(path.join(path.dirname(require.resolve(name)), file), 'utf8') : text;
  const wanted = [...new Set([...code.matchAll(/require\(['"]([^'"]+)['"]\)/g)].map((m) => m[1]))];
  const names = Object.keys(require(name)).filter((n) => /^[A-Za-z_$][\w$]*$/.test(n) && n !== 'default');
  return `${wanted.map((w, i) => `import m${i} from ${JSON.stringify(w)};`).join('\n')}
const module = { exports: {} };
const process = { env: { NODE_ENV: 'production' } };
((module, exports, require) => {${code}
})(module, module.exports, (name) => ({ ${wanted.map((w, i) => `${JSON.stringify(w)}: m${i}`).join(', ')} })[name]);
export default module.exports;
${names.map((n) => `const x_${n} = module.exports.${n};\nexport { x_${n} as ${n} };`).join('\n')}
`;
}

// modules: packages that are modules; commonjs: names that are not; own: {name: text}; renamed:
// {name: package}, where `own` has the place of a package. page: the text of the body. Returns {url, close}.
export async function serveModules({ modules, commonjs, own = {}, renamed = {}, page }) {
  const imports = Object.fromEntries([
    ...modules.map((name) => [name, `/m/${entryOf(name)}`]),
    ...commonjs.map((name) => [name, `/cjs/${name}`]),
    ...Object.entries(renamed).map(([name, as]) => [name, `/m/${entryOf(as)}`]),
    ...Object.keys(own).map((name) => [name, `/own/${name}`]),
  ]);
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Component</title><link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports })}</script><body>${page}</body></html>`;
  const answer = (url) => {
    const { pathname } = new URL(url, 'http://localhost');
    const [, kind, ...rest] = pathname.split('/');
    const name = rest.join('/');
    if (pathname === '/') return ['text/html; charset=utf-8', html];
    if (kind === 'own' && own[name]) return [TYPES['.js'], own[name]];
    if (kind === 'cjs' && commonjs.includes(name)) return [TYPES['.js'], wrapper(name)];
    const file = path.join(HOME, name);
    if (kind === 'm' && file.startsWith(HOME) && fs.existsSync(file)) return [TYPES[path.extname(file)] ?? 'text/plain', fs.readFileSync(file)];
    return null;
  };
  const server = http.createServer((request, response) => {
    const found = answer(request.url);
    response.writeHead(found ? 200 : 404, { 'content-type': found?.[0] ?? 'text/plain' });
    response.end(found?.[1] ?? '');
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}
