import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import type { Redis } from 'ioredis';
import { type Feedable, redisPubSub } from '#moult/consumers/redis-pub-sub.js';

/** A client of Redis that never gets anywhere. */
class Away extends EventEmitter {
  readonly status = 'reconnecting';

  duplicate(): this {
    return this;
  }

  subscribe(): Promise<never> {
    return Promise.reject(new Error('Connection is closed.'));
  }

  disconnect(): void {}
}

describe('redisPubSub', () => {
  it('takes a feed that was written before there was lost()', async () => {
    const redis = new Away();
    const calls: string[] = [];
    const feedable = {
      feed: () => ({
        subscribed: () => calls.push('subscribed'),
        received: () => calls.push('received'),
        marked: () => calls.push('marked'),
        close: () => calls.push('close'),
      }),
    };
    const close = redisPubSub(feedable as unknown as Feedable<string>, {
      redis: redis as unknown as Redis,
      channels: ['numbers'],
    });
    redis.emit('ready');
    redis.emit('close');
    await close();
    assert.deepEqual(calls, ['close']);
  });

  it('names what it subscribes to: the channel of the marks, and the others in any order', () => {
    const sourceOf = (...channels: string[]) => {
      let source: string | undefined;
      const feedable = {
        feed: (_mark: unknown, name: string) => {
          source = name;
          return { subscribed() {}, received() {}, marked() {}, lost() {}, close() {} };
        },
      };
      redisPubSub(feedable as Feedable<string>, { redis: new Away() as unknown as Redis, channels });
      assert.ok(source !== undefined);
      return source;
    };
    assert.equal(sourceOf('a', 'b', 'c', 'b'), sourceOf('a', 'c', 'b'));
    const different = [sourceOf('a'), sourceOf('a', 'b'), sourceOf('b', 'a'), sourceOf('a,b')];
    assert.equal(new Set(different).size, different.length);
  });
});
