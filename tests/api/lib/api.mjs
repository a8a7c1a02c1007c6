// The client of the API: requests, raw bytes, processes, event streams and terminals.
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { CaseFailure, ok, secs, show, until } from './assert.mjs';
import { WebSocketClass } from './packages.mjs';
import { Sse, text } from './sse.mjs';
import { Term } from './term.mjs';
import { Wire } from './wire.mjs';

// In a shell of the server's machine: succeeds when the process PID is there and no zombie.
const ALIVE =
  's=$(sed "s/.*) //" "/proc/PID/stat" 2>/dev/null | cut -c1); case "$s" in ""|Z|X) exit 1;; *) exit 0;; esac';

const lower = (headers) => Object.keys(headers).map((k) => k.toLowerCase());
const parse = (s) => {
  try {
    return JSON.parse(s);
  } catch {
    return undefined;
  }
};

export class Api {
  // baseUrl: http://, https://, or unix:PATH as servers tell it. tlsOptions: what tls.connect() is given
  // for an https:// address, {ca, cert, key, ...}.
  constructor(baseUrl, token, tlsOptions = {}) {
    this.base = baseUrl.replace(/\/$/, '');
    this.socket = /^unix:(.*)$/.exec(this.base)?.[1];
    const u = new URL(this.socket ? 'http://localhost' : this.base);
    this.host = u.hostname.replace(/^\[|\]$/g, '');
    this.tls = u.protocol === 'https:' ? tlsOptions : null;
    this.port = Number(u.port || (this.tls ? 443 : 80));
    this.token = token;
    this.created = new Set();
    this.open = new Set();
  }
  static judge = () => {}; // called with (method, path, answer) for every answer; throws to refuse it
  headers(extra, auth = true) {
    return { ...(auth && this.token ? { authorization: `Bearer ${this.token}` } : {}), ...extra };
  }
  // Every connection is made by one of these two: requests that Node writes, and bytes that we do.
  request(options, answered) {
    const to = { ...(this.socket ? { socketPath: this.socket } : { host: this.host, port: this.port }), ...options };
    return this.tls ? https.request({ ...this.tls, ...to }, answered) : http.request(to, answered);
  }
  dial(options = {}) {
    const to = { ...(this.socket ? { path: this.socket } : { host: this.host, port: this.port }), ...options };
    return this.tls ? tls.connect({ ...this.tls, ...to }) : net.connect(to);
  }
  // The Authorization line for requests written by hand.
  authLine() {
    return this.token ? `Authorization: Bearer ${this.token}\r\n` : '';
  }

  // One request on its own connection. opts: json, body, headers, auth, timeout, agent.
  req(method, path, opts = {}) {
    const { json, body, auth = true, timeout = secs(30), agent = false } = opts;
    const headers = this.headers(opts.headers, auth);
    let payload = body;
    if (json !== undefined) {
      payload = JSON.stringify(json);
      if (!lower(headers).includes('content-type')) headers['content-type'] = 'application/json';
    }
    if (payload !== undefined && !headers['transfer-encoding'])
      headers['content-length'] = Buffer.byteLength(payload);
    for (const k of Object.keys(headers)) if (headers[k] === null) delete headers[k];
    return new Promise((resolve, reject) => {
      const done = (settle) => (x) => {
        clearTimeout(timer);
        settle(x);
      };
      const answer = done((a) => {
        try {
          Api.judge(method, path, a);
          resolve(a);
        } catch (e) {
          reject(e);
        }
      });
      const r = this.request(
        { method, path, headers, agent },
        (res) => {
          const chunks = [];
          res.on('data', (d) => chunks.push(d));
          res.on('end', () => answer(this.wrap(res, Buffer.concat(chunks))));
          res.on('error', done(reject));
        },
      );
      r.on('upgrade', (res, sock) => {
        sock.destroy();
        answer(this.wrap(res, Buffer.alloc(0)));
      });
      const timer = setTimeout(
        () =>
          r.destroy(new CaseFailure(`no complete answer to ${method} ${path} within ${timeout}ms`)),
        timeout,
      );
      r.on('error', done(reject));
      r.end(payload);
    });
  }
  wrap(res, buf) {
    const t = buf.toString('utf8');
    return {
      status: res.statusCode,
      headers: res.headers,
      type: res.headers['content-type'] ?? '',
      buf,
      text: t,
      json: parse(t),
    };
  }
  get(p, o) {
    return this.req('GET', p, o);
  }
  post(p, json, o) {
    return this.req('POST', p, { json, ...o });
  }
  del(p, o) {
    return this.req('DELETE', p, o);
  }

  // Exact bytes out, exact bytes back until the peer closes, `until` matches, or time runs out.
  raw(bytes, { timeout = secs(5), until: stop, idle } = {}) {
    return new Promise((resolve) => {
      const s = this.dial();
      let out = Buffer.alloc(0),
        quiet;
      const finish = (why) => {
        clearTimeout(timer);
        clearTimeout(quiet);
        s.destroy();
        resolve({ out, text: out.toString('latin1'), why });
      };
      const timer = setTimeout(() => finish('timeout'), timeout);
      s.on('connect', () => s.write(bytes));
      s.on('data', (d) => {
        out = Buffer.concat([out, d]);
        if (stop && stop(out.toString('latin1'))) finish('matched');
        else if (idle) {
          clearTimeout(quiet);
          quiet = setTimeout(() => finish('idle'), idle);
        }
      });
      s.on('close', () => finish('closed'));
      s.on('error', (e) => finish(`error ${e.code}`));
    });
  }

