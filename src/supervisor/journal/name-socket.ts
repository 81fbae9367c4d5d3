import { readlinkSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { markInternal } from '../../node/listening/listen-hook.js';
import { cryptography } from '../../os/cryptography.js';
import { isTrusted } from '../../os/unix-sockets/peer.js';
import { bindUnix, listenerAt } from '../../os/unix-sockets/unix-socket.js';

/**
 * A socket without a path that stands for a supervisor beside the lock of its run folder: nobody can remove it from
 * the disk. Source: unix(7), abstract sockets; the kernel lets go of it with the process.
 */
export class NameSocket {
  readonly #address: string;
  #server: Server | undefined;

  /** @param folder the path of the run folder. */
  constructor(folder: string) {
    this.#address = addressOf(folder);
  }

  /** Has it stand for this process from now on, unless another one has it. */
  hold(): void {
    if (this.#server !== undefined) return;
    const fd = bindUnix(this.#address, true);
    if (typeof fd === 'string') return;
    const server = createServer((socket) => socket.destroy());
    markInternal(server);
    // Without it the lock alone holds the name.
    server.on('error', () => {});
    server.listen({ fd, exclusive: true });
    server.unref();
    this.#server = server;
  }

  /**
   * The process that has it.
   * @returns undefined when none has, or one of a user that is not trusted; 0 when its number is not known here.
   */
  holder(): number | undefined {
    const found = listenerAt(this.#address, true);
    if (found === undefined || found?.pid === process.pid) return undefined;
    if (found === null) return 0;
    return isTrusted(found.uid) ? found.pid : undefined;
  }

  release(): void {
    this.#server?.close();
    this.#server = undefined;
  }
}

// The same path is another folder under another root or in another mount namespace, as in containers and units that
// have a /tmp of their own.
function addressOf(folder: string): string {
  const { dev, ino } = statSync('/');
  const place = `${mountNamespace()} ${dev}:${ino} ${folder}`;
  return `\0moult/${cryptography().createHash('sha256').update(place).digest('hex').slice(0, 40)}`;
}

function mountNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/mnt');
  } catch {
    return '';
  }
}
