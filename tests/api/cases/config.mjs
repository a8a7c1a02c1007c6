// The configuration of the process API.
import { define, eq, invalid, keys, match, ok } from '../lib.mjs';

const DEFAULTS = {
  maxConcurrentProcesses: 64,
  defaultRunTimeoutMs: 30000,
  maxRunTimeoutMs: 300000,
  maxOutputBytes: 1048576,
  maxLogBytesPerProcess: 10485760,
  maxInputBytesPerRequest: 65536,
};
const CFG = Object.keys(DEFAULTS);

const config = define('config');
const R = { restoreConfig: true };
const put = (api, b) => api.post('/v1/processes/config', b);

config('compat', 'defaults', 'a fresh server has the documented defaults', async (ctx) =>
  ctx.withServer({}, async (s, api) => {
    eq((await api.get('/v1/processes/config')).json, DEFAULTS);
  }),
);
config('compat', 'shape', 'GET shows exactly six positive integers', async ({ api }) => {
  const r = await api.get('/v1/processes/config');
  eq(r.status, 200);
  match(r.type, /^application\/json/);
  keys(r.json, CFG);
  for (const k of CFG) ok(Number.isInteger(r.json[k]) && r.json[k] > 0, k);
});
config(
  'compat',
  'round-trip',
  'POST answers with what it stored, GET shows it',
  async ({ api }) => {
    const want = {
      maxConcurrentProcesses: 8,
      defaultRunTimeoutMs: 1000,
      maxRunTimeoutMs: 5000,
      maxOutputBytes: 4096,
      maxLogBytesPerProcess: 32768,
      maxInputBytesPerRequest: 1024,
    };
    const r = await put(api, { ...want, extra: true });
    eq(r.status, 200);
    eq(r.json, want);
    eq(await api.config(), want);
  },
  R,
);
config(
  'compat',
  'default-timeout-clamped',
  'defaultRunTimeoutMs above maxRunTimeoutMs is lowered to it',
  async ({ api }) => {
    const c = { ...DEFAULTS, defaultRunTimeoutMs: 9000, maxRunTimeoutMs: 7000 };
    eq((await put(api, c)).json, { ...c, defaultRunTimeoutMs: 7000 });
    eq((await api.config()).defaultRunTimeoutMs, 7000);
  },
  R,
);
config(
  'compat',
  'zero-refused',
  'zero is refused for every member, with its own message, and nothing changes',
  async ({ api }) => {
    const before = await api.config();
    const why = {
      maxConcurrentProcesses: 'maxConcurrentProcesses must be greater than 0',
      defaultRunTimeoutMs: 'timeouts must be greater than 0',
      maxRunTimeoutMs: 'timeouts must be greater than 0',
      maxOutputBytes: 'byte limits must be greater than 0',
      maxLogBytesPerProcess: 'byte limits must be greater than 0',
      maxInputBytesPerRequest: 'byte limits must be greater than 0',
    };
    for (const k of CFG) invalid(await put(api, { ...DEFAULTS, [k]: 0 }), why[k]);
    eq(await api.config(), before);
  },
  R,
);
config(
  'compat',
  'all-members-required',
  'a missing member is 422: it is a replacement, not a patch',
  async ({ api }) => {
    const before = await api.config();
    for (const k of CFG) {
      const b = { ...DEFAULTS };
      delete b[k];
      eq((await put(api, b)).status, 422, k);
    }
    eq((await put(api, {})).status, 422);
    eq(await api.config(), before);
  },
  R,
);
config(
  'compat',
  'bad-values',
  'negative, fractional, null, text or oversized values are 422',
  async ({ api }) => {
    const before = await api.config();
    for (const v of [-1, 1.5, null, '5', true, []])
      for (const k of CFG) eq((await put(api, { ...DEFAULTS, [k]: v })).status, 422, `${k}=${v}`);
    const big = JSON.stringify(DEFAULTS).replace('1048576', '18446744073709551616');
    eq(
      (
        await api.req('POST', '/v1/processes/config', {
          body: big,
          headers: { 'content-type': 'application/json' },
        })
      ).status,
      422,
      'past 64 bits',
    );
    eq(await api.config(), before);
  },
  R,
);
config(
  'compat',
  'max-timeout-applies',
  'maxRunTimeoutMs caps timeoutMs of a run',
  async ({ api }) =>
    api.withConfig({ maxRunTimeoutMs: 400, defaultRunTimeoutMs: 400 }, async () => {
      eq((await api.runSh('exec sleep 60', { timeoutMs: 60000 })).timedOut, true);
    }),
  R,
);
config(
  'compat',
  'default-timeout-applies',
  'defaultRunTimeoutMs is used without timeoutMs',
  async ({ api }) =>
    api.withConfig({ defaultRunTimeoutMs: 400 }, async () => {
      for (const extra of [{}, { timeoutMs: null }, { timeoutMs: 0 }])
        eq((await api.runSh('exec sleep 60', extra)).timedOut, true, JSON.stringify(extra));
    }),
  R,
);
config(
  'compat',
  'output-cap-applies',
  'maxOutputBytes is the default and the cap for a run',
  async ({ api }) =>
    api.withConfig({ maxOutputBytes: 5 }, async () => {
      eq((await api.run({ command: 'printf', args: ['abcdefgh'] })).stdout, 'abcde');
      eq(
        (await api.run({ command: 'printf', args: ['abcdefgh'], maxOutputBytes: 3 })).stdout,
        'abc',
      );
    }),
  R,
);
