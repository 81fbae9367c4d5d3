import type { Socket } from 'node:net';
import { handleOf, type StreamHandle } from '../handle.js';

/*
 * How to make a socket stand still in both directions while the service goes on using it: what the client sends
 * stays in the kernel, what the service writes stays in this process. Both can be undone, and nobody notices.
 */

interface Insides {
  _write: Write;
  _writev: Writev;
  _final: (done: Done) => void;
  _readableState: {
    readonly ended: boolean;
    readonly decoder: Decoder | null;
    readonly encoding: BufferEncoding | null;
  };
  readonly _writableState: { readonly writing: boolean };
}

type Done = (error?: Error | null) => void;
type Write = (chunk: Buffer | string, encoding: string, done: Done) => void;
type Writev = (chunks: { chunk: Buffer | string; encoding: string }[], done: Done) => void;

/** The part of a string_decoder that holds an unfinished character. Source: node lib/string_decoder.js. */
interface Decoder {
  readonly lastChar: Buffer;
  readonly lastNeed: number;
  readonly lastTotal: number;
}

/** libuv reads when this says so; Node remembers its own wish beside it. Source: node lib/net.js, tryReadStart. */
type ReadingHandle = StreamHandle & { reading?: boolean };

function insidesOf(socket: Socket): Insides {
  return socket as unknown as Insides;
}

/** How often to check whether a write has ended. */
const WRITE_LOOK_MS = 5;

const KEY = Symbol.for('moult.standstill.1');

/** How many have stopped each handle's reading: one count for all copies of this package in the process. */
function stopsOf(): WeakMap<StreamHandle, number> {
  const all = globalThis as { [KEY]?: WeakMap<StreamHandle, number> };
  all[KEY] ??= new WeakMap();
  return all[KEY];
}

/** Keeps what the client sends in the kernel, whoever asks the socket to read, until as many {@link readAgain}. */
export function stopReading(socket: Socket): void {
  const handle = handleOf(socket);
  if (handle === undefined) return;
  const count = stopsOf().get(handle) ?? 0;
  stopsOf().set(handle, count + 1);
  if (count > 0) return;
  handle.readStop();
  Object.defineProperty(handle, 'readStart', { configurable: true, writable: true, value: () => 0 });
}

/** Reads again, if the socket wishes to: a service may have paused or resumed it meanwhile. */
export function readAgain(socket: Socket): void {
  const handle = handleOf(socket) as ReadingHandle | undefined;
  const count = handle === undefined ? 0 : (stopsOf().get(handle) ?? 0);
  if (handle === undefined || count === 0) return;
  stopsOf().set(handle, count - 1);
  if (count > 1) return;
  Reflect.deleteProperty(handle, 'readStart');
  if (handle.reading) handle.readStart();
}

/**
 * Has something done to a stream's descriptor between two writes: what is written meanwhile waits, in order. At once,
 * within this call, where no write waits for room. Source: libuv waits for room in the file that the descriptor meant
 * when the write began (epoll(7), Q6); a write that waits while the descriptor comes to mean another one never ends.
 */
export function betweenWrites(stream: Socket, work: () => void): void {
  const isWriting = () =>
    (handleOf(stream)?.writeQueueSize ?? 0) > 0 || insidesOf(stream)._writableState.writing;
  if (!isWriting()) {
    work();
    return;
  }
  stream.cork();
  const look = () => {
    if (isWriting()) {
      // A process that has nothing else to do must not end before what waits is written.
      setTimeout(look, WRITE_LOOK_MS);
      return;
    }
    work();
    stream.uncork();
  };
  look();
}

/** Whether the client has said that it sends no more, or one side has ended the connection. */
export function isEnding(socket: Socket): boolean {
  const { ended } = insidesOf(socket)._readableState;
  return handleOf(socket) === undefined || socket.destroyed || socket.writableEnded || ended;
}

/** What was read of a socket and not consumed; taken out of it until it is put back. */
export interface Unread {
  /** All of it, as the client sent it, with the beginning of a character that is not whole. */
  readonly bytes: Buffer;
  /** Puts it back as it was. */
  restore(): void;
}

