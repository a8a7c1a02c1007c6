// The list of processes.
import { define, eq, keys, ok } from '../lib.mjs';

const list = define('list');

list(
  'compat',
  'contains',
  'the list shows running and exited processes as single look-ups do',
  async ({ api }) => {
    const a = await api.sh('exec sleep 60');
    const b = await api.sh('exit 2');
    await api.exited(b.id);
    const r = await api.get('/v1/processes');
    eq(r.status, 200);
    keys(r.json, ['processes']);
    for (const p of [a, b])
      eq(
        r.json.processes.find((x) => x.id === p.id),
        await api.info(p.id),
      );
  },
);
list('compat', 'deleted-vanish', 'a deleted process leaves the list', async ({ api }) => {
  const p = await api.sh('true');
  await api.exited(p.id);
  await api.del(`/v1/processes/${p.id}`);
  ok(!(await api.get('/v1/processes')).json.processes.some((x) => x.id === p.id), 'gone');
});
list(
  'compat',
  'owner-filter',
  'owner filters; everything started here is owned by user',
  async ({ api }) => {
    const p = await api.sh('exec sleep 60');
    const ids = async (q) => (await api.get(`/v1/processes${q}`)).json.processes.map((x) => x.id);
    ok((await ids('?owner=user')).includes(p.id), 'user');
    for (const o of ['desktop', 'system']) ok(!(await ids(`?owner=${o}`)).includes(p.id), o);
    ok((await ids('?unknown=1')).includes(p.id), 'unknown parameter ignored');
  },
);
