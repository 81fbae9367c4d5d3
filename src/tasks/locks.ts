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

  /** @param folder private, and the same for all generations of the service. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Waits until the lock is free, and takes it.
   * @param isWanted asked before each look.
   * @returns undefined when it is no longer wanted, or there is no place for locks.
   */
  async take(name: string, isWanted: () => boolean): Promise<FileLock | undefined> {
    const path = join(this.#folder, `task-${createHash('sha256').update(name).digest('hex').slice(0, 32)}`);
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
