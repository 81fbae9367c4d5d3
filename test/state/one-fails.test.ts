import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MoultError } from '#moult/errors.js';
import type { Message } from '#moult/protocol/messages.js';
import { MapEntry } from '#moult/state/map-entry.js';
import { StateEntries } from '#moult/state/state-entries.js';
import { StateGiver } from '#moult/state/state-giver.js';
import { StateMap } from '#moult/state/state-map.js';
import { StateTaker } from '#moult/state/state-taker.js';
import { ValueEntry } from '#moult/state/value-entry.js';
import { End } from '../support/end.js';

/** A generation with a map and two values, the first of which may be unreadable. */
class Side {
  readonly state = new StateEntries();
  readonly map = new StateMap<string, unknown>();
  first = 0;
  second = 0;
  isUnreadable = false;

  constructor(maxBytes: number) {
    this.state.declare(
      new MapEntry('map', this.map, {
        maxBytes,
        version: 2,
        oldestVersion: 1,
        up: ([key, value]) => {
          if (key === 'unreadable') throw new Error('what is that?');
          return [key as string, value];
        },
        down: (entry) => entry,
      }),
    );
    this.state.declare(
      new ValueEntry<number>('first', {
        save: () => this.first,
        restore: (value) => this.#restore(value),
        late: (atEnd, atHandover) => this.#restore(this.first + atEnd - atHandover),
      }),
    );
    this.state.declare(
      new ValueEntry<number>('second', {
        save: () => this.second,
        restore: (value) => {
          this.second = value;
        },
        late: (atEnd, atHandover) => {
          this.second += atEnd - atHandover;
        },
      }),
    );
  }

  #restore(value: number): void {
    if (this.isUnreadable) throw new Error('not now');
    this.first = value;
  }
}

/** One that has handed over to the other, each with its limit for the map. @param tellsAt the version in which entries go. */
async function handedOver(limits: { readonly here?: number; readonly there?: number } = {}, tellsAt = 2) {
  const [ours, theirs] = End.pair(2 ** 30, 2 ** 30 + 1);
  const here = new Side(limits.here ?? 1_000_000);
  const there = new Side(limits.there ?? 1_000_000);
  const failures: MoultError[] = [];
  const giver = new StateGiver(ours.channel, here.state);
  const taker = new StateTaker(theirs.channel, there.state, (error) => failures.push(error));
  const exchange = async () => {
    for (let quiet = 0; quiet < 5; ) {
      quiet = theirs.deliver() || ours.deliver() ? 0 : quiet + 1;
      await nextTurn();
    }
  };
  theirs.on('state-copied', () => {});
  const wants = there.state.wants();
  const copied = giver.copy(wants.map((want) => (want.name === 'map' ? { ...want, max: tellsAt } : want)));
  await Promise.all([copied, exchange()]);
  const finished = giver.finish();
  await Promise.all([finished, exchange()]);
  giver.follow();
  taker.takeAnySize();
  return { here, there, giver, taker, failures, exchange };
}

/** The warnings that were emitted while something was done. */
async function warnedOf(work: () => Promise<void>): Promise<string[]> {
  const told: string[] = [];
  const tell = ({ message }: Error) => told.push(message);
  process.on('warning', tell);
  await work();
  await nextTurn();
  process.off('warning', tell);
  return told;
}

describe('state of which a part fails after the handover', () => {
  it('has all other entries of a map told where one cannot be cloned, and names that', async () => {
    const { here, there, exchange } = await handedOver();
    const warned = await warnedOf(async () => {
      for (const key of ['a', 'b', 'c']) here.map.set(key, key);
      here.map.set('function', () => {});
      for (const key of ['d', 'e']) here.map.set(key, key);
      await exchange();
    });
    assert.deepEqual([...there.map.keys()].sort(), ['a', 'b', 'c', 'd', 'e']);
    assert.equal(warned.length, 1);
    assert.match(warned[0] ?? '', /late changes to state map are lost: .*\(the entry 'function'\)/);
    here.map.set('f', 'f');
    await exchange();
    assert.ok(there.map.has('f'));
  });

  it('has nothing unread on account of an entry that cannot be cloned', async () => {
    const { here, giver, exchange } = await handedOver();
    await warnedOf(async () => {
      here.map.set('function', () => {});
      here.map.set('a', 1);
      await exchange();
    });
    const [map] = here.state.all();
    assert.deepEqual(map && [...giver.unread(map)], []);
  });

  it('has all other entries of a map taken where one cannot be read', async () => {
    const { here, there, failures, exchange } = await handedOver({}, 1);
    for (const key of ['a', 'unreadable', 'b']) here.map.set(key, key);
    await exchange();
    assert.deepEqual([...there.map.keys()], ['a', 'b']);
    assert.match(failures[0]?.message ?? '', /state map, version 1, could not be restored: what is that/);
  });

  it('has everything else taken where the service cannot merge a value', async () => {
    const { here, there, giver, failures, exchange } = await handedOver();
    there.isUnreadable = true;
    here.first += 1;
    here.second += 1;
    await Promise.all([giver.tellRest(10_000), exchange()]);
    here.map.set('later', 1);
    await exchange();
    assert.deepEqual([there.second, there.map.has('later'), failures.length], [1, true, 1]);
  });

  it('is told and taken although it is larger than is declared', async () => {
    const { here, there, failures, exchange } = await handedOver({ here: 1000, there: 1000 });
    const warned = await warnedOf(async () => {
      here.map.set('large', Buffer.alloc(2000));
      await exchange();
    });
    assert.deepEqual([there.map.has('large'), failures, warned], [true, [], []]);
  });
});

describe('state that is larger than the next release declares', () => {
  it('is refused before the handover, with its name and the limit', async () => {
    const [ours, theirs] = End.pair(2 ** 30, 2 ** 30 + 1);
    const [here, there] = [new Side(1_000_000), new Side(1000)];
    here.map.set('large', Buffer.alloc(2000));
    const failures: MoultError[] = [];
    const giver = new StateGiver(ours.channel, here.state);
    const taker = new StateTaker(theirs.channel, there.state, (error) => failures.push(error));
    ours.on('state-want', (want) => void giver.copy((want as Message<'state-want'>).pieces));
    const refused = assert.rejects(taker.want(), /state map: expected at most 1000 bytes in this release/);
    for (let turns = 0; turns < 50; turns += 1) {
      while (ours.deliver() || theirs.deliver());
      await nextTurn();
    }
    await refused;
    assert.deepEqual([theirs.isClosed, failures.map(({ code }) => code)], [false, ['MOULT_STATE_TOO_LARGE']]);
  });
});
