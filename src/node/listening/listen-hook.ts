import type { Socket } from 'node:dgram';
import type { Server } from 'node:net';

/** What a `listen()` call came down to, after Node read its arguments and looked up its host. */
export interface ListenRequest {
  readonly server: Server;
  /** The address, or the path of a Unix socket, or null for every address. */
  readonly address: string | null;
  /** The port; -1 for a path or a handle. */
  readonly port: number;
  /** 4 or 6; -1 for a path or a handle. */
  readonly addressType: number | null;
  /** 0 when the caller named none. */
  readonly backlog: number;
  /** The descriptor of `listen({ fd })`. */
  readonly fd: number | undefined;
  /** libuv's bind flags, such as UV_TCP_IPV6ONLY. */
  readonly flags: number;
}

/** Decides what becomes of a request; `proceed` does what Node would have done, with another path where it is given one. */
export type ListenHook = (request: ListenRequest, proceed: (path?: string) => void) => void;

/**
 * The step of `net.Server.listen` at which arguments are read and looked up, and the socket is about to be
 * bound. Source: node lib/net.js, setupListenHandle, on every version from 20 to 26 reached as `_listen2`.
 */
export type Listen2 = (
  this: Server,
  address: string | null,
  port: number,
  addressType: number | null,
  backlog: number,
  fd?: number,
  flags?: number,
) => void;

/** What `service/preload/hooks.cts` exports; such a file cannot say so itself. */
export interface Hooks {
  onListen(decide: (server: Server, original: Listen2, args: Parameters<Listen2>) => void): void;
  onDatagramBind(callback: (socket: Socket) => void): void;
}

const internal = new WeakSet<Server>();

/** Keeps a server of moult's own out of every hook. */
export function markInternal(server: Server): void {
  internal.add(server);
}

/** Runs a hook for a call of `_listen2`, or Node's own step for moult's own servers. */
export function throughHook(
  hook: ListenHook,
  server: Server,
  original: Listen2,
  args: Parameters<Listen2>,
): void {
  const [address, port, addressType, backlog, fd, flags] = args;
  const proceed = (path = address) => original.apply(server, [path, port, addressType, backlog, fd, flags]);
  if (internal.has(server)) {
    proceed();
    return;
  }
  const request = { server, address, port, addressType, backlog, fd: fd ?? undefined, flags: flags ?? 0 };
  hook(request, proceed);
}
