import { randomBytes } from 'node:crypto';
import { lstatSync, renameSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { Door, type Visitor } from '../channel/door.js';
import { asMoultError, MoultError } from '../errors.js';
import { MAX_SOCKET_PATH_BYTES } from '../os/unix-sockets/unix-socket.js';

const SUFFIX_BYTES = '~12345678'.length;

/**
 * A path that always leads to the generation that serves. The socket is bound under another name and put in
 * place by rename: so it is never missing, and libuv, which removes the name that it has bound, never removes it.
 */
export class PublicDoor {
  readonly #path: string;
  readonly #visit: Visitor;
  #door: Door | undefined;
  #inode: number | undefined;

  /** @param path relative to the working directory of now. @throws MOULT_BAD_OPTION when it is too long. */
  constructor(path: string, visit: Visitor) {
    this.#path = resolve(path);
    this.#visit = visit;
    const longest = Buffer.byteLength(this.#path) + SUFFIX_BYTES;
    if (longest > MAX_SOCKET_PATH_BYTES) {
      throw new MoultError(
        'MOULT_BAD_OPTION',
        `door: expected a path of at most ${MAX_SOCKET_PATH_BYTES - SUFFIX_BYTES} bytes, received ${this.#path}`,
      );
    }
    process.once('exit', () => this.withdraw());
  }

  /** Has the path lead here. */
  async show(): Promise<void> {
    const own = `${this.#path}~${randomBytes(4).toString('hex')}`;
    try {
      const door = Door.open(own, 'predecessor', this.#visit);
      this.#door?.close();
      this.#door = door;
      this.#inode = lstatSync(own).ino;
      renameSync(own, this.#path);
    } catch (cause) {
      const { message } = asMoultError(cause, 'MOULT_SYSTEM_CALL');
      process.emitWarning(`${this.#path} cannot be linked to this process: ${message}`, 'MoultWarning');
    }
  }

  /** Removes the path, unless it leads to another process by now. */
  withdraw(): void {
    this.#door?.close();
    this.#door = undefined;
    try {
      if (lstatSync(this.#path).ino === this.#inode) rmSync(this.#path);
    } catch {
      // It is gone.
    }
  }
}
