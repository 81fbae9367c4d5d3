import type { Server, Socket } from 'node:net';
import { MoultError } from '../../errors.js';
import { descriptorOf } from '../../node/handle.js';
import { isPlainHttp } from '../../node/http/http1.js';
import { otherEndOf } from '../../node/http/piped.js';
import {
  isEnding,
  readAgain,
  readOn,
  stopReading,
  takeUnread,
  type Unread,
  WriteHold,
} from '../../node/http/standstill.js';
import type { Tracked } from '../tracker.js';
import { declare, give, isGiven, type Mover, type MoverPhase, moverOf } from './movers.js';

/** More than this in one direction is not carried: it waits until the other end has taken it. */
const MAX_BYTES = 1024 * 1024;
const VERSION = 1;

/** What goes along with a pair, besides what its client's socket holds. */
interface Saved {
  /** What the client has sent and the other end has not been given. */
  readonly fromClient: Uint8Array;
  /** The same in the other direction. */
  readonly fromEnd: Uint8Array;
  /** What was written to the other end and the kernel has not taken. */
  readonly toEnd: Uint8Array;
  /** Whether the other end may be open in one direction only. */
  readonly isHalfOpen: boolean;
}

/** A pair that stands still. */
interface Held {
  readonly end: Socket;
  readonly hold: WriteHold;
  unread: { readonly ofClient: Unread; readonly ofEnd: Unread } | undefined;
}

/**
 * Moves what a proxy passes on after an upgrade, such as a WebSocket: the client's connection and the one to the server
 * behind go together, and are piped into each other again. Nothing has to be declared, for the service has no part in it.
 */
class ProxiedMover implements Mover {
  readonly name = 'proxied';
  readonly version = VERSION;
  readonly oldestVersion = VERSION;
  readonly maxBytes = MAX_BYTES;
  readonly #held = new WeakMap<Socket, Held>();

  takesFor(server: Server): boolean {
    return isPlainHttp(server);
  }

  phase(socket: Socket): MoverPhase {
    const end = this.#held.get(socket)?.end ?? otherEndOf(socket);
    if (end === undefined) {
      throw new MoultError('MOULT_SAVE_FAILED', 'the service no longer passes it on as it is');
    }
    // One that ends takes the other along, here.
    return isEnding(end) ? 'receiving' : 'ready';
  }

  hold(socket: Socket): void {
    const end = otherEndOf(socket);
    if (end === undefined) return;
    stopReading(end);
    this.#held.set(socket, { end, hold: new WriteHold(end), unread: undefined });
  }

  isQuiet(socket: Socket): boolean {
    return this.#held.get(socket)?.hold.isQuiet === true;
  }

  partner(socket: Socket): Socket | undefined {
    return this.#held.get(socket)?.end ?? otherEndOf(socket);
  }

  save(socket: Socket): Saved {
    const held = this.#heldOf(socket);
    // Both before anything is said to be written: a pipe that waited for that would pass on what is taken here.
    held.unread = { ofClient: takeUnread(socket), ofEnd: takeUnread(held.end) };
    return {
      fromClient: held.unread.ofClient.bytes,
      fromEnd: held.unread.ofEnd.bytes,
      toEnd: held.hold.take(),
      isHalfOpen: held.end.allowHalfOpen,
    };
  }

  stays(socket: Socket): boolean {
    const end = this.#held.get(socket)?.end;
    return end === undefined || isEnding(end) || descriptorOf(end) < 0;
  }

  late(): undefined {}

  release(socket: Socket): void {
    const held = this.#held.get(socket);
    if (held === undefined) return;
    this.#held.delete(socket);
    held.hold.release();
    held.unread?.ofClient.restore();
    held.unread?.ofEnd.restore();
    readAgain(held.end);
  }

  left(socket: Socket): void {
    for (const one of [socket, this.#heldOf(socket).end]) {
      one.unpipe();
      one.removeAllListeners();
      one.on('error', () => {});
    }
    this.#held.delete(socket);
  }

  restore(socket: Socket, saved: unknown, _late: unknown, _version: number, end?: Socket): void {
    if (end === undefined) throw new MoultError('MOULT_RESTORE_FAILED', 'its other end did not come along');
    const { fromClient, fromEnd, toEnd, isHalfOpen } = saved as Saved;
    end.allowHalfOpen = isHalfOpen;
    joinBoth(socket, end);
    if (toEnd.length > 0) end.write(toEnd);
    stopReading(end);
    if (fromClient.length > 0) socket.push(fromClient);
    socket.pipe(end);
    end.pipe(socket);
    give(socket, this);
    readOn(end, Buffer.from(fromEnd));
  }

  abandon(socket: Socket): void {
    this.partner(socket)?.destroy();
    socket.destroy();
  }

  stayed(): void {}

  #heldOf(socket: Socket): Held {
    const held = this.#held.get(socket);
    if (held === undefined) throw new TypeError('a connection that does not stand still');
    return held;
  }
}

/** The end of one is the end of the other: after what it had sent, or at once where it broke. */
function joinBoth(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => {});
    from.on('close', () => {
      if (!from.readableEnded) {
        to.destroy();
        return;
      }
      to.end();
      // Without a reader it would not learn that its side ends, too.
      to.resume();
    });
  }
}

const mover = new ProxiedMover();

/** Has connections that HTTP servers pass on after an upgrade move, in both directions of a handover. */
export function moveProxied(): void {
  declare(mover);
}

/** Notices whether a connection is passed on as it is: from then on it moves as one. */
export function recogniseProxied({ socket, server }: Tracked): void {
  if (!isPlainHttp(server) || isGiven(socket, server) || moverOf(socket, server) !== undefined) return;
  if (otherEndOf(socket) !== undefined) give(socket, mover);
}
