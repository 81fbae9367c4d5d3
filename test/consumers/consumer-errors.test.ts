import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it, mock } from 'node:test';
import { ConsumerErrors } from '#moult/consumers/consumer-errors.js';

describe('the errors of a consumer', () => {
  it('go to the service, as errors, with the message whose handler threw', async () => {
    const told: unknown[] = [];
    const errors = new ConsumerErrors<string>('orders', (error, message) =>
      told.push([error.message, message]),
    );
    errors.tell(new Error('no stock'), 'order 7');
    errors.tell('gone');
    assert.deepEqual(told, []);
    await null;
    assert.deepEqual(told, [
      ['no stock', 'order 7'],
      ['gone', undefined],
    ]);
  });

  it('are warnings without a function, the same text once a minute', async () => {
    const warnings: string[] = [];
    const hear = ({ message }: Error) => warnings.push(message);
    process.on('warning', hear);
    const clock = mock.method(performance, 'now', () => 1_000_000);
    try {
      const errors = new ConsumerErrors<string>('orders', undefined);
      for (const text of ['no stock', 'no stock', 'gone']) errors.tell(new Error(text));
      clock.mock.mockImplementation(() => 1_060_001);
      errors.tell(new Error('no stock'));
      process.emitWarning('last');
      while (warnings.at(-1) !== 'last') await once(process, 'warning');
      assert.deepEqual(warnings, ['orders: no stock', 'orders: gone', 'orders: no stock', 'last']);
    } finally {
      clock.mock.restore();
      process.off('warning', hear);
    }
  });
});
