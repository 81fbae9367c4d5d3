/*
 * Over 300 lines: what an adapter sends, receives and numbers is one account, for the adapter in memory and that of
 * Redis.
 */
import { randomBytes } from 'node:crypto';
import type { Feed, FeedMark, OlderFeed } from '../../broadcast/feeds/feed.js';
import type { BroadcastMessage } from '../../broadcast/message.js';
import { broadcastHub } from '../../broadcast/shared.js';
import type { Topic } from '../../broadcast/topic.js';
import { readOnce, readValue } from '../broadcast.js';
import { socketOf } from '../ws/insides.js';
import { webSocketOn } from '../ws/mover.js';
import type {
  AdapterInsides,
  BroadcastOptions,
  BroadcastPacket,
  NamespaceInsides,
  PublishingClient,
  ServerInsides,
  SocketInsides,
} from './insides.js';
import type { Sessions } from './sessions.js';

/** A type of packets: an event. Source: socket.io-parser. */
const EVENT = 2;
const MAX_NAME = 256;

/** A broadcast of Socket.IO. */
interface Sent {
  readonly packet: BroadcastPacket;
  readonly opts: BroadcastOptions;
}

/** The same as it travels. */
interface Travelling {
  readonly packet: BroadcastPacket;
  readonly rooms: readonly string[];
  readonly except: readonly string[];
  readonly flags: object | undefined;
}

/**
 * Has the broadcasts of all namespaces reach clients wherever they lie.
 * @param name tells servers of one process apart.
 */
export function shareBroadcasts(io: ServerInsides, sessions: Sessions, name: string): void {
  const watch = (namespace: NamespaceInsides) => {
    let shared: SharedAdapter | undefined;
    let adapter = namespace.adapter;
    const use = () => {
      shared?.close();
      shared = SharedAdapter.of(
        adapter,
        namespace,
        sessions,
        name,
        io.opts?.connectionStateRecovery !== undefined,
      );
    };
    // Another one takes its place when the service says `io.adapter()`.
    Object.defineProperty(namespace, 'adapter', {
      configurable: true,
      enumerable: true,
      get: () => adapter,
      set: (value: AdapterInsides) => {
        adapter = value;
        use();
      },
    });
    use();
  };
  for (const namespace of io._nsps.values()) watch(namespace);
  io.on('new_namespace', watch);
}

/**
 * The broadcasts of one namespace. What is sent here goes to the other generations, too, whatever the adapter does with it
 * besides. What comes from outside, over an adapter for several servers, comes to every generation, which sends it to its own
 * clients.
 */
class SharedAdapter {
  readonly #adapter: AdapterInsides;
  readonly #namespace: NamespaceInsides;
  readonly #sessions: Sessions;
  readonly #hub = broadcastHub();
  readonly #topic: Topic;
  /** The adapter's own, as its class has it. */
  readonly #send: AdapterInsides['broadcast'];
  /** That of the adapter in memory, on which all others are built. */
  readonly #deliverHere: AdapterInsides['broadcast'];
  readonly #apply: AdapterInsides['apply'];
  readonly #feed: OlderFeed | undefined;
  /** Whether the adapter keeps what it sends, for clients that come again. */
  readonly #keepsPackets: boolean;
  /** What was given to the adapter to be sent to other servers: it is not to be sent to clients here. */
  readonly #outgoing = new WeakSet<object>();
  /** Packets as the adapter has made them: one that keeps packets for recovery adds an offset. */
  readonly #made = new WeakMap<BroadcastMessage, BroadcastPacket>();
  /** Which clients a packet goes to that is being sent. */
  #isFor: ((socket: SocketInsides) => boolean) | undefined;
  #encoded: BroadcastPacket | undefined;

  /** @returns undefined for an adapter that is not known. */
  static of(
    adapter: AdapterInsides,
    namespace: NamespaceInsides,
    sessions: Sessions,
    name: string,
    recovers: boolean,
  ): SharedAdapter | undefined {
    const topic = `socket.io ${name} ${namespace.name}`;
    const memory = classWith(adapter, 'apply');
    if (memory === undefined || !('broadcast' in memory) || topic.length > MAX_NAME) return undefined;
    const isInMemory =
      !('uid' in adapter) && ['Adapter', 'SessionAwareAdapter'].includes(adapter.constructor.name);
    // Others store what they send under an offset, which only they know, or send what is for a room another way.
    const isPassing = typeof adapter.uid === 'string' && isForRedis(adapter) && !recovers;
    if (!isInMemory && !isPassing) return undefined;
    return new SharedAdapter(adapter, namespace, sessions, topic, memory.broadcast);
  }

