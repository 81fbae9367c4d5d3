import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { MAX_WAITING_BYTES } from '#moult/broadcast/backlog.js';
import { BroadcastHub } from '#moult/broadcast/broadcast-hub.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { decodeMessage, MAX_MESSAGE_BYTES } from '#moult/broadcast/message.js';
import { MoultError } from '#moult/errors.js';
import { arriveAt, clientsOf, Hubs } from './hubs.js';
import { End } from './world.js';

interface Pair {
  readonly near: BroadcastHub;
  readonly far: BroadcastHub;
  /** What the far side has been given. */
  readonly got: unknown[];
  /** Everything that is on its way arrives, in both directions. */
  arrive(): Promise<void>;
}

/** @param areSlots whether they are in different slots, and not the two sides of a handover. */
async function pair(areSlots = false): Promise<Pair> {
  const [near, far] = [new BroadcastHub('near'), new BroadcastHub('far')];
  const got: unknown[] = [];
  near.declare({ name: 'news', deliver: () => {} });
  far.declare({ name: 'news', deliver: (message) => got.push(decodeMessage(message)) });
  const [one, other] = [new End(), new End()];
  one.other = other;
  other.other = one;
  far.accept(other as unknown as Conversation, areSlots);
  near.join(one as unknown as Conversation, areSlots);
  const arrive = () => arriveAt([one, other]);
  await arrive();
  return { near, far, got, arrive };
}

const KIB = 1024;

