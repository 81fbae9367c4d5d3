import type { Server, Socket } from 'node:net';
import type { WebSocket, WebSocketServer } from 'ws';
import { begin, declare, give, isBusy, look, type Mover, withdraw } from '../../connections/moving/movers.js';
import type { MoultError } from '../../errors.js';
import { isHttp1 } from '../../node/http/http1.js';
import { headOf, type RequestHead, requestFrom } from '../../node/http/request.js';
import { refuseLate } from '../movable/late-use.js';
import { checkedLimits, tell, Warner } from '../movable/movable.js';
import type { MovableWebSockets } from '../movable/movable-web-sockets.js';
import { watchMessages } from './handlers.js';
import { InflateWindow } from './inflate-window.js';
import {
  deflateOf,
  hasBlobs,
  holdSender,
  httpServerOf,
  isClosing,
  isKnown,
  type LateSend,
  lateSends,
  receivedBytes,
  receiverPhase,
  refersBack,
  releaseSender,
  sendLate,
  silence,
  socketOf,
  stateOf,
  type WebSocketState,
  webSocketFrom,
} from './insides.js';

/** In the version of ws's own data; raised when {@link WebSocketState} changes its meaning. */
const STATE_VERSION = 1;
const MAX_BYTES = 4 * 1024 * 1024;
/** What is kept free for the rest, beside an unfinished message: the window, the request and the service's data. */
const RESERVED_BYTES = 256 * 1024;
const SERVICE_RESTART = 1012;

/** WebSockets that were opened in another generation. */
export const cameFromElsewhere = new WeakSet<WebSocket>();

/** The WebSocket that speaks over a socket. */
const webSockets = new WeakMap<object, WebSocket>();

/** The WebSocket that speaks over this socket, of a server that is declared movable. */
export function webSocketOn(socket: object): WebSocket | undefined {
  return webSockets.get(socket);
}

interface Attached {
  readonly ws: WebSocket;
  readonly head: RequestHead;
  readonly isKnown: boolean;
  /** What its client's messages may refer back to; undefined where they do not. */
  readonly window: InflateWindow | undefined;
  hold: 'none' | 'pending' | 'quiet';
}

/** What goes along with a WebSocket. */
interface Saved {
  readonly stateVersion: number;
  readonly head: RequestHead;
  readonly state: WebSocketState;
  readonly window: Buffer | undefined;
  readonly data: unknown;
}

/** Moves the WebSockets of one server. */
export class WebSocketMover<Data> implements Mover {
  readonly name: string;
  readonly version: number;
  readonly oldestVersion: number;
  readonly maxBytes: number;
  readonly #maxReceivedBytes: number;
  readonly #wss: WebSocketServer;
  readonly #options: MovableWebSockets<Data>;
  readonly #attached = new WeakMap<Socket, Attached>();
  readonly #warner = new Warner();

  constructor(wss: WebSocketServer, options: MovableWebSockets<Data>) {
    const { version, oldestVersion, maxBytes } = checkedLimits('moveWebSockets', {
      maxBytes: MAX_BYTES,
      ...options,
    });
    this.name = `ws:${options.name ?? wss.options.path ?? ''}`;
    this.version = version;
    this.oldestVersion = oldestVersion;
    this.maxBytes = maxBytes;
    this.#maxReceivedBytes = Math.max(maxBytes / 2, maxBytes - RESERVED_BYTES);
    this.#wss = wss;
    this.#options = options;
  }

  /** Declares itself, and takes every WebSocket that its server opens from now on. */
  start(): void {
    const wss = this.#wss;
    declare(this);
    wss.once('close', () => withdraw(this));
    const upgrade = wss.handleUpgrade;
    wss.handleUpgrade = (request, socket, head, callback) => {
      upgrade.call(wss, request, socket, head, (ws, upgraded) => {
        this.attach(ws, headOf(request));
        callback(ws, upgraded);
      });
    };
  }

  /** From now on this WebSocket can move. */
  attach(ws: WebSocket, head: RequestHead, before?: Uint8Array): void {
    const socket = socketOf(ws);
    if (socket === undefined) return;
    const known = isKnown(ws);
    const deflate = known ? deflateOf(ws) : undefined;
    const window = deflate !== undefined && refersBack(deflate) ? new InflateWindow(before) : undefined;
    if (deflate !== undefined && window !== undefined) {
      const own = deflate.decompress;
      deflate.decompress = (data, fin, callback) =>
        own.call(deflate, data, fin, (error, result) => {
          if (error === null) window.add(result);
          callback(error, result);
        });
    }
    webSockets.set(socket, ws);
    this.#attached.set(socket, { ws, head, isKnown: known, window, hold: 'none' });
    watchMessages(
      ws,
      () => begin(ws, () => socketOf(ws)),
      () => look(socket),
    );
    give(socket, this);
  }

