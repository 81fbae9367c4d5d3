import { unlinkSync } from 'node:fs';
import { MoultError } from '../errors.js';
import { block, closeDescriptor } from '../os/descriptors/descriptor.js';
import { beginToListen, bindAddress } from '../os/sockets/bind-address.js';
import { socketIdentity } from '../os/sockets/socket-identity.js';
import { bindUnix, isAbandoned } from '../os/unix-sockets/unix-socket.js';
import type { ListenerItem } from '../protocol/messages.js';
import type { ListenOption } from './listen-option.js';

/** The kernel takes no more than net.core.somaxconn of it. */
const BACKLOG = 4096;

/** A listener as it is held: `lasting`, for it stays open whoever claims or closes it. */
export function itemOf({ listener, family }: ListenOption): ListenerItem {
  return { name: listener, family, backlog: 0, path: null, lasting: true };
}

/**
 * Opens what an option names.
 * @returns the descriptor, which is the caller's.
 * @throws MOULT_LISTEN_FAILED
 */
export function open(option: ListenOption): number {
  const bound =
    option.family === 'unix' ? bindPath(option.path) : bindAddress(option.family, option.host, option.port);
  if (typeof bound === 'string') throw failed(option, bound);
  const reason = option.family === 'udp' ? undefined : beginToListen(bound, BACKLOG);
  if (reason === undefined) return bound;
  closeDescriptor(bound);
  throw failed(option, reason);
}

/**
 * Opens one of several sockets that listen at the same address.
 * @param isFirst whether nobody else may listen there yet.
 * @throws MOULT_LISTEN_FAILED
 */
export function openShared(option: Extract<ListenOption, { port: number }>, isFirst: boolean): number {
  const { host, port } = option;
  // With the option alone another service of the same user would not notice that the address is taken.
  if (isFirst && port !== 0) {
    const alone = bindAddress('tcp', host, port);
    if (typeof alone === 'string') throw failed(option, alone);
    closeDescriptor(alone);
  }
  const bound = bindAddress('tcp', host, port, true);
  if (typeof bound === 'string') throw failed(option, bound);
  const reason = beginToListen(bound, BACKLOG);
  if (reason === undefined) return bound;
  closeDescriptor(bound);
  throw failed(option, reason);
}

/** Has a stream socket listen again that a program has shut down for everyone. @returns whether it was, and does. */
export function listenAgain(fd: number): boolean {
  const identity = socketIdentity(fd);
  if (identity?.type !== 'stream' || identity.isListening) return false;
  return beginToListen(fd, BACKLOG) === undefined;
}

function bindPath(path: string): number | string {
  let bound = bindUnix(path);
  if (bound === 'EADDRINUSE' && isAbandoned(path)) {
    unlinkSync(path);
    bound = bindUnix(path);
  }
  if (typeof bound === 'number') block(bound);
  return bound;
}

function failed({ listener }: ListenOption, reason: string): MoultError {
  return new MoultError('MOULT_LISTEN_FAILED', `--listen: ${listener} could not be opened: ${reason}`, {
    details: { listener, reason },
  });
}
