import { Socket } from 'node:net';
import { peerName, socketIdentity } from '../../os/sockets/socket-identity.js';
import { type StreamHandle, setHandleOf } from '../handle.js';

/*
 * Connections between the moment in which Node has accepted them and the moment in which its server has seen them:
 * nothing has been read, and no object of the service's exists.
 * Source: node src/connection_wrap.cc, ConnectionWrap::OnConnection; node lib/net.js, onconnection.
 */

/** How a handle tells of a connection; `this` is the handle that listens. */
type OnConnection = (this: StreamHandle, status: number, accepted?: StreamHandle) => void;

/** Decides of a connection that was accepted. @param serve gives it to the server, now or later. @returns whether it was taken. */
export type Steer = (accepted: StreamHandle, serve: () => void) => boolean;

const originals = new WeakMap<OnConnection, OnConnection>();

/** Has each connection that a handle accepts decided of before its server sees it. The handle must have its server. */
export function steerAccepted(handle: StreamHandle, steer: Steer): void {
  const original = handle.onconnection as OnConnection;
  if (typeof original !== 'function' || originals.has(original)) return;
  const steered: OnConnection = function (status, accepted) {
    const serve = () => original.call(this, status, accepted);
    if (status !== 0 || accepted === undefined || !steer(accepted, serve)) serve();
  };
  originals.set(steered, original);
  handle.onconnection = steered;
}

/**
 * Gives a server a connection that another process accepted for it, as if it had accepted it itself.
 * @param listening the handle by which the server listens, or listened.
 * @param fd the connection's; it belongs to the server from now on.
 * @throws what Node says of a descriptor that is no connection; it is the caller's then.
 */
export function acceptOn(listening: StreamHandle, fd: number): void {
  const vehicle = new Socket({ fd, manualStart: true, readable: false, writable: false } as object);
  const accepted = setHandleOf(vehicle, null);
  const own = listening.onconnection as OnConnection;
  try {
    (originals.get(own) ?? own).call(listening, 0, accepted);
  } catch (error) {
    // The service's own handler threw it, and hears of it in the usual way.
    process.nextTick(() => {
      throw error;
    });
  }
}

/** The address of the other side of an accepted connection; undefined for one that has none, or is gone. */
export function peerAddress(accepted: StreamHandle): string | undefined {
  const { getpeername } = accepted as StreamHandle & {
    getpeername?: (out: { address?: string }) => number;
  };
  const name: { address?: string } = {};
  return getpeername?.call(accepted, name) === 0 ? name.address : undefined;
}

/**
 * What an accepted connection of this very machine comes from, as far as Node alone tells: its port.
 * @returns undefined for one from elsewhere, or of a Unix socket.
 */
export function probedFromPort(accepted: StreamHandle): string | undefined {
  const { getpeername, getsockname } = accepted as StreamHandle & Named;
  const peer: NameOut = {};
  const ours: NameOut = {};
  if (getpeername?.call(accepted, peer) !== 0 || getsockname?.call(accepted, ours) !== 0) return undefined;
  return peer.port !== undefined && peer.address === ours.address ? String(peer.port) : undefined;
}

interface NameOut {
  address?: string;
  port?: number;
}

/** Only handles of TCP have them. */
interface Named {
  getpeername?: (out: NameOut) => number;
  getsockname?: (out: NameOut) => number;
}

/**
 * What an accepted connection of this very machine comes from: its port, or the abstract name that a Unix socket was bound to.
 * @returns undefined for one from elsewhere, or without a name.
 */
export function probedFrom(accepted: StreamHandle): string | undefined {
  const peer = peerName(accepted.fd);
  if (peer === undefined || peer.family === 'other') return undefined;
  if (peer.family === 'unix') return peer.path.startsWith('\0') ? peer.path.slice(1) : undefined;
  const ours = socketIdentity(accepted.fd)?.address;
  // No other connection has both addresses and both ports.
  return ours !== undefined && 'host' in ours && ours.host === peer.host ? String(peer.port) : undefined;
}