  takesFor(server: Server): boolean {
    const own = httpServerOf(this.#wss);
    return isHttp1(server) && (own === undefined || own === server);
  }

  phase(socket: Socket): 'ready' | 'busy' | 'receiving' {
    const { ws, isKnown: known } = this.#of(socket);
    if (!known) throw new TypeError('this version of ws keeps its state elsewhere than 8.18 to 8.23');
    if (isClosing(ws)) return 'receiving';
    if (isBusy(ws) || isBusy(socket)) return 'busy';
    const receiver = receiverPhase(ws);
    if (receiver === 'working') return 'busy';
    // What is too much to go along now is less when the message is whole.
    if (receiver === 'inflating' || receivedBytes(ws) > this.#maxReceivedBytes) return 'receiving';
    return this.#options.canMove?.(ws) === false ? 'receiving' : 'ready';
  }

  isWorking(socket: Socket): boolean {
    const { ws, hold } = this.#of(socket);
    return hold === 'pending' || receiverPhase(ws) === 'working';
  }

  hold(socket: Socket): void {
    const attached = this.#of(socket);
    attached.hold = 'pending';
    holdSender(attached.ws, () => {
      attached.hold = 'quiet';
      look(socket);
    });
  }

  isQuiet(socket: Socket): boolean {
    return this.#of(socket).hold === 'quiet';
  }

  save(socket: Socket): Saved | Promise<Saved> {
    const { ws } = this.#of(socket);
    const data = this.#options.save?.(ws);
    return data instanceof Promise
      ? data.then((value) => this.#saved(socket, value))
      : this.#saved(socket, data);
  }

  stays(socket: Socket): boolean {
    const { ws } = this.#of(socket);
    return isClosing(ws) || hasBlobs(ws);
  }

  late(socket: Socket): LateSend[] | undefined {
    const late = lateSends(this.#of(socket).ws);
    return late.length === 0 ? undefined : late;
  }

  release(socket: Socket): void {
    const attached = this.#of(socket);
    const isQuiet = attached.hold === 'quiet';
    attached.hold = 'none';
    releaseSender(attached.ws, isQuiet);
  }

  left(socket: Socket): void {
    const { ws } = this.#of(socket);
    silence(ws, this.#wss);
    for (const call of ['send', 'ping', 'pong'] as const) ws[call] = refuseLate(`${call}()`);
    tell(() => this.#options.moved?.(ws));
  }

  restore(socket: Socket, saved: unknown, late: unknown, version: number): void | Promise<void> {
    const { stateVersion, head, state, window, data } = saved as Saved;
    if (stateVersion !== STATE_VERSION) {
      throw new TypeError(`expected state of version ${STATE_VERSION}, received version ${stateVersion}`);
    }
    const ws = webSocketFrom(state, window, socket, this.#wss);
    cameFromElsewhere.add(ws);
    this.attach(ws, head, window);
    sendLate(ws, (late ?? []) as LateSend[]);
    const request = requestFrom(head, socket);
    if (this.#options.restore === undefined) {
      this.#wss.emit('connection', ws, request);
      return;
    }
    return this.#options.restore(ws, data as Data, request, version);
  }

  abandon(socket: Socket): void {
    const ws = this.#attached.get(socket)?.ws;
    if (ws === undefined) {
      socket.destroy();
      return;
    }
    ws.close(SERVICE_RESTART);
    // Nobody has set it up, and its client may send on for as long as it likes.
    ws.on('error', () => {});
    socket.resume();
  }

  stayed(socket: Socket, error: MoultError): void {
    const { ws } = this.#of(socket);
    if (this.#options.stayed !== undefined) tell(() => this.#options.stayed?.(ws, error));
    else this.#warner.warn('a WebSocket', error);
  }

  /** The WebSocket that speaks over this socket. */
  protected webSocketOf(socket: Socket): WebSocket {
    return this.#of(socket).ws;
  }

  #saved(socket: Socket, data: unknown): Saved {
    const { ws, head, window } = this.#of(socket);
    return { stateVersion: STATE_VERSION, head, state: stateOf(ws), window: window?.bytes, data };
  }

  #of(socket: Socket): Attached {
    const attached = this.#attached.get(socket);
    if (attached === undefined) throw new TypeError('a socket of no WebSocket');
    return attached;
  }
}
