// One connection on which requests are written byte by byte and answers are taken apart, so
// that a case can see framing, order, interim answers and the moment of the close.
import { CaseFailure, secs, show, until } from './assert.mjs';

const parse = (s) => {
  try {
    return JSON.parse(s);
  } catch {
    return undefined;
  }
};

export class Wire {
  constructor(api) {
    this.answers = [];
    this.interim = [];
    this.methods = [];
    this.buf = Buffer.alloc(0);
    this.ended = false;
    this.error = null;
    this.part = null;
    this.s = api.dial({ allowHalfOpen: true });
    this.s.setNoDelay(true);
    api.open.add(this);
    this.s.on('data', (d) => {
      this.buf = Buffer.concat([this.buf, d]);
      while (this.step());
    });
    this.s.on('end', () => {
      this.endOfInput();
    });
    this.s.on('error', (e) => {
      this.error = e;
      this.ended = true;
    });
    this.s.on('close', () => {
      this.ended = true;
    });
  }
  connected() {
    return until(() => !this.s.connecting || this.ended, { what: 'the connection' });
  }
  // The methods of the requests in these bytes tell which answers have no body.
  write(bytes, ...methods) {
    this.methods.push(...methods);
    this.s.write(bytes);
    return this;
  }
  endOfInput() {
    if (this.part?.left === Infinity) {
      this.finish(this.buf);
      this.buf = Buffer.alloc(0);
    }
    this.ended = true;
    this.s.end();
  }
  step() {
    if (!this.part && !this.readHead()) return false;
    const p = this.part;
    if (p.left === 'chunked') return this.readChunked();
    if (p.left === Infinity || this.buf.length < p.left) return false;
    const body = this.buf.subarray(0, p.left);
    this.buf = this.buf.subarray(p.left);
    this.finish(body);
    return true;
  }
  readHead() {
    const end = this.buf.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const lines = this.buf.subarray(0, end).toString('latin1').split('\r\n');
    this.buf = this.buf.subarray(end + 4);
    const m = /^HTTP\/(1\.[01]) (\d{3}) ?(.*)$/.exec(lines[0]);
    if (!m) {
      this.error = new CaseFailure(`not a status line: ${show(lines[0])}`);
      this.ended = true;
      this.s.destroy();
      return false;
    }
    const headers = {};
    for (const l of lines.slice(1)) {
      const c = l.indexOf(':'),
        k = l.slice(0, c).toLowerCase(),
        v = l.slice(c + 1).trim();
      headers[k] = k in headers ? `${headers[k]}, ${v}` : v;
    }
    const a = {
      version: m[1],
      status: Number(m[2]),
      reason: m[3],
      headers,
      type: headers['content-type'] ?? '',
    };
    if (a.status >= 100 && a.status < 200 && a.status !== 101) {
      this.interim.push(a);
      return this.buf.length > 0 && this.readHead();
    }
    this.part = { a, left: this.bodyLength(a, this.methods.shift()), chunks: [] };
    return true;
  }
  bodyLength(a, method) {
    if (method === 'HEAD' || a.status === 204 || a.status === 304 || a.status === 101) return 0;
    if (/chunked/i.test(a.headers['transfer-encoding'] ?? '')) return 'chunked';
    return a.headers['content-length'] === undefined
      ? Infinity
      : Number(a.headers['content-length']);
  }
  readChunked() {
    const nl = this.buf.indexOf('\r\n');
    if (nl < 0) return false;
    const n = parseInt(this.buf.subarray(0, nl).toString('latin1'), 16),
      end = nl + 2 + n + 2;
    if (this.buf.length < end) return false;
    this.part.chunks.push(this.buf.subarray(nl + 2, nl + 2 + n));
    this.buf = this.buf.subarray(end);
    if (n === 0) this.finish(Buffer.concat(this.part.chunks));
    return true;
  }
  finish(body) {
    const text = body.toString('utf8');
    this.answers.push({ ...this.part.a, buf: body, text, json: parse(text), at: Date.now() });
    this.part = null;
  }
  // Waits for the n-th final answer, counted from 1.
  async answer(n = 1, ms = secs(10)) {
    const last = () => ({
      statuses: this.answers.map((a) => a.status),
      interim: this.interim.map((a) => a.status),
      ended: this.ended,
      error: this.error?.message,
      rest: this.buf.toString('latin1').slice(0, 200),
    });
    await until(() => this.answers.length >= n || this.ended, {
      within: ms,
      what: `answer ${n}`,
      last,
    });
    if (this.answers.length < n)
      throw new CaseFailure(`the connection ended before answer ${n}: ${show(last())}`);
    return this.answers[n - 1];
  }
  async waitEnd(ms = secs(10)) {
    await until(() => this.ended, {
      within: ms,
      what: 'the server to close the connection',
      last: () => ({ statuses: this.answers.map((a) => a.status) }),
    });
  }
  close() {
    this.s.destroy();
  }
}
