// The body of an answer while it comes: text and bytes that are followed.
import { secs, until, within } from './assert.mjs';
import { checkResponse } from './schema.mjs';

export class Body {
  constructor(api, path, { headers, paused = false } = {}) {
    this.chunks = [];
    this.ended = false;
    this.complete = false; // ended as the framing says
    api.open.add(this);
    this.openP = new Promise((resolve, reject) => {
      this.r = api.request(
        { path, agent: false, headers: api.headers(headers) },
        (res) => {
          this.res = res;
          this.status = res.statusCode;
          this.headers = res.headers;
          this.start = () => res.on('data', (d) => this.chunks.push(d));
          if (!paused) this.start();
          res.on('error', () => {});
          res.on('close', () => {
            this.complete = res.complete;
            this.ended = true;
          });
          checkResponse('GET', path, res.statusCode, res.headers['content-type'], undefined);
          resolve(this);
        },
      );
      this.r.on('error', reject);
      this.r.end();
    });
    this.openP.catch(() => {});
  }
  opened(ms = secs(10)) {
    return within(this.openP, ms, 'the body to begin');
  }
  bytes() {
    return Buffer.concat(this.chunks);
  }
  text() {
    return this.bytes().toString('utf8');
  }
  async waitText(want, ms = secs(10)) {
    await until(() => this.text() === want, { within: ms, what: `the text ${JSON.stringify(want)}`, last: () => this.text().slice(-500) });
  }
  async waitEnd(ms = secs(10)) {
    await until(() => this.ended, { within: ms, what: 'the body to end', last: () => this.text().slice(-300) });
  }
  close() {
    this.r.destroy();
    this.res?.destroy();
  }
}
