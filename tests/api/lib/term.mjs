// A terminal client on a polite WebSocket library.
import { CaseFailure, Fatal, secs, show, until, within } from './assert.mjs';

const parse = (s) => {
  try {
    return JSON.parse(s);
  } catch {
    return undefined;
  }
};

export class Term {
  constructor(sock) {
    this.sock = sock;
    sock.binaryType = 'nodebuffer';
    this.frames = [];
    this.closed = null;
    this.err = null;
    this.rejected = null;
    this.pongs = 0;
    this.pings = 0;
    this.openP = new Promise((resolve, reject) => {
      sock.on('open', () => resolve(this));
      sock.on('unexpected-response', (req, res) => this.refused(res, reject));
      sock.on('error', (e) => {
        this.err = e;
        reject(e);
      });
    });
    this.openP.catch(() => {});
    sock.on('upgrade', (res) => {
      this.upgrade = { status: res.statusCode, headers: res.headers };
    });
    sock.on('message', (data, binary) => {
      const f = { binary, data, at: Date.now() };
      if (!binary) {
        f.text = data.toString();
        f.json = parse(f.text);
      }
      this.frames.push(f);
    });
    sock.on('ping', () => {
      this.pings++;
    });
    sock.on('pong', (d) => {
      this.pongs++;
      this.lastPong = d;
    });
    sock.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString(), at: Date.now() };
    });
  }
  refused(res, reject) {
    const chunks = [];
    res.on('data', (d) => chunks.push(d));
    res.on('end', () => {
      const t = Buffer.concat(chunks).toString();
      this.rejected = {
        status: res.statusCode,
        headers: res.headers,
        type: res.headers['content-type'] ?? '',
        text: t,
        json: parse(t),
      };
      reject(new CaseFailure(`upgrade refused: ${res.statusCode} ${t}`));
    });
  }
  opened(ms = secs(10)) {
    return within(this.openP, ms, 'websocket to open');
  }
  output() {
    return Buffer.concat(this.frames.filter((f) => f.binary).map((f) => f.data));
  }
  ctl(type) {
    return this.frames.filter((f) => f.json?.type === type).map((f) => f.json);
  }
  send(o) {
    this.sock.send(typeof o === 'string' || Buffer.isBuffer(o) ? o : JSON.stringify(o));
  }
  async ready(ms = secs(10)) {
    await this.opened(ms);
    return this.wait('ready', ms);
  }
  async wait(type, ms = secs(10)) {
    const there = () => {
      if (this.ctl(type).length > 0) return true;
      if (!this.closed) return false;
      throw new Fatal(
        `socket closed (${this.closed.code}) before a ${type} frame; frames: ${show(this.frames.map((f) => f.text ?? `<${f.data.length} bytes>`))}`,
      );
    };
    await until(there, {
      within: ms,
      what: `${type} frame`,
      last: () => ({ frames: this.frames.length, closed: this.closed }),
    });
    return this.ctl(type)[0];
  }
  async waitOut(needle, ms = secs(10)) {
    const seen = () => this.output().toString('latin1');
    const there = () => (needle instanceof RegExp ? needle.test(seen()) : seen().includes(needle));
    await until(there, {
      within: ms,
      what: `terminal output ${needle}`,
      last: () => seen().slice(-300),
    });
    return seen();
  }
  async waitClose(ms = secs(10)) {
    await until(() => this.closed, { within: ms, what: 'socket close' });
    return this.closed;
  }
  close() {
    this.sock.terminate();
  }
}
