import { closeSync, constants, fstatSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { wallClockMs } from '../os/clock.js';
import { boundFile } from '../os/files/bounded-file.js';
import { tryToRemove } from '../os/files/remove.js';
import { type KeptStream, recordOf } from './kept-records.js';

/** How much of the output of one generation is kept, at least half of it: the run folder may be small, and its journal needs room. */
const MOST_BYTES = 256 * 1024;
/** After so much more it is looked how much that is. */
const LOOK_BYTES = 32 * 1024;
/** The output of so many generations that have ended is kept. */
const MOST_ENDED = 4;
/** A line without an end is kept in parts. */
const MOST_OPEN = 16_384;
const NAME = /^output-(?:g(\d+)|moult)\.log$/;

/** The file of one generation in the run folder, or of moult's own log. */
export function keptName(generation: number | 'moult'): string {
  return generation === 'moult' ? 'output-moult.log' : `output-g${generation}.log`;
}

/** The files of kept output in a run folder: their paths, and whose output it is. */
export function keptFiles(folder: string): { path: string; generation: number | 'moult' }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const found = NAME.exec(name);
    const generation = found?.[1] === undefined ? ('moult' as const) : Number(found[1]);
    return found === null ? [] : [{ path: join(folder, name), generation }];
  });
}

/** Removes the output of generations that have ended, but for the last ones. */
export function forgetOldOutput(folder: string, living: ReadonlySet<number>): void {
  const ended = keptFiles(folder)
    .filter(({ generation }) => generation !== 'moult' && !living.has(generation))
    .sort((a, b) => Number(b.generation) - Number(a.generation));
  for (const { path } of ended.slice(MOST_ENDED)) tryToRemove(path);
}

/** Keeps a copy of output, line by line, in a file of bounded size that several processes may write to. What cannot be kept is not: nothing else may fail for it. */
export class KeptOutput {
  #fd: number | undefined;
  #sinceLook = 0;
  readonly #open = new Map<KeptStream, { readonly decoder: StringDecoder; text: string }>();

  /** @param path in a folder that is this user's alone. */
  constructor(path: string) {
    const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
    try {
      const fd = openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
      // The pipe that somebody has put there would fill.
      if (fstatSync(fd).isFile()) this.#fd = fd;
      else closeSync(fd);
    } catch {
      // The folder is not there, or another user's.
    }
  }

  /** Keeps what was written just now; a line when it has its end. */
  add(stream: KeptStream, chunk: Uint8Array | string): void {
    if (this.#fd === undefined) return;
    let open = this.#open.get(stream);
    if (open === undefined) {
      open = { decoder: new StringDecoder('utf8'), text: '' };
      this.#open.set(stream, open);
    }
    const lines = (open.text + (typeof chunk === 'string' ? chunk : open.decoder.write(chunk))).split('\n');
    open.text = lines.pop() ?? '';
    if (open.text.length > MOST_OPEN) {
      lines.push(open.text);
      open.text = '';
    }
    this.#keep(stream, lines);
  }

  /** Keeps what has no line end: no more comes. */
  end(): void {
    for (const [stream, open] of this.#open) {
      if (open.text !== '') this.#keep(stream, [open.text]);
      open.text = '';
    }
  }

  /** Keeps no more. */
  close(): void {
    this.end();
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #keep(stream: KeptStream, lines: readonly string[]): void {
    const fd = this.#fd;
    if (lines.length === 0 || fd === undefined) return;
    const at = wallClockMs();
    const records = Buffer.from(lines.map((text) => recordOf({ at, stream, text })).join(''));
    try {
      writeSync(fd, records);
      this.#sinceLook += records.length;
      if (this.#sinceLook < LOOK_BYTES) return;
      this.#sinceLook = 0;
      boundFile(fd, MOST_BYTES);
    } catch {
      // Its disk is full.
    }
  }
}
