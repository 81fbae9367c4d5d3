import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { boundName } from '#moult/listeners/name.js';
import { descriptorOf } from '#moult/node/handle.js';
import { closeDescriptor, duplicate } from '#moult/os/descriptors/descriptor.js';
import { socketIdentity } from '#moult/os/sockets/socket-identity.js';
import { eventOf } from '../support/events.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { addressOf, closed, GenerationOfListeners, visit } from './two-generations.js';

const answering = (name: string) => createServer((socket: Socket) => socket.on('error', () => {}).end(name));
const LOCAL = { port: 0, host: '127.0.0.1' };

/** A socket that a service manager opened, and a generation that inherits it. */
async function activated(
  later: Later,
  where: ListenOptions,
): Promise<{ socket: Server; one: GenerationOfListeners; name: string }> {
  const socket = createServer().listen(where);
  await eventOf(socket, 'listening');
  // The service manager itself accepts nothing.
  const fd = duplicate(descriptorOf(socket));
  const manager = duplicate(descriptorOf(socket));
  await closed(socket);
  later(() => closeDescriptor(manager));
  const identity = socketIdentity(fd);
  assert.ok(identity !== undefined && identity.address.family !== 'other');
  const name = boundName(identity.address);
  const one = new GenerationOfListeners(later);
  const family = identity.address.family === 'unix' ? 'unix' : 'tcp';
  one.registry.inherited.takeOver([{ name, family, backlog: 0, path: null, lasting: true }], [fd]);
  later(() => closeSpare(one));
  return { socket, one, name };
}

// What no generation claims stays open until its process ends.
function closeSpare({ registry }: GenerationOfListeners): void {
  const { items, descriptors } = registry.describe();
  for (const [i, item] of items.entries()) if (item.spare) closeDescriptor(descriptors[i] ?? -1);
}

describe('a listener that a service manager opened', () => {
  tidy('is claimed by every way to ask for its port', async (later) => {
    for (const host of [undefined, '::', '0.0.0.0']) {
      const { one, name } = await activated(later, { port: 0 });
      const port = Number(name.split(':').at(-1));
      const server = await one.listen(
        later,
        answering('here'),
        host === undefined ? { port } : { port, host },
      );
      assert.deepEqual(one.told, [`claimed ${name}`]);
      assert.equal(await visit({ port, host: '127.0.0.1' }).answer, 'here');
      await closed(server);
    }
  });

  tidy('is claimed by a path that leads to it', async (later) => {
    const folder = temporaryFolder(later);
    mkdirSync(join(folder, 'run'));
    symlinkSync(join(folder, 'run'), join(folder, 'link'));
    // Node's own server would remove the path.
    const path = join(folder, 'run/a.sock');
    const first = new GenerationOfListeners(later);
    await first.listen(later, answering('first'), { path });
    const { items, descriptors } = first.registry.describe();
    const one = new GenerationOfListeners(later);
    later(() => closeSpare(one));
    const lasting = items.map((item) => ({ ...item, path: null, lasting: true }));
    one.registry.inherited.takeOver(lasting, descriptors.map(duplicate));
    first.registry.pause();
    await one.listen(later, answering('here'), { path: join(folder, 'link/a.sock') });
    assert.deepEqual(one.told, [`claimed unix:${path}`]);
    assert.equal(await visit({ path }).answer, 'here');
  });

  tidy('is not claimed by one that asks for less than it is', async (later) => {
    const { one, name } = await activated(later, { port: 0 });
    const port = Number(name.split(':').at(-1));
    const server = createServer();
    one.own(server);
    server.listen({ port, host: '127.0.0.1' });
    const [error] = await eventOf<[NodeJS.ErrnoException]>(server, 'error');
    assert.equal(error.code, 'EADDRINUSE');
    assert.deepEqual(one.registry.inherited.unclaimed(), [name]);
    one.registry.dropUnclaimed();
  });

  tidy('stays open when the service closes its server, and can be claimed again', async (later) => {
    const { one, name } = await activated(later, LOCAL);
    const port = Number(name.split(':').at(-1));
    const server = await one.listen(later, answering('first'), { port, host: '127.0.0.1' });
    await closed(server);
    assert.deepEqual(one.told, [`claimed ${name}`, `closed ${name}`]);
    const waiting = visit({ port, host: '127.0.0.1' });
    await waiting.connected;
    await one.listen(later, answering('second'), { port, host: '127.0.0.1' });
    assert.equal(await waiting.answer, 'second');
  });

  tidy(
    'goes to the successor also where nobody claimed it, and need not be claimed there either',
    async (later) => {
      const { one, name } = await activated(later, LOCAL);
      const other = await one.listen(later, answering('other'), LOCAL);
      one.registry.dropUnclaimed();
      assert.deepEqual(one.registry.inherited.unclaimed(), []);
      const two = new GenerationOfListeners(later, one);
      later(() => closeSpare(two));
      assert.deepEqual(two.registry.inherited.unclaimed(), ['tcp://127.0.0.1:0']);
      one.registry.pause();
      two.registry.openGates();
      const port = Number(name.split(':').at(-1));
      await two.listen(later, answering('at last'), { port, host: '127.0.0.1' });
      assert.equal(await visit({ port, host: '127.0.0.1' }).answer, 'at last');
      await closed(other);
    },
  );

  tidy('is never shut down', async (later) => {
    const { one, name } = await activated(later, LOCAL);
    const port = Number(name.split(':').at(-1));
    const server = await one.listen(later, answering('first'), { port, host: '127.0.0.1' });
    const listener = one.registry.of(server);
    assert.ok(listener !== undefined);
    assert.equal(addressOf(server).port, port);
    one.registry.pause();
    one.registry.release(listener, true);
    // The service manager has it still: who comes now waits.
    const { socket, connected } = visit({ port, host: '127.0.0.1' });
    await connected;
    socket.destroy();
  });
});
