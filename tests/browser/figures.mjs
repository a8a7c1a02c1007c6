#!/usr/bin/env node
// Figures: how fast the page is, as a table, with the limits that it is held to. Run by hand on a machine
// that does nothing else: figures.mjs --bin SERVER [--ui-dir DIR] [--only REGEX] [--rounds N]. Exit status 1 when a
// limit is missed. The median of the rounds counts.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { secs, until } from '../api/lib/assert.mjs';
import { settings as servers } from '../api/lib/server.mjs';
import { launchChromium, reasonNot } from './lib/chromium.mjs';
import { bash } from './lib/programs.mjs';
import { Case, settings } from './lib/runner.mjs';

const { values } = parseArgs({
  options: { bin: { type: 'string' }, 'ui-dir': { type: 'string' }, only: { type: 'string' }, rounds: { type: 'string', default: '3' } },
});
if (!values.bin) {
  console.error('usage: figures.mjs --bin SERVER [--ui-dir DIR] [--only REGEX] [--rounds N]');
  process.exit(2);
}
if (reasonNot()) {
  console.error(reasonNot());
  process.exit(1);
}
servers.bin = path.resolve(values.bin);
settings.uiDir = values['ui-dir'] ? path.resolve(values['ui-dir']) : '';

// Bytes a second and milliseconds, as the developer tools of the browser emulate them.
const SLOW_LINE = { offline: false, latency: 150, downloadThroughput: 1.6e6 / 8, uploadThroughput: 0.75e6 / 8 };
const MiB = 1 << 20;

async function withNetwork(v, conditions) {
  const session = await v.context.newCDPSession(v.page);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', conditions);
  return session;
}
// Milliseconds from the navigation to the moment at which fn() first holds in the page, by its own clock.
async function since(v, fn) {
  await v.page.waitForFunction(fn, null, { polling: 'raf', timeout: secs(30) });
  return v.page.evaluate(() => performance.now());
}
const isConnected = () => /connected/i.test(document.querySelector('[data-testid=conn]')?.textContent ?? '');
const isTerminalReady = () => {
  const buffer = window.__ui?.term?.buffer.active;
  return Boolean(buffer?.getLine(0)?.translateToString(true).startsWith('$'));
};

// Notes all long tasks from the beginning of the page on.
const watchTasks = (v) => v.page.addInitScript(() => {
  window.longTasks = [];
  new PerformanceObserver((list) => { for (const e of list.getEntries()) window.longTasks.push(Math.round(e.duration)); }).observe({ type: 'longtask', buffered: true });
});

// --- the figures: name -> {limits: {figure: [most, unit]}, run(t): {figure: number}} ---

