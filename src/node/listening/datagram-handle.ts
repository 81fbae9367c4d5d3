import type { Socket } from 'node:dgram';
import { bySymbol } from '../handle.js';

/*
 * The part of libuv's UDP handle that moult uses. None of it is documented Node API; test/node checks it on
 * every supported version. Where it is missing, datagram sockets are left alone.
 */

/** A UDP handle of Node. Source: node src/udp_wrap.cc, lib/internal/dgram.js (newHandle). */
export interface DatagramHandle {
  readonly fd: number;
  bind(address: string, port: number, flags: number): number;
  open(fd: number): number;
  connect(address: string, port: number): number;
  disconnect(): number;
  send(...args: unknown[]): number;
  recvStart(): number;
  recvStop(): number;
  close(callback?: () => void): void;
  getsockname(out: Partial<DatagramAddress>): number;
  getpeername(out: Partial<DatagramAddress>): number;
}

/** As `socket.address()` gives it. */
export interface DatagramAddress {
  readonly address: string;
  readonly port: number;
  readonly family: string;
}

/**
 * The handle of a datagram socket, while it has one. Source: node lib/dgram.js: `kStateSymbol`, on every
 * version from 20 to 26; the public `_handle` is gone in 26.
 */
export function datagramHandleOf(socket: Socket): DatagramHandle | undefined {
  const state = bySymbol(socket, 'state symbol') as { handle?: DatagramHandle | null } | undefined;
  return state?.handle ?? undefined;
}

/** A method of a handle by its name, where this version of Node has it. */
export function methodOf(
  handle: DatagramHandle,
  name: string,
): ((...args: unknown[]) => unknown) | undefined {
  const method = (handle as unknown as Record<string, unknown>)[name];
  return typeof method === 'function' ? (method as (...args: unknown[]) => unknown) : undefined;
}

/**
 * Puts a function in the place of a method of one handle.
 * @returns what takes it away again.
 */
export function override(
  handle: DatagramHandle,
  name: string,
  value: (...args: never[]) => unknown,
): () => void {
  const before = Object.getOwnPropertyDescriptor(handle, name);
  Object.defineProperty(handle, name, { configurable: true, writable: true, value });
  return () => {
    if (before === undefined) Reflect.deleteProperty(handle, name);
    else Object.defineProperty(handle, name, before);
  };
}

/**
 * Stops receiving; what has not been read stays in the kernel's queue. Datagrams that Node has read it has
 * given to the service: it reads one at a time, and looks after each whether to go on.
 * Source: libuv src/unix/udp.c, uv__udp_recvmsg; node src/udp_wrap.cc never asks for recvmmsg.
 * @returns what lets `recvStart` work again; until then it does nothing, whoever calls it.
 */
export function stopReceiving(handle: DatagramHandle): () => void {
  handle.recvStop();
  return override(handle, 'recvStart', () => 0);
}
