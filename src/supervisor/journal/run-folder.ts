import {
  chmodSync,
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { makePrivate, makePrivateAgain, privateMode, runRoot } from '../../channel/private-folder.js';
import { MoultError } from '../../errors.js';
import { cryptography } from '../../os/cryptography.js';
import { outOfDescriptors } from '../../os/descriptors/shortage.js';
import { FileLock } from '../../os/files/file-lock.js';
import { tryToRemove } from '../../os/files/remove.js';
import { trusted } from '../../os/unix-sockets/peer.js';
import { isListening, MAX_SOCKET_PATH_BYTES } from '../../os/unix-sockets/unix-socket.js';
import { NameSocket } from './name-socket.js';

/** The name of the socket at which commands look for the supervisor. */
export const CONTROL = 'control.sock';
const JOURNAL = 'journal.ndjson';
const LOCK = 'lock';
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
  /** Held by the supervisor of this process, as long as it lives. */
  lock: FileLock | undefined;
  #controlName = CONTROL;
  /** Where its supervisor was reached while the folder was another one's: generations still come there. */
  #formerControl: string | undefined;
  #nameSocket: NameSocket | undefined;

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

  /** The file that tells what happened to the service. */
  get journal(): string {
    return join(this.path, JOURNAL);
  }

  /** The socket on which the supervisor is reached. */
  get control(): string {
    return join(this.path, this.#controlName);
  }

  /** The socket at which commands look for it: another one while {@link standBeside} holds. */
  get publicControl(): string {
    return join(this.path, CONTROL);
  }

  /** Whether another path is that of this very folder, also when it is another name of it. */
  isAt(path: string): boolean {
    try {
      const [ours, other] = [statSync(this.path), statSync(path)];
      return ours.dev === other.dev && ours.ino === other.ino;
    } catch {
      return false;
    }
  }

  /** Has the supervisor of this process be reached at a socket of its own: the folder is still another one's. */
  standBeside(): void {
    this.#controlName = `control-${cryptography().randomBytes(4).toString('hex')}.sock`;
  }

  /**
   * The folder is this process's alone from now on, and its supervisor listens at {@link publicControl}: what was
   * told the other socket is led there, also when the supervisor is another one by then.
   */
  standAlone(): void {
    this.#formerControl = this.control;
    this.#lead(this.#formerControl);
    this.#controlName = CONTROL;
  }

  // In one step, also where a socket lies there.
  #lead(path: string): void {
    const link = `${path}.new`;
    tryToRemove(link);
    symlinkSync(CONTROL, link);
    renameSync(link, path);
  }

  /**
   * Makes the folder and takes it for this process.
   * @returns the lock; what a dead supervisor left is removed.
   * @throws MOULT_NAME_TAKEN when a living supervisor has it; MOULT_PEER_REFUSED when others could enter it.
   */
  claim(): FileLock {
    const holder = this.#name.holder();
    if (holder !== undefined) throw this.#taken(holder);
    makePrivate(join(this.path, '..'));
    makePrivate(this.path);
    const lock = this.#takeLock();
    if (lock === undefined) throw this.#taken();
    this.lock = lock;
    this.clear();
    this.#share();
    return lock;
  }

  /**
   * Makes anew what is missing of the folder and its lock: cleaners of old files, or the end of a login, may remove
   * both under a living supervisor. Called only by the one that holds the lock.
   * @returns what was missing; undefined when all is there.
   * @throws MOULT_NAME_TAKEN when another process has taken the name meanwhile; what the file system refuses with.
   */
  restore(): string | undefined {
    this.#name.hold();
    const around = makePrivateAgain(join(this.path, '..'));
    const made = makePrivateAgain(this.path) ?? around;
    const former = this.#formerControl;
    if (former !== undefined && !isLink(former)) this.#lead(former);
    const path = join(this.path, LOCK);
    if (this.lock === undefined || this.lock.isOf(path)) return made;
    const lock = FileLock.take(path);
    if (lock === undefined) throw this.#taken();
    this.lock.release();
    this.lock = lock;
    this.#share();
    return made ?? `${path} was missing`;
  }

  /** Lets go of the name: another supervisor may have it. */
  release(): void {
    this.lock?.release();
    this.#nameSocket?.release();
  }

  /** The process that has the name, whatever became of the folder; undefined where none has, 0 where its number is not known here. */
  holder(): number | undefined {
    return this.#name.holder();
  }

  get #name(): NameSocket {
    this.#nameSocket ??= new NameSocket(this.path);
    return this.#nameSocket;
  }

  #share(): void {
    if (trusted().length > 0) for (const name of [LOCK, JOURNAL]) makeShared(join(this.path, name));
  }

  #taken(pid = 0): MoultError {
    const who = pid > 0 ? `, under process ${pid}` : '';
    return new MoultError(
      'MOULT_NAME_TAKEN',
      `a service named ${this.name} is already running${who} (${this.path})`,
    );
  }

  #takeLock(): FileLock | undefined {
    try {
      return FileLock.take(join(this.path, LOCK));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const what = `the run folder ${this.path} cannot be used: ${reason}`;
      const shortage = outOfDescriptors(cause, what);
      if (shortage !== undefined) throw shortage;
      throw new MoultError(
        'MOULT_RUN_FOLDER',
        `${what}. Set XDG_RUNTIME_DIR to a folder that this user may write to`,
        {
          cause,
        },
      );
    }
  }

  /** Removes the socket that an earlier supervisor left. Called only with the lock held. */
  clear(): void {
    // Where it is in the way of the next one, that says so.
    tryToRemove(this.publicControl);
  }

  /** Removes the folder. Called only with the lock held. @returns why it could not. */
  remove(): Error | undefined {
    return tryToRemove(this.path);
  }

  /** Whether a living supervisor listens there. Asking must not take the lock, which would make a claim fail. */
  isClaimed(): boolean {
    try {
      return isListening(this.publicControl);
    } catch {
      return false;
    }
  }

  /** The names of this user's services that run now, sorted. */
  static running(root = runRoot()): string[] {
    return RunFolder.all(root).flatMap((folder) => (folder.isClaimed() ? folder.name : []));
  }

  /** What may be the folders of services that run, sorted by name. */
  static all(root = runRoot()): RunFolder[] {
    let names: string[];
    try {
      names = readdirSync(root).filter((name) => NAME.test(name));
    } catch {
      return [];
    }
    return names.sort().flatMap((name) => {
      try {
        return new RunFolder(name, root);
      } catch {
        // A stray folder whose name is too long for a socket.
        return [];
      }
    });
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

/** Lets supervisors of trusted users use a file, which they may have made themselves. */
function makeShared(path: string): void {
  const mode = privateMode();
  closeSync(openSync(path, 'a', mode));
  try {
    chmodSync(path, mode);
  } catch {
    // It is another user's, who has done so.
  }
}
