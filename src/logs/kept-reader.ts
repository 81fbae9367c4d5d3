import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { keptFiles } from './kept-output.js';
import { type KeptLine, lineOf } from './kept-records.js';

const CHUNK = 64 * 1024;

/** A line that was kept, and whose it is. */
export interface ReadLine extends KeptLine {
  readonly generation: number | 'moult';
}

interface Place {
  offset: number;
  rest: Buffer;
}

/** Reads what is kept in a run folder, and then what is kept since. */
export class KeptReader {
  readonly #folder: string;
  readonly #only: number | undefined;
  readonly #places = new Map<string, Place>();

  /** @param only the generation whose output is read; all of them, and the log of moult, where it is not given. */
  constructor(folder: string, only?: number) {
    this.#folder = folder;
    this.#only = only;
  }

  /** What is there and was not read so far, oldest first. */
  read(): ReadLine[] {
    const found = keptFiles(this.#folder).filter(
      ({ generation }) => this.#only === undefined || generation === this.#only,
    );
    const lines = found.flatMap(({ path, generation }) =>
      this.#linesOf(path).map((line) => ({ generation, ...line })),
    );
    return lines.sort((a, b) => a.at - b.at);
  }

  #linesOf(path: string): KeptLine[] {
    const place = this.#places.get(path) ?? { offset: 0, rest: Buffer.alloc(0) };
    this.#places.set(path, place);
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch {
      return [];
    }
    try {
      const found = fstatSync(fd);
      if (!found.isFile()) return [];
      const { size } = found;
      // It was emptied where the file system knows no holes.
      if (size < place.offset) Object.assign(place, { offset: 0, rest: Buffer.alloc(0) });
      const parts = [place.rest];
      while (place.offset < size) {
        const chunk = Buffer.alloc(Math.min(CHUNK, size - place.offset));
        const length = readSync(fd, chunk, 0, chunk.length, place.offset);
        if (length === 0) break;
        place.offset += length;
        parts.push(withoutHole(chunk.subarray(0, length)));
      }
      const all = Buffer.concat(parts);
      const end = all.lastIndexOf(0x0a) + 1;
      place.rest = all.subarray(end);
      return all
        .subarray(0, end)
        .toString('utf8')
        .split('\n')
        .flatMap((record) => lineOf(record) ?? []);
    } finally {
      closeSync(fd);
    }
  }
}

/**
 * The last lines that one generation wrote since a moment, as far as they are kept, oldest first.
 * @returns undefined where they cannot be read just now: what is decided at its end must not fail for want of them.
 */
export function lastKept(
  folder: string,
  generation: number,
  since: number,
  most: number,
): string[] | undefined {
  try {
    return new KeptReader(folder, generation)
      .read()
      .filter(({ at }) => at >= since)
      .slice(-most)
      .map(({ text }) => text);
  } catch {
    return undefined;
  }
}

/** Of what was given back zeros are read. */
function withoutHole(chunk: Buffer): Buffer {
  const at = chunk.lastIndexOf(0);
  return at === -1 ? chunk : chunk.subarray(at + 1);
}