/** Takes out what Node has read and the service has not consumed. Reads must have stopped. */
export function takeUnread(socket: Socket): Unread {
  const chunks: (Buffer | string)[] = [];
  const { decoder, encoding } = insidesOf(socket)._readableState;
  // A read tells every listener of 'data'; these bytes are not for this process.
  Object.defineProperty(socket, 'emit', { configurable: true, writable: true, value: () => true });
  try {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk);
  } finally {
    Reflect.deleteProperty(socket, 'emit');
  }
  const parts = chunks.map((chunk) =>
    typeof chunk === 'string' ? Buffer.from(chunk, encoding ?? 'utf8') : chunk,
  );
  // Source: node lib/string_decoder.js: lastTotal bytes make the character, lastNeed of them are missing.
  if (decoder && decoder.lastTotal > decoder.lastNeed) {
    parts.push(decoder.lastChar.subarray(0, decoder.lastTotal - decoder.lastNeed));
  }
  return {
    bytes: Buffer.concat(parts),
    // As one chunk: a socket that flows would emit several in the order in which they are put back.
    restore: () => {
      if (chunks.length === 0 || socket.destroyed) return;
      if (chunks.every((chunk) => typeof chunk === 'string'))
        socket.unshift(chunks.join(''), encoding ?? 'utf8');
      else socket.unshift(Buffer.concat(parts.slice(0, chunks.length)));
    },
  };
}

/** Gives a socket bytes as if they had just come from its client, and lets it read, for the first time here. */
export function readOn(socket: Socket, first: Buffer): void {
  if (socket.destroyed) return;
  if (first.length > 0) socket.push(first);
  readAgain(socket);
  socket.read(0);
}

/**
 * Holds what the service writes from now on, in order. What the kernel was given before goes its way.
 * The stream sees writes that take long, so that its limits and its 'drain' keep their meaning.
 */
export class WriteHold {
  #socket: Socket;
  #held: { bytes: Buffer; done: Done } | undefined;
  #final: Done | undefined;
  #taken: Buffer[] | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    const own = (name: keyof Insides, value: unknown) =>
      Object.defineProperty(socket, name, { configurable: true, writable: true, value });
    own('_write', ((chunk, encoding, done) => this.#take(bytesOf(chunk, encoding), done)) satisfies Write);
    own('_writev', ((chunks, done) => {
      this.#take(Buffer.concat(chunks.map(({ chunk, encoding }) => bytesOf(chunk, encoding))), done);
    }) satisfies Writev);
    own('_final', (done: Done) => {
      this.#final = done;
    });
  }

  /** Whether the service has ended its side meanwhile. */
  get hasEnded(): boolean {
    return this.#socket.writableEnded;
  }

  /** Whether the kernel has taken all that was written before the hold. */
  get isQuiet(): boolean {
    if ((handleOf(this.#socket)?.writeQueueSize ?? 0) > 0) return false;
    return this.#held !== undefined || !insidesOf(this.#socket)._writableState.writing;
  }

  /** How much is held. */
  get bytes(): number {
    return this.#socket.writableLength;
  }

  /** Ends the hold: what was held is written here, also what was taken. */
  release(): void {
    this.#letGo();
    const [held, final, taken] = [this.#held, this.#final, this.#taken];
    this.#held = undefined;
    this.#final = undefined;
    this.#taken = undefined;
    const insides = insidesOf(this.#socket);
    // A socket that was destroyed meanwhile has no handle, and its stream has told every callback.
    if (this.#socket.destroyed) return;
    if (taken !== undefined && taken.length > 0) this.#socket.write(Buffer.concat(taken));
    if (held !== undefined) insides._write(held.bytes, 'buffer', held.done);
    else if (final !== undefined) insides._final(final);
  }

  /** All that is held, whose callbacks are told that it went; the caller writes it elsewhere, or ends the hold. */
  take(): Buffer {
    const taken: Buffer[] = [];
    this.#taken = taken;
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) {
      taken.push(held.bytes);
      held.done();
    }
    while (this.#socket.writableCorked > 0) this.#socket.uncork();
    return Buffer.concat(taken);
  }

  #take(bytes: Buffer, done: Done): void {
    if (this.#taken === undefined) {
      this.#held = { bytes, done };
      return;
    }
    this.#taken.push(bytes);
    done();
  }

  #letGo(): void {
    for (const name of ['_write', '_writev', '_final']) Reflect.deleteProperty(this.#socket, name);
  }
}

function bytesOf(chunk: Buffer | string, encoding: string): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding as BufferEncoding) : Buffer.from(chunk);
}
