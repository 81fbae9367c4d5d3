/*
 * Text of others (output, names, paths, addresses, messages) may hold what a terminal obeys: set the title or the
 * clipboard, move the cursor, hide lines, turn the direction of writing. A reader gets to see it instead.
 */

/**
 * Control characters (C0, DEL, C1), what turns the direction of writing or cannot be seen, halves of characters, and code
 * points that no text has. Source: Unicode 15, chapters 23.1 to 23.9; ECMA-48 for C0 and C1.
 */
const unsafe = (): RegExp =>
  /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const RETURNS_AT_END = /\r+(?=\n|$)/g;
const NOT_ASCII = /[^\t\n -~]/gu;
/** Almost all text needs no more than a look: the expression with Unicode's classes takes a millisecond to make. */
const PLAIN_LINE = /^[ -~]*$/;
const PLAIN_TEXT = /^[\t\n -~]*$/;

/** What moult itself writes beyond ASCII, for terminals that cannot show it. */
const PLAIN: Readonly<Record<string, string>> = {
  '✓': 'ok',
  '✗': 'failed:',
  '│': '|',
  '…': '...',
  '·': '.',
  '–': '-',
};

/** A text whose control characters can be seen and do nothing; line ends and tabs stay. */
export function visible(text: string): string {
  if (PLAIN_TEXT.test(text)) return text;
  return text
    .replace(RETURNS_AT_END, '')
    .replace(unsafe(), (character) =>
      character === '\n' || character === '\t' ? character : escaped(character),
    );
}

/** The same for a value that is part of a line, such as a name or a path: line ends and tabs are seen, too. */
export function visibleLine(text: string): string {
  if (PLAIN_LINE.test(text)) return text;
  return text.replace(unsafe(), escaped);
}

/** A text in ASCII alone; to a terminal of another character set the bytes of the rest would be control characters. */
export function asciiOnly(text: string): string {
  return text.replace(NOT_ASCII, (character) => PLAIN[character] ?? escaped(character));
}

/** JSON of the same value, in which no character is left that a terminal would obey. */
export function visibleJson(json: string): string {
  if (PLAIN_TEXT.test(json)) return json;
  return json.replace(unsafe(), (character) =>
    [...Array(character.length).keys()]
      .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

function escaped(character: string): string {
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  if (character === '\r') return '\\r';
  const code = character.codePointAt(0) ?? 0;
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code <= 0xffff ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
}
