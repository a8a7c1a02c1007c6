// Stop, kill, run again, delete: from the detail, by keys, and what is said when it does not work.
import { STUBBORN, TOKEN, bash, define, eq, has, here, lacks, match, ok, secs, until } from '../lib.mjs';

const test = define('control');
const confirm = async (v, name) => {
  const dialog = v.page.getByRole('dialog');
  await dialog.waitFor({ timeout: secs(5) });
  await v.button(name, dialog).click();
};

test('stop-kill-delete', 'Stop of one that ignores it says so and offers Kill; Kill ends it; Delete leads back to the list', async (t) => {
  const { id } = await t.sh(STUBBORN);
  const v = await t.open(`#/processes/${id}`);
  await v.logHas('ready');
  await v.click('stop');
  await v.says('detail', /still running/i);
  const offered = v.at('detail').getByRole('alert').getByRole('button', { name: 'Kill' });
  await offered.waitFor({ timeout: secs(5) });
  await offered.click();
  await v.says('status', /killed/);
  eq(await v.page.getByRole('dialog').count(), 0, 'questions before it is killed');
  await v.says(`row-${id}`, /killed/);
  await v.click('delete');
  await v.hashIs('#/');
  eq(await v.page.getByRole('dialog').count(), 0, 'questions before it is deleted');
  await v.row(id).waitFor({ state: 'detached' });
  eq((await t.api.get(`/v1/processes/${id}`)).status, 404, 'status at the server');
}, { check: 21 });

