import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monotonicMs } from '../os/clock.js';
import { FileLock } from '../os/files/file-lock.js';

/** How long another process that has a lock is left alone before the next look. */
const LOOK_MS = 20;
/** How long other slots leave a lock to the next generation of the slot that has let go of it. */
const LEFT_MS = 2000;

/**
 * One lock a task, held by the generation that has it. The kernel lets go of it when that process ends, however it
 * ends: whatever messages are lost, no two generations have a task.
 */
export class TaskLocks {
  readonly #folder: string;
  readonly #slot: string | undefined;

  /**
   * @param folder private, and the same for all generations of the service.
   * @param slot that of this process; undefined in a service without slots.
   */
  constructor(folder: string, slot: string | undefined) {
    this.#folder = folder;
    this.#slot = slot;
  }

  /**
   * Waits until the lock is free, and takes it.
   * @param isOfSlot whether each slot has one of its own; else one of all slots has it.
   * @param isWanted asked before each look. @param isElsewhere told when another process has it.
   * @returns undefined when it is no longer wanted, or there is no place for locks.
   */
  async take(
    name: string,
    isOfSlot: boolean,
    isWanted: () => boolean,
    isElsewhere: () => void = () => {},
  ): Promise<FileLock | undefined> {
    const path = this.#pathOf(name, isOfSlot);
    let looks = 0;
    while (isWanted()) {
      try {
        const lock = this.#isLeftToOther(path) ? undefined : FileLock.take(path);
        if (lock !== undefined && !this.#isLeftToOther(path)) {
          if (this.#slot !== undefined) note(lock, '');
          return lock;
        }
        lock?.release();
      } catch {
        // Without a lock the messages alone decide, as where there is no folder in common.
        return undefined;
      }
      // Another slot that looks whom it is left to has it for a moment.
      looks += 1;
      if (looks === 2) isElsewhere();
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return undefined;
  }

  /** Lets go of a lock that the next generation of this slot is about to take: other slots leave it alone for as long. */
  leave(lock: FileLock): void {
    if (this.#slot !== undefined)
      note(lock, JSON.stringify({ slot: this.#slot, untilMs: monotonicMs() + LEFT_MS }));
    lock.release();
  }

  #pathOf(name: string, isOfSlot: boolean): string {
    const key = isOfSlot && this.#slot !== undefined ? `${name}\0${this.#slot}` : name;
    return join(this.#folder, `task-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`);
  }

  #isLeftToOther(path: string): boolean {
    if (this.#slot === undefined) return false;
    try {
      const { slot, untilMs } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
      if (typeof untilMs !== 'number' || slot === this.#slot) return false;
      const leftMs = untilMs - monotonicMs();
      return leftMs > 0 && leftMs <= LEFT_MS;
    } catch {
      return false;
    }
  }
}

// Where that cannot be written another slot may have it first.
function note(lock: FileLock, text: string): void {
  try {
    lock.write(text);
  } catch {}
}
