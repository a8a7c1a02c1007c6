// Numbered lines: a program that writes them, and readers that miss none.
//
// Line n of a writer is "n:" and as many letters as n says, so the text of a whole run is known
// beforehand. The program writes it in pieces of random length that follow no line, at a given
// rate, and ends with a given code or by a given signal; one that is held does not end before it is
// let go.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { CaseFailure, Fatal, secs, skip, sleep, until, within } from './assert.mjs';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'.repeat(3);
const lengthOf = (n) => (n * 7919) % 97;
const HELD = 65536; // bytes of each stream
const line = (n) => `${n}:${LETTERS.slice(0, lengthOf(n))}\n`;

// The lines 1, 2, ... that reach `bytes`, as one buffer.
const texts = new Map();
export function numbered(bytes) {
  if (!texts.has(bytes)) {
    const all = [];
    for (let n = 1, size = 0; size < bytes; n++) size += all[all.push(line(n)) - 1].length;
    texts.set(bytes, Buffer.from(all.join('')));
  }
  return texts.get(bytes);
}

const SOURCE = `
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
/* writer TAG BYTES RATE SEED CODE one|both [HOLD]: CODE below zero is a signal. With "both" the lines
 * go to both streams, each with all of them. The last ${HELD} bytes wait until there is a file HOLD. */
static void put(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) _exit(99);
        p += w;
        n -= (size_t)w;
    }
}
int main(int argc, char **argv)
{
    static const char letters[] = "${LETTERS}";
    size_t bytes = strtoul(argv[2], NULL, 10), size = 0, at = 0;
    double rate = strtod(argv[3], NULL);
    unsigned seed = (unsigned)strtoul(argv[4], NULL, 10);
    int code = atoi(argv[5]), both = strcmp(argv[6], "both") == 0;
    const char *hold = argc > 7 ? argv[7] : NULL;
    struct termios t;
    if (tcgetattr(1, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(1, TCSANOW, &t);
    }
    char *text = malloc(bytes + 256);
    for (unsigned long n = 1; size < bytes; n++)
        size += (size_t)sprintf(text + size, "%lu:%.*s\\n", n, (int)(n * 7919 % 97), letters);
    while (at < size) {
        while (hold && at + ${HELD} >= size && access(hold, F_OK) < 0) usleep(2000);
        size_t n = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 4 == 0 ? 16384 : 400);
        if (n > size - at) n = size - at;
        put(1, text + at, n);
        if (both) put(2, text + at, n);
        at += n;
        double pause = (double)n / rate * 1e9;
        struct timespec ts = { (time_t)(pause / 1e9), (long)pause % 1000000000L };
        if (rate > 0) nanosleep(&ts, NULL);
    }
    if (code >= 0) return code;
    signal(-code, SIG_DFL);
    raise(-code);
    return 98;
}
`;
let program;
// The path of the program; compiled once. Cases that need it are skipped where nothing compiles.
export function writer() {
  program ??= compile();
  if (!program) skip('no C compiler here');
  return program;
}
function compile() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sbx-writer-'));
  process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
  fs.writeFileSync(path.join(dir, 'writer.c'), SOURCE);
  const r = spawnSync(process.env.CC || 'cc', ['-O1', '-std=gnu11', '-o', path.join(dir, 'writer'), path.join(dir, 'writer.c')]);
  return r.status === 0 ? path.join(dir, 'writer') : '';
}
// What to create for one; rate in bytes a second, 0: as fast as it is read. hold: the path of a file
// without which it does not come to its end.
export function writerSpec({ tag = 'w', bytes, rate = 0, seed = 1, code = 0, tty = false, both = false, hold }) {
  const args = [tag, bytes, rate, seed, code, both ? 'both' : 'one'].map(String);
  return { command: writer(), args: hold ? [...args, hold] : args, tty };
}

// Compares a stream with the text it should be, piece by piece. `lost` and `repeated` count lines,
// `damaged` those that are none.
export class LineCheck {
  constructor(want) {
    Object.assign(this, { want, bytes: 0, next: 1, lost: 0, repeated: 0, damaged: 0, rest: '', exact: true });
  }
  take(piece) {
    if (this.exact && !piece.equals(this.want.subarray(this.bytes, this.bytes + piece.length))) this.differs();
    this.bytes += piece.length;
    if (!this.exact) this.lines(piece.toString('latin1'));
  }
  // From the first difference on every line is looked at.
  differs() {
    this.exact = false;
    const before = this.want.subarray(0, this.bytes).toString('latin1');
    const cut = before.lastIndexOf('\n') + 1;
    this.rest = before.slice(cut);
    this.next = (before.slice(0, cut).match(/\n/g) ?? []).length + 1;
  }
  lines(text) {
    const all = (this.rest + text).split('\n');
    this.rest = all.pop();
    for (const l of all) this.one(l);
  }
  one(l) {
    const n = Number(/^\d+/.exec(l)?.[0]);
    if (`${l}\n` !== line(n)) { this.damaged++; return; }
    if (n > this.next) this.lost += n - this.next;
    if (n < this.next) this.repeated++;
    else this.next = n + 1;
  }
  // At the end of the stream.
  finish() {
    if (this.exact && this.bytes < this.want.length) this.differs();
    if (!this.exact) {
      const total = (this.want.toString('latin1').match(/\n/g) ?? []).length;
      this.lost += Math.max(0, total + 1 - this.next);
      if (this.rest) this.damaged++;
    }
    return { bytes: this.bytes, lost: this.lost, repeated: this.repeated, damaged: this.damaged };
  }
}

