import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TimersRunner } from '#moult/tasks/runners/timers-runner.js';
import { soon } from '../support/events.js';

describe('timers', () => {
  it('run before the other generation hears that they are gone: killed in between, none is lost', async () => {
    const order: string[] = [];
    let told = () => {};
    const isTold = new Promise<void>((resolve) => {
      told = resolve;
    });
    const runner = new TimersRunner<string>('reminders', (id) => order.push(`runs ${id}`));
    runner.begin(1, undefined);
    runner.set('tea', 0, 'green');
    runner.piece
      .link(1, () => undefined)
      // What has changed goes to the other side in a microtask.
      .note(() =>
        queueMicrotask(() => {
          order.push('told');
          told();
        }),
      );
    await soon(isTold, 'the end of the timer');
    assert.deepEqual(order, ['runs tea', 'told']);
  });
});
