import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { pino } from 'pino';
import { MoultError } from '#moult/errors.js';
import { defaultOptions, type SupervisorOptions } from '#moult/supervisor/options.js';
import { Recycler, whyDue } from '#moult/supervisor/slots/recycler.js';
import type { Slot } from '#moult/supervisor/slots/slot.js';

const MB = 1024 * 1024;
const YEAR_MS = 365 * 24 * 3_600_000;

describe('what is to be recycled', () => {
  const limits = { maxMemoryBytes: 100 * MB, maxAgeMs: 100_000 };
  const one = { memoryBytes: 50 * MB, ageMs: 1000, spread: 0 };

  it('is over its memory, or of its age less up to a tenth', () => {
    assert.equal(whyDue(one, limits), undefined);
    assert.match(whyDue({ ...one, memoryBytes: 101 * MB }, limits) ?? '', /101 MB .* --max-memory 100 MB/);
    assert.equal(whyDue({ ...one, memoryBytes: 100 * MB }, limits), undefined);
    assert.equal(whyDue({ ...one, ageMs: 99_999 }, limits), undefined);
    assert.match(whyDue({ ...one, ageMs: 100_000 }, limits) ?? '', /--max-age/);
    assert.match(whyDue({ ...one, ageMs: 90_000, spread: 1 }, limits) ?? '', /--max-age/);
    assert.equal(whyDue({ ...one, ageMs: 89_999, spread: 1 }, limits), undefined);
    assert.equal(
      whyDue({ ...one, ageMs: YEAR_MS, memoryBytes: 9e9 }, { maxMemoryBytes: null, maxAgeMs: null }),
      undefined,
    );
  });
});

/** Slots of this process, which has more memory than any limit here, and what is asked of them. */
function recyclerOf(limits: Partial<SupervisorOptions>, count = 2, result = () => Promise.resolve()) {
  const asked: number[] = [];
  const state = { isBusy: false, isUnderWay: false };
  const slots = Array.from({ length: count }, (_, index) => ({
    index,
    generations: {
      current: { number: index, servicePid: process.pid, pid: process.pid, startedAt: Date.now() },
      starting: () => undefined,
    },
    restarts: {
      get isUnderWay() {
        return state.isUnderWay;
      },
    },
    probation: { successor: undefined as unknown },
    crashRecovery: { isWaiting: false },
    outgoingTakeover: { isUnderWay: false },
  }));
  const recycler = new Recycler({
    slots: { staying: slots as unknown as Slot[] },
    options: { ...defaultOptions, ...limits },
    log: pino({ level: 'silent' }),
    isBusy: () => state.isBusy,
    recycle: ({ index = -1 }) => {
      asked.push(index);
      const slot = slots[index];
      if (slot !== undefined)
        slot.generations.current = {
          ...slot.generations.current,
          number: 100 + asked.length,
          startedAt: Date.now(),
        };
      return result();
    },
  });
  return { recycler, slots, asked, state };
}

describe('the recycler', () => {
  it('replaces one slot at a time, and never during anything else', async () => {
    const { recycler, slots, asked, state } = recyclerOf({ maxMemoryBytes: MB });
    state.isBusy = true;
    recycler.look();
    state.isBusy = false;
    state.isUnderWay = true;
    recycler.look();
    state.isUnderWay = false;
    const [, second] = slots;
    assert.ok(second);
    for (const place of ['crashRecovery', 'outgoingTakeover'] as const) {
      const before = second[place];
      Object.assign(second, { [place]: { isWaiting: true, isUnderWay: true } });
      recycler.look();
      Object.assign(second, { [place]: before });
    }
    second.probation.successor = {};
    recycler.look();
    assert.deepEqual(asked, []);
    second.probation.successor = undefined;
    recycler.look();
    recycler.look();
    assert.deepEqual(asked, [0]);
    await new Promise(setImmediate);
    recycler.look();
    assert.deepEqual(asked, [0, 1]);
    await new Promise(setImmediate);
    assert.equal(recycler.last?.slot, 1);
  });

  it('waits longer and longer for a release that is over its limit at once', async () => {
    let now = 1_000_000;
    mock.method(performance, 'now', () => now);
    try {
      const { recycler, asked } = recyclerOf({ maxMemoryBytes: MB }, 1);
      const times: number[] = [];
      for (const until = now + 3_600_000; now < until; now += 500) {
        const before = asked.length;
        recycler.look();
        await new Promise(setImmediate);
        if (asked.length > before) times.push(now);
      }
      const waits = times.slice(1).map((at, n) => at - (times[n] ?? 0));
      assert.ok(waits.length > 10 && waits.length < 20, String(waits));
      assert.ok(
        waits.every((wait, n) => n === 0 || wait >= (waits[n - 1] ?? 0)),
        String(waits),
      );
      assert.ok((waits.at(-1) ?? 0) >= 600_000);
    } finally {
      mock.restoreAll();
    }
  });

  it('tries one again that failed, after a pause, and does nothing where no limit is set', async () => {
    const fails = () => Promise.reject(new MoultError('MOULT_CHECK_FAILED', 'no'));
    const { recycler, asked } = recyclerOf({ maxMemoryBytes: MB }, 1, fails);
    recycler.look();
    await new Promise(setImmediate);
    recycler.look();
    await new Promise(setImmediate);
    assert.deepEqual(asked, [0]);
    assert.equal(recycler.last, undefined);
    const none = recyclerOf({}, 1);
    none.recycler.look();
    assert.deepEqual(none.asked, []);
  });
});
