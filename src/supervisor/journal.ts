import { appendFileSync, closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { wallClockMs } from '../os/clock.js';

/** One line of the journal. */
export interface JournalEntry {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly event:
    | 'run'
    | 'start'
    | 'serving'
    | 'stage'
    | 'restart'
    | 'confirmed'
    | 'undone'
    | 'drained'
    | 'exited'
    | 'scale'
    | 'sockets'
    | 'stopping'
    | 'stop';
  readonly generation?: number;
  /** The slot that it is about, where the service has several. */
  readonly slot?: number;
  readonly epoch?: number;
  readonly [fact: string]: unknown;
}

/** Only so much of the journal's end is read, so that a long one cannot hold up a start. */
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * What happened to a service, one JSON object a line, only ever appended to. It holds no environment and no
 * secret. A disk that is full costs lines of it, never the service.
 */
export class Journal {
  readonly path: string;
  #onFailure: (error: unknown) => void;
  #slot: number | undefined;
  #hasFailed = false;

  /** @param onFailure is told the first time that a line could not be written. */
  constructor(path: string, onFailure: (error: unknown) => void, slot?: number) {
    this.path = path;
    this.#onFailure = onFailure;
    this.#slot = slot;
  }

  /** The part of it that is about one slot. */
  ofSlot(slot: number): Journal {
    return new Journal(this.path, this.#onFailure, slot);
  }

  write(entry: Omit<JournalEntry, 'at'> & { readonly event: JournalEntry['event'] }): void {
    try {
      appendFileSync(this.path, `${JSON.stringify({ at: wallClockMs(), ...this.#slotted, ...entry })}\n`, {
        mode: 0o600,
      });
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) this.#onFailure(error);
      this.#hasFailed = true;
    }
  }

  /** Every whole line that was written, oldest first; a line that a kill cut short is left out. */
  read(): JournalEntry[] {
    const text = this.#end();
    return text.split('\n').flatMap((line) => {
      try {
        const entry = JSON.parse(line) as JournalEntry;
        const isEntry = typeof entry === 'object' && entry !== null && typeof entry.event === 'string';
        return isEntry && this.#isMine(entry) ? [entry] : [];
      } catch {
        return [];
      }
    });
  }

  get #slotted(): { slot?: number } {
    return this.#slot === undefined ? {} : { slot: this.#slot };
  }

  #isMine({ slot }: JournalEntry): boolean {
    return this.#slot === undefined || slot === this.#slot;
  }

  #end(): string {
    let fd: number;
    try {
      fd = openSync(this.path, 'r');
    } catch {
      return '';
    }
    try {
      const { size } = fstatSync(fd);
      const bytes = Buffer.alloc(Math.min(size, MAX_BYTES));
      const length = readSync(fd, bytes, 0, bytes.length, size - bytes.length);
      return bytes.toString('utf8', 0, length);
    } catch {
      return '';
    } finally {
      closeSync(fd);
    }
  }
}
