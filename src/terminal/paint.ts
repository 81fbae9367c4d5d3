/*
 * Colours of our own are marks that nobody else can write: they hold a secret of this process. Where text is written, the
 * marks become what the terminal takes for colours, and every other control character is made visible.
 */

const OPEN = '\ufdd0';
const CLOSE = '\ufdd1';
// No key: nobody sees one of its numbers and could guess the next. Loading node:crypto takes longer than most of a command.
const secret = `${Math.random()}${Math.random()}`.replaceAll(/[^0-9]/g, '');
const MARK = new RegExp(`${OPEN}${secret}(\\d+)${CLOSE}`, 'g');

const style =
  (on: number, off: number) =>
  (text: string): string =>
    `${mark(on)}${text}${mark(off)}`;

/** Colours a text, for where colours are shown. Source: ECMA-48, 8.3.117 (SGR). */
export const paint = {
  bold: style(1, 22),
  dim: style(2, 22),
  red: style(31, 39),
  green: style(32, 39),
  yellow: style(33, 39),
  blue: style(34, 39),
  magenta: style(35, 39),
  cyan: style(36, 39),
} as const;

function mark(code: number): string {
  return `${OPEN}${secret}${code}${CLOSE}`;
}

/** A text without its colours. */
export function unpainted(text: string): string {
  return text.replace(MARK, '');
}

/**
 * The same text with the marks as a terminal takes them, or without.
 * @param clean what becomes of the text between the marks.
 */
export function withColours(text: string, hasColours: boolean, clean: (text: string) => string): string {
  let done = '';
  let from = 0;
  for (const found of text.matchAll(MARK)) {
    done += clean(text.slice(from, found.index)) + (hasColours ? `\x1b[${found[1]}m` : '');
    from = found.index + found[0].length;
  }
  return done + clean(text.slice(from));
}
