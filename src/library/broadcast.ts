import { BroadcastHub } from '../broadcast/broadcast-hub.js';
import type { Feed, FeedMark, OlderFeed } from '../broadcast/feeds/feed.js';
import type { Subscription } from '../broadcast/feeds/feeds.js';
import { type BroadcastMessage, decodeMessage } from '../broadcast/message.js';
import { broadcastHub } from '../broadcast/shared.js';
import type { Topic } from '../broadcast/topic.js';
import { MoultError } from '../errors.js';

const MAX_NAME = 250;

/** A channel between all processes of a service. */
export interface Broadcast<T> {
  /**
   * Sends a message to all of them. This process handles it before `send` returns.
   * @param message anything that `structuredClone` accepts, at most 4 MiB.
   * @returns whether the others keep up; if not, wait for {@link Broadcast.drained}. For the other side of a
   *   restart all messages are queued, in memory. For another slot that does not read, up to 16 MiB are queued;
   *   beyond that, its clients miss the oldest messages, and moult emits a warning.
   * @throws MOULT_DATA_TOO_LARGE, with the size; the message is then not sent. MOULT_BAD_OPTION if it cannot
   *   be cloned.
   */
  send(message: T): boolean;
  /** Settles when the others keep up; at once if they do already. */
  drained(): Promise<void>;
  /**
   * Takes its messages from a subscription at a broker, such as Redis, that every generation has: each
   * process handles what it receives itself, and a client that moves is sent each message once. The broker must
   * deliver messages to all subscribers in the same order. For Redis, use `redisPubSub` of `moult/redis-pub-sub`.
   * @param mark publishes a string so that every generation receives it in order among the messages, and
   *   passes it to `marked`. What it throws becomes a warning, and moult tries again.
   * @param source names what is subscribed to, such as a list of channels; default: an empty string. Change it if a
   *   release subscribes to something else: generations count the messages of each source separately.
   */
  feed(mark: (text: string) => void, source?: string): Subscription<T>;
  /** Stops handling messages of this name in this process; messages of others are still passed on. */
  close(): void;
}

/** The clients of one kind to which a message may go. */
export interface ClientsOf<C, T> {
  all(): Iterable<C>;
  /** By what moult knows a client. */
  keyOf(client: C): object;
  find(key: object): C | undefined;
  isOpen(client: C): boolean;
  deliver(client: C, message: T): void;
}

/** A hub that belongs to nobody else. */
export function ownHub(): BroadcastHub {
  return new BroadcastHub();
}

/** See `Service.broadcast`. */
export function broadcastBetween<T>(
  name: string,
  receive: (message: T) => void,
  hub: BroadcastHub = broadcastHub(),
): Broadcast<T> {
  return open<T>(hub, {
    name: `service ${checked(name)}`,
    deliver: (message, _isDue, value) => receive(readValue<T>(message, value)),
  });
}

/** Messages for clients that may be on their way between processes: each gets each once. */
export function broadcastTo<C, T>(name: string, clients: ClientsOf<C, T>): Broadcast<T> {
  const { all, keyOf, find, isOpen, deliver } = clients;
  return open<T>(broadcastHub(), {
    name: checked(name),
    deliver(message, isDue, value) {
      // Where nobody is here, to read it would be most of the work.
      let read: { readonly value: T } | undefined;
      for (const client of all()) {
        if (!isOpen(client) || !isDue(keyOf(client))) continue;
        read ??= { value: readValue<T>(message, value) };
        const { value: it } = read;
        guarded(() => deliver(client, it));
      }
    },
    deliverTo(key, message) {
      const client = find(key);
      if (client !== undefined && isOpen(client)) deliver(client, readOnce<T>(message));
    },
  });
}

/** The value of a message: as it was sent in this process, or as it came. */
export function readValue<T>(message: BroadcastMessage, value: { readonly sent: unknown } | undefined): T {
  return (value === undefined ? decodeMessage(message) : value.sent) as T;
}

/** The values of messages that clients have missed, for as long as these are kept. */
const missed = new WeakMap<BroadcastMessage, { readonly value: unknown }>();

/** The value of a message as it came, the same each time: hundreds of clients may come that have all missed it. */
export function readOnce<T>(message: BroadcastMessage): T {
  const known = missed.get(message) ?? { value: decodeMessage(message) };
  missed.set(message, known);
  return known.value as T;
}

function open<T>(hub: BroadcastHub, topic: Topic): Broadcast<T> {
  if (hub.has(topic.name)) {
    throw new MoultError(
      'MOULT_BAD_OPTION',
      `broadcast: expected a unique name, ${topic.name} is already in use`,
    );
  }
  hub.declare(topic);
  return {
    send: (message) => hub.publish(topic.name, message),
    drained: () => hub.drained(),
    feed: (mark, source) => subscriptionOf<T>(hub, topic, mark, source),
    close: () => hub.withdraw(topic),
  };
}

function subscriptionOf<T>(
  hub: BroadcastHub,
  topic: Topic,
  mark: (text: string) => unknown,
  source?: string,
): Subscription<T> {
  const feed: OlderFeed = hub.feeds.open(topic, (one) => mark(JSON.stringify(one)), source);
  return {
    subscribed: () => feed.subscribed(),
    received: (message) => feed.received(message),
    marked: (text) => {
      const mark = markOf(text);
      if (mark !== undefined) feed.marked(mark);
    },
    lost: () => feed.lost?.(),
    close: () => hub.feeds.close(feed as Feed),
  };
}

// Others may publish there, too.
function markOf(text: string): FeedMark | undefined {
  try {
    const mark: unknown = JSON.parse(text);
    const isMark = typeof mark === 'object' && mark !== null && 'id' in mark && typeof mark.id === 'string';
    return isMark ? (mark as FeedMark) : undefined;
  } catch {
    return undefined;
  }
}

function checked(name: string): string {
  if (name.length > 0 && name.length <= MAX_NAME) return name;
  const what = `expected a name of 1 to ${MAX_NAME} characters, received ${name.length}`;
  throw new MoultError('MOULT_BAD_OPTION', `broadcast: ${what}`);
}

// One client that cannot be sent a message must not keep it from the others.
function guarded(deliver: () => void): void {
  try {
    deliver();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    process.emitWarning(`a broadcast message could not be sent to a client: ${why}`, {
      type: 'MoultWarning',
      code: 'MOULT_BROADCAST_INCOMPLETE',
    });
  }
}
