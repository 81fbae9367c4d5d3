import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Channel } from '#moult/channel/channel.js';
import { Threads } from '#moult/handover/threads.js';
import { End } from '../support/end.js';
import { turns } from '../support/events.js';

const TIMES = { timeoutMs: 1000, spreadMs: 0 };

/** A thread, as its main thread hears it. */
class FarThread {
  readonly near: End;
  readonly #far: End;

  constructor() {
    [this.near, this.#far] = End.pair(1, 2);
  }

  says(message: Record<string, unknown>): void {
    this.#far.send(message as never);
    while (this.near.deliver());
  }

  ends(): void {
    this.near.close();
  }
}

/** So many threads that were told to leave. */
function leaving(count: number): { threads: Threads; ends: readonly FarThread[] } {
  const threads = new Threads({ listens: () => {}, ready: () => {}, closed: () => {} });
  const ends = Array.from({ length: count }, (_, id) => {
    const end = new FarThread();
    threads.add(id + 1, process.pid, end.near as unknown as Channel, new Int32Array(1), false);
    return end;
  });
  threads.leave([], TIMES);
  return { threads, ends };
}

describe('what threads tell of connections that have moved', () => {
  it('counts also where a thread has ended since, or had nothing left before it came to tell', async () => {
    const { threads, ends } = leaving(3);
    const settled = threads.settled();
    ends[0]?.says({ type: 'settled', moved: 5, notRestored: 1, pausesMs: [2] });
    ends[0]?.says({ type: 'drained', report: { moved: 5, drained: 0, cut: [] } });
    ends[0]?.ends();
    ends[1]?.says({ type: 'drained', report: { moved: 7, drained: 0, cut: [] } });
    ends[1]?.ends();
    await turns();
    ends[2]?.says({ type: 'drained', report: { moved: 11, drained: 0, cut: [] } });
    assert.deepEqual(await settled, { silent: 0, moved: 23, notRestored: 1, pausesMs: [2] });
    const report = await new Promise((resolve) =>
      threads.endWith({ moved: 1, drained: 0, cut: [] }, resolve),
    );
    assert.deepEqual(report, { moved: 24, drained: 0, cut: [] });
  });

  it('is forgotten when they accept again', async () => {
    const { threads, ends } = leaving(2);
    ends[0]?.says({ type: 'settled', moved: 5, notRestored: 0, pausesMs: [] });
    ends[0]?.ends();
    await turns();
    threads.open(2);
    threads.leave([], TIMES);
    const settled = threads.settled();
    ends[1]?.says({ type: 'settled', moved: 1, notRestored: 0, pausesMs: [] });
    assert.equal((await settled).moved, 1);
  });
});
