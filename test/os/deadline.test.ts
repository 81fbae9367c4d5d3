import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { Deadline } from '#moult/os/deadline.js';
import { encodeFrame } from '#moult/protocol/frame.js';
import { bareChannel } from '../channel/pair.js';
import { soon, turns } from '../support/events.js';
import { tidy } from '../support/tidy.js';

/** This process stands still, as when it is stopped. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe('a deadline', () => {
  tidy('strikes when the time is over', async () => {
    await soon(new Promise<void>((resolve) => new Deadline(5, resolve)), 'the strike');
  });

  tidy('does not strike when it is cleared, also in the turn in which it would', async () => {
    const early = new Deadline(5, () => assert.fail('it struck'));
    const late = new Deadline(5, () => assert.fail('it struck'));
    early.clear();
    const cleared = new Promise<void>((resolve) => {
      setTimeout(() => {
        late.clear();
        resolve();
      }, 5);
    });
    // Both timers are due when the loop goes on, so they run in one turn, before its immediates.
    standStill(20);
    await cleared;
    await turns(5);
  });

  tidy('does not strike where the other side was in time and this one stood still', async (later) => {
    const { channel, peer } = bareChannel(later);
    // In a turn of its own: what is written here is read in the next one, after its timers.
    await turns(3);
    await new Promise<void>((resolve, reject) => {
      const deadline = new Deadline(5, () => reject(new Error('it struck')));
      channel.on('committed', () => {
        deadline.clear();
        resolve();
      });
      peer.write(encodeFrame({ type: 'committed' }));
      standStill(50);
    });
  });
});
