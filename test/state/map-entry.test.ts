import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MapEntry } from '#moult/state/map-entry.js';
import type { MapLink } from '#moult/state/map-link.js';
import { StateMap } from '#moult/state/state-map.js';

type Link = MapLink<string, number>;

/** A map with a link to one that came before, and to one that comes after. */
function between(entries: [string, number][] = []) {
  const map = new StateMap<string, number>(entries);
  const entry = new MapEntry('map', map, {});
  const [before, after] = [1, 2].map((pid) => entry.link(pid, () => undefined) as Link) as [Link, Link];
  return { map, before, after };
}

function all(parts: ReturnType<Link['rest']>): unknown[] {
  const told: unknown[] = [];
  for (let step = parts.next(0); !step.done; step = parts.next(100)) told.push(step.value);
  return told;
}

describe('a map between two generations', () => {
  it('tells the next one of what the former deletes, also where it is not here', () => {
    const { before, after } = between();
    after.note();
    before.take({ delete: [['key', undefined]] }, 1);
    assert.deepEqual(all(after.rest(1)), [{ set: [], delete: [['key', undefined]] }]);
  });

  it('keeps what it has changed and the other side has not read, whatever that says of it', () => {
    const { map, after } = between([
      ['old', 1],
      ['both', 1],
    ]);
    all(after.copy(1));
    after.sent(10);
    after.read(10);
    map.set('both', 2);
    after.take(
      {
        clear: true,
        set: [
          ['both', 3],
          ['new', 3],
        ],
      },
      1,
    );
    assert.deepEqual(
      [...map],
      [
        ['both', 2],
        ['new', 3],
      ],
    );
  });

  it('takes everything from one to which it has given nothing', () => {
    const { map, before } = between();
    before.note();
    map.set('key', 1);
    before.take({ set: [['key', 2]] }, 1);
    assert.equal(map.get('key'), 2);
  });

  it('tells the next one that all were gone where the former had not read that', () => {
    const { map, before, after } = between([['key', 1]]);
    before.note();
    map.clear();
    after.goOn(before);
    assert.deepEqual(all(after.rest(1))[0], { clear: true });
    assert.equal(after.isClearUnread, true);
  });
});
