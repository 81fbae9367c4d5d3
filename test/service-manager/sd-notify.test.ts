import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { describe } from 'node:test';
import type { MoultError } from '#moult/errors.js';
import { monotonicMicroseconds } from '#moult/os/clock.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { streamSocketPair } from '#moult/os/sockets/descriptor-socket.js';
import { SdNotify } from '#moult/service-manager/sd-notify.js';
import { isCloseOnExec, whatIs } from '../support/descriptors.js';
import { until } from '../support/events.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { Manager } from './service-manager.js';

const unexpected = (error: MoultError) => assert.fail(error);

function notifierOf(later: Later, manager: Manager): SdNotify {
  const notifier = new SdNotify(manager.address, unexpected);
  later(() => notifier.close());
  return notifier;
}

describe('speaking to a service manager', () => {
  tidy('says what happens, in order, at a path and at an abstract name', (later) => {
    for (const address of [undefined, `@moult-test-${randomBytes(6).toString('hex')}`]) {
      const manager = new Manager(later, address);
      const notifier = notifierOf(later, manager);
      const before = monotonicMicroseconds();
      notifier.ready('it serves');
      notifier.reloading('it begins');
      notifier.extendTimeout(1500);
      notifier.status('half of it');
      notifier.watchdog();
      notifier.mainPid(12);
      notifier.stopping('the end');
      const [ready, reloading, ...others] = manager.all();
      assert.deepEqual(ready, { READY: '1', STATUS: 'it serves' });
      const { MONOTONIC_USEC = '', ...reload } = reloading ?? {};
      assert.deepEqual(reload, { RELOADING: '1', STATUS: 'it begins' });
      assert.ok(BigInt(MONOTONIC_USEC) >= before && BigInt(MONOTONIC_USEC) <= monotonicMicroseconds());
      assert.deepEqual(others, [
        { EXTEND_TIMEOUT_USEC: '1500000' },
        { STATUS: 'half of it' },
        { WATCHDOG: '1' },
        { MAINPID: '12' },
        { STOPPING: '1', STATUS: 'the end' },
      ]);
    }
  });

  tidy('keeps a status to one line that fits', (later) => {
    const manager = new Manager(later);
    notifierOf(later, manager).status(`first\nREADY=1\t\u0007 end ${'x'.repeat(5000)}`);
    const { STATUS = '', ...others } = manager.hears().fields;
    assert.deepEqual(others, {});
    assert.match(STATUS, /^first READY=1 end x+$/);
    assert.ok(STATUS.length <= 1000);
  });

  tidy('passes a copy of a descriptor to be stored, and its name when it is to be dropped', (later) => {
    const manager = new Manager(later);
    const notifier = notifierOf(later, manager);
    const [near, far] = streamSocketPair();
    const what = whatIs(near);
    notifier.store('moult/a', near);
    notifier.unstore('moult/a');
    closeDescriptor(near);
    closeDescriptor(far);
    const { fields, descriptors } = manager.hears();
    assert.deepEqual(fields, { FDSTORE: '1', FDNAME: 'moult/a' });
    assert.deepEqual(descriptors.map(whatIs), [what]);
    descriptors.forEach(closeDescriptor);
    assert.deepEqual(manager.all(), [{ FDSTOREREMOVE: '1', FDNAME: 'moult/a' }]);
  });

  tidy('does not block, and loses nothing, while the manager reads nothing', async (later) => {
    const manager = new Manager(later);
    const notifier = notifierOf(later, manager);
    // More than a queue of datagrams takes. Source: net.unix.max_dgram_qlen.
    const count = 1500;
    for (let n = 1; n <= count; n += 1) notifier.mainPid(n);
    const [near, far] = streamSocketPair();
    const what = whatIs(near);
    notifier.store('moult/late', near);
    closeDescriptor(near);
    closeDescriptor(far);
    // Only the last of these is worth sending.
    notifier.status('one');
    notifier.status('two');
    const heard: string[] = [];
    await until(() => {
      while (manager.hasMore) {
        const { fields, descriptors } = manager.hears();
        heard.push(fields.MAINPID ?? fields.FDNAME ?? fields.STATUS ?? '?');
        assert.deepEqual(descriptors.map(whatIs), fields.FDNAME === undefined ? [] : [what]);
        descriptors.forEach(closeDescriptor);
      }
      return heard.at(-1) === 'two';
    }, 'all is heard');
    const pids = Array.from({ length: count }, (_, i) => String(i + 1));
    assert.deepEqual(heard, [...pids, 'moult/late', 'two']);
  });

  tidy('closes what it could not send', (later) => {
    const manager = new Manager(later);
    const notifier = new SdNotify(manager.address, unexpected);
    const [near, far] = streamSocketPair();
    for (let n = 0; n < 1500; n += 1) notifier.store('moult/a', near);
    notifier.close();
    closeDescriptor(near);
    closeDescriptor(far);
    manager.all();
  });

  tidy('waits until the manager has read what was said', async (later) => {
    const manager = new Manager(later);
    const notifier = notifierOf(later, manager);
    notifier.mainPid(1);
    let isOver = false;
    const over = notifier.barrier(10_000).then(() => {
      isOver = true;
    });
    assert.deepEqual(manager.hears().fields, { MAINPID: '1' });
    const { fields, descriptors } = manager.hears();
    assert.deepEqual(fields, { BARRIER: '1' });
    assert.equal(descriptors.length, 1);
    assert.ok(descriptors.every(isCloseOnExec));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isOver, false);
    descriptors.forEach(closeDescriptor);
    await over;
  });

  tidy('gives up waiting for a manager that does not read', async (later) => {
    const manager = new Manager(later);
    await assert.rejects(notifierOf(later, manager).barrier(10), { code: 'MOULT_PEER_TIMEOUT' });
    manager.all();
  });

  tidy('tells once where nobody listens, and goes on', (later) => {
    const failures: MoultError[] = [];
    const path = join(temporaryFolder(later), 'none');
    const notifier = new SdNotify(path, (error) => failures.push(error));
    notifier.ready('it serves');
    notifier.status('still');
    assert.deepEqual(
      failures.map(({ code, details }) => [code, details?.reason]),
      [['MOULT_SYSTEM_CALL', 'ENOENT']],
    );
  });
});
