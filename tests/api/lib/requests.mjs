// Requests written by hand, for cases about HTTP itself.
export const HOST = 'Host: localhost\r\n';
export const JSON_TYPE = 'Content-Type: application/json\r\n';
export const BODY = '{"command":"true"}'; // 18 bytes
export const HEALTH = `GET /v1/health HTTP/1.1\r\n${HOST}\r\n`;
export const RUN = `POST /v1/processes/run HTTP/1.1\r\n${HOST}${JSON_TYPE}`; // its head without an end
export const withLine = (line) => `GET /v1/health HTTP/1.1\r\n${HOST}${line}\r\n\r\n`;
export const bytes = (s) => Buffer.from(s, 'latin1');

// Written at once, and then byte by byte: the answers have to be the same.
export const atOnce = async (w, request, ...methods) => w.write(bytes(request), ...methods);
export async function byteByByte(w, request, ...methods) {
  w.methods.push(...methods);
  for (const b of bytes(request)) {
    w.s.write(Buffer.from([b]));
    await new Promise(setImmediate);
  }
  return w;
}
export async function bothWays(api, request, methods, check) {
  for (const write of [atOnce, byteByByte])
    await check(await write(api.wire(), request, ...methods));
}
