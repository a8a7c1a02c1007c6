// The server goes away and comes back; the server wants a token.
import { TOKEN, bash, define, eq, has, lacks, ok, secs, until } from '../lib.mjs';

const test = define('connection');
const NETWORK = /ERR_|Failed to load|WebSocket|network/i;

test('server-killed', 'when the server is killed the page recovers by itself: list, log and terminal go on', async (t) => {
  const log = await t.sh('while read x; do echo "got $x"; done');
  const v = (await t.viewer()).expect(NETWORK);
  await v.open(`#/processes/${log.id}`);
  await t.api.input(log.id, 'one\n');
  await v.logHas('got one');
  await t.server.killServer();
  await t.server.api.input(log.id, 'two\n');
  await v.logHas('got two', secs(15));
  await v.connected();
  eq((await v.logText()).match(/got one/g).length, 1, 'lines of before');
  const { id } = await t.sh('echo new; sleep 60');
  await v.says(`row-${id}`, /running/);
  ok(!(await v.at('stop').isDisabled()), 'actions stay disabled');
}, { check: 22, server: { dataDir: undefined } });

test('gone-and-back', 'without a server the page says so and offers no action; with an empty one it says that the process is gone', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = (await t.viewer()).expect(NETWORK, /status of 404/);
  await v.open(`#/processes/${id}`);
  await v.logHas('hello');
  await t.server.crash();
  t.server.endMarked();
  await v.says('conn', /not reachable/i);
  await v.says('connection-bar', /not reachable.*retrying/i);
  for (const name of ['stop', 'kill', 'delete']) await until(() => v.at(name).isDisabled(), { what: `${name} to be disabled` });
  await v.logHas('hello'); // what was shown stays
  await t.server.again();
  await v.connected();
  await v.gone('connection-bar');
  await v.says('gone', /no longer exists|gone/i);
  await v.row(id).waitFor({ state: 'detached' });
  eq(v.requests.filter((r) => r.type === 'document').length, 1, 'loads of the page');
}, { check: 22, server: { dataDir: ':memory:' } });

test('terminal-gone-and-back', 'a terminal says that it is disconnected, and that the process is gone', async (t) => {
  const { id } = await t.api.create(bash());
  const v = (await t.viewer()).expect(NETWORK, /status of 404/);
  await v.open(`#/processes/${id}`);
  await v.termHas('$');
  await t.server.crash();
  t.server.endMarked();
  await v.says('detail', /disconnected, retrying/i);
  await v.says('conn', /not reachable/i);
  await t.server.again();
  await v.connected();
  await v.says('gone', /no longer exists|gone/i);
}, { check: 22, server: { dataDir: ':memory:' } });

test('down-at-first', 'a page that is loaded as the server goes recovers, too', async (t) => {
  const v = (await t.viewer()).expect(NETWORK);
  await v.page.route('**/v1/**', (route) => route.abort('connectionrefused'));
  await v.open('#/', { connected: false });
  await v.says('conn', /not reachable/i);
  await v.page.unroute('**/v1/**');
  await v.connected();
  await v.says('empty', 'No processes yet');
}, { check: 22 });

// --- tokens ---

const needed = { check: 23, server: { token: TOKEN } };

test('token', 'a link to a process asks for the token, refuses a wrong one, and goes on to the process with the right one', async (t) => {
  const { id } = await t.sh('echo secret output; sleep 60');
  const v = (await t.viewer()).expect(/status of 401/);
  await v.open(`#/processes/${id}`, { connected: false });
  await v.shown('token-dialog');
  await v.says('conn', /token needed/i);
  await v.focusIs('token-input');
  has(await v.text('token-dialog'), new URL(v.base).host, 'dialog');
  lacks(await v.text('token-dialog'), 'rong', 'dialog before any try');
  await v.press('Enter');
  await v.says('token-dialog', /token missing/i);
  await v.type('wrong');
  await v.press('Enter');
  await v.says('token-dialog', /token wrong/i);
  await v.at('token-input').fill(TOKEN);
  await v.press('Enter');
  await v.gone('token-dialog');
  await v.hashMatches(new RegExp(`^#/processes/${id}\\b`));
  await v.logHas('secret output');
  await v.reload();
  await v.logHas('secret output');
  ok(!(await v.at('token-dialog').isVisible()), 'asked again after a reload');
  noToken(v);
}, needed);

