import assert from 'node:assert/strict';
import { createSocket, Socket, type SocketOptions, type SocketType } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { describe } from 'node:test';
import { type DatagramListener, QUIET_MS, quiet } from '#moult/listeners/datagram-listener.js';
import { datagramHandleOf } from '#moult/node/listening/datagram-handle.js';
import { closeDescriptor, duplicate } from '#moult/os/descriptors/descriptor.js';
import { libc } from '#moult/os/libc.js';
import { isCloseOnExec } from '../support/descriptors.js';
import { eventOf, turns, until } from '../support/events.js';
import { freeDatagramPort } from '../support/free-ports.js';
import { type Later, tidy } from '../support/tidy.js';
import { closedSocket, GenerationOfListeners } from './two-generations.js';

const LOCAL = '127.0.0.1';
const GROUP = '239.255.77.1';
const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
);
const nodeMajor = Number(process.versions.node.split('.')[0]);
const hasBindSync = 'bindSync' in Socket.prototype;

// Source: Linux include/uapi.
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_BROADCAST = 6;
const IPPROTO_IPV6 = 41;
const IPV6_MULTICAST_HOPS = 18;

function option(socket: Socket, level: number, name: number): number {
  const value = Buffer.alloc(4);
  assert.equal(libc().getsockopt(descriptorOf(socket), level, name, value, new Int32Array([4])), 0);
  return value.readInt32LE(0);
}

const descriptorOf = (socket: Socket) => datagramHandleOf(socket)?.fd ?? -1;

/** A socket that answers every datagram with its own name before what it got. */
function answering(name: string, options: SocketType | SocketOptions = 'udp4'): Socket {
  const socket = createSocket(options as SocketOptions);
  return socket.on('message', (message, { port, address }) =>
    socket.send(`${name} ${message}`, port, address),
  );
}

/** A client that counts what it is answered. */
class Client {
  readonly answers: string[] = [];
  readonly #socket: Socket;
  readonly #port: number;
  readonly #host: string;

