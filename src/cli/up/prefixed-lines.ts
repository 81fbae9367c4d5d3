import { StringDecoder } from 'node:string_decoder';
import { lineForPeople } from '../../terminal/log-line.js';
import { paint } from '../../terminal/paint.js';
import { print } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';

const COLOURS = [paint.cyan, paint.yellow, paint.green, paint.magenta, paint.blue];
/** A longer line is written in parts. */
const MAX_LINE = 16_384;
/** Of a part that was not kept zeros are read. */
const NOT_KEPT = /\0+/g;

/** Writes the output of one service, each line with its name before it. */
export class PrefixedLines {
  readonly #prefix: string;
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** @param place in the file, which says the colour. @param width of the longest name. */
  constructor(name: string, place: number, width: number) {
    const colour = COLOURS[place % COLOURS.length] ?? paint.cyan;
    this.#prefix = colour(`${visibleLine(name).padEnd(width)} |`);
  }

  /** What it has written. */
  output(bytes: Buffer): void {
    const lines =
      `${this.#rest}${this.#decoder.write(bytes).replace(NOT_KEPT, '[output that was not kept]\n')}`.split(
        '\n',
      );
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > MAX_LINE) {
      lines.push(this.#rest);
      this.#rest = '';
    }
    for (const line of lines) this.#write(shown(line));
  }

  /** What is to be said of it. */
  say(text: string): void {
    this.#write(text);
  }

  /** Writes a last line that has no end. */
  end(): void {
    if (this.#rest !== '') this.#write(shown(this.#rest));
    this.#rest = '';
  }

  #write(text: string): void {
    for (const line of text.split('\n')) print(`${this.#prefix} ${line}`.trimEnd());
  }
}

// The log of a supervisor is JSON where it is no terminal that reads it.
function shown(line: string): string {
  if (!line.startsWith('{"level":') || !line.includes('"name":"moult"')) return line.replace(/\r$/, '');
  try {
    return lineForPeople(line);
  } catch {
    return line;
  }
}
