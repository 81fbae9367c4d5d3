import { join } from 'node:path';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { AF_UNIX, libc, SOCK_CLOEXEC, SOCK_DGRAM } from '#moult/os/libc.js';
import { receiveBytesWithDescriptors } from '#moult/os/sockets/descriptor-socket.js';
import { isReadable, unixAddress } from '#moult/os/unix-sockets/unix-socket.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import type { Later } from '../support/tidy.js';

/** What a service manager was told. */
export interface Told {
  readonly fields: Readonly<Record<string, string>>;
  readonly descriptors: number[];
}

/** A service manager's end of the notify protocol. */
export class Manager {
  /** As NOTIFY_SOCKET names it. */
  readonly address: string;
  readonly #fd: number;

  /** @param address default: a path in a folder of the test. */
  constructor(later: Later, address = join(temporaryFolder(later), 'notify')) {
    this.address = address;
    this.#fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bytes = unixAddress(address.replace(/^@/, '\0'), true);
    if (libc().bind(this.#fd, bytes, bytes.length) !== 0) throw new Error(`bind ${address}`);
    later(() => closeDescriptor(this.#fd));
  }

  get hasMore(): boolean {
    return isReadable(this.#fd);
  }

  /** The next message; fails when there is none. Its descriptors are the caller's. */
  hears(): Told {
    if (!this.hasMore) throw new Error('nothing was said');
    const { bytes, descriptors } = receiveBytesWithDescriptors(this.#fd, 4096) ?? {};
    const lines = String(bytes).split('\n');
    const fields = lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
    return { fields: Object.fromEntries(fields), descriptors: descriptors ?? [] };
  }

  /** Everything that was said, without descriptors. */
  all(): Told['fields'][] {
    const fields = [];
    while (this.hasMore) {
      const told = this.hears();
      told.descriptors.forEach(closeDescriptor);
      fields.push(told.fields);
    }
    return fields;
  }
}
