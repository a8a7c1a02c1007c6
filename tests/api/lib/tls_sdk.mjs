// The published SDK in a program of its own, since the authorities that Node trusts are chosen at its
// start: tls_sdk.mjs BASE TOKEN runs a command, types into a terminal and follows a log, and says
// what went well.
import { until } from './assert.mjs';
import { WebSocketClass, peer } from './packages.mjs';
import { text } from './sse.mjs';

const [baseUrl, token] = process.argv.slice(2);
const { SandboxAgent } = await peer('sandbox-agent');
const agent = await SandboxAgent.connect({ baseUrl, token, skipHealthCheck: true });
const said = [];

const r = await agent.runProcess({ command: 'sh', args: ['-c', 'echo out'] });
if (r.stdout === 'out\n') said.push('run');

const p = await agent.createProcess({ command: 'sh', args: ['-c', 'stty -echo; read l; echo "got:$l"'], tty: true });
const url = new URL(agent.buildProcessTerminalWebSocketUrl(p.id));
const t = agent.connectProcessTerminal(p.id, { WebSocket: await WebSocketClass() });
let shown = '';
t.onData((d) => { shown += Buffer.from(d).toString(); });
t.onReady(() => t.sendInput('me\n'));
await t.closed;
if (shown.includes('got:me')) said.push('terminal');

const got = [];
const f = await agent.followProcessLogs(p.id, (e) => got.push(e));
await until(() => text(got).includes('got:me'), { what: 'the log' });
f.close();
said.push('follow');
await agent.deleteProcess(p.id);
await agent.dispose?.();
console.log([...said, url.protocol].join(' '));
