import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { defaultOptions } from '#moult/supervisor/options.js';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { Probation } from '#moult/supervisor/restart/probation.js';
import { soon } from '../../support/events.js';

/** A generation of which only its end matters here. */
function generation(number: number): { one: GenerationProcess; ends: () => void } {
  let end!: () => void;
  const exited = new Promise<void>((resolve) => {
    end = resolve;
  });
  const one = { number, exited, exit: undefined, isReachable: true, lifeline: { send: () => {} } };
  const ends = () => {
    Object.assign(one, { exit: { code: null, signal: 'SIGKILL' }, isReachable: false });
    end();
  };
  return { one: one as unknown as GenerationProcess, ends };
}

/** Nothing is checked in it, and nobody takes anything back. */
function probationOf(options: Partial<typeof defaultOptions> = {}): Probation {
  return new Probation(
    { ...defaultOptions, ...options },
    async () => {},
    () => {},
  );
}

/** Three that serve one after the other. */
function three(): [GenerationProcess, GenerationProcess, GenerationProcess] {
  return [generation(1).one, generation(2).one, generation(3).one];
}

describe('a probation', () => {
  for (const first of ['predecessor', 'successor'] as const) {
    it(`is over when both have ended while one handed back, the ${first} first`, async () => {
      const probation = probationOf();
      const predecessor = generation(1);
      const successor = generation(2);
      probation.begin(successor.one, predecessor.one);
      const back = probation.takeBack();
      const confirmed = probation.confirmed(2);
      const order = first === 'predecessor' ? [predecessor, successor] : [successor, predecessor];
      for (const { ends } of order) ends();
      await assert.rejects(
        soon(confirmed, 'the end of the probation', 1000),
        (error: MoultError) => error.code === 'MOULT_SUCCESSOR_LOST' && error.serving === 'none',
      );
      assert.equal(await soon(back, 'the answer to the operator', 1000), predecessor.one);
      assert.equal(probation.canResume, false);
      assert.equal(probation.successor, undefined);
    });
  }

  it('is confirmed for who waits for it when the next one begins before its end was told', async () => {
    const probation = probationOf();
    const [first, second, third] = three();
    probation.begin(second, first);
    const confirmed = probation.confirmed(2);
    probation.begin(third, second);
    await soon(confirmed, 'the end of the first probation', 1000);
    assert.equal(probation.end(3), true);
  });

  it('that failed is no success for who asks when another one has begun in its slot', async () => {
    const probation = probationOf({ probationMs: 60_000 });
    const [first, second, third] = three();
    probation.begin(second, first);
    probation.end(2, new MoultError('MOULT_SUCCESSOR_LOST', 'it has ended'));
    // It was started after the crash of that one.
    probation.beginAlone(third, { look: async () => true, proved: () => {}, failed: () => {} });
    await assert.rejects(probation.watched(2), { code: 'MOULT_SUCCESSOR_LOST' });
    probation.end(3);
    await assert.rejects(probation.watched(3), { code: 'MOULT_NOT_WATCHED' });
  });

  it('was watched for the whole time when its predecessor says so, though it was heard of late', async () => {
    const probation = probationOf({ probationMs: 60_000 });
    const [first, second, third] = three();
    probation.begin(second, first);
    probation.elapsed(3);
    probation.elapsed(2);
    probation.end(2);
    await probation.watched(2);
    probation.begin(third, second);
    probation.end(3);
    await assert.rejects(probation.watched(3), { code: 'MOULT_NOT_WATCHED' });
  });

  for (const [what, answers, isLeft] of [
    ['fails one that has answered and does so no more', [true, false], false],
    ['leaves one that answers still', [true, true], true],
    ['asks nothing of one that has never answered, for it may be busy all the time', [], true],
  ] as const) {
    it(`at its end ${what}`, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] });
      const undone: unknown[] = [];
      const undo = (_by: unknown, _of: unknown, { code }: MoultError) => undone.push(code);
      const probation = new Probation(defaultOptions, async () => {}, undo);
      const [first, second] = three();
      const left: boolean[] = [...answers];
      const state = async () => {
        if (left.shift() !== true) throw new Error('it hangs');
        return { responses: 0, errors: 0 };
      };
      Object.assign(second, { state });
      probation.begin(second, first);
      if (answers.length > 0) {
        t.mock.timers.tick(1000);
        for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
      }
      assert.equal(await probation.answersStill(second), isLeft);
      assert.deepEqual([undone, left], [isLeft ? [] : ['MOULT_PROBATION_FAILED'], []]);
      probation.stop();
    });
  }
});
