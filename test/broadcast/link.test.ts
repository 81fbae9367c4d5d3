import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Conversation, Link } from '#moult/broadcast/link.js';
import { type BroadcastMessage, includes } from '#moult/broadcast/message.js';
import { MessageLog } from '#moult/broadcast/message-log.js';
import { End } from './world.js';

type Heard = { origin: string; seq: number }[];

/** A link to `peer`, and what went to it. */
function link(heard: Heard = []) {
  const [near, far] = [new End(), new End()];
  near.other = far;
  far.other = near;
  const sent: string[] = [];
  far.on('broadcast', ({ items }: { items: BroadcastMessage[] }) => {
    sent.push(...items.map(({ origin, seq }) => `${origin}:${seq}`));
  });
  const log = new MessageLog();
  const join = { type: 'broadcast-join' as const, id: 'peer', heard, first: false };
  const events = {
    received: () => {},
    heardOf: () => {},
    isPast: includes,
    acknowledged: () => {},
    closed: () => {},
  };
  const one = new Link(near as unknown as Conversation, log, join, events, true);
  const deliver = ({ queue }: End) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) next();
  };
  return {
    one,
    /** Messages are dealt with here. @returns what goes to the peer of them. */
    add: (origin: string, ...seqs: number[]) => {
      for (const seq of seqs)
        log.add({ origin, seq, topic: 'news', payload: Buffer.alloc(1), fed: undefined });
      one.flush(new Map());
      deliver(far);
      return sent.splice(0);
    },
    /** The same of one of so many bytes. */
    addBytes: (seq: number, bytes: number) => {
      log.add({ origin: 'other', seq, topic: 'news', payload: Buffer.alloc(bytes), fed: undefined });
      one.flush(new Map());
      deliver(far);
      return sent.splice(0);
    },
    /** The peer says up to where it is. */
    hear: (...told: Heard) => {
      far.send({ type: 'broadcast-heard', heard: told } as { type: string });
      deliver(near);
    },
    log,
  };
}

describe('a link to another generation', () => {
  it('does not send it back its own messages that came by another way', () => {
    const { add } = link();
    assert.deepEqual(add('peer', 1), []);
    assert.deepEqual(add('other', 1), ['other:1']);
  });

  it('knows how far it is, whatever it says later that is less', () => {
    const { add, hear } = link();
    hear({ origin: 'other', seq: 3 });
    hear({ origin: 'other', seq: 1 });
    assert.deepEqual(add('other', 2, 3, 4), ['other:4']);
  });

  it('counts what it skipped as dealt with', () => {
    const { one, add, hear, log } = link();
    add('other', 1, 2);
    one.skipTo(1);
    log.forgetBefore(1);
    assert.equal(one.low, 1);
    hear({ origin: 'other', seq: 2 });
    assert.equal(one.low, 2);
  });

  it('sends more ahead where more is made until its answer comes, and stays behind no longer', () => {
    const { add, hear } = link();
    const made = 800;
    let sent = 0;
    const behind: number[] = [];
    for (let round = 0; round < 40; round += 1) {
      const heard = sent;
      sent += add('other', ...Array.from({ length: made }, (_, i) => round * made + i + 1)).length;
      hear({ origin: 'other', seq: heard });
      behind.push((round + 1) * made - sent);
    }
    assert.ok(Number(behind[39]) <= Number(behind[9]), `what waits: ${behind}`);
  });

  it('sends only so much ahead, whatever is made', () => {
    const { add, hear, one } = link();
    const many = (from: number) => Array.from({ length: 20_000 }, (_, i) => from + i);
    assert.equal(add('other', ...many(1)).length, 512);
    assert.equal(add('other', ...many(20_001)).length, 0);
    hear({ origin: 'other', seq: 512 });
    assert.equal(add('other', 40_001).length, 2048);
    hear({ origin: 'other', seq: 2000 });
    assert.equal(one.isBehind, true, 'however much may be on its way');
  });

  it('sends no more bytes ahead than that, and what is larger by itself', () => {
    const { addBytes, hear, one } = link();
    const [large, small] = [3 * 1024 * 1024, 600 * 1024];
    assert.equal(addBytes(1, large).length, 1);
    assert.equal(one.isBehind, true);
    assert.equal(addBytes(2, 1).length, 0);
    hear({ origin: 'other', seq: 1 });
    assert.equal(one.isBehind, false);
    assert.equal(addBytes(3, small).length, 2);
    assert.equal(addBytes(4, small).length, 0);
  });
});