function noToken(v) {
  for (const { url } of v.requests) {
    lacks(url, TOKEN, 'address');
    lacks(url, encodeURIComponent(TOKEN), 'address');
  }
  for (const { url } of v.sockets) if (url.includes('token')) has(url, '/terminal/ws', 'address with a token');
}

test('token-other-tab', 'the token is for this tab alone, unless it is to be remembered', async (t) => {
  const v = (await t.viewer()).expect(/status of 401/);
  const enter = async (remember) => {
    await v.shown('token-dialog');
    await v.at('token-input').fill(TOKEN);
    if (remember) await v.at('token-dialog').getByRole('checkbox').check();
    await v.press('Enter');
    await v.connected();
  };
  await v.open('#/', { connected: false });
  await enter(false);
  const asks = async () => {
    const page = await v.context.newPage();
    await page.goto(v.url());
    const asked = await Promise.race([
      page.getByTestId('token-dialog').waitFor().then(() => true),
      page.getByTestId('empty').waitFor().then(() => false),
    ]);
    await page.close();
    return asked;
  };
  eq(await asks(), true, 'asked in another tab');
  await v.page.evaluate(() => sessionStorage.clear());
  await v.page.reload();
  await enter(true);
  eq(await asks(), false, 'asked in another tab after remembering');
}, needed);

test('token-in-fragment', 'a token in the fragment of the address is taken and removed', async (t) => {
  const { id } = await t.sh('echo secret output; sleep 60');
  const v = await t.viewer();
  await v.page.goto(`${v.base}/ui/?test#token=${encodeURIComponent(TOKEN)}`);
  await v.connected();
  lacks(v.page.url(), 'token', 'address');
  const other = await t.viewer();
  await other.page.goto(`${v.base}/ui/?test#/processes/${id}?token=${encodeURIComponent(TOKEN)}`);
  await other.logHas('secret output');
  lacks(other.page.url(), 'token', 'address');
  noToken(v);
  noToken(other);
}, needed);

test('token-terminal', 'a terminal opens with the token', async (t) => {
  const { id } = await t.api.create(bash());
  const v = (await t.viewer()).expect(/status of 401/);
  await v.open(`#/processes/${id}`, { connected: false });
  await v.shown('token-dialog');
  await v.at('token-input').fill(TOKEN);
  await v.press('Enter');
  await v.termHas('$');
  await v.focusTerminal();
  await v.typeLine('echo $((40+2))');
  await v.termHas(/^42$/m);
  noToken(v);
}, needed);

test('token-shell-free', 'the page itself is served without a token, and nothing else is', async (t) => {
  eq((await t.api.get('/ui/', { auth: false })).status, 200, 'the page');
  eq((await t.api.get('/v1/processes', { auth: false })).status, 401, 'the list');
}, needed);

test('token-expired', 'a token that is valid no more is asked for again, and the page goes on', async (t) => {
  const { id } = await t.sh('echo hello; sleep 60');
  const v = (await t.viewer()).expect(/status of 401/, NETWORK);
  await v.page.goto(`${v.base}/ui/?test#/processes/${id}?token=${encodeURIComponent(TOKEN)}`);
  await v.logHas('hello');
  const refuse = (route) => route.fulfill({ status: 401, contentType: 'application/problem+json', body: '{"type":"urn:sandbox-agent:error:token_invalid","title":"Token Invalid","status":401}' });
  await v.page.route('**/v1/**', refuse);
  await v.shown('token-dialog');
  await v.page.unroute('**/v1/**');
  await v.at('token-input').fill(TOKEN);
  await v.press('Enter');
  await v.gone('token-dialog');
  await v.connected();
}, needed);
