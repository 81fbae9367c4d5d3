import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { GenerationContext } from '#moult/handover/generation-context.js';
import { lastWords } from '#moult/handover/predecessor/last-words.js';
import type { DrainReport } from '#moult/protocol/messages.js';
import type { ConsumerStop } from '#moult/tasks/consumer.js';
import { ConsumerRunner } from '#moult/tasks/runners/consumer-runner.js';
import { Tasks } from '#moult/tasks/tasks.js';
import { until } from '../support/events.js';

const REPORT: DrainReport = { moved: 0, drained: 0, cut: [] };

/** A generation with a consumer that is asked to stop within a minute, and has not by the end of the drain. */
async function stopping(
  stop: (stop: ConsumerStop) => unknown,
): Promise<{ said: string[]; context: GenerationContext }> {
  const said: string[] = [];
  const tasks = new Tasks(undefined, { failed: (error) => said.push(error.message), idle: () => {} });
  const consumer = { start: () => {}, stop };
  tasks.declare(new ConsumerRunner('orders', consumer, { stopWithinMs: 60_000 }));
  await tasks.get('orders')?.begin(1);
  tasks.end(60_000);
  const threads = { endWith: (report: DrainReport, then: (whole: DrainReport) => void) => then(report) };
  return { said, context: { tasks, threads } as unknown as GenerationContext };
}

describe('what a generation says last', () => {
  it('comes when a consumer has given back what it had, which is told that its time is over', async () => {
    let signal: AbortSignal | undefined;
    const { said, context } = await stopping((stop) => {
      signal = stop.signal;
      return new Promise<void>((resolve) => {
        stop.signal.addEventListener('abort', () =>
          setImmediate(() => resolve(void said.push('given back'))),
        );
      });
    });
    await until(() => signal !== undefined, 'the consumer stops');
    assert.equal(signal?.aborted, false);
    lastWords(context, undefined, REPORT, () => said.push('over'));
    await until(() => said.includes('over'), 'it is over');
    assert.deepEqual(said, ['given back', 'over']);
  });

  it('comes although a consumer does not heed that', async () => {
    const { said, context } = await stopping(() => new Promise<void>(() => {}));
    lastWords(context, undefined, REPORT, () => said.push('over'));
    await until(() => said.includes('over'), 'it is over');
  });
});