describe('broadcasts between two processes', () => {
  it('are refused with their size when they are too large, and nobody gets them', async () => {
    const { near, got, arrive } = await pair();
    const large = Buffer.alloc(MAX_MESSAGE_BYTES);
    assert.throws(
      () => near.publish('news', large),
      (error) =>
        error instanceof MoultError &&
        error.code === 'MOULT_DATA_TOO_LARGE' &&
        new RegExp(`at most ${MAX_MESSAGE_BYTES} bytes, received one of \\d{7}`).test(error.message),
    );
    near.publish('news', 'small');
    await arrive();
    assert.deepEqual(got, ['small']);
  });

  it('are refused when no other process can have them', async () => {
    const { near } = await pair();
    assert.throws(() => near.publish('news', () => {}), { code: 'MOULT_BAD_OPTION' });
  });

  it('say when the other side does not keep up, and when it does again', async () => {
    const { near, got, arrive } = await pair();
    const part = Buffer.alloc(64 * KIB);
    let sent = 0;
    for (; near.publish('news', part); sent += 1) {
      assert.ok(sent < 100, 'what is on its way has a limit');
      await turn();
    }
    const drained = near.drained();
    await arrive();
    await drained;
    assert.equal(got.length, sent + 1);
  });

  it('that are small count, too: each is work for all clients of the other side', async () => {
    const { near, got, arrive } = await pair();
    let sent = 1;
    for (; near.publish('news', 'x'); sent += 1) {
      assert.ok(sent < 2000, 'what is on its way has a limit');
      await turn();
    }
    await arrive();
    await near.drained();
    assert.equal(got.length, sent);
  });

  it('wait for the other side of a handover, however many they are', async () => {
    const { near, far, got, arrive } = await pair();
    const part = 'x'.repeat(256 * KIB);
    const count = 3 * (MAX_WAITING_BYTES / part.length);
    for (let i = 0; i < count; i += 1) near.publish('news', `${i} ${part}`);
    // A client that has been sent nothing of it can still come.
    assert.ok(near.canTake([{ origin: 'near', seq: 0 }]));
    let isFlushed = false;
    const flushed = near.flushed().then(() => {
      isFlushed = true;
    });
    await turn();
    assert.equal(isFlushed, false);
    await arrive();
    await flushed;
    assert.deepEqual(
      got.map((text) => Number(String(text).split(' ')[0])),
      Array.from({ length: count }, (_, i) => i),
    );
    assert.equal(near.canTake([{ origin: 'near', seq: 0 }]), false, 'it is kept no longer than is needed');
    assert.ok(far.canTake([{ origin: 'near', seq: count }]));
  });

  it('are bounded for a slot that does not read, which is told, and gets the latest', async () => {
    const { near, got, arrive } = await pair(true);
    const warnings: string[] = [];
    const note = ({ message }: Error) => warnings.push(message);
    process.on('warning', note);
    const part = 'x'.repeat(256 * KIB);
    const count = 2 * (MAX_WAITING_BYTES / part.length);
    for (let i = 0; i < count; i += 1) near.publish('news', `${i} ${part}`);
    await arrive();
    await turn();
    process.off('warning', note);
    const numbers = got.map((text) => Number(String(text).split(' ')[0]));
    assert.equal(numbers.at(-1), count - 1);
    assert.ok(
      numbers.length < count && numbers.length >= MAX_WAITING_BYTES / part.length - 1,
      `${numbers.length}`,
    );
    assert.ok(
      numbers.every((number, i) => i === 0 || number > (numbers[i - 1] ?? 0)),
      'they are in order',
    );
    assert.ok(warnings.some((text) => /left more than \d+ bytes of broadcast messages unread/.test(text)));
    assert.ok(
      warnings.some((text) => text.startsWith(`${count - numbers.length} broadcast messages`)),
      warnings.join(),
    );
  });

  it('come at once to one that joins two others at the same time', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    for (const hub of [a, b]) hub.keepRecent();
    for (const hub of [a, b]) hub.publish('news', 'before');
    link(c, a);
    link(c, b);
    await arrive();
    for (const [i, hub] of [a, b].entries()) hub.publish('news', i);
    await arrive();
    assert.deepEqual(got.c, [0, 1]);
  });

  it('come at once from one that begins to share, whatever it has sent before, also where clients have come', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    link(b, a);
    link(b, new BroadcastHub('d'));
    await arrive();
    b.pin()();
    c.publish('news', 'before');
    link(c, b);
    await arrive();
    c.publish('news', 'after');
    await arrive();
    assert.deepEqual(got, { a: ['after'], b: ['after'], c: ['before', 'after'] });
  });

  it('come at once from one that has shared for a moment, of which the first that one joined had not heard', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    b.publish('news', 'before');
    b.keepRecent();
    const first = link(c, a);
    await arrive();
    const here = (end: End) => !first.includes(end);
    link(b, a);
    await arrive(here);
    b.publish('news', 'early');
    await arrive(here);
    link(c, b);
    await arrive(here);
    b.publish('news', 'late');
    await arrive(here);
    assert.deepEqual(got.c, ['early', 'late']);
    await arrive();
    assert.deepEqual(got, { a: ['early', 'late'], b: ['before', 'early', 'late'], c: ['early', 'late'] });
  });

  it('come to all that one joins, also those that it asks a moment later', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    link(a, b);
    await arrive();
    c.publish('news', 'before');
    link(c, a);
    c.publish('news', 'meanwhile');
    link(c, b);
    c.publish('news', 'after');
    await arrive();
    assert.deepEqual(got, {
      a: ['meanwhile', 'after'],
      b: ['meanwhile', 'after'],
      c: ['before', 'meanwhile', 'after'],
    });
  });

  it('come to all clients of one that has joined another, though a second one that it joins is past them', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    link(a, b);
    await arrive();
    const [first, second] = [link(c, a), link(c, b)];
    await arrive((end) => first.includes(end));
    a.publish('news', 'meanwhile');
    await turn();
    await arrive((end) => !first.includes(end));
    assert.ok(second.every(({ queue }) => queue.length === 0));
    await arrive();
    assert.deepEqual(got.c, ['meanwhile']);
  });

  it('that were sent before one joined are passed on by it, and dealt with there by nobody', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    for (const hub of [a, b, c]) hub.keepRecent();
    a.publish('news', 'before');
    // It shares already, with somebody of whom nothing comes.
    link(b, new BroadcastHub('d'));
    await arrive();
    link(c, a);
    await arrive();
    assert.deepEqual(c.heard?.[0], { origin: 'a', seq: 1 });
    link(c, b);
    await arrive();
    a.publish('news', 'after');
    await arrive();
    assert.deepEqual(got, { a: ['before', 'after'], b: ['before', 'after'], c: ['after'] });
  });

  for (const isKept of [true, false]) {
    const where = isKept ? 'the second still has' : 'only the first has';
    it(`come to all clients since one has joined the first of two, of which ${where} them`, async () => {
      const { a, b, c, got, link, arrive } = new Hubs();
      const d = new BroadcastHub('d');
      d.declare({ name: 'news', deliver: () => {} });
      link(a, b);
      link(b, new BroadcastHub('e'));
      await arrive();
      if (isKept) b.keepRecent();
      // A moment later there is another one, of which only the second has heard.
      const between = link(d, b);
      await arrive((end) => between.includes(end));
      c.keepRecent(true);
      const [first, second] = [link(c, a), link(c, b)];
      const here = (end: End) => !first.includes(end) && !second.includes(end);
      await arrive((end) => first.includes(end));
      d.publish('news', 'meanwhile');
      await arrive(here);
      b.publish('nobody reads this', '');
      await arrive(here);
      await arrive((end) => second.includes(end));
      assert.deepEqual(got.c, isKept ? ['meanwhile'] : []);
      await arrive();
      d.publish('news', 'after');
      await arrive();
      const all = ['meanwhile', 'after'];
      assert.deepEqual(got, { a: all, b: all, c: all });
    });
  }

  it('come to a client that has come to one that joins later, and to no other one there', async () => {
    const { a, c, got, link, arrive } = new Hubs();
    for (const hub of [a, c]) hub.keepRecent();
    link(a, new BroadcastHub('d'));
    await arrive();
    const clients = clientsOf(c);
    const [own, come, further] = [{}, {}, {}];
    for (const client of [own, come, further]) clients.set(client, []);
    const moves = (client: object) => {
      c.arriving(client, structuredClone(a.heard ?? []));
      c.arrived(client);
    };
    moves(come);
    a.publish('news', 'first');
    moves(further);
    a.publish('news', 'second');
    link(c, a);
    await arrive();
    a.publish('news', 'after');
    await arrive();
    assert.deepEqual(
      [come, further, own].map((client) => clients.get(client)),
      [['first', 'second', 'after'], ['second', 'after'], ['after']],
    );
    assert.deepEqual(got.c, ['after']);
  });

  it('that were sent while two were not connected come when they are again', async () => {
    const { a, b, got, link, arrive } = new Hubs();
    for (const hub of [a, b]) hub.keepRecent();
    const ends = link(b, a);
    await arrive();
    for (const end of ends) end.shut();
    await turn();
    a.publish('news', 'meanwhile');
    link(b, a);
    await arrive();
    assert.deepEqual(got.b, ['meanwhile']);
  });

  it('that were sent before one joined do not come to it, though another one asked earlier has not answered', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    a.keepRecent();
    link(a, new BroadcastHub('d'));
    await arrive();
    const [near, far] = link(a, b);
    a.publish('news', 'before');
    link(c, a);
    await arrive((end) => end !== near && end !== far);
    a.publish('news', 'after');
    await arrive();
    assert.deepEqual(got, { a: ['before', 'after'], b: ['before', 'after'], c: ['after'] });
  });

  it('that come before others wait until nobody is left who could bring those', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    const [d, e] = [new BroadcastHub('d'), new BroadcastHub('e')];
    d.declare({ name: 'news', deliver: () => {} });
    const [first, third] = [link(c, a), link(c, e)];
    for (const hub of [a, b]) link(d, hub);
    await arrive();
    const here = (end: End) => !first.includes(end);
    d.publish('news', 1);
    await arrive(here);
    // It answers, and so is known to be past that.
    b.publish('nobody reads this', '');
    await arrive(here);
    link(c, b);
    d.publish('news', 2);
    await arrive(here);
    for (const end of third) end.shut();
    await turn();
    assert.deepEqual(got.c, []);
    for (const end of first) end.shut();
    await turn();
    assert.deepEqual(got.c, [2]);
  });

  it('that are sent while one is dealt with come after it', () => {
    const hub = new BroadcastHub();
    const order: string[] = [];
    const clients = [{}, {}];
    hub.declare({
      name: 'news',
      deliver(message) {
        const text = decodeMessage(message) as string;
        for (const [which] of clients.entries()) {
          order.push(`${which} ${text}`);
          if (text === 'question' && which === 0) hub.publish('news', 'answer');
        }
      },
    });
    hub.publish('news', 'question');
    assert.deepEqual(order, ['0 question', '1 question', '0 answer', '1 answer']);
  });
});
