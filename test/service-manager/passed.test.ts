import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { closeSync, openSync } from 'node:fs';
import { createServer, type ListenOptions } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { descriptorOf } from '#moult/node/handle.js';
import {
  closeDescriptor,
  duplicate,
  keepOverExec,
  shutDownListener,
} from '#moult/os/descriptors/descriptor.js';
import { streamSocketPair } from '#moult/os/sockets/descriptor-socket.js';
import { sortPassed, takePassed } from '#moult/service-manager/passed.js';
import { storedName } from '#moult/service-manager/stored-name.js';
import { isCloseOnExec } from '../support/descriptors.js';
import { eventOf } from '../support/events.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';

/** A listening socket as it would be passed: a descriptor of its own. */
async function listening(later: Later, where: ListenOptions): Promise<{ fd: number; port: number }> {
  const server = createServer().listen(where);
  await eventOf(server, 'listening');
  const fd = duplicate(descriptorOf(server));
  const address = server.address();
  later(() => closeDescriptor(fd));
  later(() => new Promise((resolve) => server.close(resolve)));
  return { fd, port: typeof address === 'object' ? (address?.port ?? 0) : 0 };
}

const named = (fd: number, name = '') => sortPassed([{ fd, name }]).listeners.map(({ item }) => item);

describe('descriptors that a service manager passes', () => {
  tidy('are taken with their names, once, and close on exec', (later) => {
    const env = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'web:', LISTEN_PIDFDID: '1', PORT: '1' };
    // Those of Node itself will do: what they are is not looked at here.
    keepOverExec(3);
    later(() => {});
    assert.deepEqual(takePassed(env, 7), [
      { fd: 3, name: 'web' },
      { fd: 4, name: '' },
    ]);
    assert.deepEqual(env, { PORT: '1' });
    assert.ok(isCloseOnExec(3));
    assert.deepEqual(takePassed(env, 7), []);
  });

  tidy('are left to the process for which they are meant', () => {
    const env = { LISTEN_PID: '8', LISTEN_FDS: '1' };
    assert.deepEqual(takePassed(env, 7), []);
    assert.deepEqual(env, { LISTEN_PID: '8', LISTEN_FDS: '1' });
  });

  tidy('are none where they are not open, whatever the number', () => {
    const env = { LISTEN_PID: '7', LISTEN_FDS: '999999' };
    const taken = takePassed(env, 7);
    assert.ok(taken.length < 1000);
    assert.ok(!taken.some(({ fd }) => fd > 3000));
  });

  tidy('are named as a service asks for them', async (later) => {
    const local = await listening(later, { port: 0, host: '127.0.0.1' });
    const lasting = { backlog: 0, path: null, lasting: true };
    assert.deepEqual(named(local.fd), [{ name: `tcp://127.0.0.1:${local.port}`, family: 'tcp', ...lasting }]);
    const any4 = await listening(later, { port: 0, host: '0.0.0.0' });
    assert.equal(named(any4.fd)[0]?.name, `tcp://0.0.0.0:${any4.port}`);
    const any = await listening(later, { port: 0 });
    assert.equal(named(any.fd)[0]?.name, `tcp://*:${any.port}`);
    const any6 = await listening(later, { port: 0, host: '::', ipv6Only: true });
    assert.equal(named(any6.fd)[0]?.name, `tcp://[::]:${any6.port}?ipv6only`);
    const local6 = await listening(later, { port: 0, host: '::1' });
    assert.equal(named(local6.fd)[0]?.name, `tcp://[::1]:${local6.port}`);
    const path = join(temporaryFolder(later), 'a.sock');
    const unix = await listening(later, { path });
    assert.deepEqual(named(unix.fd), [{ name: `unix:${path}`, family: 'unix', ...lasting }]);
    const abstract = await listening(later, { path: `\0moult-test-passed-${process.pid}` });
    assert.equal(named(abstract.fd)[0]?.name, `unix:@moult-test-passed-${process.pid}`);
  });

  tidy('may be datagram sockets', async (later) => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await eventOf(socket, 'listening');
    later(() => new Promise<void>((resolve) => socket.close(() => resolve())));
    const fd = duplicate(descriptorOf(socket as unknown as Parameters<typeof descriptorOf>[0]));
    later(() => closeDescriptor(fd));
    assert.deepEqual(
      named(fd).map(({ name, family }) => [name, family]),
      [[`udp://127.0.0.1:${socket.address().port}`, 'udp']],
    );
  });

  tidy('that moult stored keep their name, and the path that is moult’s to remove', async (later) => {
    const path = join(temporaryFolder(later), 'a.sock');
    const unix = await listening(later, { path });
    const port0 = await listening(later, { port: 0, host: '127.0.0.1' });
    const { listeners } = sortPassed([
      { fd: unix.fd, name: storedName(`unix:${path}`) },
      { fd: port0.fd, name: storedName('tcp://127.0.0.1:0') },
    ]);
    assert.deepEqual(
      listeners.map(({ item }) => item),
      [
        { name: `unix:${path}`, family: 'unix', backlog: 0, path },
        { name: 'tcp://127.0.0.1:0', family: 'tcp', backlog: 0, path: null },
      ],
    );
  });

  tidy('have different names, what was stored first', async (later) => {
    const one = await listening(later, { port: 0, host: '127.0.0.1' });
    const stored = storedName(`tcp://127.0.0.1:${one.port}`);
    const { listeners } = sortPassed([
      { fd: one.fd, name: 'web' },
      { fd: one.fd, name: stored },
    ]);
    assert.deepEqual(
      listeners.map(({ item }) => [item.name, item.lasting]),
      [
        [`tcp://127.0.0.1:${one.port}`, undefined],
        [`tcp://127.0.0.1:${one.port}#2`, true],
      ],
    );
  });

  tidy('that are good for nothing are told apart', async (later) => {
    const shut = await listening(later, { port: 0, host: '127.0.0.1' });
    shutDownListener(shut.fd);
    const [near, far] = streamSocketPair();
    const file = openSync('/dev/null', 'r');
    later(() => {
      closeDescriptor(near);
      closeDescriptor(far);
      closeSync(file);
    });
    const passed = [
      { fd: shut.fd, name: storedName('tcp://127.0.0.1:1') },
      { fd: shut.fd, name: 'web' },
      { fd: near, name: '' },
      { fd: file, name: 'log' },
    ];
    const { listeners, dead, others } = sortPassed(passed);
    assert.deepEqual(listeners, []);
    assert.deepEqual(dead, passed.slice(0, 1));
    assert.deepEqual(others, passed.slice(1));
  });
});