  private constructor(
    adapter: AdapterInsides,
    namespace: NamespaceInsides,
    sessions: Sessions,
    name: string,
    deliverHere: AdapterInsides['broadcast'],
  ) {
    this.#adapter = adapter;
    this.#namespace = namespace;
    this.#sessions = sessions;
    this.#send = adapter.broadcast;
    this.#deliverHere = deliverHere;
    this.#apply = adapter.apply;
    this.#topic = {
      name,
      deliver: (message, isDue, value) => this.#deliver(message, isDue, value),
      deliverTo: (client, message) => this.#deliverTo(client, message),
    };
    this.#hub.declare(this.#topic);
    const isPassing = adapter.uid !== undefined;
    this.#keepsPackets = !isPassing && adapter.constructor.name !== 'Adapter';
    adapter.broadcast = (packet, opts) => this.#broadcast(packet, opts);
    adapter.apply = (opts, callback) => this.#applyTo(opts, callback);
    if (!isPassing) return;
    const encode = adapter._encode;
    adapter._encode = (packet, options) => {
      this.#encoded = packet;
      return encode.call(adapter, packet, options);
    };
    const { hasRoom } = adapter;
    // All are to count the same, whoever is in the room.
    if (hasRoom !== undefined) {
      adapter.hasRoom = (room) => this.#hub.wasShared !== false || hasRoom.call(adapter, room);
    }
    this.#feed = this.#hub.feeds.open(this.#topic, (mark) => this.#mark(mark));
    // Whether it is subscribed the adapter does not say: until it is, marks do not come back.
    this.#feed.subscribed();
  }

  close(): void {
    this.#hub.withdraw(this.#topic);
    if (this.#feed !== undefined) this.#hub.feeds.close(this.#feed as Feed);
  }

  #broadcast(packet: BroadcastPacket, opts: BroadcastOptions): void {
    if (opts.flags?.local === true || this.#isForOneHere(opts)) {
      this.#sendWhole(packet, opts);
      return;
    }
    const sent: Sent = { packet, opts };
    try {
      this.#hub.publish(this.#topic.name, travelling(sent), { sent, by: this.#topic });
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      process.emitWarning(`${why}: it reaches only the clients of this process`, {
        type: 'MoultWarning',
        code: 'MOULT_BROADCAST_INCOMPLETE',
      });
      this.#sendWhole(packet, opts);
    }
  }

  // With recovery, what is sent to one socket is a broadcast to its own room.
  #isForOneHere({ rooms }: BroadcastOptions): boolean {
    const [room] = rooms;
    return rooms.size === 1 && room !== undefined && this.#isOwnRoom(room);
  }

  #isOwnRoom(room: string): boolean {
    return this.#namespace.sockets.has(room) && this.#adapter.rooms.get(room)?.size === 1;
  }

  // As if moult were not there.
  #sendWhole(packet: BroadcastPacket, opts: BroadcastOptions): void {
    this.#for(
      () => true,
      () => this.#send.call(this.#adapter, packet, opts),
    );
  }

  #deliver(
    message: BroadcastMessage,
    isDue: (client: object) => boolean,
    value: { readonly sent: unknown } | undefined,
  ): void {
    // While nobody is here, and for rooms without anybody, to read and encode it would be most of the work.
    if (value === undefined && !this.#keepsPackets && this.#namespace.sockets.size === 0) return;
    const { packet, opts } =
      value === undefined ? arrived(readValue<Travelling>(message, undefined)) : (value.sent as Sent);
    if (value === undefined && !this.#keepsPackets && !this.#mayBeFor(opts)) return;
    const isOwn = value !== undefined && message.fed === undefined;
    const isFor = (socket: SocketInsides) => isDue(clientOf(socket));
    if (this.#feed === undefined) {
      this.#for(isFor, () => this.#send.call(this.#adapter, packet, opts));
      this.#made.set(message, packet);
      return;
    }
    this.#for(isFor, () => this.#deliverHere.call(this.#adapter, packet, opts));
    if (!isOwn) return;
    // By the number that it has anyway: it grows for as long as this process lives.
    const outside = { ...opts, flags: { ...opts.flags, moult: this.#hub.id, moultNumber: message.seq } };
    this.#outgoing.add(outside);
    this.#send.call(this.#adapter, packet, outside);
  }

  #mayBeFor({ rooms }: BroadcastOptions): boolean {
    return rooms.size === 0 || [...rooms].some((room) => this.#adapter.rooms.has(room));
  }

  #deliverTo(client: object, message: BroadcastMessage): void {
    const ws = webSocketOn(client);
    const sockets = ws === undefined ? [] : this.#sessions.socketsOf(ws);
    const { packet, opts } = arrived(readOnce<Travelling>(message));
    const made = this.#made.get(message) ?? packet;
    for (const socket of sockets) {
      if (socket.nsp !== this.#namespace || !this.#isMeant(socket, opts)) continue;
      const one = { ...opts, rooms: new Set([socket.id]), except: new Set<string>() };
      this.#for(
        (each) => each === socket,
        () => this.#deliverHere.call(this.#adapter, made, one),
      );
    }
  }

  #isMeant({ id }: SocketInsides, { rooms, except }: BroadcastOptions): boolean {
    const joined = this.#adapter.sids.get(id) ?? new Set<string>();
    const isIn = (some: ReadonlySet<string> | undefined) =>
      [...(some ?? [])].some((room) => joined.has(room));
    return (rooms.size === 0 || isIn(rooms)) && !isIn(except);
  }

  #for(isFor: (socket: SocketInsides) => boolean, send: () => void): void {
    const before = this.#isFor;
    this.#isFor = isFor;
    try {
      send();
    } finally {
      this.#isFor = before;
    }
  }

  // All that an adapter sends to clients comes by here: what is not being sent from this process came from outside.
  #applyTo(opts: BroadcastOptions, callback: (socket: SocketInsides) => void): void {
    const packet = this.#encoded;
    this.#encoded = undefined;
    if (this.#outgoing.has(opts)) return;
    const isFor = this.#isFor;
    if (isFor !== undefined) {
      this.#apply.call(this.#adapter, opts, (socket) => {
        if (isFor(socket)) callback(socket);
      });
    } else if (this.#feed !== undefined && packet !== undefined && packet.id === undefined) {
      this.#fromOutside({ packet, opts }, this.#feed);
    } else this.#apply.call(this.#adapter, opts, callback);
  }

  #fromOutside(sent: Sent, feed: OlderFeed): void {
    const { moult, moultNumber: number } = sent.opts.flags ?? {};
    if (typeof moult === 'object' && moult !== null) feed.marked(moult);
    else if (moult === undefined) feed.received(travelling(sent), sent);
    // What another generation has sent comes by its own way.
    else if (this.#hub.knows(moult)) return;
    else if (number === undefined || feed.receivedFrom === undefined) feed.received(travelling(sent), sent);
    else feed.receivedFrom(moult, number, travelling(sent), sent);
  }

  // Under a name that is nobody's, so that this process gets it back.
  #mark(mark: FeedMark): void {
    const adapter = this.#adapter;
    const { uid, pubClient } = adapter;
    const opts = { rooms: new Set(['moult']), except: new Set<string>(), flags: { moult: mark } };
    this.#outgoing.add(opts);
    adapter.uid = randomBytes(6).toString('base64url');
    if (pubClient !== undefined) adapter.pubClient = withoutRejections(pubClient);
    try {
      this.#send.call(adapter, { type: EVENT, data: ['moult'], nsp: this.#namespace.name }, opts);
    } finally {
      adapter.uid = uid;
      if (pubClient !== undefined) adapter.pubClient = pubClient;
    }
  }
}

