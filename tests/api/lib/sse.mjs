// An event-stream reader that keeps raw blocks, comments and parsed events.
import { secs, until, within } from './assert.mjs';

export const bytesOf = (entries) =>
  Buffer.concat(entries.map((e) => Buffer.from(e.data, 'base64')));
export const text = (entries, filter) =>
  bytesOf(filter ? entries.filter(filter) : entries).toString('utf8');

export class Sse {
  // paused: take the headers and read nothing more until start() is called.
  constructor(api, path, { headers, auth = true, paused = false } = {}) {
    this.events = [];
    this.comments = [];
    this.blocks = [];
    this.rawText = '';
    this.buf = '';
    this.ended = false;
    this.error = null;
    this.openP = new Promise((resolve, reject) => {
      const all = api.headers({ accept: 'text/event-stream', ...headers }, auth);
      this.r = api.request(
        { method: 'GET', path, agent: false, headers: all },
        (res) => {
          this.res = res;
          this.status = res.statusCode;
          this.headers = res.headers;
          this.start = () => {
            res.on('data', (d) => this.feed(d));
            res.on('end', () => {
              this.ended = true;
              this.endedAt = Date.now();
            });
          };
          if (!paused) this.start();
          res.on('error', (e) => {
            this.error = e;
            this.ended = true;
          });
          res.on('close', () => {
            this.ended = true;
          });
          resolve(this);
        },
      );
      this.r.on('error', (e) => {
        this.error = e;
        this.ended = true;
        reject(e);
      });
      this.r.end();
    });
    this.openP.catch(() => {});
  }
  opened(ms = secs(10)) {
    return within(this.openP, ms, 'the event stream to open');
  }
  feed(d) {
    const s = d.toString('utf8');
    this.rawText += s;
    this.buf += s.replace(/\r\n/g, '\n');
    let i;
    while ((i = this.buf.indexOf('\n\n')) >= 0) {
      this.block(this.buf.slice(0, i));
      this.buf = this.buf.slice(i + 2);
    }
  }
  block(lines) {
    this.blocks.push(lines);
    const ev = { event: 'message', id: undefined, data: undefined, at: Date.now() };
    for (const line of lines.split('\n')) {
      if (line.startsWith(':')) {
        this.comments.push({ text: line, at: Date.now() });
        continue;
      }
      const c = line.indexOf(':');
      const name = c < 0 ? line : line.slice(0, c);
      const value = c < 0 ? '' : line.slice(c + 1).replace(/^ /, '');
      if (name === 'event') ev.event = value;
      else if (name === 'id') ev.id = value;
      else if (name === 'data') ev.data = ev.data === undefined ? value : `${ev.data}\n${value}`;
    }
    if (ev.data === undefined) return;
    try {
      ev.json = JSON.parse(ev.data);
    } catch {
      /* not JSON: json stays undefined */
    }
    this.events.push(ev);
  }
  log() {
    return this.events.filter((e) => e.event === 'log').map((e) => e.json);
  }
  text() {
    return text(this.log());
  }
  async waitText(needle, ms = secs(10)) {
    const what = `followed log to show ${JSON.stringify(needle)}`;
    await until(() => this.text().includes(needle), {
      within: ms,
      what,
      last: () => this.text().slice(-300),
    });
    return this.text();
  }
  async waitEnd(ms = secs(10)) {
    await until(() => this.ended, { within: ms, what: 'event stream to end' });
  }
  close() {
    this.r?.destroy();
    this.res?.destroy();
  }
}
