import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Readiness, type ReadinessParts } from '#moult/service/generation/readiness.js';

describe('readiness', () => {
  it('waits for what comes from brokers, and for what the predecessor opens meanwhile', async () => {
    const calls: string[] = [];
    const here = new Set<string>();
    let feed = () => {};
    const parts = {
      settings: { waitReady: true, expects: [], sharesListeners: true },
      listeners: {
        streams: () => [],
        sockets: () => [],
        named: (name: string) => (here.has(name) ? {} : undefined),
        inherited: { isWithdrawn: () => false },
      },
      threads: { missingMs: () => 0 },
      inherited: [],
      hasPredecessor: true,
      brokersSettled: (then: () => void) => {
        calls.push('feeding');
        feed = then;
      },
      ready: () => calls.push('ready'),
      missing: (names: readonly string[]) => calls.push(`missing ${names}`),
    };
    const readiness = new Readiness(parts as unknown as ReadinessParts);
    readiness.tested();
    readiness.said();
    assert.deepEqual(calls, ['feeding']);
    readiness.alsoExpects('late');
    await turn();
    feed();
    await turn();
    assert.deepEqual(calls, ['feeding', 'missing late']);
    here.add('late');
    readiness.changed();
    await turn();
    assert.deepEqual(calls, ['feeding', 'missing late', 'ready']);
  });
});
