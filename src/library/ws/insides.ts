/*
 * Over 300 lines: all that moult reads and sets inside of `ws`, so that another version is checked against one
 * file.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { WebSocket, WebSocketServer } from 'ws';

/*
 * What moult knows of the `ws` library beyond its documentation: where it keeps the state of a connection. All of it
 * is looked for before it is used, so that another version of ws drains instead of breaking.
 * Source: ws 8.18 to 8.23, lib/websocket.js, receiver.js, sender.js, permessage-deflate.js, websocket-server.js.
 */

/** States of the receiver from this one on have work under way that is not in its fields: inflating, deferring. */
const RECEIVER_WORKS = 5;
/** It begins with a frame. */
const RECEIVER_GETS_INFO = 0;
/** The sender sends at once; in any other state it queues. */
const SENDER_IDLE = 0;
const SENDER_QUEUES = 1;
/** Opcodes from this one on are of frames that are no part of a message. Source: RFC 6455, section 5.5. */
const FIRST_CONTROL = 8;
export const OPEN = 1;
const CLOSED = 3;
const DEFLATE = 'permessage-deflate';

/** The receiver's fields that make up where it stands in the stream of frames, but for its buffers. */
const RECEIVER_FIELDS = [
  '_state',
  '_compressed',
  '_payloadLength',
  '_mask',
  '_fragmented',
  '_masked',
  '_fin',
  '_opcode',
  '_totalPayloadLength',
  '_messageLength',
  '_fragments',
] as const;

interface Receiver extends Record<(typeof RECEIVER_FIELDS)[number], unknown> {
  _buffers: Buffer[];
  _bufferedBytes: number;
  /** Counted from 8.19 on. */
  _numFragments?: number;
  _errored?: boolean;
  readonly writableLength: number;
  readonly writableNeedDrain: boolean;
  readonly destroyed: boolean;
}

interface SendOptions {
  readonly fin: boolean;
  readonly opcode: number;
}

type Queued = [action: unknown, data: unknown, compress: boolean, options: SendOptions, callback: unknown];

interface Sender {
  _state: number;
  _queue: Queued[];
  _firstFragment: boolean;
  _compress: boolean;
  dispatch: unknown;
  dequeue(): void;
}

export interface Deflate {
  params: Readonly<Record<string, unknown>>;
  _options: { zlibInflateOptions?: object };
  decompress(data: Buffer, fin: boolean, callback: (error: Error | null, result: Buffer) => void): void;
  _decompress(...args: unknown[]): void;
}

type DeflateClass = new (options: object, isServer: boolean, maxPayload: number) => Deflate;

interface Insides {
  _socket: Socket | null;
  _receiver: Receiver;
  _sender: Sender;
  _extensions: Record<string, Deflate>;
  _protocol: string;
  _readyState: number;
  setSocket(socket: Socket, head: Buffer, options: object): void;
}

interface ServerInsides {
  _server: unknown;
  _shouldEmitClose?: boolean;
  _state: number;
}

/** What of a WebSocket's own travels. */
export interface WebSocketState {
  readonly protocol: string;
  readonly binaryType: WebSocket['binaryType'];
  readonly isPaused: boolean;
  /** Undefined between two messages: then a new receiver stands there, too. */
  readonly receiver: Readonly<Record<string, unknown>> | undefined;
  /** What was received of a frame that is not whole. */
  readonly received: Buffer | undefined;
  /** Whether the next fragment that is sent begins a message; and whether that message is compressed. */
  readonly firstFragment: boolean;
  readonly compress: boolean;
  /** The negotiated parameters of permessage-deflate, or null where it is not spoken. */
  readonly deflate: Readonly<Record<string, unknown>> | null;
}

/** A call of the service that was queued: it is made anew on the other side. */
export interface LateSend {
  readonly call: 'send' | 'ping' | 'pong';
  readonly data: Uint8Array | string;
  readonly binary: boolean;
  readonly compress: boolean;
  readonly fin: boolean;
}

function insidesOf(ws: WebSocket): Insides {
  return ws as unknown as Insides;
}

/** Whether this WebSocket keeps its state where it is looked for. */
export function isKnown(ws: WebSocket): boolean {
  const { _receiver: receiver, _sender: sender, _extensions: extensions } = insidesOf(ws);
  if (receiver == null || sender == null || extensions == null) return false;
  return (
    RECEIVER_FIELDS.every((name) => name in receiver) &&
    Array.isArray(receiver._buffers) &&
    typeof receiver._bufferedBytes === 'number' &&
    sender._state === SENDER_IDLE &&
    Array.isArray(sender._queue) &&
    typeof sender._firstFragment === 'boolean' &&
    typeof sender.dequeue === 'function' &&
    typeof sender.dispatch === 'function' &&
    Object.keys(extensions).every((name) => name === DEFLATE)
  );
}

export function socketOf(ws: WebSocket): Socket | undefined {
  return insidesOf(ws)._socket ?? undefined;
}

export function deflateOf(ws: WebSocket): Deflate | undefined {
  return insidesOf(ws)._extensions[DEFLATE];
}

