import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { streamSocketPair } from '#moult/os/sockets/descriptor-socket.js';
import {
  bindUnix,
  connectUnix,
  isAbandoned,
  MAX_SOCKET_PATH_BYTES,
  readExactly,
  unboundTcpSocket,
  waitReadable,
  writeAll,
} from '#moult/os/unix-sockets/unix-socket.js';
import { isCloseOnExec } from '../../support/descriptors.js';
import { eventOf } from '../../support/events.js';
import { fixture } from '../../support/fixture.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

const inMs = (ms: number) => performance.now() + ms;

function streams(later: Later): [number, number] {
  const [near, far] = streamSocketPair();
  later(() => {
    closeDescriptor(near);
    closeDescriptor(far);
  });
  return [near, far];
}

describe('connecting to a Unix socket', () => {
  tidy('gives a descriptor that closes on exec', async (later) => {
    const path = join(temporaryFolder(later), 'a.sock');
    const server = createServer((socket) => socket.destroy()).listen(path);
    later(() => new Promise((resolve) => server.close(resolve)));
    await eventOf(server, 'listening');
    const fd = connectUnix(path);
    assert.ok(isCloseOnExec(fd));
    await eventOf(server, 'connection');
    closeDescriptor(fd);
  });

  tidy('names the reason where nobody is, or nothing', (later) => {
    const folder = temporaryFolder(later);
    assert.throws(() => connectUnix(join(folder, 'none.sock')), {
      code: 'MOULT_SYSTEM_CALL',
      details: { call: 'connect', reason: 'ENOENT' },
    });
    const stale = join(folder, 'stale.sock');
    const fd = bindUnix(stale);
    assert.ok(typeof fd === 'number');
    closeDescriptor(fd);
    assert.ok(existsSync(stale));
    assert.throws(() => connectUnix(stale), { details: { call: 'connect', reason: 'ECONNREFUSED' } });
  });

  for (const [name, open] of [
    ['connecting to', connectUnix],
    ['binding', bindUnix],
  ] as const) {
    tidy(`${name} a path that is too long is refused with its length, and leaves nothing open`, () => {
      const path = `/tmp/${'x'.repeat(MAX_SOCKET_PATH_BYTES - 4)}`;
      assert.throws(
        () => open(path),
        (error) =>
          error instanceof MoultError && error.code === 'MOULT_BAD_OPTION' && error.message.includes('108'),
      );
    });
  }
});

describe('binding a Unix socket', () => {
  tidy('gives a descriptor that closes on exec, at exactly that path', (later) => {
    const folder = temporaryFolder(later);
    const path = join(folder, 'x'.repeat(MAX_SOCKET_PATH_BYTES - folder.length - 1));
    assert.equal(Buffer.byteLength(path), MAX_SOCKET_PATH_BYTES);
    const fd = bindUnix(path);
    assert.ok(typeof fd === 'number' && isCloseOnExec(fd));
    assert.ok(existsSync(path));
    assert.equal(bindUnix(path), 'EADDRINUSE');
    closeDescriptor(fd);
    assert.ok(existsSync(path), 'closing it must not remove the path');
  });

  tidy('of an abstract name leaves no file, and the name is free once it is closed', () => {
    const name = `\0moult-test-${process.pid}`;
    const fd = bindUnix(name);
    assert.ok(typeof fd === 'number');
    assert.equal(bindUnix(name), 'EADDRINUSE');
    closeDescriptor(fd);
    const again = bindUnix(name);
    assert.ok(typeof again === 'number');
    closeDescriptor(again);
  });

  tidy('names the reason where the folder is missing', (later) => {
    assert.equal(bindUnix(join(temporaryFolder(later), 'none/a.sock')), 'ENOENT');
  });
});

describe('a TCP socket of our own', () => {
  tidy('closes on exec', () => {
    const fd = unboundTcpSocket();
    assert.ok(isCloseOnExec(fd));
    closeDescriptor(fd);
  });
});

describe('reading exactly', () => {
  tidy('takes so many bytes and leaves the rest', (later) => {
    const [near, far] = streams(later);
    writeAll(near, Buffer.from('abc'));
    writeAll(near, Buffer.from('defgh'));
    assert.equal(readExactly(far, 5, inMs(1000)).toString(), 'abcde');
    assert.equal(readExactly(far, 3, inMs(1000)).toString(), 'fgh');
    assert.equal(readExactly(far, 0, inMs(1000)).length, 0);
  });

  tidy('ends at its deadline when too little comes', (later) => {
    const [near, far] = streams(later);
    writeAll(near, Buffer.from('abc'));
    const startMs = performance.now();
    assert.throws(() => readExactly(far, 5, inMs(30)), { code: 'MOULT_PEER_TIMEOUT' });
    assert.ok(performance.now() - startMs >= 29);
    assert.throws(() => waitReadable(far, inMs(-1)), { code: 'MOULT_PEER_TIMEOUT' });
  });

  tidy('ends when the other side closes in the middle', () => {
    const [near, far] = streamSocketPair();
    writeAll(near, Buffer.from('abc'));
    closeDescriptor(near);
    assert.throws(() => readExactly(far, 5, inMs(5000)), { code: 'MOULT_PEER_CLOSED' });
    closeDescriptor(far);
  });

  tidy('writing to a side that has closed is an error that names the call, and no signal', () => {
    const [near, far] = streamSocketPair();
    closeDescriptor(far);
    assert.throws(() => writeAll(near, Buffer.from('abc')), {
      code: 'MOULT_SYSTEM_CALL',
      details: { call: 'send', reason: 'EPIPE' },
    });
    closeDescriptor(near);
  });

  tidy('goes on when signals interrupt it', async (later) => {
    const [near, far] = streams(later);
    process.on('SIGWINCH', () => {});
    later(() => process.removeAllListeners('SIGWINCH'));
    const child = fixture(later, 'signal-often.mjs', [String(process.pid), 'SIGWINCH']);
    await child.says();
    assert.throws(() => readExactly(far, 1, inMs(50)), { code: 'MOULT_PEER_TIMEOUT' });
    writeAll(near, Buffer.from('x'));
    assert.equal(readExactly(far, 1, inMs(1000)).toString(), 'x');
    await child.end();
  });
});

describe('a path of a Unix socket', () => {
  tidy('is abandoned when no process has its socket open any more', (later) => {
    const path = join(temporaryFolder(later), 'a.sock');
    const fd = bindUnix(path);
    assert.ok(typeof fd === 'number');
    assert.equal(isAbandoned(path), false, 'bound, though it does not listen');
    closeDescriptor(fd);
    assert.equal(isAbandoned(path), true);
  });

  tidy('is not while somebody listens, who does not notice the question', async (later) => {
    const path = join(temporaryFolder(later), 'a.sock');
    const server = createServer(() => assert.fail('somebody came')).listen(path);
    later(() => new Promise((resolve) => server.close(resolve)));
    await eventOf(server, 'listening');
    assert.equal(isAbandoned(path), false);
    await new Promise((resolve) => setImmediate(resolve));
  });

  tidy('is not when it is none', (later) => {
    const folder = temporaryFolder(later);
    writeFileSync(join(folder, 'file'), '');
    for (const path of [folder, join(folder, 'file'), join(folder, 'none'), '\0abstract'])
      assert.equal(isAbandoned(path), false);
  });
});
