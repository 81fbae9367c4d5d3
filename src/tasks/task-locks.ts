import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { FileLock } from '../os/files/file-lock.js';

/** How long another process that has a lock is left alone before the next look. */
const LOOK_MS = 20;

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
   * @param isWanted asked before each look.
   * @returns undefined when it is no longer wanted, or there is no place for locks.
   */
  async take(name: string, isOfSlot: boolean, isWanted: () => boolean): Promise<FileLock | undefined> {
    const key = isOfSlot && this.#slot !== undefined ? `${name}\0${this.#slot}` : name;
    const path = join(this.#folder, `task-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`);
    while (isWanted()) {
      try {
        const lock = FileLock.take(path);
        if (lock !== undefined) return lock;
      } catch {
        // Without a lock the messages alone decide, as where there is no folder in common.
        return undefined;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return undefined;
  }
}
