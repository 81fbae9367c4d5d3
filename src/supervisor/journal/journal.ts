import type { JournalEntry, JournalFact } from '../../lifecycle/journal-entry.js';
import { wallClockMs } from '../../os/clock.js';
import type { JournalFile } from './journal-file.js';
import { retained, saidAnew } from './journal-retention.js';

/** Is told of each line as it is written, and of what is told beside it. */
export type FactWatcher = (entry: JournalEntry) => void;

/**
 * What happened to a service, one JSON object a line. It holds no environment and no secret. A disk that is full
 * costs lines of it, never the service; what must be known of those that live is written again when there is room.
 */
export class Journal {
  readonly #file: JournalFile;
  readonly #slot: number | undefined;
  readonly #watchers: Set<FactWatcher>;

  /** @param slot the one that it is about, where it is about one only. */
  constructor(file: JournalFile, slot?: number, watchers = new Set<FactWatcher>()) {
    this.#file = file;
    this.#slot = slot;
    this.#watchers = watchers;
  }

  /** The part of it that is about one slot. */
  ofSlot(slot: number): Journal {
    return new Journal(this.#file, slot, this.#watchers);
  }

  /** Has this called with all that is written from now on, whichever slot it is about. @returns ends that. */
  watch(watcher: FactWatcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** @param beside what only those that watch are told. */
  write(entry: JournalFact, beside: Readonly<Record<string, unknown>> = {}): void {
    const whole = { at: wallClockMs(), ...this.#slotted, ...entry };
    const line = JSON.stringify(whole);
    const key = saidAnew(entry);
    if (key !== undefined) this.#file.keep(key, line);
    this.#file.append(line);
    for (const watcher of this.#watchers) {
      try {
        watcher({ ...whole, ...beside });
      } catch {
        // Who only watches stops nothing.
      }
    }
  }

  /** Has this asked, when lines were lost, for what must be known after a kill. */
  tellsAnew(facts: () => readonly JournalFact[]): void {
    this.#file.facts = () => facts().map((fact) => JSON.stringify({ at: wallClockMs(), ...fact }));
  }

  /** Writes anew what was lost, where that goes now. */
  mend(): void {
    this.#file.mend();
  }

  /** Keeps the file short. Only while no other process writes to it. */
  compact(): void {
    this.#file.compact((lines) => {
      const entries = lines.flatMap((line) => parsed(line) ?? []);
      return retained(entries).map((entry) => JSON.stringify(entry));
    });
  }

  /**
   * Every whole line that was written, oldest first. What is no line of a journal, or lacks what its event needs, is
   * left out.
   * @param onLeftOut is told of those, unless the last line was only cut short.
   * @param onFailure is told why nothing could be read, although something lies there; it may throw.
   */
  read(
    onLeftOut: (lines: readonly string[]) => void = () => {},
    onFailure: (error: unknown) => void = () => {},
  ): JournalEntry[] {
    const { lines, isCut, failure } = this.#file.read();
    if (failure !== undefined) onFailure(failure);
    const leftOut: string[] = [];
    const entries = lines.flatMap((line, i) => {
      if (line === '') return [];
      const entry = parsed(line);
      if (entry === undefined) {
        const isPart = i === lines.length - 1 || (isCut && i === 0);
        if (!isPart) leftOut.push(line);
        return [];
      }
      return this.#isMine(entry) ? [entry] : [];
    });
    if (leftOut.length > 0) onLeftOut(leftOut);
    return entries;
  }

  get #slotted(): { slot?: number } {
    return this.#slot === undefined ? {} : { slot: this.#slot };
  }

  #isMine({ slot }: JournalEntry): boolean {
    return this.#slot === undefined || slot === this.#slot;
  }
}

/** A line as an entry; undefined when it is none, or lacks what its event needs. */
function parsed(line: string): JournalEntry | undefined {
  let entry: unknown;
  try {
    entry = JSON.parse(line);
  } catch {
    return undefined;
  }
  return isEntry(entry) ? entry : undefined;
}

function isEntry(entry: unknown): entry is JournalEntry {
  if (!isObject(entry)) return false;
  const { at, event, generation, slot, epoch } = entry;
  if (typeof event !== 'string' || typeof at !== 'number') return false;
  if (![generation, slot].every((value) => value === undefined || isCount(value))) return false;
  if (epoch !== undefined && !(Number.isFinite(epoch) && Number(epoch) >= 0)) return false;
  if (event === 'start') return generation !== undefined && isStart(entry);
  return !['confirmed', 'exited', 'serving'].includes(event) || generation !== undefined;
}

function isStart({ pid, ticks, release }: Record<string, unknown>): boolean {
  if (!Number.isSafeInteger(pid) || !Number.isSafeInteger(ticks) || !isObject(release)) return false;
  const { command, args, cwd } = release;
  const isCommand = typeof command === 'string' && typeof cwd === 'string' && Array.isArray(args);
  return isCommand && args.every((word) => typeof word === 'string');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
