import { unpainted } from './paint.js';

/** Characters that take two places. Source: Unicode 15, UAX 11 (East Asian Width W and F), and emoji. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u;
const NO_PLACE = /^[\p{M}\u200c\u200d]/u;
const ASCII = /^[\n -~]*$/;

/** How many places of a terminal's line a text takes; colours take none. */
export function widthOf(text: string): number {
  const plain = unpainted(text);
  if (ASCII.test(plain)) return plain.length;
  let width = 0;
  for (const character of plain) width += placesOf(character);
  return width;
}

/** A text with spaces behind it, or before it, up to this width. */
export function padded(text: string, width: number, isRight = false): string {
  const spaces = ' '.repeat(Math.max(0, width - widthOf(text)));
  return isRight ? spaces + text : text + spaces;
}

/** As much of a text without colours as fits into so many places. */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  return `${firstPart(text, Math.max(0, columns - 1))}…`;
}

/** Lines of at most so many places, broken between words, and within those that are longer. Takes no colours. */
export function wrap(text: string, columns: number): string[] {
  const room = Math.max(1, columns);
  const lines: string[] = [];
  let line = '';
  let used = 0;
  for (let word of text.split(' ')) {
    let width = widthOf(word);
    if (used > 0 && used + 1 + width <= room) {
      line += ` ${word}`;
      used += 1 + width;
      continue;
    }
    if (used > 0) lines.push(line);
    if (width > room) {
      const parts = broken(word, room);
      word = parts.pop() ?? '';
      width = widthOf(word);
      lines.push(...parts);
    }
    line = word;
    used = width;
  }
  return [...lines, line];
}

function firstPart(text: string, columns: number): string {
  let width = 0;
  let length = 0;
  for (const character of text) {
    width += placesOf(character);
    if (width > columns) break;
    length += character.length;
  }
  return text.slice(0, length);
}

function broken(word: string, room: number): string[] {
  const parts: string[] = [];
  let width = 0;
  let from = 0;
  let at = 0;
  for (const character of word) {
    const places = placesOf(character);
    if (width + places > room && at > from) {
      parts.push(word.slice(from, at));
      from = at;
      width = 0;
    }
    width += places;
    at += character.length;
  }
  return [...parts, word.slice(from)];
}

function placesOf(character: string): number {
  if (NO_PLACE.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}
