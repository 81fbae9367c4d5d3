import { type Server as HttpServer, type IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { declare, give, isBusy, type Mover, takeBack, withdraw } from '../connections/moving/movers.js';
import { MoultError } from '../errors.js';
import { isHttp1 } from '../node/http/http1.js';
import { headOf, type RequestHead, requestFrom } from '../node/http/request.js';
import { isBetweenWrites, type ResponseState, responseFrom, stateOfResponse } from '../node/http/response.js';
import { refuseLate } from './late-use.js';
import { checkedLimits, tell, Warner } from './movable.js';

/** What a service says of responses that take long, such as streams of events. */
export interface MovableResponses<Data> {
  /** Tells several kinds of responses of one server apart; default: none. It must be the same in every release. */
  readonly name?: string;
  /** The version of the data that `save` gives; from 1 on, default 1. Raise it when the data changes its meaning. */
  readonly version?: number;
  /** The oldest version of data that `restore` understands; default: `version`. Responses of others stay. */
  readonly oldestVersion?: number;
  /** The most bytes that may go along with one response; default 1 MiB, at most 4 MiB. */
  readonly maxBytes?: number;
  /** Whether it may leave now; default: always, which is right where each event is one `write`. */
  canMove?(response: ServerResponse): boolean;
  /** What belongs to a response, for the successor, such as the id of its last event. It must change nothing. */
  save(response: ServerResponse): Data | Promise<Data>;
  /**
   * Goes on with a response that has moved here: its head is sent, what is written goes on with its body.
   * `response.req` is its request, with its headers. When it throws, the connection is closed.
   */
  restore(response: ServerResponse, data: Data, version: number): void | Promise<void>;
  /** The response has left this process: time to clear timers and lists. It emits nothing any more. */
  moved?(response: ServerResponse): void;
  /** The response could not leave, and stays here until it ends; default: one warning for each code. */
  stayed?(response: ServerResponse, error: MoultError): void;
}

/** Responses of a server that may move. */
export interface MovableResponseList {
  /** This response may move from now on, until it has ended. Its head must have been written. */
  add(response: ServerResponse): void;
}

/**
 * Declares that responses of an HTTP server may go on in the successor: streams of events, or other long ones that
 * the service can go on with. To be called by every release, before the server listens or in the same turn. Where the
 * process does not run under moult it changes nothing.
 *
 * A response moves when the service is not running and nothing of its body waits above the socket, so between two
 * writes. One over TLS (unless it is TLS 1.3 and the service runs with `--tls move`), of HTTP/2, whose request is not read to its end, and one behind which its client has sent
 * another request stay until they end.
 * @throws MOULT_BAD_OPTION for a value that cannot be used.
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
