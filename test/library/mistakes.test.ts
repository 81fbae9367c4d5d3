import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { openService } from '#moult/index.js';
import type { Consumer } from '#moult/tasks/consumer.js';
import { ConsumerRunner } from '#moult/tasks/runners/consumer-runner.js';

/** What someone without types gives. */
const untyped = (value: unknown) => value as never;

describe('mistakes of a service without types', () => {
  const service = openService({ standalone: false });

  it('refuses the name of an event that never comes', () => {
    for (const listen of ['on', 'once', 'addListener', 'prependListener', 'prependOnceListener'] as const)
      assert.throws(
        () =>
          service[listen](
            untyped('served'),
            untyped(() => {}),
          ),
        /expected the name of an event \(serve, yield, .*\), received "served"/,
      );
    assert.equal(service.listenerCount(untyped('served')), 0);
    service.once('drain', () => {});
    assert.equal(service.listenerCount('drain'), 1);
  });

  it('refuses a consumer that cannot be started or stopped, and says which', () => {
    const bad: [unknown, RegExp][] = [
      [{ start() {} }, /consumer mail: expected .* its stop is undefined/],
      [{ stop() {} }, /its start is undefined/],
      [{ start() {}, stop: 'yes' }, /its stop is string/],
      [undefined, /its start is undefined/],
      [null, /its start is undefined/],
    ];
    for (const [consumer, message] of bad)
      assert.throws(() => new ConsumerRunner('mail', consumer as Consumer, {}), message);
    class Sub {
      start() {}
      stop() {}
    }
    new ConsumerRunner('mail', new Sub(), {});
  });

  it('refuses state and maps that are declared after ready', async () => {
    service.map('before');
    const served = once(service, 'serve');
    await service.ready();
    await served;
    const late = /late: expected before ready\(\), received after it/;
    assert.throws(() => service.map('late'), late);
    assert.throws(() => service.state('late', { save: () => 1, restore: () => {} }), late);
  });
});
