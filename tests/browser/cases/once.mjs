// Running a command once.
import { commandLine, define, eq, has, here, lacks, match, ok, secs, until } from '../lib.mjs';
import fs from 'node:fs';

const test = define('run-once');

async function openForm(t) {
  const v = await t.open();
  await v.press('r');
  await v.hashIs('#/run');
  await v.focusIs('command');
  return v;
}
const run = async (v, line) => {
  await v.at('command').fill(line);
  await v.press('Enter');
};

test('result', 'code, duration, and both streams, each in its pane', async (t) => {
  const v = await openForm(t);
  await run(v, `sh -c 'echo to out; echo to err >&2; exit 7'`);
  await v.says('result', /exited 7|exit 7|code 7/);
  eq((await v.text('stdout')).trim(), 'to out', 'stdout');
  eq((await v.text('stderr')).trim(), 'to err', 'stderr');
  match(await v.text('result'), /\d+ ?ms|\d+(\.\d)? ?s\b/, 'result');
}, { check: 24 });

// A length that no other run of the case has, so that its process can be found among all of the machine.
let lengths = 0;
const lengthy = (seconds) => `sleep ${seconds}.${process.pid}${++lengths}`;

test('timeout', 'a command that takes too long is ended with all that it started', async (t) => {
  const v = await openForm(t);
  await v.at('timeout').fill('1500');
  const begun = Date.now();
  const sleep = lengthy(39);
  await run(v, `sh -c '${sleep}; echo no'`);
  await v.says('elapsed', /\d/);
  await v.says('result', /timed out/, secs(8));
  ok(Date.now() - begun >= 1400, 'over before its time');
  await until(() => !running(sleep), { what: 'the child to be gone' });
}, { check: 24 });

const running = (line) => fs.readdirSync('/proc').some((p) => /^\d+$/.test(p) && here(Number(p)) && commandLine(Number(p)) === line);

test('cancel', 'Cancel ends the command, and what it started', async (t) => {
  const v = (await openForm(t)).expect(/ERR_ABORTED/);
  const sleep = lengthy(47);
  await run(v, `sh -c '${sleep}; echo no'`);
  await until(() => running(sleep), { what: 'the child' });
  await v.says('elapsed', /\d/);
  await v.click('cancel');
  await v.says('result', /cancel/i);
  await until(() => !running(sleep), { what: 'the child to be gone' });
}, { check: 24 });

test('kept', 'form and result are still there after a look elsewhere', async (t) => {
  const v = await openForm(t);
  await v.at('timeout').fill('20000');
  await run(v, 'echo result of the run');
  await v.says('result', /result of the run/);
  await v.go('#/');
  await v.says('empty', /No processes yet/);
  await v.go('#/run');
  await v.says('result', /result of the run/);
  eq(await v.at('command').inputValue(), 'echo result of the run', 'command');
  eq(await v.at('timeout').inputValue(), '20000', 'timeout');
}, { check: 24 });

test('under-way', 'a run goes on while one looks elsewhere', async (t) => {
  const v = await openForm(t);
  const fifo = `${t.server.dir}/fifo`;
  await run(v, `sh -c 'mkfifo ${fifo}; read x < ${fifo}; echo "got $x"'`);
  await v.says('elapsed', /\d/);
  await v.go('#/');
  await v.says('empty', /No processes yet/);
  await until(() => fs.existsSync(fifo), { what: 'the command to wait' });
  await v.go('#/run');
  await v.says('elapsed', /\d/);
  await t.api.runSh(`echo word > ${fifo}`);
  await v.says('result', /got word/);
}, { check: 24 });

test('colours', 'colours are shown, escape characters are not', async (t) => {
  const v = await openForm(t);
  await run(v, String.raw`printf '\033[1;31mredbold\033[0m <b>x</b>\n'`);
  await v.says('stdout', /redbold/);
  const text = await v.at('stdout').evaluate((e) => e.textContent);
  lacks(text, '\u001b', 'stdout');
  lacks(text, '[1;31m', 'stdout');
  has(text, '<b>x</b>', 'stdout');
  eq(await v.at('stdout').locator('b').count(), 0, 'b elements');
});

test('truncated', 'output over the limit is told to be cut, and how much is there', async (t) => {
  const v = await openForm(t);
  await v.at('max-output').fill('100');
  await run(v, `sh -c 'seq 1 1000'`);
  await v.says('result', /truncated at 100 bytes/i);
});

test('bad-number', 'a timeout that is none is told at its field, with the limits', async (t) => {
  const v = await openForm(t);
  await v.at('timeout').fill('999999999');
  await run(v, 'true');
  await v.oneAlert(/1 to 300000/);
  await v.focusIs('timeout');
  eq(v.requests.filter((r) => r.method === 'POST').length, 0, 'requests');
});

test('unknown-command', 'a command that does not exist: one alert that names it', async (t) => {
  const v = (await openForm(t)).expect(/status of 502/);
  await run(v, 'nope-not-there');
  await v.oneAlert(/nope-not-there/);
  await v.focusIs('command');
});

test('managed', 'the same command can be started as a managed process', async (t) => {
  const v = await openForm(t);
  await v.at('command').fill(`sh -c 'echo managed; sleep 60'`);
  await v.click('start-managed');
  await v.hashMatches(/^#\/processes\/proc_1\b/);
  await v.logHas('managed');
});

test('download', 'each stream can be copied and saved, byte for byte', async (t) => {
  const v = await openForm(t);
  await run(v, String.raw`printf 'caf\303\251\n\377\000end'`);
  await v.says('stdout', /café/);
  const [download] = await Promise.all([v.page.waitForEvent('download'), v.button('Download stdout').click()]);
  eq([...fs.readFileSync(await download.path())], [...Buffer.from('caf\xc3\xa9\n\xff\x00end', 'latin1')], 'bytes');
  await v.button('Copy stdout').click();
  await until(async () => (await v.clipboard()).startsWith('café'), { what: 'the clipboard' });
});
