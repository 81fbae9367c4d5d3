import { Duplex } from 'node:stream';

/** How long a client's socket may be on its way. */
const AWAITED_MS = 60_000;
const MAX_UNREAD_BYTES = 256 * 1024;
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;

/** What aedes takes for the connection of a client. It gives one packet at a time, when the one before is dealt with. */
export class Wire extends Duplex {
  isIdle = true;
  saved;
  #connection;
  #connect;
  #isHeld = false;
  #isMuted = false;
  #isEnded = false;
  #isParsing = false;
  #isAsked = false;
  #unsent = [];
  #unsentBytes = 0;
  #flushed;

  /** @param saved what another broker has left of it; else it is new. */
  constructor(saved) {
    super();
    if (saved === undefined) return;
    this.saved = saved;
    this.#isMuted = true;
    this.#connection = { unread: saved.connect, from: saved.from };
    setTimeout(() => this.#connection === undefined && this.destroy(), AWAITED_MS).unref();
  }

  get remoteAddress() {
    return this.#connection?.from ?? this.saved?.from;
  }

  get isQuiet() {
    return this.destroyed ? false : this.isIdle && !this.client.connecting && this.writableLength === 0;
  }

  /** Whether its client is closed, and its will published. */
  isOver({ clients }) {
    return this.destroyed && clients[this.client.id] !== this.client;
  }

  /** There is more to read. */
  offer() {
    if (this.isIdle) this.emit('readable');
    else if (this.#connection?.unread.length > MAX_UNREAD_BYTES) this.#connection.socket?.pause();
  }

  read(size) {
    if (size === 0) return null;
    if (this.#isParsing) {
      this.#isAsked = true;
      return null;
    }
    const length = packetLength(this.#connection?.unread);
    this.isIdle = this.#isHeld || this.client.connecting || length === undefined;
    if (this.isIdle) {
      if (length === undefined && this.#isEnded && !this.#isHeld) this.destroy();
      return null;
    }
    const { unread, socket } = this.#connection;
    this.#connection.unread = unread.subarray(length);
    if (unread.length - length < MAX_UNREAD_BYTES) socket?.resume();
    this.#connect ??= unread.subarray(0, length);
    this.#isParsing = true;
    process.nextTick(() => this.#parsed());
    return unread.subarray(0, length);
  }

  // A packet that is dealt with at once has aedes ask for the next within its parser, which cannot have that.
  #parsed() {
    this.#isParsing = false;
    const isAsked = this.#isAsked;
    this.#isAsked = false;
    if (isAsked) this.emit('readable');
  }

  /** Its client introduces itself, or is introduced again. */
  begin(packet) {
    if (this.saved !== undefined) Object.assign(packet, { clientId: this.saved.id, clean: false });
  }

  /** Its socket has come. */
  attach(connection) {
    this.#connection = connection;
    connection.wire = this;
    connection.socket.resume();
    this.client._keepaliveTimer?.refresh();
    this.emit('attached');
    for (const bytes of this.#unsent) connection.socket.write(bytes);
    this.#unsent = [];
    this.offer();
  }

  /** Nothing comes after what is unread. */
  end() {
    this.#isEnded = true;
    this.offer();
  }

  /** Gives no packet any more. What its client sends from now on, and its end, are for the next broker. */
  hold() {
    this.#isHeld = true;
    clearTimeout(this.client._keepaliveTimer);
    this.#connection?.socket?.pause();
    this.flushed();
  }

  /** What the next broker must know of it. */
  leave() {
    const { id, clean, subscriptions, _nextId: nextId } = this.client;
    const connection = this.#connection;
    if (connection !== undefined) connection.id = id;
    return {
      id,
      clean,
      nextId,
      connect: this.#connect,
      from: this.remoteAddress,
      subscriptions: Object.entries(subscriptions).map(([topic, { func: _, ...how }]) => ({ topic, ...how })),
      unsent: this.#unsent,
      // Its socket is closed, and will not come.
      last: this.#isEnded ? connection?.unread : undefined,
    };
  }

  /** Its socket, if it has one, and its will are no more this broker's. */
  detach() {
    this.client.will = null;
    if (this.#connection !== undefined) this.#connection.wire = undefined;
    this.#connection = undefined;
    this.#isMuted = true;
  }

  /** What the broker sends is for the client from now on. */
  listen() {
    this.#connection = undefined;
    this.#unsent = this.saved.unsent;
    this.#isMuted = false;
    // It cannot be heard before it has come.
    clearTimeout(this.client._keepaliveTimer);
    if (this.saved.last === undefined) return;
    this.#connection = { unread: this.saved.last };
    this.end();
  }

  flushed() {
    this.#flushed?.();
    this.#flushed = undefined;
  }

  _write(chunk, _encoding, done) {
    const socket = this.#connection?.socket;
    if (this.#isMuted) return done();
    if (socket === undefined) return this.#keep(chunk, done);
    if (socket.write(chunk) || this.#isHeld) done();
    else this.#flushed = done;
  }

  _destroy(error, done) {
    this.#connection?.socket?.destroy();
    this.flushed();
    done(error);
  }

  #keep(chunk, done) {
    this.#unsent.push(Buffer.from(chunk));
    this.#unsentBytes += chunk.length;
    done(this.#unsentBytes > MAX_UNSENT_BYTES ? new Error('a client takes too long to come') : null);
  }
}

/** How long the packet is with which these bytes begin; undefined while it is not whole. */
function packetLength(bytes = Buffer.alloc(0)) {
  let length = 0;
  for (let i = 1; i < Math.min(5, bytes.length); i += 1) {
    length += (bytes[i] & 127) * 128 ** (i - 1);
    if (bytes[i] < 128) return bytes.length > i + length ? i + 1 + length : undefined;
  }
  // No length has more than four bytes: aedes refuses it.
  return bytes.length > 4 ? bytes.length : undefined;
}
