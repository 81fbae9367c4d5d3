/**
 * Messages of Redis Pub/Sub, to clients that may be on their way between two generations. It imports nothing of `ioredis`
 * but types.
 *
 * @module moult/redis-pub-sub
 */
import type { Redis } from 'ioredis';
import type { Feedable, Subscription } from '../broadcast/feeds/feeds.js';

export type { Feedable, Subscription } from '../broadcast/feeds/feeds.js';

/** What is subscribed to. */
export interface RedisPubSubOptions<T> {
  /** A client for commands; a second one, made of it by `duplicate()`, subscribes. */
  readonly redis: Redis;
  /** The channels, at least one. */
  readonly channels: readonly string[];
  /** Makes of what was published what is broadcast; default: the text. */
  read?(text: string, channel: string): T;
}

/**
 * Has what is published in Redis broadcast in this service. Every generation subscribes, and a client that moves from one
 * to the other is sent each message once: it misses none, and gets none twice.
 *
 * ```js
 * const numbers = broadcastTo(wss, 'numbers');
 * redisPubSub(numbers, { redis, channels: ['numbers'] });
 * ```
 * Generations compare how far they are by messages of their own, in the channel `_moult.<the first channel>`; where permissions
 * are set, it must be allowed. If two releases subscribe to different channels, a client that moves between them goes on with the
 * next message. Not with Redis Cluster, whose nodes have no common order.
 * @param to what `broadcastTo` or `service.broadcast` gave.
 * @returns unsubscribes.
 */
export function redisPubSub<T = string>(
  to: Feedable<T>,
  { redis, channels, read = (text) => text as T }: RedisPubSubOptions<T>,
): () => Promise<void> {
  const marks = `_moult.${channels[0] ?? ''}`;
  // Away with Redis, it comes back with it, and asks anew.
  const publish = (text: string) => void redis.publish(marks, text).catch(() => {});
  // Marks come by the first one; the order of the others says nothing.
  const [first, ...others] = channels;
  const source = JSON.stringify([first, ...new Set(others.sort())]);
  // One that was written for an older release of moult does not hear that it is lost.
  const subscription: Omit<Subscription<T>, 'lost'> & Partial<Subscription<T>> = to.feed(publish, source);
  // What comes before it is said that messages come again would count to those that came before.
  const subscriber = redis.duplicate({ autoResubscribe: false });
  subscriber.on('error', () => {});
  subscriber.on('message', (channel: string, text: string) => {
    if (channel === marks) subscription.marked(text);
    else subscription.received(read(text, channel));
  });
  const subscribe = () => {
    subscriber.subscribe(marks, ...channels).then(
      () => subscription.subscribed(),
      // It was closed before, or may not subscribe. When it is back, it tries again.
      () => subscription.lost?.(),
    );
  };
  subscriber.on('ready', subscribe);
  subscriber.on('close', () => subscription.lost?.());
  if (subscriber.status === 'wait') subscriber.connect().catch(() => {});
  return async () => {
    subscription.close();
    subscriber.disconnect();
  };
}
