import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { existsSync, linkSync, mkdirSync, watch } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { descriptorOf } from '#moult/node/handle.js';
import { datagramHandleOf } from '#moult/node/listening/datagram-handle.js';
import { duplicate } from '#moult/os/descriptors/descriptor.js';
import { HeldListeners } from '#moult/supervisor/listeners/held-listeners.js';
import { HeldPaths } from '#moult/supervisor/listeners/held-paths.js';
import { isOpen } from '../../support/descriptors.js';
import { eventOf } from '../../support/events.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

// The loop keeps its one descriptor for watches once it has it.
watch('.').close();

const item = (name: string, path: string | null = null) =>
  ({ name, family: path === null ? 'tcp' : 'unix', backlog: 1, path }) as const;

async function listening(later: Later, where: object): Promise<Server> {
  const server = createServer((socket) => socket.destroy()).listen(where);
  later(() => new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve())));
  await eventOf(server, 'listening');
  return server;
}

function outcome(where: object): Promise<string> {
  const socket = connect({ ...where } as { port: number });
  return new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy();
      resolve('connected');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  });
}

describe('held listeners', () => {
  tidy('keep a port open when the service that listened is gone', async (later) => {
    const server = await listening(later, { port: 0, host: '127.0.0.1' });
    const at = { port: (server.address() as AddressInfo).port, host: '127.0.0.1' };
    const held = new HeldListeners();
    held.hold(item('web'), duplicate(descriptorOf(server)), 1);
    await new Promise((resolve) => server.close(resolve));
    assert.equal(await outcome(at), 'connected');
    assert.deepEqual(held.names(), ['web']);
    held.closeForGood('web');
    assert.equal(await outcome(at), 'ECONNREFUSED');
    assert.equal(held.size, 0);
  });

  tidy('close the copy before when one of the same name comes', async (later) => {
    const server = await listening(later, { port: 0, host: '127.0.0.1' });
    const copies = [duplicate(descriptorOf(server)), duplicate(descriptorOf(server))] as const;
    const held = new HeldListeners();
    held.hold(item('web'), copies[0], 1);
    held.hold(item('web'), copies[1], 1);
    assert.equal(isOpen(copies[0]), false);
    assert.deepEqual(held.describe(), { items: [item('web')], descriptors: [copies[1]] });
    held.release('web', 1);
    held.release('web', 1);
    assert.equal(isOpen(copies[1]), false);
    assert.equal(server.listening, true);
  });

  tidy('not among those that a service claimed are closed for everybody, the others stay', async (later) => {
    const folder = temporaryFolder(later);
    const path = join(folder, 'a.sock');
    const tcp = await listening(later, { port: 0, host: '127.0.0.1' });
    const unix = await listening(later, { path });
    const held = new HeldListeners();
    held.hold(item('tcp'), duplicate(descriptorOf(tcp)), 1);
    held.hold(item('unix', path), duplicate(descriptorOf(unix)), 1);
    held.keepOnly(new Set(['tcp', 'never']));
    assert.deepEqual(held.names(), ['tcp']);
    assert.equal(existsSync(path), false);
    assert.equal(
      await outcome({ port: (tcp.address() as AddressInfo).port, host: '127.0.0.1' }),
      'connected',
    );
    held.keepOnly(new Set());
    assert.equal(
      await outcome({ port: (tcp.address() as AddressInfo).port, host: '127.0.0.1' }),
      'ECONNREFUSED',
    );
    held.closeForGood('never');
  });

  tidy('that only an undone generation had are closed, also when they come late', async (later) => {
    const both = await listening(later, { port: 0, host: '127.0.0.1' });
    const added = await listening(later, { port: 0, host: '127.0.0.1' });
    const late = await listening(later, { port: 0, host: '127.0.0.1' });
    const held = new HeldListeners();
    held.hold(item('both'), duplicate(descriptorOf(both)), 1);
    held.hold(item('both'), duplicate(descriptorOf(both)), 2);
    held.hold(item('added'), duplicate(descriptorOf(added)), 2);
    held.undo(2);
    held.hold(item('late'), duplicate(descriptorOf(late)), 2);
    held.hold(item('both'), duplicate(descriptorOf(both)), 2);
    assert.deepEqual(held.names(), ['both']);
    const at = (server: Server) => ({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
    assert.equal(await outcome(at(both)), 'connected');
    assert.equal(await outcome(at(added)), 'ECONNREFUSED');
    assert.equal(await outcome(at(late)), 'ECONNREFUSED');
    held.closeForGood('both');
  });

  tidy(
    'are described where they are found: as before when who had them elsewhere was undone',
    async (later) => {
      const folder = temporaryFolder(later);
      for (const name of ['one', 'two', 'run']) mkdirSync(join(folder, name));
      const [one, two] = [join(folder, 'one/a.sock'), join(folder, 'two/a.sock')];
      const server = await listening(later, { path: one });
      const paths = new HeldPaths(join(folder, 'run'));
      later(() => paths.close());
      const held = new HeldListeners(undefined, undefined, paths);
      const places = () =>
        [held.describe(), { items: held.kept().map(({ item }) => item) }].map(({ items }) => items[0]?.path);
      held.hold(item('web', one), duplicate(descriptorOf(server)), 1);
      linkSync(one, two);
      held.hold(item('web', two), duplicate(descriptorOf(server)), 2);
      assert.deepEqual(places(), [two, two]);
      // While its successor lives, too, the predecessor is found where it has asked for it.
      assert.equal(paths.pathOf('web', 1), one);
      held.undo(2);
      assert.equal(existsSync(two), false);
      assert.deepEqual(places(), [one, one]);
      held.closeForGood('web');
    },
  );

  tidy('of datagrams are closed without those who answer on another copy noticing', async (later) => {
    const service = createSocket('udp4');
    const client = createSocket('udp4');
    for (const socket of [service, client]) {
      socket.bind(0, '127.0.0.1');
      await eventOf(socket, 'listening');
      later(() => socket.close());
    }
    const held = new HeldListeners();
    const fd = duplicate(datagramHandleOf(service)?.fd ?? -1);
    held.hold({ name: 'udp', family: 'udp', backlog: 0, path: null }, fd, 1);
    held.closeForGood('udp');
    assert.equal(isOpen(fd), false);
    service.send('answer', client.address().port, '127.0.0.1');
    const [message] = await eventOf(client, 'message');
    assert.equal(String(message), 'answer');
    client.send('question', service.address().port, '127.0.0.1');
    await eventOf(service, 'message');
  });

  tidy('are kept in a store too, until they are closed for good', async (later) => {
    const server = await listening(later, { port: 0, host: '127.0.0.1' });
    const told: string[] = [];
    const held = new HeldListeners({
      keep: ({ name }) => told.push(`keep ${name}`),
      drop: (name) => told.push(`drop ${name}`),
    });
    held.hold(item('web'), duplicate(descriptorOf(server)), 1);
    held.release('web', 1);
    held.hold(item('web'), duplicate(descriptorOf(server)), 1);
    held.letGo();
    assert.equal(held.size, 0);
    assert.deepEqual(told, ['keep web', 'drop web', 'keep web'], 'what is let go of stays in the store');
    assert.equal(
      await outcome({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' }),
      'connected',
    );
    held.hold(item('web'), duplicate(descriptorOf(server)), 1);
    held.closeForGood('web');
    assert.equal(told.at(-1), 'drop web');
  });

  tidy('that a service manager opened stay, also where nobody claims them', async (later) => {
    const server = await listening(later, { port: 0, host: '127.0.0.1' });
    const at = { port: (server.address() as AddressInfo).port, host: '127.0.0.1' };
    const held = new HeldListeners();
    later(() => held.letGo());
    const lasting = { ...item('web'), lasting: true };
    held.hold(lasting, duplicate(descriptorOf(server)), 1);
    assert.deepEqual(held.keepOnly(new Set()), ['web']);
    assert.deepEqual(held.describe().items, [{ ...lasting, spare: true }]);
    held.hold(lasting, duplicate(descriptorOf(server)), 1);
    assert.deepEqual(held.describe().items, [lasting], 'somebody claimed it');
    held.release('web', 1);
    held.closeForGood('web');
    assert.deepEqual(held.describe().items, [{ ...lasting, spare: true }]);
    assert.equal(await outcome(at), 'connected');
  });
});

describe('held listeners of several slots', () => {
  /** Listeners that generations share, of which these live. */
  function shared(...alive: number[]) {
    const told: string[] = [];
    const living = new Set(alive);
    const held = new HeldListeners(undefined, {
      isAlive: (generation) => living.has(generation),
      opened: ({ name }, _fd, by) => told.push(`opened ${name} by ${by}`),
      closed: (name) => told.push(`closed ${name}`),
    });
    return { held, told, living };
  }

  const later250 = () => new Promise((resolve) => setTimeout(resolve, 400));

  tidy(
    'are offered to the others when they are new, and stay open as long as one slot has them',
    async (later) => {
      const server = await listening(later, { port: 0, host: '127.0.0.1' });
      const at = { port: (server.address() as AddressInfo).port, host: '127.0.0.1' };
      const { held, told } = shared(1, 2);
      held.hold(item('web'), duplicate(descriptorOf(server)), 1);
      held.hold(item('web'), duplicate(descriptorOf(server)), 2);
      assert.deepEqual(told, ['opened web by 1']);
      held.release('web', 1);
      await later250();
      assert.equal(await outcome(at), 'connected');
      held.release('web', 2);
      await later250();
      assert.deepEqual(told, ['opened web by 1', 'closed web']);
      assert.equal(await outcome(at), 'ECONNREFUSED');
    },
  );

  tidy('stay when a generation that has just let go has them again', async (later) => {
    const server = await listening(later, { port: 0, host: '127.0.0.1' });
    const { held, told } = shared(1);
    held.hold(item('web'), duplicate(descriptorOf(server)), 1);
    held.release('web', 1);
    held.hold(item('web'), duplicate(descriptorOf(server)), 1);
    await later250();
    assert.deepEqual([held.names(), told], [['web'], ['opened web by 1']]);
    held.closeForGood('web');
  });

  tidy('are not closed by the first commit of another slot, or by an undo there', async (later) => {
    const server = await listening(later, { port: 0, host: '127.0.0.1' });
    const { held, living } = shared(1, 2, 3);
    held.hold(item('web'), duplicate(descriptorOf(server)), 1);
    held.hold(item('web'), duplicate(descriptorOf(server)), 3);
    assert.deepEqual(held.keepOnly(new Set(['other'])), []);
    held.undo(3);
    assert.deepEqual(held.names(), ['web']);
    // Its slot has crashed: nobody closes what waits for its next start, until that does without it.
    living.delete(1);
    assert.deepEqual(held.names(), ['web']);
    held.keepOnly(new Set(['other']));
    assert.deepEqual(held.names(), []);
  });

  tidy('hold no files, which several slots have under one name', () => {
    const { held } = shared(1);
    assert.equal(held.takes({ ...item('web'), family: 'file' }), false);
    assert.equal(held.takes(item('web')), true);
    assert.equal(new HeldListeners().takes({ ...item('web'), family: 'file' }), true);
  });
});
