import { type Server as HttpServer, type IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { declare, give, isBusy, type Mover, takeBack, withdraw } from '../connections/moving/movers.js';
import { MoultError } from '../errors.js';
import { isHttp1 } from '../node/http/http1.js';
import { headOf, type RequestHead, requestFrom } from '../node/http/request.js';
import { isBetweenWrites, type ResponseState, responseFrom, stateOfResponse } from '../node/http/response.js';
import { refuseLate } from './movable/late-use.js';
import { checkedLimits, tell, Warner } from './movable/movable.js';

/** How to move long responses, such as event streams. */
export interface MovableResponses<Data> {
  /**
   * A name to tell several kinds of responses of one server apart; default none. It must be the same in every
   * release.
   */
  readonly name?: string;
  /**
   * The version of the data that `save` returns, from 1; default 1. Raise it when the meaning of the data
   * changes.
   */
  readonly version?: number;
  /**
   * The oldest version of data that `restore` understands; default: `version`. Responses with other versions
   * stay.
   */
  readonly oldestVersion?: number;
  /** The maximum size of the data of one response, in bytes; default 1 MiB, at most 4 MiB. */
  readonly maxBytes?: number;
  /** Whether the response may move now; default: always, which is right if each event is one `write`. */
  canMove?(response: ServerResponse): boolean;
  /**
   * Returns the data of a response for the successor, such as the id of its last event. It must have no side
   * effects.
   */
  save(response: ServerResponse): Data | Promise<Data>;
  /**
   * Continues a response that has moved here: its head is already sent, and writes continue its body.
   * `response.req` is its request, with its headers. If it throws, moult closes the connection.
   */
  restore(response: ServerResponse, data: Data, version: number): void | Promise<void>;
  /** Called when the response has left this process: clear timers and lists. It emits no more events. */
  moved?(response: ServerResponse): void;
  /** Called when the response could not move and stays here until it ends; default: one warning per error code. */
  stayed?(response: ServerResponse, error: MoultError): void;
}

/** The movable responses of a server. */
export interface MovableResponseList {
  /** Makes a response movable until it ends. Its head must have been written. */
  add(response: ServerResponse): void;
}

/**
 * Declares that responses of an HTTP server can continue in the successor: event streams, or other long
 * responses. Call it in every release, before the server listens or in the same turn. Without moult, it has
 * no effect.
 *
 * A response moves between two writes, when none of the service's code is running and no part of its body
 * waits above the socket. These stay until they end: responses over TLS (unless it is TLS 1.3 and the service
 * runs with `--tls move`) or HTTP/2, responses whose request is not fully read, and responses behind which
 * the client has sent another request.
 * @throws MOULT_BAD_OPTION for an invalid value.
 */
export function movableResponses<Data = unknown>(
  server: HttpServer,
  options: MovableResponses<Data>,
): MovableResponseList {
  const mover = new ResponseMover(server, options);
  declare(mover);
  server.once('close', () => withdraw(mover));
  return { add: (response) => mover.add(response) };
}

interface Saved {
  readonly head: RequestHead;
  readonly state: ResponseState;
  readonly data: unknown;
}

class ResponseMover<Data> implements Mover {
  readonly name: string;
  readonly version: number;
  readonly oldestVersion: number;
  readonly maxBytes: number;
  readonly #server: HttpServer;
  readonly #options: MovableResponses<Data>;
  readonly #responses = new WeakMap<Socket, ServerResponse>();
  readonly #warner = new Warner();

  constructor(server: HttpServer, options: MovableResponses<Data>) {
    const { version, oldestVersion, maxBytes } = checkedLimits('movableResponses', options);
    this.name = `response:${options.name ?? ''}`;
    this.version = version;
    this.oldestVersion = oldestVersion;
    this.maxBytes = maxBytes;
    this.#server = server;
    this.#options = options;
  }

  add(response: ServerResponse): void {
    const { socket } = response;
    if (!(response instanceof ServerResponse)) {
      throw new MoultError('MOULT_BAD_OPTION', 'expected a response of HTTP/1.1, received another object');
    }
    if (socket === null || response.writableEnded) return;
    this.#responses.set(socket, response);
    response.once('finish', () => {
      this.#responses.delete(socket);
      takeBack(socket);
    });
    give(socket, this);
  }

  takesFor(server: Server): boolean {
    return server === this.#server && isHttp1(server);
  }

  phase(socket: Socket): 'ready' | 'busy' | 'receiving' {
    const response = this.#of(socket);
    if (isBusy(response) || isBusy(socket)) return 'busy';
    const isReady = isBetweenWrites(response, this.#server) && this.#options.canMove?.(response) !== false;
    return isReady ? 'ready' : 'receiving';
  }

  hold(): void {}

  isQuiet(): boolean {
    return true;
  }

  save(socket: Socket): Saved | Promise<Saved> {
    const response = this.#of(socket);
    const all = (data: unknown): Saved => ({
      head: headOf(response.req),
      state: stateOfResponse(response),
      data,
    });
    const data = this.#options.save(response);
    return data instanceof Promise ? data.then(all) : all(data);
  }

  stays(socket: Socket): boolean {
    return !isBetweenWrites(this.#of(socket), this.#server);
  }

  late(): undefined {}

  release(): void {}

  left(socket: Socket): void {
    const response = this.#of(socket);
    response.emit = () => false;
    response.req.emit = () => false;
    for (const call of ['write', 'end'] as const) {
      Object.defineProperty(response, call, { configurable: true, value: refuseLate(`${call}()`) });
    }
    tell(() => this.#options.moved?.(response));
  }

  restore(socket: Socket, saved: unknown, _late: unknown, version: number): void | Promise<void> {
    const { head, state, data } = saved as Saved;
    const request: IncomingMessage = requestFrom(head, socket);
    const response = responseFrom(state, request, socket, this.#server);
    this.add(response);
    return this.#options.restore(response, data as Data, version);
  }

  abandon(socket: Socket): void {
    socket.destroy();
  }

  stayed(socket: Socket, error: MoultError): void {
    const response = this.#of(socket);
    if (this.#options.stayed !== undefined) tell(() => this.#options.stayed?.(response, error));
    else this.#warner.warn('a response', error);
  }

  #of(socket: Socket): ServerResponse {
    const response = this.#responses.get(socket);
    if (response === undefined) throw new TypeError('a socket without a response');
    return response;
  }
}
