// Every state that the page can be in, with data as people have it: for the checks that look at all of
// them, and for pictures.
//
// The programs are scripts of the names that one would expect, in a directory of their own.
import fs from 'node:fs';
import path from 'node:path';

const ESC = '\\033';
const PROGRAMS = {
  npm: `case "$2" in
dev) printf '\\n  ${ESC}[1;32mVITE${ESC}[0m ${ESC}[32mv6.0.3${ESC}[0m  ${ESC}[2mready in${ESC}[0m ${ESC}[1m412${ESC}[0m ms\\n\\n  ${ESC}[32m➜${ESC}[0m  ${ESC}[1mLocal${ESC}[0m:   ${ESC}[36mhttp://localhost:${ESC}[1m5173${ESC}[22m/${ESC}[0m\\n  ${ESC}[32m➜${ESC}[0m  ${ESC}[2mNetwork: use --host to expose${ESC}[0m\\n'
  for f in App.tsx routes/index.tsx routes/orders.tsx styles/app.css; do printf '${ESC}[2m12:03:4%d${ESC}[0m ${ESC}[1;36m[vite]${ESC}[0m ${ESC}[32mhmr update${ESC}[0m ${ESC}[2m/src/%s${ESC}[0m\\n' 1 "$f"; done
  printf '${ESC}[33mwarning:${ESC}[0m ${ESC}[1mbrowserslist${ESC}[0m is 7 months old\\n' >&2
  printf '${ESC}[31m✘${ESC}[0m ${ESC}[41;97m ERROR ${ESC}[0m Could not resolve "./Chart"\\n    at ${ESC}[36msrc/routes/orders.tsx${ESC}[0m:14:22\\n' >&2
  i=0; while [ $i -lt 40 ]; do i=$((i+1)); printf '${ESC}[32mGET${ESC}[0m /api/orders?page=%d ${ESC}[33m200${ESC}[0m ${ESC}[2m%d ms${ESC}[0m\\n' $i $((i * 37 % 90 + 3)); done
  exec sleep 600 ;;
*) echo 'sh: 1: tsc: not found' >&2; exit 127 ;;
esac`,
  pytest: `printf '%s\\n' 'collected 214 items'; printf 'tests/test_orders.py ${ESC}[32m.........${ESC}[31mF${ESC}[32m......${ESC}[0m\\n'; printf '${ESC}[31m1 failed${ESC}[0m, ${ESC}[32m213 passed${ESC}[0m in 8.41s\\n'; exit 1`,
  'redis-server': `printf '%s\\n' '9:M 21 Nov 2026 12:03:11.204 * Ready to accept connections tcp'; exec sleep 600`,
  worker: `i=0; while [ $i -lt 12 ]; do i=$((i+1)); echo "job $i: sent 1 mail"; [ $((i % 4)) = 0 ] && echo "job $i: smtp.example.com answered 451, will try again" >&2; done; exec sleep 600`,
  bash: `printf '${ESC}[1;34msrc${ESC}[0m  ${ESC}[1;34mtests${ESC}[0m  ${ESC}[1;32mdeploy.sh${ESC}[0m  README.md  package.json\\n'
[ $# -eq 0 ] || { echo 'Logged out.'; exit 3; }
PATH=\${PATH#*:} exec env PS1="$PROMPT" HISTFILE=/dev/null bash --norc --noprofile -i`,
  backup: `echo 'uploading 2.4 GiB'; exec sleep 600`,
  migrate: `echo '12 migrations applied'`,
};