// Follows a log over as many servers as it takes: whenever the stream breaks it comes back with the
// last id it has seen, until the exit event. onEntry(entry) gets every entry once, in order.
export class Follower {
  constructor(api, id, { onEntry = () => {}, query = '' } = {}) {
    Object.assign(this, { api, id, onEntry, query });
    this.last = 0;
    this.connects = this.refused = this.breaks = 0;
    this.gaps = [];
    this.faults = [];
    this.exit = null;
    this.buf = '';
    this.stopped = false;
    api.open.add(this);
    this.done = this.go();
    this.done.catch(() => {});
  }
  async go() {
    while (!this.exit && !this.stopped) {
      await this.once();
      if (this.exit || this.stopped) break;
      this.breaks++;
      await sleep(1);
    }
    return this;
  }
  once() {
    this.buf = '';
    this.connected = false;
    return new Promise((resolve) => {
      const headers = this.api.headers({ accept: 'text/event-stream', ...(this.last ? { 'last-event-id': String(this.last) } : {}) });
      const target = `/v1/processes/${this.id}/logs?follow=true${this.query ? `&${this.query}` : ''}`;
      this.r = http.request({ host: this.api.host, port: this.api.port, path: target, agent: false, headers }, (res) => {
        this.connects++;
        this.connected = true;
        if (res.statusCode !== 200) { this.faults.push(`status ${res.statusCode}`); this.stopped = true; }
        res.setEncoding('latin1');
        res.on('data', (d) => this.feed(d));
        res.on('close', () => { this.connected = false; resolve(); });
        res.on('error', resolve);
      });
      this.r.on('error', (e) => {
        if (e.code === 'ECONNREFUSED') this.refused++;
        resolve();
      });
      this.r.end();
    });
  }
  feed(d) {
    this.buf += d;
    let from = 0;
    for (let i; (i = this.buf.indexOf('\n\n', from)) >= 0; from = i + 2) this.block(this.buf.slice(from, i));
    this.buf = this.buf.slice(from);
  }
  block(text) {
    const event = /^event: (\w+)$/m.exec(text)?.[1], data = /^data: (.*)$/m.exec(text)?.[1];
    if (!event || !data) return;
    const json = JSON.parse(data);
    if (event === 'log') this.entry(json);
    if (event === 'gap') { this.gaps.push(json); this.last = json.toSequence; }
    if (event === 'exit') this.exit = json;
  }
  entry(e) {
    if (e.sequence !== this.last + 1) this.faults.push(`${e.sequence} after ${this.last}`);
    if (e.sequence <= this.last) return;
    this.last = e.sequence;
    this.onEntry(e);
  }
  async ended(ms = secs(60)) {
    await within(this.done, ms, `the exit of ${this.id} (last ${this.last}, ${this.breaks} breaks)`);
    if (!this.exit) throw new CaseFailure(`follower of ${this.id} stopped: ${this.faults.join('; ')}`);
    return this.exit;
  }
  // So many entries, or all there are.
  async seen(sequence, ms = secs(20)) {
    await until(() => {
      if (this.stopped) throw new Fatal(this.faults.join('; '));
      return this.last >= sequence || this.exit || this.held?.();
    }, { within: ms, what: `entry ${sequence} of ${this.id}`, last: () => this.last });
  }
  close() {
    this.stopped = true;
    this.r?.destroy();
  }
}
// One that checks the lines of each of its streams.
export function lineReader(api, id, bytes, opts = {}) {
  const checks = {};
  const onEntry = (e) => (checks[e.stream] ??= new LineCheck(numbered(bytes))).take(Buffer.from(e.data, 'base64'));
  const f = new Follower(api, id, { ...opts, onEntry });
  // All has come that a held writer writes before it is let go, and the reader is there for the rest.
  f.held = () => f.connected && Object.keys(checks).length > 0 && Object.values(checks).every((c) => c.bytes >= c.want.length - HELD);
  f.verdict = () => Object.values(checks).map((c) => c.finish());
  f.bytes = () => Object.values(checks).reduce((n, c) => n + c.bytes, 0);
  return f;
}