// The adapter leaves alone what its client promises: a mark that does not come back is sent anew.
function withoutRejections(client: PublishingClient): PublishingClient {
  const publish = (...message: unknown[]) => {
    const sent = client.publish(...message);
    Promise.resolve(sent).catch(() => {});
    return sent;
  };
  return Object.create(client, { publish: { value: publish } });
}

/** Whether it is what `createAdapter` of `@socket.io/redis-adapter` makes, or is derived from it. */
function isForRedis(adapter: AdapterInsides): boolean {
  for (let proto = Object.getPrototypeOf(adapter); proto !== null; proto = Object.getPrototypeOf(proto)) {
    if (proto.constructor?.name === 'RedisAdapter') return true;
  }
  return false;
}

/** By what moult knows the client of a socket. */
function clientOf({ client }: SocketInsides): object {
  const ws = client.conn.transport.socket;
  return (ws === undefined ? undefined : socketOf(ws)) ?? client.conn;
}

function travelling({ packet, opts: { rooms, except, flags } }: Sent): Travelling {
  const { type, data, nsp } = packet;
  return {
    packet: { type, data, ...(nsp === undefined ? {} : { nsp }) },
    rooms: [...rooms],
    except: [...(except ?? [])],
    flags,
  };
}

function arrived({ packet, rooms, except, flags }: Travelling): Sent {
  return {
    packet,
    opts: { rooms: new Set(rooms), except: new Set(except), ...(flags === undefined ? {} : { flags }) },
  };
}

/** The class of an object that has this method as its own. */
function classWith(object: object, method: string): AdapterInsides | undefined {
  for (let proto = Object.getPrototypeOf(object); proto !== null; proto = Object.getPrototypeOf(proto)) {
    if (Object.hasOwn(proto, method)) return proto as AdapterInsides;
  }
  return undefined;
}
