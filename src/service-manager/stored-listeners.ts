import { fstatSync } from 'node:fs';
import type { ListenerItem } from '../protocol/messages.js';
import type { Complaints } from './complaints.js';
import type { SdNotify } from './sd-notify.js';
import { storedName } from './stored-name.js';

/** The copies of our listeners that a service manager stores, so that a restart of the whole unit finds them open. */
export class StoredListeners {
  readonly #notifier: SdNotify;
  readonly #max: number | null;
  readonly #log: Complaints;
  /** The sockets by the name under which they are stored. */
  readonly #sockets = new Map<string, bigint>();

  /** @param max how many the manager takes; null where it does not say. */
  constructor(notifier: SdNotify, max: number | null, log: Complaints) {
    this.#notifier = notifier;
    this.#max = max;
    this.#log = log;
  }

  /** Keeps a copy; where it has this very socket under this name, nothing changes. */
  keep(item: ListenerItem, fd: number): void {
    // What a socket unit brought, its socket unit keeps; files of the service are opened anew.
    if (item.lasting || item.family === 'file') return;
    const name = storedName(item.name);
    const socket = fstatSync(fd, { bigint: true }).ino;
    const before = this.#sockets.get(name);
    if (before === socket) return;
    if (before !== undefined) this.#notifier.unstore(name);
    this.#sockets.set(name, socket);
    this.#notifier.store(name, fd);
    if (this.#max !== null && this.#sockets.size > this.#max) {
      const what = `${this.#sockets.size} listeners are to be stored, FileDescriptorStoreMax is ${this.#max}`;
      this.#log.warn(`${what}: ${item.name} will not survive a restart of the unit`);
    }
  }

  /** Lets go of the copy of this name. */
  drop(listener: string): void {
    const name = storedName(listener);
    if (this.#sockets.delete(name)) this.#notifier.unstore(name);
  }

  /** Drops what is stored under a name that the manager told. */
  forget(stored: string): void {
    this.#sockets.delete(stored);
    this.#notifier.unstore(stored);
  }
}