/** Whether what its client sends refers back to earlier messages. */
export function refersBack({ params }: Deflate): boolean {
  return params.client_no_context_takeover !== true;
}

/**
 * Where the receiver stands:
 * - `apart`: all that it holds is in its fields
 * - `working`: on what it has received already
 * - `inflating`: between the fragments of a compressed message; the inflater holds what cannot be taken out
 */
export function receiverPhase(ws: WebSocket): 'apart' | 'working' | 'inflating' {
  const { _receiver: receiver } = insidesOf(ws);
  const isWorking = (receiver._state as number) >= RECEIVER_WORKS || receiver.writableLength > 0;
  if (isWorking || receiver.writableNeedDrain) return 'working';
  return receiver._compressed === true && receiver._fragmented !== 0 ? 'inflating' : 'apart';
}

/** How much the receiver holds of a message that is not whole. */
export function receivedBytes(ws: WebSocket): number {
  const { _receiver: receiver } = insidesOf(ws);
  return (receiver._fragments as Buffer[]).reduce((sum, { length }) => sum + length, receiver._bufferedBytes);
}

/** Whether the connection is being closed, or has been given up. */
export function isClosing(ws: WebSocket): boolean {
  const { _readyState, _receiver: receiver } = insidesOf(ws);
  return _readyState !== OPEN || receiver._errored === true || receiver.destroyed;
}

/** Keeps back what the service sends; what the sender is at now still goes out. @param quiet is told when it has. */
export function holdSender(ws: WebSocket, quiet: () => void): void {
  const { _sender: sender } = insidesOf(ws);
  if (sender._state === SENDER_IDLE) {
    sender._state = SENDER_QUEUES;
    quiet();
    return;
  }
  // Called when it has sent what it was at, to go on with what it has queued.
  sender.dequeue = () => {
    sender._state = SENDER_QUEUES;
    quiet();
  };
}

/** Sends on, what was kept back first. */
export function releaseSender(ws: WebSocket, isQuiet: boolean): void {
  const { _sender: sender } = insidesOf(ws);
  Reflect.deleteProperty(sender, 'dequeue');
  if (!isQuiet) return;
  sender._state = SENDER_IDLE;
  sender.dequeue();
}

export function stateOf(ws: WebSocket): WebSocketState {
  const { _receiver: receiver, _sender: sender, _protocol: protocol } = insidesOf(ws);
  // The sender has counted what was kept back as sent; over there it is sent anew.
  const [, , compress, next] = sender._queue.find(([, , , { opcode }]) => opcode < FIRST_CONTROL) ?? [];
  return {
    protocol,
    binaryType: ws.binaryType,
    isPaused: ws.isPaused,
    receiver: isBetweenMessages(receiver) ? undefined : fieldsOf(receiver),
    received: receiver._bufferedBytes === 0 ? undefined : Buffer.concat(receiver._buffers),
    firstFragment: next === undefined ? sender._firstFragment : next.opcode !== 0,
    compress: compress ?? sender._compress,
    deflate: deflateOf(ws)?.params ?? null,
  };
}

// What its other fields say is of the last frame, and the next one overwrites it.
function isBetweenMessages(receiver: Receiver): boolean {
  const { _state, _fragmented, _totalPayloadLength, _messageLength, _fragments } = receiver;
  const isPartOfMessage = _fragmented !== 0 || _totalPayloadLength !== 0 || _messageLength !== 0;
  return _state === RECEIVER_GETS_INFO && !isPartOfMessage && (_fragments as unknown[]).length === 0;
}

function fieldsOf(receiver: Receiver): Record<string, unknown> {
  const fields = Object.fromEntries(RECEIVER_FIELDS.map((name) => [name, receiver[name]]));
  return { ...fields, _numFragments: receiver._numFragments ?? 0 };
}

/** Whether something was kept back that is not read yet: a Blob. */
export function hasBlobs(ws: WebSocket): boolean {
  return insidesOf(ws)._sender._queue.some(([, data]) => !isPlain(data));
}

/** What was kept back; no Blobs. */
export function lateSends(ws: WebSocket): LateSend[] {
  return insidesOf(ws)._sender._queue.map(([, data, compress, { fin, opcode }]) => {
    if (!isPlain(data)) throw new TypeError('expected bytes or text, a Blob was sent');
    const call = opcode === 9 ? 'ping' : opcode === 10 ? 'pong' : 'send';
    return { call, data, binary: opcode === 2, compress, fin };
  });
}

function isPlain(data: unknown): data is Uint8Array | string {
  return typeof data === 'string' || data instanceof Uint8Array;
}

/** Makes the WebSocket's object fall silent: it says that it is closed, and emits nothing. */
export function silence(ws: WebSocket, wss: WebSocketServer): void {
  const insides = insidesOf(ws);
  for (const [, , , , callback] of insides._sender._queue.splice(0)) {
    if (typeof callback === 'function') process.nextTick(callback as () => void);
  }
  insides._readyState = CLOSED;
  ws.emit = () => false;
  leaveServer(ws, wss);
}

