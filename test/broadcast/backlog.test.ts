import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { MAX_WAITING_BYTES } from '#moult/broadcast/backlog.js';
import { BroadcastHub } from '#moult/broadcast/broadcast-hub.js';
import { Hubs } from './hubs.js';

const MIB = 'x'.repeat(1024 * 1024);
/** Up to where clients are that have been sent nothing. */
const BEFORE = [{ origin: 'a', seq: 0 }];

describe('what is kept of broadcasts', () => {
  it('is there for one that was asked to take part, and answers late', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    link(a, b);
    await arrive();
    const late = link(a, c);
    a.publish('news', 'meanwhile');
    await arrive((end) => !late.includes(end));
    assert.deepEqual(got, { a: ['meanwhile'], b: ['meanwhile'], c: [] });
    await arrive();
    assert.deepEqual(got.c, ['meanwhile']);
    assert.equal(a.kept.size, 0, 'nobody lacks it any more');
  });

  it('is all that clients may lack that are on their way, also where everybody else is past it', async () => {
    const { a, b, link, arrive } = new Hubs();
    link(a, b);
    await arrive();
    const unpin = a.pin();
    a.publish('news', 'meanwhile');
    await arrive();
    assert.equal(a.canTake(BEFORE), true);
    unpin();
    assert.equal(a.canTake(BEFORE), false);
  });

  it('is more than there is room for while clients are on their way, though a slot does not read', async () => {
    const { a, b, link, arrive } = new Hubs();
    link(a, b);
    await arrive();
    const unpin = a.pin();
    for (let bytes = 0; bytes <= MAX_WAITING_BYTES; bytes += MIB.length) a.publish('news', MIB);
    assert.equal(a.canTake(BEFORE), true);
    unpin();
  });

  it('is not there for clients of one that lacks what nobody keeps', async () => {
    const { a, b, c, link, arrive } = new Hubs();
    link(a, b);
    await arrive();
    a.publish('news', 'before');
    await arrive();
    link(c, a);
    await arrive();
    assert.equal(c.canTake(BEFORE), false);
    assert.equal(c.canTake(structuredClone(a.heard ?? [])), true);
  });

  it('is not known to one that is to join and has not: clients wait until it has', async () => {
    const { a, b, c, got, link, arrive } = new Hubs();
    link(a, b);
    a.keepRecent();
    c.keepRecent(true);
    assert.equal(c.canTake(BEFORE), false, 'of what comes before it joins it would get nothing');
    a.publish('news', 'before');
    await arrive();
    link(c, a);
    await arrive();
    assert.equal(c.canTake(BEFORE), true);
    const client = {};
    c.arriving(client, BEFORE);
    assert.deepEqual(
      [...c.clients.missedBy(client)].map(({ seq }) => seq),
      [1],
    );
    assert.deepEqual(got.c, []);
  });

  it('comes to one that joins, whose clients are past it meanwhile', async () => {
    const { c, arrive } = await halfJoined();
    const [own, come, ahead] = [{}, {}, {}];
    c.arriving(come, []);
    c.arriving(ahead, [{ origin: 'a', seq: 1 }]);
    assert.equal(ofA(c.heardBy(own) ?? c.heard), 2);
    assert.equal(ofA(c.heardBy(come) ?? c.heard), 0, 'it may lack it');
    assert.equal(ofA(c.heardBy(ahead) ?? c.heard), 1, 'it may lack the rest');
    assert.equal(c.canTake(BEFORE), false, 'it would get nothing of it');
    await arrive();
    assert.equal(c.canTake(BEFORE), true);
    assert.equal(ofA(c.heardBy(come) ?? c.heard), 2);
  });

  it('is past for all where the one that was to bring it is gone', async () => {
    const { c, ends } = await halfJoined();
    for (const end of ends) end.shut();
    await turn();
    assert.equal(ofA(c.heard), 2);
  });

  it('is past for all where its sender had not shared with anybody', async () => {
    const { a, c, link } = new Hubs();
    for (const hub of [a, c]) hub.keepRecent();
    a.publish('news', 'before');
    const ends = link(c, a);
    for (const { queue } of ends.toReversed()) queue.shift()?.();
    assert.equal(ofA(c.heard), 1);
  });
});

/** One has joined another, and what that one keeps has not come yet. */
async function halfJoined() {
  const { a, c, link, arrive } = new Hubs();
  for (const hub of [a, c]) hub.keepRecent();
  link(a, new BroadcastHub('d'));
  await arrive();
  for (const text of ['before', 'just before']) a.publish('news', text);
  const ends = link(c, a);
  // Both have introduced themselves, and nothing else has come.
  for (const { queue } of ends.toReversed()) queue.shift()?.();
  return { c, ends, arrive };
}

/** Up to where that is with the messages of one. */
function ofA(heard: BroadcastHub['heard']): number | undefined {
  return heard?.find(({ origin }) => origin === 'a')?.seq;
}