test('stop', 'Stop ends a process that listens to it', async (t) => {
  const { id } = await t.sh('sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.click('stop');
  await v.says('status', /stopped|SIGTERM/);
  ok(!(await v.at('stop').isVisible()) || (await v.at('stop').isDisabled()), 'Stop is still offered');
}, { check: 21 });

test('kill-asks', 'Kill asks before, and does nothing when the answer is no', async (t) => {
  const { id } = await t.sh('sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.click('kill');
  await confirm(v, 'Cancel');
  await v.says('status', /running/);
  await v.click('kill');
  await v.page.getByRole('dialog').waitFor();
  await v.press('Escape');
  await v.page.getByRole('dialog').waitFor({ state: 'hidden' });
  eq((await t.api.info(id)).status, 'running', 'status');
  await v.click('kill');
  await confirm(v, 'Kill');
  await v.says('status', /killed/);
}, { check: 21 });

test('keys', 's stops and Shift+K kills, each after a question, Escape leads back', async (t) => {
  const a = await t.sh('sleep 60'), b = await t.sh('sleep 60');
  const v = await t.open(`#/processes/${a.id}`);
  await v.says('status', /running/);
  await v.press('s');
  await confirm(v, 'Stop');
  await v.says('status', /stopped|SIGTERM/);
  await v.go(`#/processes/${b.id}`);
  await v.says('status', /running/);
  await v.press('Shift+K');
  await confirm(v, 'Kill');
  await v.says('status', /killed/);
  await v.press('Escape');
  await v.hashIs('#/');
}, { check: 21 });

test('kill-and-delete', 'a running process is killed and deleted after one question', async (t) => {
  const { id, pid } = await t.sh('sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.says('status', /running/);
  await v.click('delete');
  await confirm(v, /kill and delete/i);
  await v.hashIs('#/');
  await until(() => !here(pid), { what: 'the end of the process' });
}, { check: 21 });

test('rerun', 'Run again opens the form with what the process had', async (t) => {
  const { id } = await t.api.create({ command: 'sh', args: ['-c', 'echo "a b"; pwd; exit 2'], cwd: '/tmp' });
  await t.api.exited(id);
  const v = await t.open(`#/processes/${id}`);
  await v.says('status', /exited 2/);
  await v.click('rerun');
  await v.shown('new-form');
  await v.click('submit');
  await v.hashMatches(/^#\/processes\/proc_2\b/);
  await v.logHas('a b');
  const again = await t.api.info('proc_2'), first = await t.api.info(id);
  eq([again.command, again.args, again.cwd, again.tty], [first.command, first.args, first.cwd, first.tty], 'the second');
});

test('facts', 'the detail tells pid, directory, age, and afterwards code and duration', async (t) => {
  const { id, pid } = await t.api.create({ command: 'sh', args: ['-c', 'read x; exit 5'], cwd: '/tmp' });
  const v = await t.open(`#/processes/${id}`);
  const text = await v.says('detail', new RegExp(`\\b${pid}\\b`));
  has(text, '/tmp', 'detail');
  has(text, id, 'detail');
  await t.api.input(id, 'x\n');
  await v.says('status', /exited 5/);
  await until(async () => !new RegExp(`\\b${pid}\\b`).test(await v.text('detail')), { what: 'the pid to go' });
});

test('info', 'the Info tab has the record', async (t) => {
  const { id } = await t.sh('echo hi; sleep 60');
  const v = await t.open(`#/processes/${id}`);
  await v.click('tab-info');
  await v.hashIs(`#/processes/${id}/info`);
  await v.says('detail', /"createdAtMs": ?\d+/);
  await v.click('tab-output');
  await v.logHas('hi');
  await v.page.goBack();
  await v.says('detail', /"createdAtMs"/);
});

test('curl', 'the command for curl creates the same process, and does not have the token', async (t) => {
  const spec = { command: 'sh', args: ['-c', `echo "it's $HOME" 'and' \\ back`, 'x y', ''], tty: false };
  const { id } = await t.api.create(spec);
  const v = await t.viewer();
  await v.open(`#/?token=${encodeURIComponent(TOKEN)}`);
  await v.go(`#/processes/${id}`);
  await v.says('status', /./);
  await v.click('copy-curl');
  await until(async () => (await v.clipboard()).includes('curl'), { what: 'the clipboard to have it' });
  const text = await v.clipboard();
  lacks(text, TOKEN, 'the command');
  lacks(text, encodeURIComponent(TOKEN), 'the command');
  has(text, '$TOKEN', 'the command');
  const made = await t.api.run({ command: 'sh', args: ['-c', text], env: { TOKEN }, timeoutMs: 10000 });
  match(made.stdout, /"id": ?"proc_2"/, `output of ${text} (${made.stderr})`);
  const again = await t.api.info('proc_2');
  eq([again.command, again.args], [spec.command, spec.args], 'the second');
}, { check: 23, server: { token: TOKEN } });

test('action-error', 'what fails is told once, beside the buttons', async (t) => {
  const { id } = await t.sh('sleep 60');
  const v = (await t.viewer()).expect(/status of (404|409|500)/);
  await v.open(`#/processes/${id}`);
  await v.says('status', /running/);
  await v.page.route('**/v1/processes/*/stop*', (route) => route.fulfill({ status: 500, contentType: 'application/problem+json', body: JSON.stringify({ type: 'about:blank', title: 'Internal', status: 500, detail: 'the disk is on fire' }) }));
  await v.click('stop');
  await v.says('action-error', /disk is on fire/);
  await v.oneAlert(/disk is on fire/);
});

test('gone-while-shown', 'a process that somebody else deletes is told to be gone', async (t) => {
  const { id } = await t.sh('true');
  await t.api.exited(id);
  const v = (await t.viewer()).expect(/status of 404/);
  await v.open(`#/processes/${id}`);
  await v.says('status', /exited 0/);
  await t.api.del(`/v1/processes/${id}`);
  await v.says('gone', /no longer exists/i);
});

test('terminal-stop', 'a shell in a terminal is stopped as well', async (t) => {
  const { id } = await t.api.create(bash());
  const v = await t.open(`#/processes/${id}`);
  await v.termHas('$');
  await v.click('stop');
  await v.says('status', /stopped|SIGHUP|SIGTERM|exited|killed/);
  eq((await t.api.info(id)).status, 'exited', 'status');
});
