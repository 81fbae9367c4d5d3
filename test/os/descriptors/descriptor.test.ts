import assert from 'node:assert/strict';
import { unlinkSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { descriptorOf } from '#moult/node/handle.js';
import { closeDescriptor, duplicate, shutDownListener } from '#moult/os/descriptors/descriptor.js';
import { eventOf } from '../../support/events.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

async function listening(
  later: Later,
  where: { port: number; host: string } | { path: string },
): Promise<Server> {
  const server = createServer((socket: Socket) => socket.destroy());
  server.listen(where);
  await eventOf(server, 'listening');
  later(() => new Promise((resolve) => (server.listening ? server.close(resolve) : resolve(undefined))));
  return server;
}

async function outcome(where: { port: number; host: string } | { path: string }): Promise<string> {
  const socket = connect(where);
  return new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy();
      resolve('connected');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  });
}

describe('shutting a listener down', () => {
  tidy(
    'refuses clients of a TCP port at once although copies are open, and the port can be bound again',
    async (later) => {
      const first = await listening(later, { port: 0, host: '127.0.0.1' });
      const { port } = first.address() as AddressInfo;
      const where = { port, host: '127.0.0.1' };
      const copies = [duplicate(descriptorOf(first)), duplicate(descriptorOf(first))];
      later(() => copies.forEach(closeDescriptor));
      assert.equal(await outcome(where), 'connected');
      shutDownListener(copies[0] ?? -1);
      assert.equal(await outcome(where), 'ECONNREFUSED');
      const second = await listening(later, where);
      assert.equal((second.address() as AddressInfo).port, port);
      assert.equal(await outcome(where), 'connected');
      // The old copies cannot disturb the new one.
      shutDownListener(copies[1] ?? -1);
      assert.equal(await outcome(where), 'connected');
    },
  );

  tidy(
    'refuses clients of a Unix path although copies are open, and the path can be bound again once removed',
    async (later) => {
      const path = join(temporaryFolder(later), 'a.sock');
      const first = await listening(later, { path });
      const copy = duplicate(descriptorOf(first));
      later(() => closeDescriptor(copy));
      shutDownListener(copy);
      assert.equal(await outcome({ path }), 'ECONNREFUSED');
      unlinkSync(path);
      await listening(later, { path });
      assert.equal(await outcome({ path }), 'connected');
    },
  );
});
