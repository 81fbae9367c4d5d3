import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, it } from 'node:test';
import type { StreamListener } from '#moult/listeners/stream-listener.js';
import { Readiness, type ReadinessParts } from '#moult/service/generation/readiness.js';

const NAME = 'tcp://*:1';
const NEVER_MS = Number.MAX_SAFE_INTEGER;

/** What a generation lacks that has lived for a while, and whose server has no handler. */
function missing(
  wasUnhandled: boolean | undefined,
  { readyTimeoutMs = NEVER_MS, hasPredecessor = false, says = false } = {},
): string[] {
  const server = createServer();
  const listener = { isInherited: true, isHandled: false, wasUnhandled, server, identity: { name: NAME } };
  const readiness = new Readiness({
    settings: { readyTimeoutMs, waitReady: false, allowFewerListeners: false },
    listeners: {
      streams: () => [listener as unknown as StreamListener],
      sockets: () => [listener],
      named: () => listener,
      inherited: { unclaimed: () => [], isWithdrawn: () => false },
    },
    threads: { missingMs: () => 0 },
    inherited: [],
    hasPredecessor,
    brokersSettled: (then: () => void) => then(),
    ready: () => {},
    refuse: () => {},
    missing: () => {},
  } as unknown as ReadinessParts);
  readiness.lives();
  if (says) readiness.said();
  return readiness.missing();
}

describe('the readiness of a service whose server has no handler yet', () => {
  it('waits for it where the generation before had one, and that has crashed', () => {
    assert.deepEqual(missing(false), [NAME]);
    assert.deepEqual(missing(undefined), [], 'an older release of moult does not tell');
    assert.deepEqual(missing(true), []);
  });

  it('waits no more where the service says that it is ready, or after half the time that it has', () => {
    assert.deepEqual(missing(false, { says: true }), []);
    assert.deepEqual(missing(false, { readyTimeoutMs: 0 }), []);
  });

  it('always waits while its predecessor serves', () => {
    assert.deepEqual(missing(false, { readyTimeoutMs: 0, hasPredecessor: true, says: true }), [NAME]);
  });
});
