// The published terminal component, @sandbox-agent/react, on a page of its own, against this server.
import { TOKEN, bash, define, eq, until } from '../lib.mjs';
import { serveModules } from '../lib/modules.mjs';

const test = define('component');

// The component draws into a canvas; its terminals are kept where a test can read their buffers.
const GHOSTTY = `export * from 'ghostty-web-itself';
import { Terminal as Original } from 'ghostty-web-itself';
window.terminals = [];
export class Terminal extends Original {
  constructor(...options) { super(...options); window.terminals.push(this); }
}`;
const PAGE = `<div id="root"></div><script type="module">
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { SandboxAgent } from 'sandbox-agent';
import { ProcessTerminal } from '@sandbox-agent/react';
const options = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const client = await SandboxAgent.connect({ baseUrl: options.base, token: options.token });
const onExit = (status) => { window.exit = status; };
createRoot(document.getElementById('root')).render(createElement(ProcessTerminal, { client, processId: options.id, height: 400, onExit }));
</script>`;

async function show(t, program, token) {
  const site = await serveModules({
    modules: ['@sandbox-agent/react', 'sandbox-agent', 'acp-http-client', '@agentclientprotocol/sdk', '@tanstack/react-virtual', '@tanstack/virtual-core', 'zod', 'zod/v4'],
    commonjs: ['react', 'react/jsx-runtime', 'react-dom', 'react-dom/client', 'scheduler'],
    own: { 'ghostty-web': GHOSTTY },
    renamed: { 'ghostty-web-itself': 'ghostty-web' },
    page: PAGE,
  });
  t.after(site.close);
  const server = await t.startServer({ token, flags: `--cors-allow-origin ${site.url}` });
  const { id } = await server.api.create(program);
  const v = (await t.viewer()).expect(/request to another host/);
  await v.page.goto(`${site.url}/#${encodeURIComponent(JSON.stringify({ base: server.url, id, token }))}`);
  const text = () => v.page.evaluate(() => {
    const buffer = window.terminals?.[0]?.buffer?.active;
    return buffer ? Array.from({ length: buffer.length }, (_, i) => buffer.getLine(i)?.translateToString(true) ?? '').join('\n') : '';
  });
  return {
    v, api: server.api, id,
    async has(re) {
      let last = '';
      await until(async () => re.test((last = await text())), { what: `the component to show ${re}`, last: () => last.trim().slice(-300) });
    },
    says: (re) => until(async () => re.test(await v.page.locator('#root').innerText()), { what: `its status to be ${re}` }),
    size: () => v.page.evaluate(() => [window.terminals[0].cols, window.terminals[0].rows]),
  };
}

async function session(t, token) {
  const c = await show(t, bash(), token);
  await c.says(/Connected/);
  await c.has(/\$ ?$/m);
  await c.v.page.locator('#root canvas').first().click();
  await c.v.typeLine('echo $((40+2)) $TERM');
  await c.has(/^42 xterm-256color$/m);
  const size = async () => {
    const [cols, rows] = await c.size();
    await c.v.typeLine(`echo $(stty size) is it`);
    await c.has(new RegExp(`^${rows} ${cols} is it$`, 'm'));
    return cols;
  };
  const wide = await size();
  await c.v.page.setViewportSize({ width: 700, height: 700 });
  await until(async () => (await c.size())[0] < wide, { what: 'the component to follow the window' });
  await size();
  await c.v.typeLine('exit 3');
  await c.says(/exited with code 3/);
  eq(await c.v.page.evaluate(() => window.exit.exitCode), 3, 'code told by onExit');
}

test('session', 'it connects, types, shows, follows the window, and tells of the exit', (t) => session(t));
test('token', 'with a token, too', (t) => session(t, TOKEN));
test('replay', 'opened later it shows what was there before', async (t) => {
  const c = await show(t, bash('echo from before; sleep 0.3'));
  await c.has(/^from before$/m);
});
