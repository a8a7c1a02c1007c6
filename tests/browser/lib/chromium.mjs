// The browser: the system's Chromium, driven by playwright-core. Nothing is downloaded.
import fs from 'node:fs';
import path from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function onPath(name) {
  const found = (process.env.PATH ?? '')
    .split(':')
    .map((dir) => path.join(dir, name))
    .find((file) => fs.existsSync(file));
  return found ?? null;
}

// $CHROMIUM, or the first that there is; null when there is none.
export function findChromium() {
  if (process.env.CHROMIUM) return fs.existsSync(process.env.CHROMIUM) ? process.env.CHROMIUM : null;
  return NAMES.map(onPath).find(Boolean) ?? null;
}

// Why the suite cannot run here, or ''.
export function reasonNot() {
  if (Number(process.versions.node.split('.')[0]) < 20) return 'the driver of the browser needs Node 20';
  if (findChromium() === null)
    return process.env.CHROMIUM ? `there is no ${process.env.CHROMIUM}` : 'there is no Chromium here';
  return '';
}

export async function launchChromium() {
  const { chromium } = await import('playwright-core');
  const root = process.getuid?.() === 0;
  return chromium.launch({
    executablePath: findChromium(),
    args: root ? ['--no-sandbox', '--disable-gpu'] : ['--disable-gpu'],
  });
}
