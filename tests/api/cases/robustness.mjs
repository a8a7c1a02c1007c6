// Load and odd connections.
import net from 'node:net';
import { define, eq, ok, oneOf, secs, sleep, until } from '../lib.mjs';

const rob = define('robustness');

rob(
  'compat',
  'many-requests',
  'a thousand requests over parallel connections are all answered',
  async ({ api }) => {
    let bad = 0,
      left = 1000;
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        while (left-- > 0) if ((await api.get('/v1/health')).status !== 200) bad++;
      }),
    );
    eq(bad, 0);
  },
);
rob(
  'compat',
  'many-runs',
  'two hundred runs, twenty at a time',
  async ({ api }) => {
    let left = 200;
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        while (left > 0) {
          const n = left--;
          eq((await api.runSh(`echo ${n}; exit ${n % 7}`)).exitCode, n % 7);
        }
      }),
    );
  },
  { timeout: 120, slow: true },
);
rob(
  'compat',
  'idle-and-partial-connections',
  'silent, half-sent and dropped connections hold up nobody',
  async ({ api }) => {
    const socks = [];
    for (let i = 0; i < 60; i++) {
      const s = net.connect(api.port, api.host);
      s.on('error', () => {});
      socks.push(s);
      if (i % 3 === 1) s.write('GET /v1/hea');
      if (i % 3 === 2)
        s.write(
          'POST /v1/processes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"comm',
        );
    }
    await until(() => socks.every((s) => !s.connecting), { what: 'the connections' });
    try {
      for (let i = 0; i < 5; i++)
        eq((await api.get('/v1/health', { timeout: secs(5) })).status, 200);
    } finally {
      for (const s of socks) s.destroy();
    }
    eq((await api.get('/v1/health')).status, 200);
  },
);
rob(
  'compat',
  'half-body-starts-nothing',
  'a request cut off in its body starts nothing',
  async ({ api }) => {
    const mark = `half-${Date.now()}`;
    const body = `{"command":"sleep","args":["60","${mark}"]}`;
    const w = api.wire();
    w.write(
      `POST /v1/processes HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, -3)}`,
    );
    await w.connected();
    w.s.end();
    await w.waitEnd();
    ok(
      !(await api.get('/v1/processes')).json.processes.some((p) => p.args.includes(mark)),
      'not started',
    );
  },
);
rob('compat', 'deep-json', 'deeply nested JSON is survived', async ({ api }) => {
  for (const b of [
    `{"command":"true","x":${'['.repeat(100000)}${']'.repeat(100000)}}`,
    '['.repeat(500000),
    `{"a":`.repeat(200000),
  ]) {
    const r = await api.req('POST', '/v1/processes/run', {
      body: b,
      headers: { 'content-type': 'application/json' },
    });
    oneOf(r.status, [200, 400, 413, 422]);
  }
  eq((await api.get('/v1/health')).status, 200);
});
rob(
  'compat',
  'split-request',
  'a request trickling in byte by byte is understood',
  async ({ api }) => {
    const s = net.connect(api.port, api.host);
    s.setNoDelay(true);
    let t = '';
    s.on('data', (d) => {
      t += d;
    });
    s.on('error', () => {});
    for (const c of `GET /v1/health HTTP/1.1\r\nHost: localhost\r\n${api.authLine()}\r\n`) {
      s.write(c);
      await sleep(2);
    }
    await until(() => t.includes('{"status":"ok"}'), { what: 'the answer' });
    s.destroy();
  },
);
rob(
  'compat',
  'follower-storm',
  'forty followers coming and going do not disturb a process',
  async ({ api }) => {
    const p = await api.sh(
      'i=0; while [ $i -lt 400 ]; do echo $i; i=$((i+1)); sleep 0.01; done; echo FIN; exec sleep 60',
    );
    for (let i = 0; i < 40; i++) {
      const s = await api.follow(p.id).opened();
      if (i % 2) await sleep(10);
      s.close();
    }
    await api.logHas(p.id, 'FIN', { ms: secs(40) });
    eq(await api.logText(p.id), `${Array.from({ length: 400 }, (_, i) => `${i}\n`).join('')}FIN\n`);
  },
);
rob(
  'compat',
  'mixed-load',
  'creates, logs, inputs, kills and deletes in parallel stay consistent',
  async ({ api }) => {
    await Promise.all(
      Array.from({ length: 12 }, async (_, k) => {
        for (let i = 0; i < 4; i++) {
          const p = await api.sh('read x; echo "got $x"; exec sleep 60', { tty: k % 3 === 0 });
          await api.input(p.id, `m${k}-${i}\n`);
          await api.logHas(p.id, `got m${k}-${i}`, { ms: secs(30) });
          eq((await api.kill(p.id, '?waitMs=20000')).json.status, 'exited');
          eq((await api.del(`/v1/processes/${p.id}`)).status, 204);
        }
      }),
    );
  },
  { timeout: 120, slow: true },
);
