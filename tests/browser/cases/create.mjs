// Starting processes in the form.
import { define, eq, has, lacks, until } from '../lib.mjs';

const test = define('create');
const started = (v) => v.hashMatches(/^#\/processes\/(proc_\d+)/).then((m) => m[1]);
// The body of the last request that created something.
const sent = (v) => JSON.parse(v.requests.filter((r) => r.method === 'POST' && r.url.endsWith('/v1/processes')).at(-1).body);

async function openForm(t, errors = []) {
  const v = (await t.viewer()).expect(...errors);
  await v.open();
  await v.press('n');
  await v.focusIs('command');
  return v;
}
const more = async (v) => {
  if (!(await v.at('cwd').isVisible())) await v.at('new-form').locator('summary').first().click();
};

test('keyboard', 'a command line is split as a shell would, by keyboard alone', async (t) => {
  const v = await openForm(t);
  await v.type(`sh -c 'echo "a b"; echo  '`);
  await v.press('Enter');
  const id = await started(v);
  eq(sent(v), { command: 'sh', args: ['-c', 'echo "a b"; echo  '] }, 'body');
  await v.logHas('a b');
  eq((await t.api.info(id)).args, ['-c', 'echo "a b"; echo  '], 'arguments of the process');
}, { check: 6 });

test('words', 'the words of a line are shown as they will be', async (t) => {
  const v = await openForm(t);
  await v.type(`printf '%s|' "a b" '' c\\ d`);
  await until(async () => (await v.at('argv').locator('li').allInnerTexts()).length === 5, { what: 'five words' });
  eq((await v.at('argv').locator('li').allTextContents()).map((s) => s.trim()), ['printf', '%s|', 'a b', '', 'c d'], 'words');
  await v.press('Enter');
  await started(v);
  await v.logHas('a b||c d|');
}, { check: 6 });

test('arguments', 'one by one: an empty argument and one with a newline arrive as they are', async (t) => {
  const v = await openForm(t);
  await v.at('new-form').getByRole('radio', { name: 'Arguments' }).check({ force: true });
  await v.at('command').fill('printf');
  for (const [i, value] of ['[%s]', '', ' two\n  lines ', 'end'].entries()) {
    await v.click('add-argument');
    await v.at(`arg-${i + 1}`).fill(value);
  }
  await v.click('submit');
  await started(v);
  eq(sent(v), { command: 'printf', args: ['[%s]', '', ' two\n  lines ', 'end'] }, 'body');
  await v.logHas('[][ two');
}, { check: 6 });

test('shell', 'a text for the shell goes there as it is; Ctrl+Enter starts it', async (t) => {
  const v = await openForm(t);
  await v.at('new-form').getByRole('radio', { name: 'Shell' }).check({ force: true });
  const text = 'for i in 1 2; do\n  echo "$i $HOME"\ndone | tr 1 x';
  await v.at('command').fill(text);
  await v.at('command').press('Control+Enter');
  await started(v);
  eq(sent(v), { command: '/bin/sh', args: ['-c', text] }, 'body');
  await v.logHas(/^x \//m);
});

test('options', 'directory, environment and terminal', async (t) => {
  const v = await openForm(t);
  await v.type(`sh -c 'pwd; echo "<$A><$B>"; tty; sleep 60'`);
  await more(v);
  await v.at('cwd').fill('/tmp');
  await v.at('env').fill('A=one two\nB=x=y\n');
  await v.at('new-form').getByRole('checkbox', { name: /terminal/i }).check();
  await v.click('submit');
  await started(v);
  const { cwd, env, tty } = sent(v);
  eq({ cwd, env, tty }, { cwd: '/tmp', env: { A: 'one two', B: 'x=y' }, tty: true }, 'body');
  await v.termHas('<one two><x=y>');
  await v.termHas(/^\/tmp$/m);
  await v.termHas('/dev/pts/');
});

test('unknown-command', 'a command that does not exist: one alert that names it, the form keeps what it has, the focus is in the field', async (t) => {
  const v = await openForm(t, [/status of 502/]);
  await v.type('nope-not-there --flag');
  await v.press('Enter');
  await v.oneAlert(/nope-not-there/);
  eq(await v.at('command').inputValue(), 'nope-not-there --flag', 'command');
  await v.focusIs('command');
  const described = await v.at('command').evaluate((e) => (e.getAttribute('aria-describedby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' '));
  has(described, 'nope-not-there', 'what describes the field');
  await v.hashIs('#/new');
  await v.at('command').fill('true');
  await v.press('Enter');
  await started(v);
}, { check: 7 });

test('unknown-directory', 'a directory that does not exist is told of at its own field', async (t) => {
  const v = await openForm(t, [/status of 502/]);
  await v.type('true');
  await more(v);
  await v.at('cwd').fill('/not/there');
  await v.click('submit');
  await v.oneAlert(/\/not\/there/);
  await v.focusIs('cwd');
}, { check: 7 });

test('bad-input', 'nothing, an open quote and a bad line of the environment are told of without asking the server', async (t) => {
  const v = await openForm(t);
  await v.press('Enter');
  await v.oneAlert(/command/i);
  await v.at('command').fill(`echo 'open`);
  await v.press('Enter');
  await v.oneAlert(/quote/i);
  await v.at('command').fill('true');
  await more(v);
  await v.at('env').fill('A=1\nnonsense');
  await v.click('submit');
  await v.oneAlert(/nonsense|line 2/i);
  await v.focusIs('env');
  eq(v.requests.filter((r) => r.method === 'POST').length, 0, 'requests');
}, { check: 7 });

test('limit', 'the limit of processes is told with what to do', async (t) => {
  await t.api.post('/v1/processes/config', { ...(await t.api.config()), maxConcurrentProcesses: 1 });
  await t.sh('sleep 60');
  const v = await openForm(t, [/status of 409/]);
  await v.type('true');
  await v.press('Enter');
  const text = await v.oneAlert(/\b1\b/);
  has(text.toLowerCase(), 'stop', 'alert');
});

test('recent', 'the last commands are offered, also after a reload', async (t) => {
  const v = await openForm(t);
  await v.type('echo remembered');
  await v.press('Enter');
  await started(v);
  await v.reload();
  await v.go('#/new');
  await v.shown('new-form');
  await v.click('recent');
  await v.page.getByRole('menuitem', { name: /echo remembered/ }).click();
  eq(await v.at('command').inputValue(), 'echo remembered', 'command');
});

test('draft', 'what was typed is still there after a look elsewhere', async (t) => {
  await t.sh('echo hello; sleep 60');
  const v = await openForm(t);
  await v.type('echo draft');
  await v.row('proc_1').click();
  await v.logHas('hello');
  await v.go('#/new');
  await v.shown('new-form');
  eq(await v.at('command').inputValue(), 'echo draft', 'command');
});

test('once', 'two quick Enters start one process', async (t) => {
  const v = await openForm(t);
  await v.type('sleep 60');
  await v.press('Enter', 'Enter');
  await started(v);
  eq((await t.api.get('/v1/processes')).json.processes.length, 1, 'processes');
});

// The answer has come, and the page has not yet left the form by itself.
test('once-answered', 'Enter in the moment of the answer starts no second process', async (t) => {
  const v = await openForm(t);
  await v.type('sleep 60');
  await v.at('submit').evaluate((submit) => {
    window.__enters = 0;
    new MutationObserver(() => {
      if (submit.disabled) return;
      window.__enters++;
      submit.form.requestSubmit();
    }).observe(submit, { attributeFilter: ['disabled'] });
  });
  await v.press('Enter');
  await started(v);
  await v.row('proc_1').waitFor();
  await until(() => v.page.evaluate(() => window.__enters > 0), { what: 'the button to be usable again' });
  await v.frames();
  eq(v.requests.filter((r) => r.method === 'POST').map((r) => r.url.replace(/.*\/v1/, '')), ['/processes'], 'requests');
});

test('disconnected', 'without a server nothing can be started, and what was typed stays', async (t) => {
  const v = await openForm(t, [/ERR_|Failed to load/]);
  await v.type('true');
  await t.server.crash();
  t.server.endMarked();
  await v.says('conn', /not reachable/i);
  await until(() => v.at('submit').isDisabled(), { what: 'the button to be disabled' });
  eq(await v.at('command').inputValue(), 'true', 'command');
  lacks(await v.hash(), 'processes', 'address');
  await t.server.again();
  await v.connected();
  await v.click('submit');
  await started(v);
}, { check: 22, server: { dataDir: ':memory:' } });
