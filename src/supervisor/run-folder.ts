import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivate, runRoot } from '../channel/private-folder.js';
import { MoultError } from '../errors.js';
import { closeDescriptor } from '../os/descriptor.js';
import { FileLock } from '../os/file-lock.js';
import { connectUnix, MAX_SOCKET_PATH_BYTES } from '../os/unix-socket.js';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Room for the longest name of a socket in the folder. */
const SOCKET_NAME_BYTES = '/g1234567-1234567.sock'.length;

/** @throws MOULT_BAD_OPTION when a name cannot be the name of a folder and of a service. */
export function checkName(name: string): string {
  if (NAME.test(name)) return name;
  throw new MoultError(
    'MOULT_BAD_OPTION',
    `--name: expected 1 to 64 letters, digits, dots, dashes or underscores, received ${JSON.stringify(name)}`,
  );
}

/** The private folder of one service: its sockets, and the lock that says that its supervisor lives. */
export class RunFolder {
  readonly path: string;
  readonly name: string;

  constructor(name: string, root = runRoot()) {
    this.name = checkName(name);
    this.path = join(root, name);
    const longest = Buffer.byteLength(this.path) + SOCKET_NAME_BYTES;
    if (longest > MAX_SOCKET_PATH_BYTES) {
      throw new MoultError(
        'MOULT_BAD_OPTION',
        `the run folder ${this.path} is too long for a Unix socket by ${longest - MAX_SOCKET_PATH_BYTES} bytes: set XDG_RUNTIME_DIR to a shorter one, or give a shorter --name`,
      );
    }
  }

  /** The socket on which the supervisor is reached. */
  get control(): string {
    return join(this.path, 'control.sock');
  }

  /**
   * Makes the folder and takes it for this process.
   * @returns the lock; what a dead supervisor left is removed.
   * @throws MOULT_NAME_TAKEN when a living supervisor has it; MOULT_PEER_REFUSED when others could enter it.
   */
  claim(): FileLock {
    makePrivate(join(this.path, '..'));
    makePrivate(this.path);
    const lock = FileLock.take(join(this.path, 'lock'));
    if (lock === undefined) {
      throw new MoultError('MOULT_NAME_TAKEN', `a service named ${this.name} runs already (${this.path})`);
    }
    this.clear();
    return lock;
  }

  /** Removes the socket that an earlier supervisor left. Called only with the lock held. */
  clear(): void {
    rmSync(this.control, { force: true });
  }

  /** Removes the folder. Called only with the lock held. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  /** Whether a living supervisor listens there. Asking must not take the lock, which would make a claim fail. */
  isClaimed(): boolean {
    try {
      closeDescriptor(connectUnix(this.control));
      return true;
    } catch {
      return false;
    }
  }

  /** The names of this user's services that run now, sorted. */
  static running(root = runRoot()): string[] {
    let names: string[];
    try {
      names = readdirSync(root).filter((name) => NAME.test(name));
    } catch {
      return [];
    }
    const isRunning = (name: string) => {
      try {
        return new RunFolder(name, root).isClaimed();
      } catch {
        // A stray folder whose name is too long for a socket.
        return false;
      }
    };
    return names.filter(isRunning).sort();
  }
}
