// settings.js - what the person chose, kept in this browser.
//
// Values are read often and written seldom, so they live in memory and go to localStorage on each
// change. A browser that refuses storage keeps them for the life of the page.

const SETTINGS_KEY = 'sandbox-agent.settings';
const DEFAULTS = {
  theme: 'auto', // auto, light, dark
  shortcuts: true, // single keys as commands (WCAG 2.1.4: can be turned off)
  screenReader: false, // of the terminal
  runningOnly: false, // the list
  wrap: false, // the log, and the three below
  timestamps: false,
  matchCase: false,
  filterMatches: false,
  fontSize: 13, // the terminal
  commands: [], // the last ones that were started, newest first
};

export function readStored(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch {
    return null;
  }
}

// null removes.
export function writeStored(storage, key, value) {
  try {
    if (value === null) window[storage].removeItem(key);
    else window[storage].setItem(key, value);
  } catch {
    // A private window or a full store: what was chosen holds until the page is closed.
  }
}

function loadSettings() {
  let stored = {};
  try {
    stored = JSON.parse(readStored('localStorage', SETTINGS_KEY) ?? '{}');
  } catch {
    // Not ours.
  }
  const kind = (value) => (Array.isArray(value) ? 'list' : typeof value);
  const usable = Object.entries(DEFAULTS).filter(([name, value]) => kind(stored?.[name]) === kind(value));
  return { ...DEFAULTS, ...Object.fromEntries(usable.map(([name]) => [name, stored[name]])) };
}

let values = loadSettings();
const settingListeners = new Set();

export function setting(name) {
  return values[name];
}

export function changeSetting(name, value) {
  // Another tab may have changed another one.
  values = { ...(readStored('localStorage', SETTINGS_KEY) === null ? values : loadSettings()), [name]: value };
  writeStored('localStorage', SETTINGS_KEY, JSON.stringify(values));
  for (const listener of settingListeners) listener(name, value);
}

// listener(name, value) after each change; returns a function that ends that.
export function onSetting(listener) {
  settingListeners.add(listener);
  return () => settingListeners.delete(listener);
}
