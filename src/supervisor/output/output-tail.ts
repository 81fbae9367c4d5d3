import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { tellingLine } from './telling-line.js';
import { WholeLines } from './whole-lines.js';

/** How many of the last lines of a process are remembered. */
export const MAX_LINES = 40;
const MAX_LINE_BYTES = 2000;

/** The last lines that a process wrote. */
export class OutputTail {
  #lines: string[] = [];
  #partial = '';
  // A character may come in two chunks.
  #decoder = new StringDecoder('utf8');

  /** The last lines, oldest first. */
  lines(): string[] {
    return this.#partial === '' ? [...this.#lines] : [...this.#lines, this.#partial];
  }

  /** The last line that says something, where there is one. */
  lastLine(): string | undefined {
    return tellingLine(this.lines());
  }

  add(chunk: Buffer): void {
    const parts = (this.#partial + this.#decoder.write(chunk)).split('\n');
    this.#partial = (parts.pop() ?? '').slice(0, MAX_LINE_BYTES);
    for (const line of parts) this.#lines.push(line.slice(0, MAX_LINE_BYTES));
    this.#lines = this.#lines.slice(-MAX_LINES);
  }
}

/**
 * Passes output through, keeping its tail. What cannot be written any more is dropped, not the service.
 * @param inWholeLines whether it is passed in whole lines, and not as it comes.
 */
export function passThrough(
  from: Readable,
  to: Writable,
  tail: Pick<OutputTail, 'add'>,
  inWholeLines = false,
): void {
  const pass = (bytes: Buffer) => {
    if (!to.writable || to.write(bytes)) return;
    from.pause();
    const go = () => {
      to.off('drain', go);
      to.off('close', go);
      from.resume();
    };
    to.once('drain', go);
    to.once('close', go);
  };
  const lines = inWholeLines ? new WholeLines(pass) : undefined;
  from.on('data', (chunk: Buffer) => {
    tail.add(chunk);
    if (lines === undefined) pass(chunk);
    else lines.add(chunk);
  });
  from.on('close', () => lines?.end());
  from.on('error', () => {});
}
