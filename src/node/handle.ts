import type { Server, Socket } from 'node:net';

/*
 * The part of libuv's stream handles that moult uses. None of it is documented Node API; it is checked by
 * the self-test when a service starts, and by test/node on every supported version.
 */

/** A TCP or pipe handle of Node. Source: node src/stream_base.cc, src/tcp_wrap.cc, src/pipe_wrap.cc. */
export interface StreamHandle {
  readonly fd: number;
  readonly writeQueueSize: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readStart(): number;
  readStop(): number;
  close(callback?: () => void): void;
  listen(backlog: number): number;
  ref(): void;
  unref(): void;
  onconnection: unknown;
}

/** One that can be told into which buffer to read. */
export interface WatchingHandle extends StreamHandle {
  useUserBuffer(buffer: Uint8Array): void;
  onread: unknown;
}

/** A socket or server with its handle in sight. */
interface WithHandle {
  _handle?: StreamHandle | null;
}

/** The handle of a socket or server, while it has one. */
export function handleOf(owner: Socket | Server): StreamHandle | undefined {
  return (owner as unknown as WithHandle)._handle ?? undefined;
}

/** Gives a server another handle, or none. */
export function setHandle(owner: Server, handle: StreamHandle | null): void {
  (owner as unknown as WithHandle)._handle = handle;
}

/** Gives a socket another handle, or none, and returns the one that it had. */
export function setHandleOf(owner: Socket, handle: StreamHandle | null): StreamHandle | undefined {
  const had = handleOf(owner);
  (owner as unknown as WithHandle)._handle = handle;
  return had;
}

/** Has `address()` of a server on a Unix socket tell this path. Source: node lib/net.js, Server.prototype.address. */
export function namePipe(server: Server, path: string): void {
  (server as unknown as { _pipeName?: string })._pipeName = path;
}

/** The descriptor of a socket or server, or -1. */
export function descriptorOf(owner: Socket | Server): number {
  return handleOf(owner)?.fd ?? -1;
}

const known = new Map<string, symbol>();

/** The value under a symbol that has this description, on the object or its prototypes. */
export function bySymbol(object: object, description: string): unknown {
  let symbol = known.get(description);
  if (symbol === undefined || !(symbol in object)) {
    symbol = symbolOf(object, description);
    if (symbol === undefined) return undefined;
    known.set(description, symbol);
  }
  return (object as Record<symbol, unknown>)[symbol];
}

/** The symbol that has this description, among the object's own and then its prototypes'. */
export function symbolOf(object: object, description: string): symbol | undefined {
  for (let at: object | null = object; at !== null; at = Object.getPrototypeOf(at)) {
    const found = Object.getOwnPropertySymbols(at).find((symbol) => symbol.description === description);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether the service called `unref()` on a server. Source: node lib/net.js, Server.prototype.unref. */
export function isUnreferenced(server: Server): boolean {
  return (server as unknown as { _unref?: boolean })._unref === true;
}
