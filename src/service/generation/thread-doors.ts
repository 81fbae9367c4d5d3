import { getEnvironmentData } from 'node:worker_threads';
import type { Threads } from '../../handover/threads.js';
import type { ListenerRegistry } from '../../listeners/registry.js';
import type { ListenerItem, Settings } from '../../protocol/messages.js';
import { MARK } from '../../threads/mark.js';
import { type LeftByProcess, ThreadHub } from '../../threads/thread-hub.js';

/** What worker threads that join a generation are given. */
export interface ThreadDoorsParts {
  readonly number: number;
  readonly listeners: ListenerRegistry;
  readonly threads: Threads;
  /** What the predecessor had, with the number of threads on each. */
  readonly inherited: readonly ListenerItem[];
  readonly settings: Settings;
  /** The folder in which the hub has its socket. */
  readonly folder: () => string;
  /** What a process or thread that joined has left. @returns whether that is to be closed here. */
  readonly left: (left: LeftByProcess) => boolean;
  /** Whether the threads may accept from the start. */
  readonly mayAccept: () => boolean;
}

/** Where worker threads of this process join its generation, and where threads of another process bring connections. */
export class ThreadDoors {
  readonly #parts: ThreadDoorsParts;
  #hub: Promise<ThreadHub> | undefined;

  constructor(parts: ThreadDoorsParts) {
    this.#parts = parts;
  }

  /** Where worker threads join. @param shut memory in which they see that they may not accept; by default what this process's threads look at. */
  async join(shut: Int32Array = sharedMark()): Promise<string> {
    const { number, listeners, threads, settings, folder, left, mayAccept } = this.#parts;
    const around = {
      number,
      listeners,
      threads,
      folder: folder(),
      settings,
      left,
      get mayAccept() {
        return mayAccept();
      },
    };
    this.#hub ??= ThreadHub.open(around, shut);
    return (await this.#hub).path;
  }

  /** Where threads of another process bring connections. @param main the door of the main thread, which takes some too: those of threads that it has not. */
  ofOthers(main: string | undefined): string[] {
    const { threads, inherited } = this.#parts;
    const doors = threads.doors();
    const isMet = doors.length > 0 || inherited.some(({ threads: theirs = 0 }) => theirs > 0);
    return isMet && main !== undefined ? [...doors, main] : doors;
  }
}

// What threads of this process look at, too.
function sharedMark(): Int32Array {
  const mark = getEnvironmentData(MARK);
  return new Int32Array(mark instanceof SharedArrayBuffer ? mark : new SharedArrayBuffer(4));
}
