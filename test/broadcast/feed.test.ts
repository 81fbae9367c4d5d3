import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Feed, Mark } from '#moult/broadcast/feed.js';
import { BroadcastHub } from '#moult/broadcast/hub.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { decodeMessage } from '#moult/broadcast/message.js';
import { End } from './world.js';

const CLIENT = {};

/** One process with a feed and one client, which is there from the beginning, or comes. */
class Process {
  readonly hub: BroadcastHub;
  readonly feed: Feed;
  readonly got: unknown[] = [];
  readonly marks: Mark[] = [];

  constructor(id: string) {
    this.hub = new BroadcastHub(id);
    const topic = {
      name: 'numbers',
      deliver: (
        message: Parameters<typeof decodeMessage>[0],
        isDue: (client: object) => boolean,
        value?: { readonly sent: unknown },
      ) => {
        if (isDue(CLIENT)) this.got.push(value === undefined ? decodeMessage(message) : value.sent);
      },
      deliverTo: (_client: object, message: Parameters<typeof decodeMessage>[0]) => {
        this.got.push(decodeMessage(message));
      },
    };
    this.hub.declare(topic);
    this.feed = this.hub.feeds.open(topic, (mark) => this.marks.push(mark));
  }

  get heard(): { origin: string; seq: number }[] {
    return structuredClone(this.hub.heard ?? []);
  }
}

/** Two processes that are linked and subscribed; what either publishes as a mark comes to both when `settle` is called. */
async function two(): Promise<{ one: Process; other: Process; settle: () => Promise<void> }> {
  const [one, other] = [new Process('one'), new Process('other')];
  const [near, far] = [new End(), new End()];
  near.other = far;
  far.other = near;
  one.hub.accept(far as unknown as Conversation);
  other.hub.join(near as unknown as Conversation);
  for (const { feed } of [one, other]) feed.subscribed();
  const settle = async () => {
    for (let i = 0; i < 5; i += 1) {
      for (const { queue } of [near, far]) while (queue.length > 0) queue.shift()?.();
      await turn();
      for (const mark of [one, other].flatMap(({ marks }) => marks.splice(0))) {
        for (const { feed } of [one, other]) feed.marked(mark);
      }
    }
  };
  await settle();
  return { one, other, settle };
}

describe('a feed', () => {
  it('places a client of a process that is behind, and gives it what it lacks', async () => {
    const { one, other } = await two();
    for (const number of [1, 2, 3]) other.feed.received(number);
    one.feed.received(1);
    assert.equal(other.hub.canTake(one.heard), true);
    other.got.length = 0;
    other.hub.arriving(CLIENT, one.heard);
    other.hub.arrived(CLIENT);
    other.feed.received(4);
    assert.deepEqual(other.got, [2, 3, 4]);
  });

  it('leaves out what a client was sent by a process that is ahead, and is past a mark', async () => {
    const { one, other } = await two();
    const mark = { id: 'somebody.1', owner: null };
    one.feed.received(1);
    one.feed.received(2);
    one.feed.marked(mark);
    one.feed.received(3);
    assert.equal(other.hub.canTake(one.heard), true);
    other.hub.arriving(CLIENT, one.heard);
    other.hub.arrived(CLIENT);
    for (const number of [1, 2]) other.feed.received(number);
    other.feed.marked(mark);
    for (const number of [3, 4]) other.feed.received(number);
    assert.deepEqual(other.got, [4]);
  });

  it('tells the next process of a client that has moved on how far it was ahead', async () => {
    const { one, other } = await two();
    one.feed.received(1);
    one.feed.received(2);
    other.hub.arriving(CLIENT, one.heard);
    other.hub.arrived(CLIENT);
    other.feed.received(1);
    assert.deepEqual(other.hub.heardBy(CLIENT)?.at(-1), one.heard.at(-1));
    other.feed.received(2);
    assert.equal(other.hub.heardBy(CLIENT), undefined);
    // Also when the marks of then are long over.
    for (let i = 0; i < 100; i += 1) other.feed.marked({ id: `somebody.${i}`, owner: null });
    assert.equal(other.hub.heardBy(CLIENT), undefined);
  });

  it('has a client wait that comes from before its own first mark, until its giver has come there', async () => {
    const { one, other, settle } = await two();
    const before = one.heard;
    other.feed.lost();
    other.feed.subscribed();
    for (const number of [1, 2]) {
      one.feed.received(number);
      other.feed.received(number);
    }
    assert.equal(other.hub.canTake(before), false);
    await settle();
    assert.equal(other.hub.canTake(before), false, 'it may have missed what the client is to get');
    assert.equal(other.hub.canTake(one.heard), true);
  });

  it('lets clients come and go while its subscription is lost', async () => {
    const { one, other } = await two();
    one.feed.received(1);
    other.feed.lost();
    assert.equal(other.hub.feeds.areSettled, true);
    assert.equal(other.hub.canTake(one.heard), true);
    assert.equal(one.hub.canTake(other.heard), true);
  });

  it('is settled when it is subscribed and its mark is back', async () => {
    const alone = new Process('alone');
    assert.equal(alone.hub.feeds.areSettled, false);
    alone.feed.subscribed();
    assert.equal(alone.hub.feeds.areSettled, true);
    const { other } = await two();
    assert.equal(other.hub.feeds.areSettled, true);
    other.feed.lost();
    other.feed.subscribed();
    assert.equal(other.hub.feeds.areSettled, false);
  });

  it('keeps nothing when the others are past it', async () => {
    const { one, other, settle } = await two();
    for (let number = 1; number <= 100; number += 1) one.feed.received(number);
    assert.equal(one.hub.kept.size, 100);
    for (let number = 1; number <= 100; number += 1) other.feed.received(number);
    await settle();
    assert.deepEqual([one.hub.kept.size, other.hub.kept.size], [0, 0]);
  });

  it('gives a message that is too large to be kept to those who are here, and others come when they are past it', async () => {
    const { one, other } = await two();
    const large = 'x'.repeat(5 * 1024 * 1024);
    other.feed.received(large);
    assert.deepEqual(other.got, [large]);
    assert.equal(other.hub.canTake(one.heard), false);
    one.feed.received(large);
    assert.equal(other.hub.canTake(one.heard), true);
  });

  it('remembers few marks, however many come', async () => {
    const { one, other } = await two();
    for (let i = 0; i < 2000; i += 1) {
      for (const { feed } of [one, other]) {
        feed.marked({ id: `somebody.${i}`, owner: null });
        feed.received(i);
      }
    }
    assert.ok(one.heard.length < 30, `${one.heard.length}`);
    assert.equal(other.hub.canTake(one.heard), true);
  });

  it('counts what servers number by themselves once, whatever is known of them when', async () => {
    const { one, other } = await two();
    other.feed.receivedFrom('server', 7, 'seven', 'seven');
    other.feed.receivedFrom('server', 7, 'seven', 'seven');
    assert.deepEqual(other.got, ['seven']);
    one.feed.received(1);
    one.feed.receivedFrom('server', 7, 'seven', 'seven');
    one.feed.receivedFrom('server', 8, 'eight', 'eight');
    other.hub.arriving(CLIENT, one.heard);
    other.hub.arrived(CLIENT);
    other.feed.received(1);
    other.feed.receivedFrom('server', 8, 'eight', 'eight');
    other.feed.receivedFrom('server', 9, 'nine', 'nine');
    assert.deepEqual(other.got, ['seven', 'nine']);
  });
});
