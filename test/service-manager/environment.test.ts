import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { takeServiceManager } from '#moult/service-manager/environment.js';

describe('what a service manager says in the environment', () => {
  it('is taken out of it', () => {
    const env = {
      NOTIFY_SOCKET: '/run/systemd/notify',
      WATCHDOG_USEC: '30000000',
      WATCHDOG_PID: '7',
      FDSTORE: '64',
      PORT: '1',
    };
    assert.deepEqual(takeServiceManager(env, 7), {
      notifySocket: '/run/systemd/notify',
      watchdogMs: 30_000,
      storeMax: 64,
    });
    assert.deepEqual(env, { PORT: '1' });
  });

  it('has no watchdog that is meant for another process, and no store that it does not name', () => {
    const env = { NOTIFY_SOCKET: '@notify', WATCHDOG_USEC: '30000000', WATCHDOG_PID: '8' };
    assert.deepEqual(takeServiceManager(env, 7), {
      notifySocket: '@notify',
      watchdogMs: null,
      storeMax: null,
    });
  });

  it('is nothing without an address that can be spoken to', () => {
    for (const NOTIFY_SOCKET of [undefined, '', '/', '@', 'vsock:2:1234', 'relative'])
      assert.equal(takeServiceManager({ NOTIFY_SOCKET }, 7), undefined);
  });

  it('does not believe numbers that are none', () => {
    const env = { NOTIFY_SOCKET: '/n', WATCHDOG_USEC: '1e6', FDSTORE: '-1' };
    assert.deepEqual(takeServiceManager(env, 7), { notifySocket: '/n', watchdogMs: null, storeMax: null });
  });
});
