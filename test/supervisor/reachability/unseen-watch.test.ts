import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { UnseenWatch } from '#moult/supervisor/reachability/unseen-watch.js';

describe('what a restart looks for that moult does not see', () => {
  it('is not waited for where the clock was set back since the service began', {
    timeout: 20_000,
  }, async () => {
    const watch = new UnseenWatch({
      generations: () => [],
      placeOf: () => undefined,
    } as unknown as ConstructorParameters<typeof UnseenWatch>[0]);
    watch.start();
    try {
      const now = Date.now();
      const generation = { number: 1, startedAt: now, servingSince: now + 3_600_000 };
      await watch.lookNow(generation as unknown as GenerationProcess);
      assert.deepEqual(watch.leftBehind(generation as unknown as GenerationProcess), []);
    } finally {
      watch.stop();
    }
  });
});
