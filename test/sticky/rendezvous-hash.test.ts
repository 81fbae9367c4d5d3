import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addressKey, rendezvousHash } from '#moult/sticky/rendezvous-hash.js';
import fc from '../support/fast-check.js';

const upTo = (count: number) => Array.from({ length: count }, (_, slot) => slot);
const addresses = Array.from({ length: 4000 }, (_, i) => `10.${i % 7}.${Math.floor(i / 250)}.${i % 250}`);

function homes(slots: readonly number[]): (number | undefined)[] {
  return addresses.map((address) => rendezvousHash(address, slots));
}

describe('the slot of a client', () => {
  it('is one of those that there are, and the same in whatever order they are told', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.uniqueArray(fc.integer({ min: 0, max: 63 }), { minLength: 1 }),
        (key, slots) => {
          const home = rendezvousHash(key, slots);
          assert.ok(home !== undefined && slots.includes(home));
          assert.equal(rendezvousHash(key, [...slots].reverse()), home);
        },
      ),
    );
    assert.equal(rendezvousHash('10.0.0.1', []), undefined);
  });

  it('stays, unless it goes, or one that comes is the new one', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 2, max: 64 }), (key, count) => {
        const before = rendezvousHash(key, upTo(count - 1));
        const after = rendezvousHash(key, upTo(count));
        assert.ok(after === before || after === count - 1);
      }),
    );
  });

  it('is each of them about as often, also for addresses that are near each other', () => {
    for (const count of [2, 3, 4, 8, 64]) {
      const found = homes(upTo(count));
      for (const slot of upTo(count)) {
        const share = found.filter((home) => home === slot).length / (addresses.length / count);
        assert.ok(share > 0.6 && share < 1.4, `slot ${slot} of ${count} has ${share} of its share`);
      }
    }
  });

  it('is another for about one in five clients when a fifth slot comes', () => {
    const before = homes(upTo(4));
    const moved = homes(upTo(5)).filter((home, i) => home !== before[i]).length / addresses.length;
    assert.ok(moved > 0.15 && moved < 0.25, `${moved} have moved`);
  });

  it('is the same for an address of IPv4 by a socket of IPv6', () => {
    assert.equal(addressKey('::ffff:192.0.2.7'), '192.0.2.7');
    assert.equal(addressKey('2001:db8::1'), '2001:db8::1');
    assert.equal(addressKey('::ffff:0:1'), '::ffff:0:1');
  });
});
