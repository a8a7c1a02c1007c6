// Cases of RFC 6455, by the groups that conformance suites of the protocol have: framing, pings,
// reserved bits, opcodes, fragments, UTF-8, lengths, closing. Each is what a client sends: a name
// and bytes.
function frame(op, payload = '', { fin = true, rsv = 0, mask = [0x37, 0xfa, 0x21, 0x3d], form = 0 } = {}) {
  const data = Buffer.from(payload);
  const n = data.length;
  const size = form || (n < 126 ? 7 : n < 65536 ? 16 : 64);
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | op];
  const bit = mask ? 0x80 : 0;
  if (size === 7) head.push(bit | n);
  else if (size === 16) head.push(bit | 126, n >> 8, n & 255);
  else head.push(bit | 127, 0, 0, 0, 0, (n >>> 24) & 255, (n >> 16) & 255, (n >> 8) & 255, n & 255);
  if (!mask) return Buffer.concat([Buffer.from(head), data]);
  return Buffer.concat([Buffer.from(head), Buffer.from(mask), data.map((b, i) => b ^ mask[i % 4])]);
}

const TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
const close = (code, reason = Buffer.alloc(0)) =>
  frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));

export const cases = [];
const add = (name, ...parts) => cases.push({ name: name.replaceAll(' ', '-'), bytes: Buffer.concat(parts) });

for (const [kind, op] of [['text', TEXT], ['binary', BINARY]])
  for (const n of [0, 1, 125, 126, 127, 128, 65535, 65536, 70000, 70001])
    add(`framing ${kind} of ${n} bytes`, frame(op, Buffer.alloc(n, 0x2a)));
add('framing zero mask', frame(TEXT, 'zero', { mask: [0, 0, 0, 0] }));
add('framing not masked', frame(TEXT, 'bare', { mask: null }));
add('framing ping not masked', frame(PING, '', { mask: null }));
add('framing two messages', frame(TEXT, 'a'), frame(BINARY, 'b'));
add('framing 125 bytes in the 16-bit form', frame(TEXT, 'x'.repeat(125), { form: 16 }));
add('framing 200 bytes in the 64-bit form', frame(TEXT, 'x'.repeat(200), { form: 64 }));
add('framing length with the top bit', Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4]));
add('framing length of 2 to the 62nd', Buffer.from([0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4]));

for (const n of [0, 1, 124, 125]) add(`ping of ${n} bytes`, frame(PING, Buffer.alloc(n, 0xfe)));
add('ping of 126 bytes', frame(PING, Buffer.alloc(126)));
add('ping in fragments', frame(PING, 'a', { fin: false }), frame(0, 'b'));
add('pong unasked', frame(PONG, 'hello'), frame(TEXT, 'after'));
add('pong of 126 bytes', frame(PONG, Buffer.alloc(126)));
add('pings ten', ...Array.from({ length: 10 }, (_, i) => frame(PING, `ping ${i}`)));

for (let rsv = 1; rsv < 8; rsv++)
  for (const [kind, op] of [['text', TEXT], ['ping', PING], ['close', CLOSE]])
    add(`reserved bits ${rsv} on ${kind}`, frame(TEXT, 'before'), frame(op, '', { rsv }));
add('reserved bits on a continuation', frame(TEXT, 'a', { fin: false }), frame(0, 'b', { rsv: 4 }));

for (const op of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  add(`opcode ${op}`, frame(op));
  add(`opcode ${op} after a text`, frame(TEXT, 'before'), frame(op, 'x'), frame(PING));
}

const part = { fin: false };
add('fragments two', frame(TEXT, 'frag', part), frame(0, 'ment'));
add('fragments with empty ones', frame(TEXT, '', part), frame(0, 'mid', part), frame(0, ''));
add('fragments with a ping between', frame(TEXT, 'frag', part), frame(PING, 'p'), frame(0, 'ment'));
add('fragments with a close between', frame(TEXT, 'frag', part), close(1000));
add('fragments continuation of nothing', frame(0, 'x'));
add('fragments continuation of nothing not final', frame(0, 'x', part), frame(TEXT, 'y'));
add('fragments continuation after the end', frame(TEXT, 'a'), frame(0, 'b'));
add('fragments text inside a text', frame(TEXT, 'a', part), frame(TEXT, 'b'));
add('fragments binary inside a text', frame(TEXT, 'a', part), frame(BINARY, 'b'));
add('fragments together too long', frame(BINARY, Buffer.alloc(60000), part), frame(0, Buffer.alloc(10001)));
add('fragments together just fitting', frame(BINARY, Buffer.alloc(60000), part), frame(0, Buffer.alloc(10000)));

// RFC 3629 and table 3-7 of the Unicode standard: first and last of each length, and just outside.
const good = ['00', '7f', 'c280', 'dfbf', 'e0a080', 'ed9fbf', 'ee8080', 'efbfbf', 'efbfbe', 'f0908080', 'f48fbfbf',
  'cebae1bdb9cf83cebcceb5', 'efbbbf', 'e2898df09f9880'];
const bad = ['80', 'bf', 'c0', 'c080', 'c1bf', 'c2', 'c27f', 'c2c0', 'df', 'e08080', 'e09fbf', 'e0a0', 'e0a07f', 'eda080',
  'edbfbf', 'ee80', 'f0808080', 'f08fbfbf', 'f09080', 'f0908041', 'f4908080', 'f5808080', 'f888808080', 'fc8480808080',
  'fe', 'ff', 'feff', 'cebaeda080', '41c341', 'e28982ff'];
for (const [list, what] of [[good, 'valid'], [bad, 'invalid']])
  for (const hex of list) {
    const bytes = Buffer.from(hex, 'hex');
    add(`utf-8 ${what} ${hex}`, frame(TEXT, bytes));
    add(`utf-8 ${what} ${hex} one byte a fragment`, frame(TEXT, '', part),
      ...Array.from(bytes, (b) => frame(0, Buffer.from([b]), part)), frame(0));
    add(`utf-8 ${what} ${hex} as a close reason`, close(1000, bytes));
    add(`utf-8 ${what} ${hex} as binary`, frame(BINARY, bytes));
  }

add('close empty', frame(CLOSE));
add('close of one byte', frame(CLOSE, 'x'));
add('close with the longest reason', close(1000, 'x'.repeat(123)));
add('close with too long a reason', close(1000, 'x'.repeat(124)));
add('close then text', close(1000), frame(TEXT, 'late'));
add('close twice', close(1000), close(1000));
add('close in fragments', frame(CLOSE, '', part));
for (const code of [0, 1, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
  1015, 1016, 1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535])
  add(`close code ${code}`, close(code));
