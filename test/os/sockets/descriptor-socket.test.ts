import assert from 'node:assert/strict';
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { closeDescriptor, duplicate } from '#moult/os/descriptors/descriptor.js';
import {
  descriptorSocketPair,
  receiveBytesWithDescriptors,
  receiveDescriptors,
  sendBytesWithDescriptor,
  sendDescriptors,
  streamSocketPair,
} from '#moult/os/sockets/descriptor-socket.js';
import { isCloseOnExec, isOpen, openDescriptors, whatIs } from '../../support/descriptors.js';
import fc from '../../support/fast-check.js';
import { fixture } from '../../support/fixture.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

const MAX = 253;

function pair(later: Later): [number, number] {
  const [near, far] = descriptorSocketPair();
  later(() => isOpen(near) && closeDescriptor(near));
  later(() => isOpen(far) && closeDescriptor(far));
  return [near, far];
}

function files(later: Later, count: number): number[] {
  const fds = Array.from({ length: count }, () => openSync('/dev/null', 'r'));
  later(() => {
    for (const fd of fds) closeSync(fd);
  });
  return fds;
}

function closeAll(descriptors: readonly number[]): void {
  for (const fd of descriptors) closeDescriptor(fd);
}

describe('records of descriptors', () => {
  tidy('arrive in order, with their tag, as copies of what was sent', (later) => {
    const folder = temporaryFolder(later);
    const [near, far] = pair(later);
    for (const [tag, text] of [
      [1, 'one'],
      [0xffff_ffff, 'two'],
      [0, 'three'],
    ] as const) {
      writeFileSync(join(folder, text), text);
      const fd = openSync(join(folder, text), 'r');
      assert.equal(sendDescriptors(near, tag, [fd, far]), true);
      closeSync(fd);
    }
    for (const [tag, text] of [
      [1, 'one'],
      [0xffff_ffff, 'two'],
      [0, 'three'],
    ] as const) {
      const record = receiveDescriptors(far);
      assert.equal(record?.tag, tag);
      assert.equal(record.truncated, false);
      const [file = -1, socket = -1] = record.descriptors;
      const bytes = Buffer.alloc(10);
      assert.equal(bytes.toString('utf8', 0, readSync(file, bytes)), text);
      assert.equal(whatIs(socket), whatIs(far));
      closeAll(record.descriptors);
    }
    assert.equal(receiveDescriptors(far), undefined);
  });

  for (const count of [0, 1, 2, MAX]) {
    tidy(`of ${count} descriptors pass, and every one of them closes on exec`, (later) => {
      const [near, far] = pair(later);
      assert.ok(sendDescriptors(near, 5, files(later, count)));
      const record = receiveDescriptors(far);
      assert.equal(record?.descriptors.length, count);
      assert.equal(record.truncated, false);
      assert.equal(new Set(record.descriptors).size, count);
      for (const fd of record.descriptors) assert.ok(isCloseOnExec(fd), `descriptor ${fd}`);
      closeAll(record.descriptors);
    });
  }

  for (const count of [MAX + 1, MAX + 2, 1000]) {
    tidy(`of ${count} descriptors are a typed error, and nothing is on its way`, (later) => {
      const [near, far] = pair(later);
      const fds = Array<number>(count).fill(files(later, 1)[0] ?? -1);
      assert.throws(
        () => sendDescriptors(near, 1, fds),
        (error) => error instanceof MoultError && error.code === 'MOULT_DESCRIPTORS',
      );
      assert.equal(receiveDescriptors(far), undefined);
    });
  }

  tidy('of numbers that are not open are a typed error that names the reason', (later) => {
    const [near, far] = pair(later);
    assert.throws(() => sendDescriptors(near, 1, [99_999]), {
      code: 'MOULT_DESCRIPTORS',
      details: { reason: 'EBADF' },
    });
    assert.equal(receiveDescriptors(far), undefined);
  });

  tidy(
    'are refused without an error while the receiver has too many before it, and go when it has taken one',
    (later) => {
      const [near, far] = pair(later);
      const fds = files(later, 3);
      let sent = 0;
      while (sendDescriptors(near, sent + 1, fds)) sent += 1;
      assert.ok(sent >= 1 && sent < 100_000, `${sent} records`);
      assert.equal(sendDescriptors(near, sent + 1, fds), false);
      for (let tag = 1; tag <= sent; tag += 1) {
        const record = receiveDescriptors(far);
        assert.equal(record?.tag, tag);
        assert.equal(record.descriptors.length, 3);
        closeAll(record.descriptors);
      }
      assert.equal(sendDescriptors(near, sent + 1, fds), true);
      const last = receiveDescriptors(far);
      assert.equal(last?.tag, sent + 1);
      closeAll(last?.descriptors ?? []);
    },
  );

  tidy('that nobody takes are closed with the socket', (later) => {
    const [near, far] = pair(later);
    const [pipe, other] = streamSocketPair();
    assert.ok(sendDescriptors(near, 1, [pipe]));
    closeDescriptor(pipe);
    closeDescriptor(far);
    // The last copy of the one end is gone, so the other end reads its end.
    assert.equal(receiveBytesWithDescriptors(other, 10)?.bytes.length, 0);
    closeDescriptor(other);
  });

  tidy('sent to a socket whose other end is closed are a typed error, and no signal', (later) => {
    const [near, far] = pair(later);
    closeDescriptor(far);
    assert.throws(() => sendDescriptors(near, 1, files(later, 1)), {
      code: 'MOULT_DESCRIPTORS',
      details: { reason: 'EPIPE' },
    });
  });

  tidy('from a closed socket are none', (later) => {
    const [near, far] = pair(later);
    closeDescriptor(near);
    assert.equal(receiveDescriptors(far), undefined);
  });

  tidy(
    'that do not fit into the limit of open files are truncated, and those that came can be used',
    async (later) => {
      const child = fixture(later, 'few-descriptors.mjs', [], { maxDescriptors: 100 });
      const told = await child.says();
      assert.equal(told.truncated, true);
      assert.equal(told.tag, 7);
      assert.equal(told.areOpen, true);
      assert.equal(told.count, told.room);
      assert.deepEqual(told.afterwards, { count: 20, truncated: false, tag: 8 });
    },
  );

  tidy('keep every descriptor apart, whatever the counts and the order of sending and taking', (later) => {
    const [near, far] = pair(later);
    const fds = files(later, 20);
    const before = openDescriptors().length;
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(20), { nil: null }), { maxLength: 40 }), (steps) => {
        const expected: { tag: number; count: number }[] = [];
        let tag = 0;
        const take = () => {
          const record = receiveDescriptors(far);
          const want = expected.shift();
          assert.equal(record?.tag, want?.tag);
          assert.equal(record?.descriptors.length, want?.count);
          closeAll(record?.descriptors ?? []);
        };
        for (const step of steps) {
          if (step === null) take();
          else if (sendDescriptors(near, tag, fds.slice(0, step))) expected.push({ tag: tag++, count: step });
        }
        while (expected.length > 0) take();
        assert.equal(openDescriptors().length, before);
      }),
    );
  });
});

