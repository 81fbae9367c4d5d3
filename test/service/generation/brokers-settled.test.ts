import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { broadcastHub } from '#moult/broadcast/shared.js';
import { whenBrokersSettled } from '#moult/service/generation/brokers-settled.js';

describe('a successor whose broker is away', () => {
  it('waits 5 s, and no longer than half the time that it has to be ready', () => {
    const topic = { name: 'numbers', deliver: () => {} };
    broadcastHub().declare(topic);
    const feed = broadcastHub().feeds.open(topic, () => {});
    mock.timers.enable({ apis: ['setInterval'] });
    try {
      for (const [readyTimeoutMs, waitMs] of [
        [60_000, 5000],
        [4000, 2000],
      ] as const) {
        let isCalled = false;
        whenBrokersSettled(true, readyTimeoutMs, () => {
          isCalled = true;
        });
        mock.timers.tick(waitMs);
        assert.equal(isCalled, false, `after ${waitMs} ms of ${readyTimeoutMs}`);
        mock.timers.tick(200);
        assert.equal(isCalled, true, `after ${waitMs} ms of ${readyTimeoutMs}`);
      }
    } finally {
      mock.timers.reset();
      broadcastHub().feeds.close(feed);
      broadcastHub().withdraw(topic);
    }
  });
});
