import type { Server, Socket } from 'node:net';
import { knownHub } from '../../broadcast/shared.js';
import { asMoultError } from '../../errors.js';
import { countAmong, loneSocketOn, socketOn } from '../../node/http/http1.js';
import { readOn, stopReading } from '../../node/http/standstill.js';
import { isTlsServer } from '../../node/tls-sockets.js';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import type { ConnectionItem, Message } from '../../protocol/messages.js';
import { adoptTls, MovedTlsSocket } from '../../tls/socket/moved-socket.js';
import { decodeTlsState } from '../../tls/state/state-codec.js';
import { forgetSecrets } from '../../tls/state/tls-state.js';
import { type CarriedState, decodeCarried } from '../moving/carried.js';
import { begin, moversFor } from '../moving/movers.js';
import type { ConnectionTracker } from '../tracker.js';

interface Declarations {
  readonly data: Buffer | undefined;
  /** Up to where it was sent broadcasts where it comes from; undefined where there are none. */
  readonly heard: Message<'connections-data'>['heard'];
}

/**
 * Takes over a connection that the service has declared movable, with its data. What was sent on it while it was on
 * its way goes out first; it reads when the service has restored what is its own.
 * @param descriptors the connection's, and that of what goes along with it; they belong to their sockets from now on.
 * @returns whether it could be restored; one that could not is closed.
 * @throws MOULT_RESTORE_FAILED where it is one over TLS whose state cannot be gone on with: its descriptors are as they were.
 */
export function adoptCarried(
  { fd, partner }: { readonly fd: number; readonly partner?: number | undefined },
  server: Server,
  item: ConnectionItem,
  { data, heard }: Declarations,
  tracker: ConnectionTracker,
): boolean {
  const mover = moversFor(server).find(({ name }) => name === item.mover);
  const carried = decoded(data ?? NO_BYTES);
  const socket = socketFor(fd, server, 'saved' in carried ? carried.tls : undefined);
  tracker.add(socket, server, ESTABLISHED);
  if (mover === undefined) {
    socket.destroy();
    if (partner !== undefined) closeDescriptor(partner);
    return false;
  }
  const end = partner === undefined ? undefined : loneSocketOn(partner);
  let first: Buffer = NO_BYTES;
  // It may not leave again before it has come.
  const arrived = begin(socket, () => socket);
  // Listening and leaving again costs more than it looks, so it is done only where something may go wrong meanwhile.
  let isGuarded = false;
  const guard = () => {
    if (!isGuarded) socket.on('error', ignore);
    isGuarded = true;
  };
  const fail = (cause: unknown) => {
    warn(item, cause);
    knownHub()?.clients.gone(socket);
    guard();
    arrived();
    mover.abandon(socket);
    end?.destroy();
    readOn(socket, first);
  };
  const read = () => {
    if (isGuarded) socket.off('error', ignore);
    // What was broadcast while it was on its way comes before what it is answered.
    knownHub()?.arrived(socket);
    readOn(socket, first);
    arrived();
  };
  // Whoever listens makes the socket read at once; nothing may be read before all is restored.
  stopReading(socket);
  if (socket instanceof MovedTlsSocket) socket.begin();
  try {
    if (!('saved' in carried)) throw carried.cause;
    const { saved, unread, written, late } = carried;
    first = unread;
    if (written.length > 0) {
      // The answer may be a reset before anybody else listens.
      guard();
      socket.write(written);
    }
    if (heard !== undefined) knownHub()?.arriving(socket, heard);
    const restored = mover.restore(socket, saved, late, item.version ?? 0, end);
    if (restored instanceof Promise) {
      guard();
      restored.then(read, fail);
    } else read();
    return true;
  } catch (cause) {
    fail(cause);
    return false;
  }
}

function decoded(data: Buffer): CarriedState | { readonly cause: unknown } {
  try {
    return decodeCarried(data);
  } catch (cause) {
    return { cause };
  }
}

// What is secret lies within the data, which was deserialized in place.
function socketFor(fd: number, server: Server, tls: Buffer | undefined): Socket {
  if (!isTlsServer(server)) return socketOn(fd, server);
  const bytes = tls ?? NO_BYTES;
  try {
    const state = decodeTlsState(bytes);
    try {
      const socket = adoptTls(fd, state, { server });
      countAmong(socket, server);
      return socket;
    } finally {
      forgetSecrets(state);
    }
  } finally {
    bytes.fill(0);
  }
}

function ignore(): void {}

const NO_BYTES = Buffer.alloc(0);

/** It has sent its first bytes long ago, and makes no requests. */
const ESTABLISHED = { headLeftMs: null, requests: 0 };

function warn({ mover, listener }: ConnectionItem, cause: unknown): void {
  const error = asMoultError(cause, 'MOULT_RESTORE_FAILED');
  process.emitWarning(
    `a connection of ${listener} could not be restored by ${mover} and was closed: ${error.message}`,
    { type: 'MoultWarning', code: 'MOULT_RESTORE_FAILED' },
  );
}
