// The size of a terminal.
import { conflict, define, eq, problem } from '../lib.mjs';

const resize = define('resize');
const sizer = async (api) => {
  const p = await api.sh('trap "stty size" WINCH; stty size; while :; do sleep 0.05; done', {
    tty: true,
  });
  await api.logHas(p.id, '24 80');
  return p;
};
const rsz = (api, id, b) => api.post(`/v1/processes/${id}/terminal/resize`, b);

resize('compat', 'default-size', 'a new terminal has 80 columns and 24 rows', async ({ api }) => {
  const p = await api.sh('stty size; exec sleep 60', { tty: true });
  await api.logHas(p.id, /^24 80\r\n/);
});
resize(
  'compat',
  'resize',
  'resize echoes the size, sets it and raises SIGWINCH',
  async ({ api }) => {
    const p = await sizer(api);
    const r = await rsz(api, p.id, { cols: 132, rows: 43 });
    eq(r.status, 200);
    eq(r.json, { cols: 132, rows: 43 });
    await api.logHas(p.id, '43 132');
  },
);
resize('compat', 'extremes', 'sizes up to 65535 are taken', async ({ api }) => {
  const p = await sizer(api);
  eq((await rsz(api, p.id, { cols: 1, rows: 1 })).status, 200);
  await api.logHas(p.id, /\n1 1\r/);
  eq((await rsz(api, p.id, { cols: 65535, rows: 65535, extra: 1 })).json, {
    cols: 65535,
    rows: 65535,
  });
  await api.logHas(p.id, '65535 65535');
});
resize(
  'compat',
  'bad-values',
  'missing, negative, fractional, too large or non-numeric sizes are 422',
  async ({ api }) => {
    const p = await sizer(api);
    for (const b of [
      {},
      { cols: 80 },
      { rows: 24 },
      { cols: -1, rows: 24 },
      { cols: 80, rows: 65536 },
      { cols: 80.5, rows: 24 },
      { cols: '80', rows: 24 },
      { cols: null, rows: 24 },
      { cols: true, rows: 24 },
    ])
      eq((await rsz(api, p.id, b)).status, 422, JSON.stringify(b));
  },
);
resize('compat', 'not-a-terminal', 'resizing a pipe process is a 409 problem', async ({ api }) => {
  const p = await api.sh('exec sleep 60');
  conflict(await rsz(api, p.id, { cols: 80, rows: 24 }), 'process is not running in tty mode');
});
resize('compat', 'exited', 'resizing an exited terminal is a 409 problem', async ({ api }) => {
  const p = await api.sh('exit 0', { tty: true });
  await api.exited(p.id);
  problem(await rsz(api, p.id, { cols: 80, rows: 24 }), {
    status: 409,
    type: 'conflict',
    title: 'Conflict',
  });
});
