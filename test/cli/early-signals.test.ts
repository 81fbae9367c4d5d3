import assert from 'node:assert/strict';
import { once } from 'node:events';
import { it } from 'node:test';
import { heardEarly, hearEarly, passEarlyOn } from '#moult/cli/early-signals.js';

it('signals that come before anybody listens are kept, and passed on once', async () => {
  const got: string[] = [];
  const hear = (name: string) => void got.push(name);
  // One that this process heard before it began anew.
  hearEarly(['SIGQUIT']);
  // Listening to signals keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  const came = Promise.all([once(process, 'SIGHUP'), once(process, 'SIGTERM')]);
  process.kill(process.pid, 'SIGHUP');
  process.kill(process.pid, 'SIGTERM');
  await came;
  process.on('SIGHUP', hear).on('SIGTERM', hear).on('SIGQUIT', hear);
  assert.deepEqual([...heardEarly()].sort(), ['SIGHUP', 'SIGQUIT', 'SIGTERM']);
  clearInterval(alive);
  passEarlyOn(['SIGHUP']);
  assert.deepEqual(got, ['SIGHUP']);
  passEarlyOn(['SIGHUP', 'SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGUSR2']);
  assert.deepEqual(got, ['SIGHUP', 'SIGTERM', 'SIGQUIT']);
  for (const name of ['SIGHUP', 'SIGTERM', 'SIGQUIT'] as const) {
    process.off(name, hear);
    assert.equal(process.listenerCount(name), 0, name);
  }
});
