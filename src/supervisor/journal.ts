import { appendFileSync, readFileSync } from 'node:fs';
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
    | 'stop';
  readonly generation?: number;
  readonly epoch?: number;
  readonly [fact: string]: unknown;
}

/** Past this size the journal is not read any further, so that a damaged one cannot hold up a start. */
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * What happened to a service, one JSON object a line, only ever appended to. It holds no environment and no
 * secret. A disk that is full costs lines of it, never the service.
 */
export class Journal {
  readonly path: string;
  #onFailure: (error: unknown) => void;
  #hasFailed = false;

  /** @param onFailure is told the first time that a line could not be written. */
  constructor(path: string, onFailure: (error: unknown) => void) {
    this.path = path;
    this.#onFailure = onFailure;
  }

  write(entry: Omit<JournalEntry, 'at'> & { readonly event: JournalEntry['event'] }): void {
    try {
      appendFileSync(this.path, `${JSON.stringify({ at: wallClockMs(), ...entry })}\n`, { mode: 0o600 });
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) this.#onFailure(error);
      this.#hasFailed = true;
    }
  }

  /** Every whole line that was written, oldest first; a line that a kill cut short is left out. */
  read(): JournalEntry[] {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8').slice(-MAX_BYTES);
    } catch {
      return [];
    }
    return text.split('\n').flatMap((line) => {
      try {
        const entry = JSON.parse(line) as JournalEntry;
        return typeof entry === 'object' && entry !== null && typeof entry.event === 'string' ? [entry] : [];
      } catch {
        return [];
      }
    });
  }
}
