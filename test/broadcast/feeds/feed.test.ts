import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { MAX_WAITING_BYTES } from '#moult/broadcast/backlog.js';
import { BroadcastHub } from '#moult/broadcast/broadcast-hub.js';
import type { Feed, FeedMark } from '#moult/broadcast/feeds/feed.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { decodeMessage } from '#moult/broadcast/message.js';
import type { Topic } from '#moult/broadcast/topic.js';
import { broadcastBetween } from '#moult/library/broadcast.js';
import { End } from '../world.js';

const CLIENT = {};

/** One process with a feed and one client, which is there from the beginning, or comes. */
class Process {
  readonly hub: BroadcastHub;
  readonly feed: Feed;
  readonly got: unknown[] = [];
  readonly marks: FeedMark[] = [];
  readonly topic: Topic;

  constructor(id: string, source?: string) {
    this.hub = new BroadcastHub(id);
    this.topic = {
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
    this.hub.declare(this.topic);
    this.feed = this.hub.feeds.open(this.topic, (mark) => this.marks.push(mark), source);
  }

  get heard(): { origin: string; seq: number }[] {
    return structuredClone(this.hub.heard ?? []);
  }
}

/** Two processes that are linked and subscribed; what either publishes as a mark comes to both when `settle` is called. */
async function two(
  sources: readonly string[] = [],
): Promise<{ one: Process; other: Process; settle: () => Promise<void> }> {
  const [one, other] = [new Process('one', sources[0]), new Process('other', sources[1])];
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

/** More than is kept. */
function receiveMuch({ feed }: Process): void {
  const text = 'x'.repeat(1024 * 1024);
  for (let i = 0; i < 1 + MAX_WAITING_BYTES / text.length; i += 1) feed.received(text);
}

/** Calls back with what has some seconds pass, in which somebody asks each tenth of a second. */
function inFakeTime(check: (pass: (seconds: number, ask: () => void) => void) => void): void {
  mock.timers.enable({ apis: ['setInterval'] });
  try {
    check((seconds, ask) => {
      for (let i = 0; i < 10 * seconds; i += 1) {
        ask();
        mock.timers.tick(100);
      }
    });
  } finally {
    mock.timers.reset();
  }
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

  it('has a client wait whose place it cannot know, also while its own subscription is lost', async () => {
    const { one, other, settle } = await two();
    one.feed.lost();
    one.feed.subscribed();
    other.feed.lost();
    one.feed.received(1);
    for (const mark of one.marks) one.feed.marked(mark);
    const wrongly = 'from here it would go on where this side was, which may be before what it has been sent';
    assert.equal(other.hub.canTake(one.heard), false, wrongly);
    other.feed.subscribed();
    await settle();
    assert.equal(other.hub.canTake(one.heard), true);
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
    other.feed.marked({ id: 'somebody.1', owner: null });
    assert.equal(other.hub.feeds.areSettled, false, 'that is the mark of another one');
  });

  it('counts from no mark that is over, or that came while it was alone', async () => {
    const { one, other } = await two();
    for (const { feed } of [one, other]) feed.marked({ id: 'somebody.1', owner: null });
    const era = one.heard.at(-1)?.origin;
    other.feed.subscribed();
    other.feed.marked({ id: 'somebody.1', owner: null });
    assert.ok(other.heard.every(({ origin }) => origin !== era));
    const alone = new Process('alone');
    alone.feed.subscribed();
    const before = alone.heard;
    alone.feed.marked({ id: 'somebody.1', owner: null });
    assert.deepEqual(alone.heard, before);
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

  it('has a client go on with the next message where the other process subscribes to something else', async () => {
    const { one, other } = await two(['a', 'a and b']);
    for (const each of [one, other]) each.feed.marked({ id: 'somebody.1', owner: null });
    one.feed.received('a1');
    for (const text of ['b1', 'a1', 'b2']) other.feed.received(text);
    assert.equal(other.hub.canTake(one.heard), true);
    assert.equal(one.hub.canTake(other.heard), true);
    one.hub.arriving(CLIENT, other.heard);
    one.hub.arrived(CLIENT);
    one.got.length = 0;
    one.feed.received('a2');
    assert.deepEqual(one.got, ['a2']);
    other.hub.arriving(CLIENT, one.heard);
    other.got.length = 0;
    other.hub.arrived(CLIENT);
    other.feed.received('a3');
    assert.deepEqual(other.got, ['a3']);
  });

  it('counts several subscriptions of one name apart', async () => {
    const { one, other } = await two();
    const seconds = [one, other].map(({ hub, topic }) => hub.feeds.open(topic, () => {}));
    for (const feed of [one.feed, other.feed, ...seconds]) {
      feed.subscribed();
      feed.marked({ id: 'somebody.1', owner: null });
    }
    one.feed.received('first 1');
    seconds[1]?.received('second 1');
    assert.equal(other.hub.canTake(one.heard), true);
    other.got.length = 0;
    other.hub.arriving(CLIENT, one.heard);
    other.hub.arrived(CLIENT);
    for (const text of ['first 1', 'first 2']) other.feed.received(text);
    seconds[1]?.received('second 2');
    assert.deepEqual(other.got, ['second 1', 'first 2', 'second 2']);
    other.feed.close();
    assert.equal(other.hub.feeds.has('numbers'), true);
  });

  it('has a client of a process whose subscription is lost go on where that was', async () => {
    const { one, other } = await two();
    for (const number of [1, 2]) one.feed.received(number);
    for (const number of [1, 2, 3]) other.feed.received(number);
    one.feed.lost();
    other.got.length = 0;
    assert.equal(other.hub.canTake(one.heard), true);
    other.hub.arriving(CLIENT, one.heard);
    other.hub.arrived(CLIENT);
    other.feed.received(4);
    assert.deepEqual(other.got, [3, 4]);
    other.feed.lost();
    for (const number of [1, 2]) one.feed.received(number);
    other.feed.received(5);
    assert.deepEqual(other.got, [3, 4, 5]);
  });

  it('has nobody wait for the place of a process that was lost again before its mark was back', async () => {
    const { one, other } = await two();
    one.feed.subscribed();
    one.feed.received(1);
    assert.equal(other.hub.canTake(one.heard), false, 'its mark may still come');
    one.feed.lost();
    assert.equal(other.hub.canTake(one.heard), true);
  });

  it('begins anew when it is subscribed again, also where nobody said that it was lost', async () => {
    const { one, other, settle } = await two();
    for (const { feed } of [one, other]) feed.received(1);
    other.feed.subscribed();
    assert.equal(other.hub.feeds.areSettled, false);
    assert.equal(one.hub.canTake(other.heard), false, 'nobody knows what it has missed');
    await settle();
    assert.equal(one.hub.canTake(other.heard), true);
    other.feed.lost();
    other.feed.received(2);
    other.feed.received(3);
    other.feed.subscribed();
    assert.equal(other.heard.at(-1)?.seq, 2, 'what came before it was confirmed counts');
  });

  it('keeps no more for one that is behind than there is room for, and its clients come when it is past that', async () => {
    const { one, other } = await two();
    other.feed.received('x');
    one.feed.received('x');
    receiveMuch(one);
    assert.ok(one.hub.kept.bytes <= MAX_WAITING_BYTES, `${one.hub.kept.bytes} bytes are kept`);
    assert.equal(one.hub.canTake(other.heard), false);
    receiveMuch(other);
    assert.equal(one.hub.canTake(other.heard), true);
  });

  it('has those that do not get further wait no longer than 10 s, each by itself', async () => {
    const { one, other } = await two();
    other.feed.received('x');
    one.feed.received('x');
    receiveMuch(one);
    other.hub.feeds.close(other.feed);
    inFakeTime((pass) => {
      const [stuck, slow, late, fine] = [{}, {}, {}, {}];
      const closed = other.heard;
      const near = one.heard;
      const [era] = closed.filter(({ origin }) => origin === near.at(-1)?.origin);
      assert.ok(era);
      let at = 0;
      pass(11, () => {
        assert.equal(one.hub.canTake(near, fine), true);
        const isTaken = one.hub.canTake(closed, stuck);
        assert.equal(isTaken && at < 90, false, `it is taken after ${at / 10} s`);
        at += 1;
        assert.equal(one.hub.canTake([{ ...era, seq: Math.min(at / 1000, 1) }], slow), false);
      });
      assert.equal(one.hub.canTake(closed, stuck), true);
      assert.equal(one.hub.canTake(closed, late), false);
      pass(5, () => {});
      assert.equal(one.hub.canTake(closed, stuck), false, 'that was another time');
    });
  });

  // The guide to message services says so.
  for (const [what, before, after] of [
    ['misses what came there before it', [1, 2, 3], [4]],
    ['gets again what comes there late', [1], [2, 3, 4]],
  ] as const) {
    it(`has a client whose place it cannot know go on with the next message after 10 s: it ${what}`, async () => {
      const { one, other, settle } = await two();
      other.feed.lost();
      other.feed.subscribed();
      for (const number of [1, 2]) one.feed.received(number);
      for (const number of before) other.feed.received(number);
      other.got.length = 0;
      inFakeTime((pass) => pass(11, () => other.hub.canTake(one.heard, CLIENT)));
      assert.equal(other.hub.canTake(one.heard, CLIENT), true);
      other.hub.arriving(CLIENT, one.heard);
      other.hub.arrived(CLIENT);
      for (const number of [2, 3, 4].slice(3 - after.length)) other.feed.received(number);
      assert.deepEqual(other.got, after);
      for (const number of [3, 4]) one.feed.received(number);
      // As soon as a mark comes back, all is exact again.
      await settle();
      for (const number of [5, 6]) other.feed.received(number);
      one.feed.received(5);
      one.got.length = 0;
      assert.equal(one.hub.canTake(other.heard), true);
      one.hub.arriving(CLIENT, other.hub.heardBy(CLIENT) ?? other.heard);
      one.hub.arrived(CLIENT);
      for (const number of [6, 7]) one.feed.received(number);
      assert.deepEqual(one.got, [7]);
    });
  }

  it('goes on where a mark cannot be published', async () => {
    const warnings: string[] = [];
    const note = ({ message }: Error) => warnings.push(message);
    process.on('warning', note);
    const { one } = await two();
    for (const mark of [() => assert.fail('broken'), () => Promise.reject(new Error('away'))]) {
      const feed = one.hub.feeds.open(one.topic, mark);
      feed.subscribed();
      feed.look();
      feed.close();
    }
    await turn();
    process.off('warning', note);
    assert.match(warnings.join(), /numbers could not be published: broken.*away/s);
  });

  it('takes what an older copy of moult in this process has made', () => {
    const hub = new BroadcastHub();
    const { feeds } = hub;
    feeds.open = ((...args) => {
      const feed = new Proxy(Object.getPrototypeOf(feeds).open.apply(feeds, args), {
        get: (of, name) => {
          if (name === 'lost' || name === 'receivedFrom') return undefined;
          const value = Reflect.get(of, name);
          return typeof value === 'function' ? value.bind(of) : value;
        },
      });
      return feed;
    }) as typeof feeds.open;
    const got: string[] = [];
    const broadcast = broadcastBetween<string>('news', (text) => got.push(text), hub);
    const subscription = broadcast.feed(() => {});
    subscription.lost();
    subscription.received('one');
    assert.deepEqual(got, ['one']);
  });
});
