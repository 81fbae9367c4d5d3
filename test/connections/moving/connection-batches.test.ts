import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { broadcastHub } from '#moult/broadcast/shared.js';
import type { Channel } from '#moult/channel/channel.js';
import { ConnectionBatches, type Departing } from '#moult/connections/moving/connection-batches.js';
import type { ConnectionItem } from '#moult/protocol/messages.js';

interface Sent {
  readonly type: string;
  readonly items?: readonly { readonly index?: number; readonly bytes?: number }[];
  readonly heard?: readonly { readonly origin: string; readonly seq: number }[];
  readonly data: string;
}

/** What goes to the other side, which acknowledges when it is told to. */
class Recorder {
  readonly sent: Sent[] = [];
  readonly #handlers = new Map<string, (message: object) => void>();

  on(type: string, handler: (message: object) => void): this {
    this.#handlers.set(type, handler);
    return this;
  }

  send(message: Omit<Sent, 'data'>, _descriptors: unknown, data = Buffer.alloc(0)): void {
    this.sent.push({ ...message, data: data.toString() });
  }

  acknowledge(batch: number, count: number): void {
    this.#handlers.get('connections-received')?.({ batch, count });
  }
}

const departing = (socket: object, data: string): Departing<object> => ({
  tracked: socket,
  socket,
  descriptors: [],
  item: () => ({ kind: 'carried' }) as ConnectionItem,
  leave: () => ({ data: Buffer.from(data) }),
  stay: () => {},
});

describe('a batch of connections', () => {
  it('says of each client up to where it was sent broadcasts, be it further than this process is', () => {
    const hub = broadcastHub();
    hub.declare({ name: 'chat', deliver: () => {} });
    hub.publish('chat', 'hello');
    const [ahead, other] = [{}, {}];
    // What it was sent where it comes from has not followed it yet.
    hub.arriving(ahead, [{ origin: 'far', seq: 5 }]);
    hub.arrived(ahead);
    const channel = new Recorder();
    const events = { progress: () => {}, returned: () => {}, stuck: () => {} };
    const batches = new ConnectionBatches<object>(channel as unknown as Channel, events);
    batches.send([departing(ahead, 'one'), departing(other, 'other')]);
    channel.acknowledge(1, 2);
    batches.stop();
    const data = channel.sent.filter(({ type }) => type === 'connections-data');
    const own = { origin: hub.id, seq: 1 };
    const told = data.map(({ items, heard, data: bytes }) => ({ items, heard, bytes }));
    assert.deepEqual(told, [
      { items: [{ index: 0, bytes: 3 }], heard: [own, { origin: 'far', seq: 5 }], bytes: 'one' },
      { items: [{ index: 1, bytes: 5 }], heard: [own], bytes: 'other' },
    ]);
    assert.equal(channel.sent.at(-1)?.type, 'connections-begin');
  });
});
