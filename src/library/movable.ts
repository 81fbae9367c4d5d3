import type { Server, Socket } from 'node:net';
import {
  begin,
  declare,
  isBusy,
  look,
  MAX_DATA_BYTES,
  type Mover,
  withdraw,
} from '../connections/moving/movers.js';
import { MoultError } from '../errors.js';
import { isHttp1 } from '../node/http/http1.js';
import { isHttp2 } from '../node/http/http2.js';
import { refuseLate } from './late-use.js';

/** What a service says of the connections of a server that speaks a protocol of its own. */
export interface Movable<Data> {
  /** The version of the data that `save` gives; from 1 on, default 1. Raise it when the data changes its meaning. */
  readonly version?: number;
  /** The oldest version of data that `restore` understands; default: `version`. Connections of others stay. */
  readonly oldestVersion?: number;
  /** The most bytes that may go along with one connection; default 1 MiB, at most 4 MiB. */
  readonly maxBytes?: number;
  /**
   * Whether the connection is at a point at which it may leave, such as between two messages; default: always.
   * Asked often, so it must be quick; {@link atBoundary} has it asked at once.
   */
  canMove?(socket: Socket): boolean;
  /**
   * What belongs to a connection, for the successor: anything that `structuredClone` takes. It is called when the
   * service is not running, nothing more is read, and what is written waits to go along. What the service has read
   * and not dealt with yet, such as the beginning of a message, must be part of it. May return a promise, which
   * must settle within 5 s. One that throws, or gives too much, makes the connection stay.
   */
  save(socket: Socket): Data | Promise<Data>;
  /**
   * Sets up a connection that has moved here, as the server's 'connection' handler does for a new one. Nothing is
   * read before it returns, or before its promise settles. When it throws, the connection is closed.
   * @param version of the data.
   */
  restore(socket: Socket, data: Data, version: number): void | Promise<void>;
  /** The connection has left this process: time to clear timers and lists. Its socket emits nothing any more. */
  moved?(socket: Socket): void;
  /** The connection could not leave, and stays here until it ends; default: one warning for each code. */
  stayed?(socket: Socket, error: MoultError): void;
}

const DEFAULT_MAX_BYTES = 1024 * 1024;

/**
 * Declares the connections of a server of `node:net` or `node:tls` movable: at a restart they go to the successor without being
 * closed, and come back when the restart is undone. To be called by every release, before the server listens or in
 * the same turn. Where the process does not run under moult it changes nothing.
 *
 * Those over TLS 1.3 move where the service runs with `--tls move`; the others of a TLS server stay until they end.
 * @throws MOULT_BAD_OPTION for a value that cannot be used; for a server of HTTP, whose connections move by
 *   themselves, or of HTTP/2, whose connections cannot move.
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

/** Says that a connection may have come to a point at which it can move: `canMove` is asked when this turn is over. */
export function atBoundary(socket: Socket): void {
  look(socket);
}

/**
 * Keeps a connection here while something is pending on it: an answer that is being computed, a transaction.
 * @param until it is over when this promise settles; without one, when the function that is returned is called.
 * @returns ends it; more than one call changes nothing.
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