async function fill(server) {
  const { api, dir } = server;
  const bin = path.join(dir, 'bin');
  fs.mkdirSync(bin);
  for (const [name, text] of Object.entries(PROGRAMS)) fs.writeFileSync(path.join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const env = { PATH: `${bin}:${process.env.PATH}` };
  const start = (command, args, more = {}) => api.create({ command, args, env: { ...env, ...more.env }, ...more.spec });
  const ids = {};
  ids.ended = (await start('migrate', ['--to', 'latest', '--database', 'postgres://app@db.internal:5432/orders?sslmode=require'])).id;
  ids.failed = (await start('pytest', ['-q', 'tests/'], { spec: { cwd: dir } })).id;
  ids.missing = (await start('npm', ['run', 'build'])).id;
  ids.redis = (await start('redis-server', ['--port', '6379'])).id;
  ids.killed = (await start('backup', ['--bucket', 's3://nightly', '--exclude', 'node_modules'])).id;
  await api.kill(ids.killed, '?waitMs=5000');
  ids.stderr = (await start('worker', ['--queue', 'emails'], { spec: { interactive: true } })).id;
  const shell = { env: { ...env, PROMPT: '\\[\\e[1;32m\\]app@box\\[\\e[0m\\]:\\[\\e[1;34m\\]~/orders\\[\\e[0m\\]$ ' }, spec: { tty: true } };
  ids.over = (await start('bash', ['deploy.sh', '--to', 'staging'], shell)).id;
  ids.shell = (await start('bash', [], shell)).id;
  ids.log = (await start('npm', ['run', 'dev', '--', '--port', '5173'], { spec: { cwd: dir } })).id;
  for (const id of [ids.ended, ids.failed, ids.missing, ids.over]) await api.exited(id);
  return ids;
}

// name -> what leads there. v: a viewer of the server that `on` names (the filled one if it does not).
const go = (part, testid, text) => async (v, ids) => {
  await v.open(typeof part === 'function' ? part(ids) : part);
  await v.says(testid, text ?? /\S/);
};
const at = (key, tab = '') => (ids) => `#/processes/${ids[key]}${tab}`;
const LOG_END = /api\/orders\?page=40/;

export const STATES = {
  empty: { on: 'empty', enter: go('#/', 'empty', /No processes yet/) },
  list: { enter: async (v, ids) => { await v.open('#/'); await v.row(ids.log).waitFor(); } },
  'filter-none': { enter: async (v, ids) => { await v.open('#/'); await v.row(ids.log).waitFor(); await v.at('filter').fill('postgres-replica'); await v.says('empty', /No process matches/); } },
  log: { enter: go(at('log', '/logs'), 'log', LOG_END) },
  'log-search': { enter: async (v, ids) => { await v.open(at('log', '/logs?q=page%3D1')(ids)); await v.says('log', LOG_END); await v.says('search-count', /of \d+/); } },
  stderr: { enter: go(at('stderr', '/logs'), 'log', /job 12: smtp/) },
  terminal: { enter: async (v, ids) => { await v.open(at('shell')(ids)); await v.termHas('README.md'); await v.termHas('orders$'); } },
  'terminal-exited': { enter: async (v, ids) => { await v.open(at('over')(ids)); await v.termHas('Logged out.'); await v.says('status', /exited 3/); } },
  new: { enter: async (v) => { await v.open('#/new'); await v.shown('new-form'); await v.at('command').fill('npm run dev -- --port 5173'); } },
  'new-error': {
    errors: [/status of 502/],
    enter: async (v) => { await v.open('#/new'); await v.shown('new-form'); await v.at('command').fill('pyhton3 -m http.server'); await v.press('Enter'); await v.oneAlert(/pyhton3/); },
  },
  'run-result': { enter: async (v) => { await v.open('#/run'); await v.at('command').fill(`sh -c 'df -h | head -5; echo "cannot read /proc/kcore" >&2; exit 2'`); await v.press('Enter'); await v.says('result', /exited 2/); } },
  'run-running': { errors: [/ERR_ABORTED/], enter: async (v) => { await v.open('#/run'); await v.at('command').fill('sleep 30'); await v.press('Enter'); await v.says('elapsed', /\d/); } },
  token: { on: 'token', errors: [/status of 401/], enter: async (v) => { await v.open('#/', { connected: false }); await v.shown('token-dialog'); } },
  disconnected: {
    errors: [/ERR_|Failed to load/],
    enter: async (v, ids) => {
      await v.open(at('log', '/logs')(ids));
      await v.says('log', LOG_END);
      await v.page.route('**/v1/**', (route) => route.abort('connectionrefused'));
      await v.says('conn', /not reachable/i);
    },
  },
  help: { enter: async (v, ids) => { await v.open(at('log', '/logs')(ids)); await v.says('log', LOG_END); await v.press('?'); await v.page.getByRole('dialog').waitFor(); } },
  settings: { enter: async (v, ids) => { await v.open(at('log', '/logs')(ids)); await v.says('log', LOG_END); await v.click('settings'); await v.page.getByRole('dialog').waitFor(); } },
  info: { enter: go(at('log', '/info'), 'detail', /"createdAtMs"/) },
  gone: { errors: [/status of 404/], enter: go('#/processes/proc_999', 'gone') },
  'row-menu': { enter: async (v, ids) => { await v.open('#/'); await v.row(ids.log).click({ button: 'right' }); await v.shown('row-menu'); } },
  confirm: { enter: async (v, ids) => { await v.open(at('log', '/logs')(ids)); await v.says('log', LOG_END); await v.click('kill'); await v.page.getByRole('dialog').waitFor(); } },
  failed: { enter: go(at('failed', '/logs'), 'log', /1 failed/) },
  fifty: { on: 'fifty', enter: async (v) => { await v.open('#/processes/proc_25'); await v.row('proc_50').waitFor({ state: 'attached' }); await v.says('log', /worker 25/); } },
};

const FILLED = {
  filled: fill,
  empty: async () => ({}),
  token: async () => ({}),
  fifty: async ({ api }) => {
    for (let i = 1; i <= 50; i++) await api.sh(`echo worker ${i} is ready; ${i % 3 === 0 ? `exit ${i % 6}` : 'exec sleep 600'}`);
    return {};
  },
};

// scene.enter(name, options of the browser context): a viewer in that state. Servers are started when
// the first state wants them.
export async function prepare(t) {
  const scenes = new Map();
  const sceneOf = (name) => {
    if (!scenes.has(name)) scenes.set(name, makeScene(t, name));
    return scenes.get(name);
  };
  return {
    async enter(name, options) {
      const { on = 'filled', errors = [], enter } = STATES[name];
      const { server, ids } = await sceneOf(on);
      const v = (await t.viewer(options, server)).expect(...errors);
      await enter(v, ids).catch((e) => { throw new Error(`state ${name}: ${e.message}`, { cause: e }); });
      return v;
    },
  };
}
async function makeScene(t, name) {
  const server = await t.startServer(name === 'token' ? { token: 'secret' } : {});
  const ids = await FILLED[name](server);
  return { server, ids };
}