  constructor(later: Later, port: number, host = LOCAL) {
    this.#socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    this.#socket.on('message', (message) => this.answers.push(String(message)));
    this.#port = port;
    this.#host = host;
    later(() => closedSocket(this.#socket));
  }

  async send(...words: readonly (string | number)[]): Promise<void> {
    for (const word of words) {
      await new Promise<void>((resolve, reject) =>
        this.#socket.send(String(word), this.#port, this.#host, (error) =>
          error ? reject(error) : resolve(),
        ),
      );
    }
  }

  /** Sends, and waits for exactly these answers after those of before. */
  async is(answered: string, ...words: readonly (string | number)[]): Promise<void> {
    const before = this.answers.length;
    await this.send(...words);
    await this.has(before + words.length);
    assert.deepEqual(
      this.answers.slice(before),
      words.map((word) => `${answered} ${word}`),
    );
  }

  async has(count: number): Promise<void> {
    await until(() => this.answers.length >= count, `${count} answers`);
    await turns(5);
    assert.equal(this.answers.length, count, this.answers.join());
  }
}

/** A first generation that receives, and a second one that has claimed the socket and is gated. */
async function claimed(later: Later, options: SocketType | SocketOptions = 'udp4', address = LOCAL) {
  const port = await freeDatagramPort(address);
  const one = new GenerationOfListeners(later);
  const first = await one.bind(later, answering('first', options), port, address);
  const two = new GenerationOfListeners(later, one);
  const second = await two.bind(later, answering('second', options), port, address);
  const client = new Client(later, port, address);
  const commit = () => {
    one.registry.pause();
    two.registry.openGates();
  };
  return { one, two, first, second, port, client, commit };
}

describe('a datagram socket of a first generation', () => {
  tidy('is registered under its name and described with a descriptor of its own', async (later) => {
    const port = await freeDatagramPort();
    const one = new GenerationOfListeners(later);
    const socket = await one.bind(later, answering('first'), { port, address: 'localhost', exclusive: true });
    const name = `udp://127.0.0.1:${port}`;
    assert.deepEqual(one.told, [`bound ${name}`]);
    const { items, descriptors } = one.registry.describe();
    assert.deepEqual(items, [{ name, family: 'udp', path: null, backlog: 0 }]);
    assert.notEqual(descriptors[0], descriptorOf(socket));
    assert.ok(isCloseOnExec(descriptors[0] ?? -1));
    assert.deepEqual(one.registry.named(name)?.address(), { address: LOCAL, port, family: 'IPv4' });
    assert.deepEqual(one.registry.streams(), []);
    await new Client(later, port).is('first', 'a', 'b');
  });

  tidy('whose port the system picks is a client, and no listener', async (later) => {
    const one = new GenerationOfListeners(later);
    await one.bind(later, createSocket('udp4'));
    await one.bind(later, createSocket('udp4'), 0);
    await one.bind(later, createSocket('udp4'), { port: 0, exclusive: true });
    assert.deepEqual(one.registry.own(), []);
  });

  tidy('that cannot bind is an error event as Node has it, and may then bind elsewhere', async (later) => {
    const [taken, free] = [await freeDatagramPort(), await freeDatagramPort()];
    const other = createSocket('udp4').bind(taken, LOCAL);
    await eventOf(other, 'listening');
    later(() => closedSocket(other));
    const bindsNext = async (generation: GenerationOfListeners, name: string) => {
      const socket = answering(name);
      await assert.rejects(generation.bind(later, socket, taken, LOCAL), {
        code: 'EADDRINUSE',
        syscall: 'bind',
        address: LOCAL,
        port: taken,
      });
      return generation.bind(later, socket, free, LOCAL);
    };
    const one = new GenerationOfListeners(later);
    await bindsNext(one, 'first');
    assert.deepEqual(one.told, [`bound udp://127.0.0.1:${free}`]);
    // The successor meets the same, and claims what its predecessor has.
    const two = new GenerationOfListeners(later, one);
    await bindsNext(two, 'second');
    assert.deepEqual(two.told, [`claimed udp://127.0.0.1:${free}`]);
    one.registry.pause();
    two.registry.openGates();
    await new Client(later, free).is('second', 'a');
  });

  tidy('closed by the service can be bound again at once, although others hold copies', async (later) => {
    const port = await freeDatagramPort();
    const one = new GenerationOfListeners(later);
    const socket = await one.bind(later, answering('first'), port, LOCAL);
    // As the supervisor holds one.
    const held = duplicate(one.registry.describe().descriptors[0] ?? -1);
    later(() => closeDescriptor(held));
    await closedSocket(socket);
    assert.deepEqual(one.told, [`bound udp://127.0.0.1:${port}`, `closed udp://127.0.0.1:${port}`]);
    const again = await one.bind(later, answering('again'), port, LOCAL);
    await new Client(later, port).is('again', 'a', 'b', 'c');
    assert.equal(option(again, SOL_SOCKET, SO_REUSEADDR), 0, 'nobody else may share the new one');
    const stranger = createSocket('udp4');
    later(() => closedSocket(stranger));
    stranger.bind(port, LOCAL);
    const [error] = await eventOf<[NodeJS.ErrnoException]>(stranger, 'error');
    assert.equal(error.code, 'EADDRINUSE');
  });

  tidy('is found by a descriptor, too, and claimed by its number', async (later) => {
    const outside = createSocket('udp4').bind(0, LOCAL);
    await eventOf(outside, 'listening');
    later(() => closedSocket(outside));
    const fd = duplicate(descriptorOf(outside));
    const one = new GenerationOfListeners(later);
    await one.bind(later, answering('first'), { fd });
    assert.deepEqual(one.told, [`bound udp:fd:${fd}`]);
    const two = new GenerationOfListeners(later, one);
    await two.bind(later, answering('second'), { fd });
    assert.deepEqual(two.told, [`claimed udp:fd:${fd}`]);
    one.registry.pause();
    two.registry.openGates();
    // Of the one from outside, which is the same socket, nobody may read.
    outside.on('message', () => assert.fail('it was read twice'));
    datagramHandleOf(outside)?.recvStop();
    await new Client(later, outside.address().port).is('second', 1, 2);
  });
});

describe('a claimed datagram socket', () => {
  tidy('receives nothing before the gates open: the predecessor does, then they wait', async (later) => {
    const { one, two, first, second, port, client } = await claimed(later);
    assert.deepEqual(two.told, [`claimed udp://127.0.0.1:${port}`]);
    assert.deepEqual(second.address(), first.address());
    assert.ok(isCloseOnExec(descriptorOf(second)));
    assert.equal(option(second, SOL_SOCKET, SO_REUSEADDR), 0, 'it is nobody else to bind');
    assert.equal(two.registry.named(`udp://127.0.0.1:${port}`)?.state, 'gated');
    await client.is('first', ...Array.from({ length: 30 }, (_, i) => i));
    one.registry.pause();
    await client.send(...Array.from({ length: 100 }, (_, i) => i));
    await turns(10);
    assert.equal(client.answers.length, 30, 'somebody received while the gate was shut');
    two.registry.openGates();
    await client.has(130);
    assert.deepEqual(
      client.answers.slice(30),
      Array.from({ length: 100 }, (_, i) => `second ${i}`),
    );
  });

  tidy('goes back at an undo: what waits is received by the predecessor', async (later) => {
    const { one, two, client, commit } = await claimed(later);
    commit();
    await client.is('second', 1, 2, 3);
    two.registry.pause();
    await client.send(4, 5);
    await turns(5);
    assert.equal(client.answers.length, 3);
    one.registry.resume();
    await client.has(5);
    assert.deepEqual(client.answers.slice(3), ['first 4', 'first 5']);
    await client.is('first', 6);
  });

  tidy('is given up in the middle of a message handler without a loss', async (later) => {
    const { one, two, first, client } = await claimed(later);
    const name = one.registry.describe().items[0]?.name ?? '';
    one.registry.pause();
    await client.send(...Array.from({ length: 50 }, (_, i) => i));
    first.on('message', (message) => {
      if (String(message) === '9') one.registry.pause();
    });
    one.registry.resume();
    await until(() => one.registry.named(name)?.state === 'paused', 'the pause');
    await client.has(10);
    two.registry.openGates();
    await client.has(50);
    assert.deepEqual(
      client.answers,
      Array.from({ length: 50 }, (_, i) => `${i < 10 ? 'first' : 'second'} ${i}`),
    );
  });

  tidy('is answered on by the predecessor that has received, to its end', async (later) => {
    const port = await freeDatagramPort();
    const one = new GenerationOfListeners(later);
    const slow = createSocket('udp4');
    const received: (() => void)[] = [];
    slow.on('message', (message, client) =>
      received.push(() => slow.send(`slow ${message}`, client.port, client.address)),
    );
    await one.bind(later, slow, port, LOCAL);
    const client = new Client(later, port);
    await client.send(1, 2);
    await until(() => received.length === 2, 'the datagrams');
    const two = new GenerationOfListeners(later, one);
    await two.bind(later, answering('second'), port, LOCAL);
    const mine = one.registry.datagrams() as DatagramListener[];
    one.registry.pause();
    two.registry.openGates();
    received[0]?.();
    await client.has(1);
    for (const listener of mine) one.registry.release(listener, false);
    const left = mine[0]?.quietInMs ?? 0;
    assert.ok(left > 0 && left <= QUIET_MS);
    received[1]?.();
    await client.has(2);
    await client.is('second', 3);
    await quiet(mine);
    assert.equal(mine[0]?.quietInMs, 0);
    await closedSocket(slow);
    await client.is('second', 4);
    assert.deepEqual(one.told, [`bound udp://127.0.0.1:${port}`], 'it was no longer its own to close');
  });

  tidy(
    'closed while gated is given back, leaves the predecessor, and can be claimed again',
    async (later) => {
      const { two, second, port, client } = await claimed(later);
      const name = `udp://127.0.0.1:${port}`;
      await closedSocket(second);
      assert.deepEqual(two.registry.inherited.unclaimed(), [name]);
      assert.deepEqual(two.registry.own(), []);
      await client.is('first', 1);
      await two.bind(later, answering('again'), port, LOCAL);
      assert.deepEqual(two.registry.inherited.unclaimed(), []);
      await client.is('first', 2);
    },
  );

  tidy('that blocks, as whoever bound it may have left it, does not block who claims it', async (later) => {
    const port = await freeDatagramPort();
    const one = new GenerationOfListeners(later);
    const first = await one.bind(later, answering('first'), port, LOCAL);
    const flags = libc().fcntl(descriptorOf(first), F_GETFL, 0);
    libc().fcntl(descriptorOf(first), F_SETFL, flags & ~O_NONBLOCK);
    one.registry.pause();
    const two = new GenerationOfListeners(later, one);
    const second = await two.bind(later, answering('second'), port, LOCAL);
    // Before anything is read: a read of a socket that blocks would stop this test, too.
    assert.equal(libc().fcntl(descriptorOf(second), F_GETFL, 0) & O_NONBLOCK, O_NONBLOCK);
    two.registry.openGates();
    await new Client(later, port).is('second', 1, 2);
  });

  tidy(
    'is claimed by bindSync() as well, where Node has it',
    async (later) => {
      const port = await freeDatagramPort();
      const one = new GenerationOfListeners(later);
      await one.bind(later, answering('first'), port, LOCAL);
      const two = new GenerationOfListeners(later, one);
      const socket = answering('second') as Socket & { bindSync(at: object): object };
      later(() => closedSocket(socket));
      two.own(socket);
      assert.deepEqual(socket.bindSync({ port, address: LOCAL }), { address: LOCAL, port, family: 'IPv4' });
      assert.deepEqual(two.told, [`claimed udp://127.0.0.1:${port}`]);
      const client = new Client(later, port);
      await client.is('first', 1);
      one.registry.pause();
      two.registry.openGates();
      await client.is('second', 2);
    },
    { skip: !hasBindSync && 'this Node has no bindSync()' },
  );

  tidy('is not taken by a server that listens on the same port', async (later) => {
    const { one, two } = await claimed(later);
    assert.equal(one.registry.inherited.named('tcp://127.0.0.1:1', ['tcp']), undefined);
    assert.equal(
      two.registry.inherited.named(two.registry.own()[0]?.identity.name ?? '', ['tcp']),
      undefined,
    );
  });

  tidy('that shares its port with others is claimed one by one, in the same order', async (later) => {
    const port = await freeDatagramPort();
    const options = { type: 'udp4', reuseAddr: true } as const;
    const one = new GenerationOfListeners(later);
    const firsts = [
      await one.bind(later, answering('a', options), port, LOCAL),
      await one.bind(later, answering('b', options), port, LOCAL),
    ];
    const names = [`udp://127.0.0.1:${port}`, `udp://127.0.0.1:${port}#2`];
    assert.deepEqual(
      one.told,
      names.map((name) => `bound ${name}`),
    );
    const two = new GenerationOfListeners(later, one);
    for (const name of ['a2', 'b2']) await two.bind(later, answering(name, options), port, LOCAL);
    assert.deepEqual(
      two.told,
      names.map((name) => `claimed ${name}`),
    );
    assert.ok(firsts.every((socket) => option(socket, SOL_SOCKET, SO_REUSEADDR) === 1));
  });

  tidy(
    'of a group of sockets of one port (reusePort) loses nothing of its queue',
    async (later) => {
      const { one, two, client } = await claimed(later, { type: 'udp4', reusePort: true } as SocketOptions);
      one.registry.pause();
      await client.send(1, 2, 3);
      for (const listener of one.registry.own()) one.registry.release(listener, false);
      two.registry.openGates();
      await client.has(3);
      assert.deepEqual(client.answers, ['second 1', 'second 2', 'second 3']);
    },
    { skip: nodeMajor < 22 && 'this Node has no reusePort' },
  );

  tidy('ends with its AbortSignal', async (later) => {
    const over = new AbortController();
    const { second, commit, two } = await claimed(later, { type: 'udp4', signal: over.signal });
    commit();
    over.abort();
    await eventOf(second, 'close');
    assert.deepEqual(two.registry.own(), []);
  });
});

describe('what a service sets on a datagram socket', () => {
  tidy('waits until it receives, and is undone with it', async (later) => {
    const { one, two, first, second, client, commit } = await claimed(later);
    first.setBroadcast(false);
    second.setBroadcast(true);
    second.setRecvBufferSize(50_000);
    assert.equal(option(first, SOL_SOCKET, SO_BROADCAST), 0);
    const size = first.getRecvBufferSize();
    commit();
    assert.equal(option(second, SOL_SOCKET, SO_BROADCAST), 1);
    assert.notEqual(second.getRecvBufferSize(), size);
    first.setBroadcast(false);
    assert.equal(option(second, SOL_SOCKET, SO_BROADCAST), 1, 'it is not the predecessor to change');
    two.registry.pause();
    one.registry.resume();
    assert.equal(option(first, SOL_SOCKET, SO_BROADCAST), 0);
    await client.is('first', 1);
  });

  tidy(
    'joins a group once for all, and a predecessor that leaves it does not take it away',
    async (later) => {
      const address = '0.0.0.0';
      const { port, first, second, commit } = await claimed(later, 'udp4', address);
      first.addMembership(GROUP, LOCAL);
      second.addMembership(GROUP, LOCAL);
      assert.throws(() => second.addMembership(GROUP, LOCAL), { code: 'EADDRINUSE' }, 'as Node has it');
      commit();
      first.dropMembership(GROUP, LOCAL);
      const sender = createSocket('udp4');
      const answers: string[] = [];
      sender.on('message', (message) => answers.push(String(message)));
      sender.bind(0, LOCAL);
      await eventOf(sender, 'listening');
      later(() => closedSocket(sender));
      sender.setMulticastInterface(LOCAL);
      sender.send('hello', port, GROUP);
      await until(() => answers.length > 0, 'an answer');
      assert.deepEqual(answers, ['second hello']);
      second.dropMembership(GROUP, LOCAL);
      assert.throws(() => second.dropMembership(GROUP, LOCAL), { code: 'EADDRNOTAVAIL' });
    },
  );

  tidy(
    'reaches an IPv6 socket as IPv6',
    async (later) => {
      const { second, client, commit } = await claimed(later, 'udp6', '::1');
      second.setMulticastTTL(7);
      commit();
      assert.equal(option(second, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 7);
      await client.is('second', 1, 2);
    },
    { skip: !hasIpv6 && 'no ::1 here' },
  );

  tidy('connects it for both generations alike', async (later) => {
    const { first, second, commit } = await claimed(later);
    const peer = createSocket('udp4');
    const got: string[] = [];
    peer.on('message', (message) => got.push(String(message)));
    peer.bind(0, LOCAL);
    await eventOf(peer, 'listening');
    later(() => closedSocket(peer));
    first.connect(peer.address().port, LOCAL);
    await eventOf(first, 'connect');
    second.connect(peer.address().port, LOCAL);
    await eventOf(second, 'connect');
    first.send('from the first');
    second.send('from the second');
    await until(() => got.length === 2, 'both');
    commit();
    first.send('late');
    second.send('soon');
    await until(() => got.length === 4, 'all four');
    assert.deepEqual(got, ['from the first', 'from the second', 'late', 'soon']);
    assert.equal(second.remoteAddress().port, peer.address().port);
  });

  tidy('connects it at commit where the predecessor did not, and undoes that', async (later) => {
    const { one, two, first, second, client, commit } = await claimed(later);
    const peer = createSocket('udp4').bind(0, LOCAL);
    await eventOf(peer, 'listening');
    later(() => closedSocket(peer));
    second.connect(peer.address().port, LOCAL);
    await eventOf(second, 'connect');
    await client.is('first', 1);
    commit();
    assert.equal(second.remoteAddress().port, peer.address().port);
    two.registry.pause();
    one.registry.resume();
    assert.throws(() => first.remoteAddress());
    await client.is('first', 2);
  });

  tidy('disconnects it at commit where the predecessor was connected', async (later) => {
    const { one, two, first, client, commit } = await claimed(later);
    const peer = createSocket('udp4').bind(0, LOCAL);
    await eventOf(peer, 'listening');
    later(() => closedSocket(peer));
    first.connect(peer.address().port, LOCAL);
    await eventOf(first, 'connect');
    commit();
    await client.is('second', 1);
    two.registry.pause();
    one.registry.resume();
    assert.equal(first.remoteAddress().port, peer.address().port);
  });
});
