import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { commonVersion, PROTOCOL } from '#moult/protocol/version.js';
import fc from '../support/fast-check.js';

const range = fc
  .tuple(fc.nat(20), fc.nat(20))
  .map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }));

describe('the common version', () => {
  it('is the highest that both sides speak, and both sides find the same', () => {
    fc.assert(
      fc.property(range, range, (theirs, ours) => {
        const both = Array.from({ length: 21 }, (_, n) => n).filter(
          (n) => n >= theirs.min && n <= theirs.max && n >= ours.min && n <= ours.max,
        );
        const highest = both.at(-1);
        if (highest === undefined) {
          assert.throws(() => commonVersion(theirs, ours), { code: 'MOULT_PROTOCOL_VERSION' });
          assert.throws(() => commonVersion(ours, theirs), { code: 'MOULT_PROTOCOL_VERSION' });
        } else {
          assert.equal(commonVersion(theirs, ours), highest);
          assert.equal(commonVersion(ours, theirs), highest);
        }
      }),
    );
  });

  it('of this moult and itself is its newest', () => {
    assert.equal(commonVersion(PROTOCOL), PROTOCOL.max);
  });

  it('names both ranges when there is none', () => {
    assert.throws(
      () => commonVersion({ min: 7, max: 9 }, { min: 1, max: 1 }),
      (error) => {
        assert.ok(error instanceof MoultError);
        assert.match(error.message, /protocol 1,.*7 to 9/);
        assert.deepEqual(error.details, { ours: { min: 1, max: 1 }, theirs: { min: 7, max: 9 } });
        assert.equal(error.serving, 'predecessor');
        return true;
      },
    );
  });

  it('does not exist for a peer whose range is upside down', () => {
    assert.throws(() => commonVersion({ min: 2, max: 0 }), { code: 'MOULT_PROTOCOL_VERSION' });
  });
});
