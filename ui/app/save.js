// save.js - files for the person. Loaded when the first is wanted.
import { decodeBase64, pathOf, requestJson } from './api.js';
import { h } from './dom.js';

export function saveFile(name, parts, type) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  h('a', { href: url, download: name }).click();
  // The browser reads it after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// All that the server keeps of one stream, or of all (`combined`), byte for byte.
export async function saveLog(id, stream) {
  const { entries } = await requestJson('GET', pathOf(id, `/logs?stream=${stream}`), { timeout: 0 });
  const parts = entries.map(({ data }) => decodeBase64(data));
  saveFile(`${id}.log`, parts, 'application/octet-stream');
}
