import type { Server, Socket } from 'node:net';
import {
  begin,
  declare,
  isBusy,
  look,
  MAX_DATA_BYTES,
  type Mover,
  withdraw,
} from '../../connections/moving/movers.js';
import { MoultError } from '../../errors.js';
import { isHttp1 } from '../../node/http/http1.js';
import { isHttp2 } from '../../node/http/http2.js';
import { refuseLate } from './late-use.js';

/** How to move the connections of a server with its own protocol. */
export interface Movable<Data> {
  /**
   * The version of the data that `save` returns, from 1; default 1. Raise it when the meaning of the data
   * changes.
   */
  readonly version?: number;
  /**
   * The oldest version of data that `restore` understands; default: `version`. Connections with other
   * versions stay.
   */
  readonly oldestVersion?: number;
  /** The maximum size of the data of one connection, in bytes; default 1 MiB, at most 4 MiB. */
  readonly maxBytes?: number;
  /**
   * Whether the connection may move now, for example because it is between two messages; default: always.
   * moult calls it often, so it must be fast; {@link atBoundary} makes moult call it at once.
   */
  canMove?(socket: Socket): boolean;
  /**
   * Returns the data of a connection for the successor: anything that `structuredClone` accepts. When moult
   * calls it, none of the service's code is running, nothing more is read, and written data waits to move
   * along. It must include what the service has read but not processed yet, such as the beginning of a
   * message. It may return a promise, which must settle within 5 s. If it throws, or returns too much, the
   * connection stays.
   */
  save(socket: Socket): Data | Promise<Data>;
  /**
   * Sets up a connection that has moved here, like the server's 'connection' handler does for a new one.
   * moult reads nothing before it returns, or before its promise settles. If it throws, moult closes the
   * connection.
   * @param version of the data.
   */
  restore(socket: Socket, data: Data, version: number): void | Promise<void>;
  /** Called when the connection has left this process: clear timers and lists. Its socket emits no more events. */
  moved?(socket: Socket): void;
  /** Called when the connection could not move and stays here until it ends; default: one warning per error code. */
  stayed?(socket: Socket, error: MoultError): void;
}

const DEFAULT_MAX_BYTES = 1024 * 1024;

/**
 * Declares the connections of a server of `node:net` or `node:tls` movable: at a restart they move to the
 * successor without being closed, and move back if the restart is undone. Call it in every release, before
 * the server listens or in the same turn. Without moult, it has no effect. TLS connections move only with TLS
 * 1.3 and `--tls move`; others of a TLS server stay until they end.
 * @throws MOULT_BAD_OPTION for an invalid value; for an HTTP server, whose connections move without it, or
 *   HTTP/2, whose connections cannot move.
 */
export function movable<Data = unknown>(server: Server, options: Movable<Data>): void {
  if (isHttp1(server) || isHttp2(server)) {
    throw new MoultError(
      'MOULT_BAD_OPTION',
      'movable: expected a server of node:net or node:tls, received one of HTTP',
    );
  }
  const mover = new RawMover(server, options);
  declare(mover, server);
  server.once('close', () => withdraw(mover));
}

/** Tells moult that a connection may be able to move: it calls `canMove` when this turn is over. */
export function atBoundary(socket: Socket): void {
  look(socket);
}

/**
 * Keeps a connection in this process while something is pending on it, such as a response being computed, or
 * a transaction.
 * @param until the promise to wait for; without one, call the returned function when it is over.
 * @returns a function that ends it; further calls have no effect.
 */
export function busy(socket: Socket, until?: PromiseLike<unknown>): () => void {
  const end = begin(socket, () => socket);
  until?.then(end, end);
  return end;
}

/** Checks what declarations of all kinds have in common. @throws MOULT_BAD_OPTION */
export function checkedLimits(
  what: string,
  { version = 1, oldestVersion = version, maxBytes = DEFAULT_MAX_BYTES }: LimitOptions,
): { version: number; oldestVersion: number; maxBytes: number } {
  const expect = (name: string, value: number, min: number, max: number) => {
    if (Number.isInteger(value) && value >= min && value <= max) return;
    throw new MoultError(
      'MOULT_BAD_OPTION',
      `${what}: expected ${name} to be a whole number from ${min} to ${max}, received ${value}`,
    );
  };
  expect('version', version, 1, 2 ** 31);
  expect('oldestVersion', oldestVersion, 1, version);
  expect('maxBytes', maxBytes, 1, MAX_DATA_BYTES);
  return { version, oldestVersion, maxBytes };
}

interface LimitOptions {
  readonly version?: number;
  readonly oldestVersion?: number;
  readonly maxBytes?: number;
}

/** Tells once a code that connections of a mover stay. */
export class Warner {
  #told = new Set<string>();

  warn(what: string, error: MoultError): void {
    if (this.#told.has(error.code)) return;
    this.#told.add(error.code);
    process.emitWarning(`${what} cannot move: ${error.message}`, { type: 'MoultWarning', code: error.code });
  }
}

/** Calls the service; what it throws is its own affair, as in any callback, and must not stop a batch. */
export function tell(call: () => void): void {
  queueMicrotask(call);
}

class RawMover<Data> implements Mover {
  readonly name = 'raw';
  readonly version: number;
  readonly oldestVersion: number;
  readonly maxBytes: number;
  readonly #server: Server;
  readonly #options: Movable<Data>;
  readonly #warner = new Warner();

  constructor(server: Server, options: Movable<Data>) {
    const { version, oldestVersion, maxBytes } = checkedLimits('movable', options);
    this.version = version;
    this.oldestVersion = oldestVersion;
    this.maxBytes = maxBytes;
    this.#server = server;
    this.#options = options;
  }

  takesFor(server: Server): boolean {
    return server === this.#server;
  }

  phase(socket: Socket): 'ready' | 'busy' | 'receiving' {
    if (isBusy(socket)) return 'busy';
    return this.#options.canMove?.(socket) === false ? 'receiving' : 'ready';
  }

  hold(): void {}

  isQuiet(): boolean {
    return true;
  }

  save(socket: Socket): unknown {
    return this.#options.save(socket);
  }

  stays(): boolean {
    return false;
  }

  late(): undefined {}

  release(): void {}

  left(socket: Socket): void {
    socket.removeAllListeners();
    socket.on('error', () => {});
    socket.write = refuseLate('write()') as Socket['write'];
    tell(() => this.#options.moved?.(socket));
  }

  restore(socket: Socket, saved: unknown, _late: unknown, version: number): void | Promise<void> {
    socket.allowHalfOpen = (this.#server as Server & { allowHalfOpen: boolean }).allowHalfOpen;
    return this.#options.restore(socket, saved as Data, version);
  }

  abandon(socket: Socket): void {
    socket.destroy();
  }

  stayed(socket: Socket, error: MoultError): void {
    if (this.#options.stayed !== undefined) tell(() => this.#options.stayed?.(socket, error));
    else this.#warner.warn('a connection of a server that is declared movable', error);
  }
}