  // A connection of its own for requests written by hand.
  wire() {
    return new Wire(this);
  }

  // -------------------------------------------------- processes
  async create(spec, { expect = 200 } = {}) {
    const r = await this.post('/v1/processes', spec);
    if (expect !== null)
      ok(
        r.status === expect,
        () => `create ${show(spec)}: expected ${expect}, got ${r.status} ${r.text}`,
      );
    if (r.json?.id) this.created.add(r.json.id);
    return r.json;
  }
  sh(script, extra = {}) {
    return this.create({ command: 'sh', args: ['-c', script], ...extra });
  }
  async run(spec, o) {
    const r = await this.post('/v1/processes/run', spec, o);
    ok(r.status === 200, () => `run ${show(spec)}: expected 200, got ${r.status} ${r.text}`);
    return r.json;
  }
  runSh(script, extra = {}, o) {
    return this.run({ command: 'sh', args: ['-c', script], ...extra }, o);
  }
  async info(id) {
    const r = await this.get(`/v1/processes/${id}`);
    ok(r.status === 200, () => `GET process ${id}: ${r.status} ${r.text}`);
    return r.json;
  }
  async exited(id, ms = secs(15)) {
    let cur;
    const gone = async () => {
      cur = await this.info(id);
      return cur.status === 'exited' && cur;
    };
    return until(gone, { within: ms, what: `${id} to exit`, last: () => cur });
  }
  async logs(id, query = '') {
    const r = await this.get(`/v1/processes/${id}/logs${query}`);
    ok(r.status === 200, () => `logs ${id}: ${r.status} ${r.text}`);
    return r.json;
  }
  async logText(id, query = '') {
    return text((await this.logs(id, query)).entries);
  }
  async logHas(id, needle, { query = '', ms = secs(10) } = {}) {
    let cur = '';
    const there = async () => {
      cur = await this.logText(id, query);
      return (needle instanceof RegExp ? needle.test(cur) : cur.includes(needle)) && cur;
    };
    return until(there, { within: ms, what: `log of ${id} to show ${needle}`, last: () => cur });
  }
  input(id, data, encoding = 'utf8', o) {
    return this.post(`/v1/processes/${id}/input`, { data, encoding }, o);
  }
  stop(id, q = '') {
    return this.req('POST', `/v1/processes/${id}/stop${q}`);
  }
  kill(id, q = '') {
    return this.req('POST', `/v1/processes/${id}/kill${q}`);
  }

  // -------------------------------------------------- configuration
  config() {
    return this.get('/v1/processes/config').then((r) => r.json);
  }
  async setConfig(patch) {
    const cur = await this.config();
    const r = await this.post('/v1/processes/config', { ...cur, ...patch });
    ok(r.status === 200, () => `set config: ${r.status} ${r.text}`);
    return cur;
  }
  async withConfig(patch, fn) {
    const before = await this.setConfig(patch);
    try {
      return await fn();
    } finally {
      await this.post('/v1/processes/config', before).catch(() => {});
    }
  }

  // -------------------------------------------------- the server's machine, asked through the server
  async alive(pid) {
    return (await this.runSh(ALIVE.replace('PID', String(pid)))).exitCode === 0;
  }
  async reap(pid) {
    // ends a stray that the case itself started
    if (Number.isInteger(pid) && pid > 1)
      await this.runSh(`kill -9 ${pid} 2>/dev/null; true`).catch(() => {});
  }

  // Closes what is open, kills and deletes what was created.
  async cleanup() {
    for (const o of this.open) {
      try {
        o.close();
      } catch {
        /* closed already */
      }
    }
    this.open.clear();
    const ids = [...this.created];
    this.created.clear();
    const worker = async () => {
      while (ids.length) await this.remove(ids.pop()).catch(() => {});
    };
    await Promise.all(Array.from({ length: 12 }, worker));
  }
  async remove(id) {
    const r = await this.del(`/v1/processes/${id}`, { timeout: secs(5) });
    if (r.status !== 409) return;
    await this.req('POST', `/v1/processes/${id}/kill?waitMs=2000`, { timeout: secs(8) });
    await this.del(`/v1/processes/${id}`, { timeout: secs(5) });
  }

  // -------------------------------------------------- streams
  sse(p, opts = {}) {
    const s = new Sse(this, p, opts);
    this.open.add(s);
    return s;
  }
  follow(id, query = '', opts = {}) {
    return this.sse(`/v1/processes/${id}/logs?follow=true${query ? `&${query}` : ''}`, opts);
  }
  async ws(id, opts = {}) {
    const W = await WebSocketClass();
    const host = this.host.includes(':') ? `[${this.host}]` : this.host;
    const to = this.socket ? `ws+unix:${this.socket}:` : `${this.tls ? 'wss' : 'ws'}://${host}:${this.port}`;
    const url = `${to}/v1/processes/${id}/terminal/ws${opts.query ?? ''}`;
    const t = new Term(
      new W(url, opts.protocols ?? [], {
        headers: this.headers(opts.headers, opts.auth ?? true),
        perMessageDeflate: opts.deflate ?? false,
        handshakeTimeout: secs(10),
        ...this.tls,
        ...(opts.ws ?? {}),
      }),
    );
    this.open.add(t);
    return t;
  }
}
