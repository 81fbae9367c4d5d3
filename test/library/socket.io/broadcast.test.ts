import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { BroadcastHub } from '#moult/broadcast/broadcast-hub.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { broadcastHub } from '#moult/broadcast/shared.js';
import { shareBroadcasts } from '#moult/library/socket.io/broadcast.js';
import type { BroadcastOptions, ServerInsides } from '#moult/library/socket.io/insides.js';
import type { Sessions } from '#moult/library/socket.io/sessions.js';
import { End } from '../../broadcast/world.js';

/** As socket.io-adapter has it, without clients. */
class Adapter {
  readonly rooms = new Map();
  readonly sids = new Map();

  broadcast(_packet: unknown, _opts: BroadcastOptions): void {}
  apply(_opts: unknown, _callback: unknown): void {}
  _encode(): void {}
}

/** As `createAdapter` of `@socket.io/redis-adapter` makes it. */
class RedisAdapter extends Adapter {
  uid = 'uid';
  /** What goes to other servers. */
  readonly published: BroadcastOptions[] = [];
  pubClient = { publish: (): Promise<void> => Promise.reject(new Error('Connection is closed.')) };

  override broadcast(packet: unknown, opts: BroadcastOptions): void {
    this.published.push(opts);
    const sent = this.pubClient.publish();
    // Only marks are of interest here.
    if (opts.flags?.moultNumber !== undefined) sent.catch(() => {});
    super.broadcast(packet, opts);
  }
}

class ShardedRedisAdapter extends Adapter {
  uid = 'uid';
}

function namespaceWith(name: string, adapter: Adapter): { adapter: Adapter; sockets: Map<string, object> } {
  const namespace = { name, adapter, sockets: new Map() };
  const io = { _nsps: new Map([[name, namespace]]), on: () => {} };
  shareBroadcasts(io as unknown as ServerInsides, {} as Sessions, 'test');
  return namespace;
}

const TO_ALL: BroadcastOptions = { rooms: new Set() };
const PACKET = { type: 2, data: ['text'] };

describe('broadcasts of Socket.IO to other servers', () => {
  it('have growing numbers, also when a namespace gets another adapter', () => {
    const adapters = [new RedisAdapter(), new RedisAdapter()];
    const [first, second] = adapters as [RedisAdapter, RedisAdapter];
    const namespace = namespaceWith('/numbers', first);
    for (let i = 0; i < 3; i += 1) first.broadcast(PACKET, TO_ALL);
    namespace.adapter = second;
    for (let i = 0; i < 3; i += 1) second.broadcast(PACKET, TO_ALL);
    const numbers = adapters.flatMap(({ published }) =>
      published.map(({ flags }) => flags?.moultNumber ?? 0),
    );
    assert.equal(numbers.length, 6);
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
    );
  });

  it('are left alone where an adapter sends what is for a room another way', () => {
    const adapter = new ShardedRedisAdapter();
    namespaceWith('/sharded', adapter);
    assert.equal(adapter.broadcast, Adapter.prototype.broadcast);
  });

  it('do without a mark that Redis does not take', async () => {
    const adapter = new RedisAdapter();
    namespaceWith('/away', adapter);
    const [near, far] = [new End(), new End()];
    near.other = far;
    far.other = near;
    const other = new BroadcastHub('other');
    other.declare({ name: 'any', deliver: () => {} });
    other.accept(far as unknown as Conversation);
    broadcastHub().join(near as unknown as Conversation);
    for (let i = 0; i < 3; i += 1) {
      for (const { queue } of [far, near]) while (queue.length > 0) queue.shift()?.();
      await turn();
    }
    // One that was not heard of is sent again after a while.
    assert.ok(adapter.published.length > 0, 'a mark was sent');
    assert.equal(adapter.uid, 'uid');
    near.close();
    far.shut();
  });

  it('from another generation are not encoded where nobody is here, or in their rooms', async () => {
    const { mock: sent } = mock.method(Adapter.prototype, 'broadcast', () => {});
    const adapter = new Adapter();
    const { sockets } = namespaceWith('/rooms', adapter);
    const [near, far] = [new End(), new End()];
    near.other = far;
    far.other = near;
    const other = new BroadcastHub('of the rooms');
    const topic = 'socket.io test /rooms';
    other.declare({ name: topic, deliver: () => {} });
    const goOn = async () => {
      for (let i = 0; i < 4; i += 1) {
        for (const { queue } of [far, near]) while (queue.length > 0) queue.shift()?.();
        await turn();
      }
    };
    other.accept(far as unknown as Conversation);
    broadcastHub().join(near as unknown as Conversation);
    await goOn();
    const comes = async (...rooms: string[]) => {
      other.publish(topic, { packet: PACKET, rooms, except: [] });
      await goOn();
      return sent.callCount();
    };
    assert.equal(await comes(), 0);
    sockets.set('one', {});
    adapter.rooms.set('ours', new Set(['one']));
    assert.equal(await comes('theirs'), 0);
    assert.equal(await comes('theirs', 'ours'), 1);
    assert.equal(await comes(), 2);
    near.close();
    far.shut();
    sent.restore();
  });
});
