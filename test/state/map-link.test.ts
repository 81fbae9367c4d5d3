import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type LinkedMap, MapLink } from '#moult/state/map-link.js';

/** A map of so many entries, and what links to it. */
function linked(size: number): MapLink<number, number> {
  const entries = new Map(Array.from({ length: size }, (_, i) => [i, i]));
  const map: LinkedMap<number, number> = {
    entries,
    follow: () => {},
    unfollow: () => {},
    encode: (entry) => entry,
    take: () => {},
  };
  return new MapLink(map, 0, () => {});
}

const keys = (many: number) => Array.from({ length: many }, (_, i) => i);

describe('what of a map the other side has not read', () => {
  it('is all that changed, however much of it has been sent when that side ends', () => {
    const link = linked(1000);
    link.note();
    for (const key of keys(1000)) link.changed(key);
    const rest = link.rest(1);
    assert.deepEqual([...link.unread], keys(1000));
    // The first part goes; the others wait for room.
    rest.next();
    assert.deepEqual(
      [...link.unread].sort((a, b) => a - b),
      keys(1000),
    );
    link.sent(10);
    link.read(10);
    const left = [...link.unread];
    assert.ok(left.length > 0 && left.length < 1000);
    const next = linked(1000);
    next.goOn(link);
    assert.deepEqual([...next.unread], left);
  });

  it('is told again by the next one that tells', () => {
    const link = linked(100);
    link.note();
    for (const key of keys(100)) link.changed(key);
    link.rest(1).next();
    link.sent(10);
    link.read(10);
    const left = link.unread.size;
    assert.ok(left > 0);
    let told = 0;
    const parts = link.rest(1);
    for (let part = parts.next(); part.done !== true; part = parts.next(100))
      told += (part.value as { set: readonly unknown[] }).set.length;
    assert.equal(told, left);
    assert.equal(link.changes, 0);
  });
});
