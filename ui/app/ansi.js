// ansi.js - what the escape sequences of a terminal say about how text looks.
//
// A style is null, the usual look, or { flags, ink, back }, which never changes once it is made: flags
// are bits, ink and back are null, a number of the sixteen colours, or a CSS colour. Blinking is
// ignored, and so is concealed text: a log hides nothing from its reader.

const BOLD = 1;
const DIM = 2;
const ITALIC = 4;
const UNDERLINE = 8;
const INVERSE = 16;
const STRIKE = 32;
const FLAG_CLASSES = [
  [BOLD, 'bold'],
  [DIM, 'dim'],
  [ITALIC, 'italic'],
  [UNDERLINE, 'underline'],
  [INVERSE, 'inverse'],
  [STRIKE, 'strike'],
];
const FLAGS_ON = { 1: BOLD, 2: DIM, 3: ITALIC, 4: UNDERLINE, 7: INVERSE, 9: STRIKE, 21: UNDERLINE };
const FLAGS_OFF = { 22: BOLD | DIM, 23: ITALIC, 24: UNDERLINE, 27: INVERSE, 29: STRIKE };
const CUBE = [0, 95, 135, 175, 215, 255];

// One of the 256 colours; the first sixteen are the theme's.
function indexedColor(index) {
  if (!(index < 256)) return null;
  if (index < 16) return index;
  if (index >= 232) return rgbColor(Array(3).fill(8 + 10 * (index - 232)));
  const n = index - 16;
  return rgbColor([Math.floor(n / 36), Math.floor(n / 6) % 6, n % 6].map((level) => CUBE[level]));
}

function rgbColor(parts) {
  return parts.length === 3 && parts.every((part) => part < 256) ? `rgb(${parts.join(' ')})` : null;
}

// 5;n or 2;r;g;b from codes[at], or null; with how many codes that took.
function extendedColor(codes, at) {
  if (codes[at] === 5) return { color: indexedColor(codes[at + 1]), length: 2 };
  if (codes[at] === 2) return { color: rgbColor(codes.slice(at + 1, at + 4)), length: 4 };
  return { color: null, length: 1 };
}

// 38:5:n, 38:2:r:g:b, or with the name of a colour space, 38:2::r:g:b.
function colonColor(parts) {
  if (parts[1] === 2 && parts.length > 5) parts.splice(2, 1);
  return extendedColor(parts, 1).color;
}

// The style after "ESC [ parameters m".
export function applySgr(style, parameters) {
  if (parameters === '' || parameters === '0') return null;
  let { flags, ink, back } = style ?? { flags: 0, ink: null, back: null };
  const words = parameters.split(';');
  const codes = words.map((word) => parseInt(word, 10) || 0);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    const parts = words[i].includes(':') ? words[i].split(':').map(Number) : null;
    if (code === 0) [flags, ink, back] = [0, null, null];
    else if (code === 38 || code === 48 || code === 58) {
      const { color, length } = parts ? { color: colonColor(parts), length: 0 } : extendedColor(codes, i + 1);
      i += length;
      if (code === 38) ink = color ?? ink;
      else if (code === 48) back = color ?? back;
    } else if (code in FLAGS_ON) flags = parts?.[1] === 0 ? flags & ~FLAGS_ON[code] : flags | FLAGS_ON[code];
    else if (code in FLAGS_OFF) flags &= ~FLAGS_OFF[code];
    else if (code >= 30 && code <= 37) ink = code - 30;
    else if (code === 39) ink = null;
    else if (code >= 40 && code <= 47) back = code - 40;
    else if (code === 49) back = null;
    else if (code >= 90 && code <= 97) ink = code - 82;
    else if (code >= 100 && code <= 107) back = code - 92;
  }
  return flags === 0 && ink === null && back === null ? null : { flags, ink, back };
}

// Class names. The colours themselves are custom properties of each element, see colorText().
export function styleClasses({ flags, ink, back }) {
  const names = FLAG_CLASSES.filter(([flag]) => flags & flag).map(([, name]) => name);
  if (ink !== null) names.push(typeof ink === 'number' ? 'ink' : 'ink free');
  if (back !== null) names.push('fill');
  return names.join(' ');
}

// As CSS has it: the sixteen are those of the theme.
export const colorText = (color) => (typeof color === 'number' ? `var(--c${color})` : color);