/** The calls that were kept back in another process, made here. */
export function sendLate(ws: WebSocket, late: readonly LateSend[]): void {
  for (const { call, data, binary, compress, fin } of late) {
    if (call === 'send') ws.send(data, { binary, compress, fin });
    else ws[call](data);
  }
}

/** A WebSocket of this server that stands where one of another process stood. */
export function webSocketFrom(
  state: WebSocketState,
  window: Uint8Array | undefined,
  socket: Socket,
  wss: WebSocketServer,
): WebSocket {
  const { options } = wss;
  const WebSocketClass = options.WebSocket as unknown as new (
    address: null,
    protocols: undefined,
    options: object,
  ) => WebSocket;
  const ws = new WebSocketClass(null, undefined, options);
  const insides = insidesOf(ws);
  insides._protocol = state.protocol;
  if (state.deflate !== null) insides._extensions = { [DEFLATE]: deflateFrom(state.deflate, window, wss) };
  const { allowSynchronousEvents, maxPayload, skipUTF8Validation } = options;
  const { maxBufferedChunks, maxFragments } = options as {
    maxBufferedChunks?: number;
    maxFragments?: number;
  };
  insides.setSocket(socket, Buffer.alloc(0), {
    allowSynchronousEvents,
    maxBufferedChunks,
    maxFragments,
    maxPayload,
    skipUTF8Validation,
  });
  ws.binaryType = state.binaryType;
  if (!isKnown(ws)) throw new TypeError('this version of ws is not known');
  const { receiver, received } = state;
  if (receiver !== undefined) Object.assign(insides._receiver, receiver);
  if (received !== undefined)
    Object.assign(insides._receiver, { _buffers: [received], _bufferedBytes: received.length });
  insides._sender._firstFragment = state.firstFragment;
  insides._sender._compress = state.compress;
  joinServer(ws, wss);
  if (state.isPaused) ws.pause();
  return ws;
}

function deflateFrom(
  params: Readonly<Record<string, unknown>>,
  window: Uint8Array | undefined,
  wss: WebSocketServer,
): Deflate {
  const { perMessageDeflate, maxPayload = 0 } = wss.options;
  const given = typeof perMessageDeflate === 'object' ? perMessageDeflate : {};
  const DeflateOf = deflateClass(wss);
  const deflate = new DeflateOf({ ...given, isServer: true, maxPayload }, true, maxPayload);
  deflate.params = params;
  if (window === undefined || window.length === 0) return deflate;
  const own = deflate._options;
  // The inflater is made at the first compressed message, with these options; only that first one goes on from there.
  deflate._decompress = (...args) => {
    Reflect.deleteProperty(deflate, '_decompress');
    deflate._options = { ...own, zlibInflateOptions: { ...own.zlibInflateOptions, dictionary: window } };
    try {
      deflate._decompress(...args);
    } finally {
      deflate._options = own;
    }
  };
  return deflate;
}

const deflateClasses = new WeakMap<object, DeflateClass>();

// The class of the ws that the service uses. Older ones do not export it; a handshake with nobody shows it.
function deflateClass(wss: WebSocketServer): DeflateClass {
  const known = deflateClasses.get(wss.constructor);
  if (known !== undefined) return known;
  const ServerClass = wss.constructor as new (options: object) => WebSocketServer;
  const server = new ServerClass({ noServer: true, clientTracking: false, perMessageDeflate: true });
  const nobody = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const headers = {
    upgrade: 'websocket',
    'sec-websocket-key': 'bW91bHQgbmVlZHMgbm9uZQ==',
    'sec-websocket-version': '13',
    'sec-websocket-extensions': DEFLATE,
  };
  let found: DeflateClass | undefined;
  const request = { method: 'GET', url: '/', headers } as unknown as IncomingMessage;
  server.handleUpgrade(request, nobody, Buffer.alloc(0), (ws) => {
    found = deflateOf(ws)?.constructor as DeflateClass | undefined;
  });
  nobody.destroy();
  if (found === undefined) throw new TypeError('this version of ws does not show its permessage-deflate');
  deflateClasses.set(wss.constructor, found);
  return found;
}

// As the server itself does after a handshake. Source: ws lib/websocket-server.js, completeUpgrade.
function joinServer(ws: WebSocket, wss: WebSocketServer): void {
  if (wss.clients === undefined) return;
  wss.clients.add(ws);
  ws.on('close', () => leaveServer(ws, wss));
}

function leaveServer(ws: WebSocket, wss: WebSocketServer): void {
  const insides = wss as unknown as ServerInsides;
  if (wss.clients?.delete(ws) !== true || wss.clients.size > 0 || insides._shouldEmitClose !== true) return;
  process.nextTick(() => {
    insides._state = 2;
    wss.emit('close');
  });
}

/** The HTTP server whose upgrades it takes by itself, if there is one. */
export function httpServerOf(wss: WebSocketServer): unknown {
  return (wss as unknown as ServerInsides)._server ?? undefined;
}