describe('bytes of a stream with a descriptor beside them', () => {
  tidy('arrive together, and what follows without', (later) => {
    const [near, far] = streamSocketPair();
    later(() => closeAll([near, far]));
    const [fd = -1] = files(later, 1);
    sendBytesWithDescriptor(near, Buffer.from('greeting'), fd);
    const first = receiveBytesWithDescriptors(far, 5);
    assert.equal(first?.bytes.toString(), 'greet');
    assert.equal(first.descriptors.length, 1);
    assert.ok(first.descriptors.every(isCloseOnExec));
    closeAll(first.descriptors);
    const rest = receiveBytesWithDescriptors(far, 100);
    assert.equal(rest?.bytes.toString(), 'ing');
    assert.deepEqual(rest.descriptors, []);
  });

  tidy('are a typed error when the socket is full, and when they are too many', (later) => {
    const [near, far] = streamSocketPair();
    later(() => closeAll([near, far]));
    const [fd = -1] = files(later, 1);
    assert.throws(() => sendBytesWithDescriptor(near, Buffer.alloc(5000), fd), { code: 'MOULT_DESCRIPTORS' });
    assert.throws(
      () => {
        for (;;) sendBytesWithDescriptor(near, Buffer.alloc(4096), fd);
      },
      { code: 'MOULT_DESCRIPTORS' },
    );
  });
});

describe('a socket pair and a duplicate', () => {
  tidy('close on exec, and are never 0, 1 or 2', () => {
    const made = [...descriptorSocketPair(), ...streamSocketPair()];
    const copies = made.map(duplicate);
    for (const fd of [...made, ...copies]) {
      assert.ok(isCloseOnExec(fd), `descriptor ${fd}`);
      assert.ok(fd > 2);
    }
    assert.deepEqual(copies.map(whatIs), made.map(whatIs));
    closeAll([...made, ...copies]);
  });

  tidy('of what is not open is a typed error', () => {
    assert.throws(() => duplicate(99_999), {
      code: 'MOULT_SYSTEM_CALL',
      details: { call: 'fcntl(F_DUPFD_CLOEXEC)', reason: 'EBADF' },
    });
  });
});
