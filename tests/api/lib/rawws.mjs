// A WebSocket client for what a polite library cannot send: it writes frames as they are given
// and keeps every frame that comes back.
import crypto from 'node:crypto';
import { secs, until } from './assert.mjs';

export const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
};
export const UPGRADE_ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='; // for that key, RFC 6455 section 1.3

function frameHead(n) {
  if (n < 126) return Buffer.from([0, n]);
  if (n < 65536) return Buffer.from([0, 126, n >> 8, n & 255]);
  const head = Buffer.alloc(10);
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(n), 2);
  return head;
}
export function frame(op, payload, { mask = true, fin = true, rsv = 0 } = {}) {
  const body = Buffer.from(payload),
    head = frameHead(body.length);
  head[0] = (fin ? 0x80 : 0) | rsv | op;
  if (!mask) return Buffer.concat([head, body]);
  head[1] |= 0x80;
  const key = crypto.randomBytes(4);
  return Buffer.concat([head, key, Buffer.from(body.map((x, i) => x ^ key[i & 3]))]);
}

export class RawWs {
  constructor(api, id, { query = '' } = {}) {
    this.buf = Buffer.alloc(0);
    this.frames = [];
    this.ended = false;
    this.head = null;
    const lines = Object.entries({ ...UPGRADE, ...api.headers({}) })
      .map(([k, v]) => `${k}: ${v}\r\n`)
      .join('');
    this.s = api.dial();
    api.open.add(this);
    this.s.on('connect', () =>
      this.s.write(
        `GET /v1/processes/${id}/terminal/ws${query} HTTP/1.1\r\nHost: ${api.host}:${api.port}\r\n${lines}\r\n`,
      ),
    );
    this.s.on('data', (d) => {
      this.buf = Buffer.concat([this.buf, d]);
      this.parse();
    });
    for (const ev of ['error', 'close', 'end'])
      this.s.on(ev, () => {
        this.ended = true;
      });
  }
  parse() {
    if (!this.head) {
      const i = this.buf.indexOf('\r\n\r\n');
      if (i < 0) return;
      this.head = this.buf.subarray(0, i).toString('latin1');
      this.buf = this.buf.subarray(i + 4);
    }
    while (this.parseFrame());
  }
  parseFrame() {
    const b = this.buf;
    if (b.length < 2) return false;
    let n = b[1] & 127,
      at = 2;
    if (n === 126) {
      if (b.length < 4) return false;
      n = b.readUInt16BE(2);
      at = 4;
    } else if (n === 127) {
      if (b.length < 10) return false;
      n = Number(b.readBigUInt64BE(2));
      at = 10;
    }
    if (b.length < at + n) return false;
    this.frames.push({
      op: b[0] & 15,
      fin: !!(b[0] & 128),
      rsv: b[0] & 112,
      masked: !!(b[1] & 128),
      data: b.subarray(at, at + n),
    });
    this.buf = b.subarray(at + n);
    return true;
  }
  write(...frames) {
    for (const f of frames) this.s.write(f);
  }
  async wait(pred, what, ms = secs(8)) {
    const last = () => ({
      frames: this.frames.map((f) => [f.op, f.data.toString('latin1').slice(0, 60)]),
      ended: this.ended,
    });
    return until(() => this.frames.find(pred), { within: ms, what, last });
  }
  closeCode() {
    const f = this.frames.find((x) => x.op === 8);
    if (!f) return null;
    return f.data.length >= 2 ? f.data.readUInt16BE(0) : 1005;
  }
  close() {
    this.s.destroy();
  }
}
