import { closeSync, constants, existsSync, fstatSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { MoultError } from '../../errors.js';

/*
 * Connecting as Node does it, without libc, for a process that never passes a descriptor: loading libc costs a command
 * more than all else it does (docs/decisions/0079-a-command-knows-who-answers-by-the-file.md).
 */

/** Holds a file without opening it, also a socket. Source: open(2), O_PATH; Node's constants do not have it. */
const O_PATH = 0o10000000;

/** Which user's process has bound a Unix socket, as its file says. */
export interface SocketOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Connects to who listens at a path, unless the file of the socket belongs to a user who may not answer. Whoever binds a socket
 * owns its file and nobody but root can give it away; the file that was looked at is the one that is connected to, whatever
 * takes its place meanwhile.
 * @param check throws where this user may not answer.
 * @throws MOULT_SYSTEM_CALL, with `details.reason` such as ECONNREFUSED or ENOENT; EAGAIN where the queue of who listens is full;
 *   ENOTSOCK where something else lies there, a link too; what `check` throws, before anything is connected.
 */
export async function connectToOwner(
  path: string,
  check: (owner: SocketOwner) => void,
): Promise<{ socket: Socket; owner: SocketOwner }> {
  let held: number;
  try {
    held = openSync(path, O_PATH | constants.O_NOFOLLOW);
  } catch (cause) {
    throw failed('open', cause, path);
  }
  try {
    const stat = fstatSync(held);
    if (!stat.isSocket()) throw failed('connect', { code: 'ENOTSOCK' }, path);
    const owner = { uid: stat.uid, gid: stat.gid };
    check(owner);
    // Source: proc(5), /proc/pid/fd: what such a link leads to is the file itself, not its path.
    if (!existsSync(`/proc/self/fd/${held}`)) throw failed('open', { code: 'ENOENT' }, '/proc/self/fd');
    return { socket: await connected(`/proc/self/fd/${held}`, path), owner };
  } finally {
    closeSync(held);
  }
}

/** Whether a process listens at this path, without ever waiting for it: one that is stopped does. */
export async function isAnsweredAt(path: string): Promise<boolean> {
  try {
    (await connected(path, path)).destroy();
    return true;
  } catch (error) {
    // Its queue is full.
    return error instanceof MoultError && error.details?.reason === 'EAGAIN';
  }
}

function connected(address: string, path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: address });
    const fail = (cause: unknown) => reject(failed('connect', cause, path));
    socket.once('error', fail).once('connect', () => {
      socket.off('error', fail);
      resolve(socket);
    });
  });
}

function failed(call: string, cause: unknown, path: string): MoultError {
  const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
  return new MoultError('MOULT_SYSTEM_CALL', `${call} failed with ${reason}: ${path}`, {
    details: { call, reason },
    cause,
  });
}