const FIGURES = {
  'first load, loopback': {
    limits: { connected: [600, 'ms'], 'first paint': [300, 'ms'] },
    async run(t) {
      const v = await t.viewer();
      await v.page.goto(v.url());
      const connected = await since(v, isConnected);
      const paint = await v.page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN);
      return { connected, 'first paint': paint };
    },
  },
  'first load, 1.6 Mbit/s and 150 ms': {
    limits: { connected: [1200, 'ms'] },
    async run(t) {
      const v = await t.viewer();
      await withNetwork(v, SLOW_LINE);
      await v.page.goto(v.url());
      return { connected: await since(v, isConnected) };
    },
  },
  'terminal, 1.6 Mbit/s and 150 ms': {
    limits: { ready: [2500, 'ms'] },
    async run(t) {
      const { id } = await t.api.create(bash());
      const v = await t.viewer();
      await withNetwork(v, SLOW_LINE);
      await v.page.goto(v.url(`#/processes/${id}`));
      return { ready: await since(v, isTerminalReady) };
    },
  },
  'new process seen': {
    limits: { seen: [2500, 'ms'], 'exit seen': [5000, 'ms'] },
    async run(t) {
      const v = await t.open();
      const begun = Date.now();
      const { id } = await t.api.create({ command: 'sleep', args: ['2'] });
      await v.says(`row-${id}`, /running/);
      const seen = Date.now() - begun;
      await v.says(`row-${id}`, /exited 0/);
      return { seen, 'exit seen': Date.now() - begun };
    },
  },
  'live log': {
    limits: { 'slowest tick': [500, 'ms'], 'median tick': [100, 'ms'] },
    async run(t) {
      const { id } = await t.sh('for i in $(seq 1 25); do date +"tick %s%3N"; sleep 0.2; done');
      const v = await t.viewer();
      await v.page.addInitScript(() => {
        window.delays = new Map();
        new MutationObserver(() => {
          for (const line of document.querySelectorAll('[data-testid=log] .line')) {
            const at = /tick (\d{13})/.exec(line.textContent)?.[1];
            if (at && !window.delays.has(at)) window.delays.set(at, Date.now() - Number(at));
          }
        }).observe(document, { subtree: true, childList: true, characterData: true });
      });
      await v.open(`#/processes/${id}`);
      await v.says('status', /exited 0/, secs(15));
      // The first ones were written before the page was there.
      const delays = (await v.page.evaluate(() => [...window.delays.values()])).slice(8).sort((a, b) => a - b);
      return { 'slowest tick': delays.at(-1), 'median tick': delays[delays.length >> 1] };
    },
  },
  '300,000 lines': {
    limits: { 'last line': [4000, 'ms'], 'longest task': [200, 'ms'], 'median frame': [20, 'ms'], 'lines in the page': [100000, ''] },
    async run(t) {
      const { id } = await t.sh('for i in $(seq 1 6); do :; done; seq -f "%.0f some words of a line" 1 300000; sleep 600');
      await t.api.logHas(id, '300000 some', { query: '?tail=1', ms: secs(30) });
      const v = await t.viewer();
      await watchTasks(v);
      await v.page.goto(v.url(`#/processes/${id}`));
      const last = await since(v, () => [...document.querySelectorAll('[data-testid=log] .line')].at(-1)?.textContent.startsWith('300000 '));
      await v.shown('dropped');
      const frames = await v.page.evaluate(async () => {
        const log = document.querySelector('[data-testid=log]');
        const times = [];
        let before = await new Promise((next) => { requestAnimationFrame(next); });
        for (let i = 0; i < 60; i++) {
          log.scrollTop -= 700;
          const now = await new Promise((next) => { requestAnimationFrame(next); });
          times.push(now - before);
          before = now;
        }
        return times.sort((a, b) => a - b);
      });
      return {
        'last line': last,
        'longest task': Math.max(0, ...(await v.page.evaluate(() => window.longTasks))),
        'median frame': frames[30],
        'lines in the page': await v.at('log').evaluate((log) => log.querySelectorAll('.line').length),
      };
    },
  },
  '8 MiB through a terminal': {
    limits: { shown: [6000, 'ms'], 'longest task': [200, 'ms'] },
    async run(t) {
      const { id } = await t.api.create({ command: 'sh', args: ['-c', `read x; head -c ${8 * MiB} /dev/zero | tr '\\0' x | fold -w 79; echo; echo the-end; sleep 600`], tty: true });
      const v = await t.viewer();
      await watchTasks(v);
      await v.open(`#/processes/${id}`);
      await v.focusTerminal();
      const begun = Date.now();
      await v.press('Enter');
      await v.termHas('the-end', secs(60));
      return { shown: Date.now() - begun, 'longest task': Math.max(0, ...(await v.page.evaluate(() => window.longTasks))) };
    },
  },
  'exit in a terminal': {
    limits: { told: [1000, 'ms'] },
    async run(t) {
      const { id } = await t.api.create(bash());
      const v = await t.open(`#/processes/${id}`);
      await v.termHas('$');
      await v.focusTerminal();
      await v.type('exit 3');
      const begun = Date.now();
      await v.press('Enter');
      await v.says('status', /exited 3/);
      return { told: Date.now() - begun };
    },
  },
  'run once, timeout of 1500 ms': {
    limits: { over: [2500, 'ms'] },
    async run(t) {
      const v = await t.open('#/run');
      await v.at('timeout').fill('1500');
      await v.at('command').fill("sh -c 'sleep 10; :'");
      const begun = Date.now();
      await v.at('command').press('Enter');
      await v.says('result', /timed out/);
      return { over: Date.now() - begun };
    },
  },
  'server gone for good, and back': {
    limits: { 'said to be gone': [3000, 'ms'], 'connected again': [5000, 'ms'] },
    async run(t) {
      const v = (await t.viewer()).expect(/./);
      await v.open();
      const begun = Date.now();
      await t.server.crash();
      t.server.endMarked();
      await v.says('conn', /not reachable/i);
      const gone = Date.now() - begun;
      await t.server.again();
      const back = Date.now();
      await v.connected();
      return { 'said to be gone': gone, 'connected again': Date.now() - back };
    },
  },
  'server killed under a terminal': {
    limits: { 'typing goes on': [2000, 'ms'] },
    async run(t) {
      const { id } = await t.api.create(bash());
      const v = (await t.viewer()).expect(/./);
      await v.open(`#/processes/${id}`);
      await v.termHas('$');
      await v.focusTerminal();
      const sockets = v.sockets.length;
      const begun = Date.now();
      await t.server.killServer();
      await until(() => v.sockets.length > sockets && v.sockets.at(-1).received > 0, { what: 'the terminal' });
      await v.typeLine('echo on$((1))');
      await v.termHas(/^on1$/m);
      return { 'typing goes on': Date.now() - begun };
    },
    server: { dataDir: undefined },
  },
};

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const only = new RegExp(values.only ?? '^');
const browser = await launchChromium();
let missed = 0;
console.log('| What | Figure | Measured | Limit |\n|---|---|---|---|');
for (const [name, { limits, run, server }] of Object.entries(FIGURES).filter(([n]) => only.test(n))) {
  const rounds = [];
  for (let i = 0; i < Number(values.rounds); i++) {
    const t = new Case(browser, { server });
    await t.begin();
    try {
      rounds.push(await run(t));
    } catch (e) {
      console.log(`| ${name} | failed: ${e.message.split('\n')[0]} | | |`);
    }
    await t.close();
  }
  for (const [figure, [most, unit]] of Object.entries(limits)) {
    const value = rounds.length ? median(rounds.map((r) => r[figure])) : NaN;
    const good = value <= most;
    if (!good) missed++;
    console.log(`| ${name} | ${figure} | ${Number.isNaN(value) ? 'none' : value < 100 ? value.toFixed(1) : Math.round(value)} ${unit}${good ? '' : ' **missed**'} | ${most} ${unit} |`);
  }
}
await browser.close();
process.exit(missed ? 1 : 0);
