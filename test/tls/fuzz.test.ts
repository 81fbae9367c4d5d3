import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { TLS13_CIPHERS } from '#moult/tls/state/tls-state.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';
import { makeAuthority } from './authority.js';
import { playBoth } from './differential.js';
import { listenKnown } from './move-here.js';

/** Clients for each cipher; proofs/tls-records.mjs plays many more. */
const SEEDS = 60;

describe('what clients send, good and bad', () => {
  for (const [index, cipher] of TLS13_CIPHERS.entries()) {
    tidy(`is read, and refused, as Node's own TLS does it, with ${cipher}`, async (later) => {
      const authority = makeAuthority(temporaryFolder(later));
      const listener = await listenKnown(later, { ...authority.server, ciphers: cipher });
      let [refused, answered] = [0, 0];
      for (let seed = index * SEEDS; seed < (index + 1) * SEEDS; seed += 1) {
        const { outcome } = await playBoth(later, listener, seed);
        refused += outcome.error === undefined ? 0 : 1;
        answered += outcome.keyUpdates > 0 ? 1 : 0;
      }
      assert.ok(
        refused > 10 && refused < SEEDS - 10 && answered > 5,
        `${refused} refused, ${answered} answered`,
      );
    });
  }
});
