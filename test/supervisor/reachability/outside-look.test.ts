import assert from 'node:assert/strict';
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { descriptorOf } from '#moult/node/handle.js';
import { closeDescriptor, duplicate } from '#moult/os/descriptors/descriptor.js';
import { libc, SOL_SOCKET } from '#moult/os/libc.js';
import { beginToListen, bindAddress } from '#moult/os/sockets/bind-address.js';
import { isInOtherNetwork } from '#moult/os/sockets/network-namespace.js';
import { shareListening } from '#moult/os/sockets/reuseport.js';
import { HeldListeners } from '#moult/supervisor/listeners/held-listeners.js';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { OutsideLook } from '#moult/supervisor/reachability/outside-look.js';
import { eventOf } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';

const NAME = 'tcp://127.0.0.1:0';
const WITHIN_MS = 1500;
const SO_ATTACH_FILTER = 26;
const SO_BINDTODEVICE = 25;
const root = fileURLToPath(new URL('../../../..', import.meta.url));

/** A generation as a look meets it. Its connections are accepted by this very process, in its name. */
class Stand {
  readonly looks = true;
  isReachable = true;
  readonly isAdopted = false;
  claims = new Set([NAME]);
  /** What a predecessor that is gone had. */
  readonly inherited = new Set<string>();
  /** Datagram sockets whose last receiver has ended. */
  readonly deserted: string[] = [];
  readonly pid = 0;
  readonly number: number;
  readonly servicePid: number;
  /** What happens when it hears of the connections. */
  heard: () => void = () => {};
  /** Whether it answers nothing. */
  isStopped = false;
  /** How many connections it says that it has accepted; nothing of an older moult. */
  accepted: (() => number) | undefined;
  /** What happens when that was waited for. */
  hasWaited: () => void = () => {};
  #announced: readonly string[] = [];
  #seen: (listener: string) => void = () => {};

  constructor(number: number, servicePid = process.pid) {
    this.number = number;
    this.servicePid = servicePid;
  }

  async look(
    probes: readonly { from: string }[],
    seen: (listener: string) => void,
    withinMs: number,
  ): Promise<object> {
    this.#announced = probes.map(({ from }) => from);
    this.#seen = seen;
    if (this.isStopped) {
      await new Promise((resolve) => setTimeout(resolve, withinMs));
      this.hasWaited();
      throw new Error('it did not answer');
    }
    this.heard();
    const connections = this.accepted?.();
    const accepted = connections === undefined ? undefined : [{ name: NAME, connections }];
    const processes = this.deserted.map((name) => ({ name, pids: [] }));
    return { listeners: [NAME], closed: [], accepted, processes };
  }

  lookIsOver(): void {}

  /** @returns whether it was no client's. */
  accepts(socket: Socket): boolean {
    const isProbe = this.#announced.includes(String(socket.remotePort));
    if (!isProbe) return false;
    socket.destroy();
    this.#seen(NAME);
    return true;
  }
}

interface Scene {
  readonly server: Server;
  readonly accepting: Set<Stand>;
  readonly living: Set<Stand>;
  /** Looks at this one. @returns what is said to be wrong, or nothing. */
  look(at: Stand): Promise<string>;
  /** The same where it can wait. @returns whether it was given up. */
  lookWhenIdle(at: Stand): Promise<boolean>;
  /** Tells that who may accept has changed. */
  turned(): void;
}

async function scene(later: Later, backlog = 511, withinMs = WITHIN_MS): Promise<Scene> {
  const server = createServer().listen({ port: 0, host: '127.0.0.1', backlog });
  later(() => server.close());
  await eventOf(server, 'listening');
  const held = new HeldListeners();
  later(() => held.letGo());
  held.hold({ name: NAME, family: 'tcp', backlog: 1, path: null }, duplicate(descriptorOf(server)), 1);
  const accepting = new Set<Stand>();
  const living = new Set<Stand>();
  const all = (stands: ReadonlySet<Stand>) => [...stands] as unknown as GenerationProcess[];
  const look = new OutsideLook({
    held,
    withinMs: () => withinMs,
    acceptors: (one) => [one, ...all(accepting)],
    living: () => all(living),
  });
  return {
    server,
    accepting,
    living,
    look: (at) =>
      look.at(at as unknown as GenerationProcess).then(
        () => '',
        (error: Error) => error.message,
      ),
    lookWhenIdle: async (at) => (await look.whenIdle(at as unknown as GenerationProcess)) === undefined,
    turned: () => look.turned(),
  };
}

/** A process that listens at a port that others share, and accepts nothing. It says so when it does. */
function sharing(later: Later, host: string, port: number): ChildProcessWithoutNullStreams {
  const script = `
    import { beginToListen, bindAddress } from '#moult/os/sockets/bind-address.js';
    const fd = bindAddress('tcp', '${host}', ${port}, true);
    console.log(typeof fd === 'number' ? beginToListen(fd, 10) ?? 'listens' : fd);
    setInterval(() => {}, 1000);`;
  const flags = ['--input-type=module', '--eval', script];
  const started = spawn(process.execPath, flags, { cwd: root, stdio: 'pipe' });
  later(() => started.kill('SIGKILL'));
  return started;
}

/** A process that has no socket of ours. */
function elsewhere(later: Later): number {
  const other: ChildProcess = spawn('sleep', ['600'], { stdio: 'ignore' });
  later(() => other.kill('SIGKILL'));
  return other.pid ?? 0;
}

describe('a look from outside', () => {
  tidy('takes it for well when a neighbour accepts that came to serve in its middle', async (later) => {
    const { server, accepting, living, look, turned } = await scene(later);
    const [first, second] = [new Stand(1, elsewhere(later)), new Stand(2)];
    living.add(first);
    // As where another slot commits after this look has begun.
    first.heard = () => {
      living.add(second);
      accepting.add(second);
      turned();
    };
    const met: boolean[] = [];
    server.on('connection', (socket) => met.push(second.accepts(socket)));
    assert.equal(await look(first), '');
    assert.deepEqual(met, [true], 'its service has not seen it');
  });

  tidy('does so also when nobody could tell the neighbour before', async (later) => {
    const { server, accepting, living, look, turned } = await scene(later);
    const [first, second] = [new Stand(1, elsewhere(later)), new Stand(2)];
    living.add(first);
    server.on('connection', () => {
      living.add(second);
      accepting.add(second);
      turned();
    });
    assert.equal(await look(first), '');
  });

  tidy('does so when a neighbour had accepted and was replaced before it told', async (later) => {
    const { server, accepting, living, look, turned } = await scene(later);
    const [first, second, third] = [new Stand(1, elsewhere(later)), new Stand(2), new Stand(3)];
    for (const one of [first, second]) living.add(one);
    accepting.add(second);
    server.on('connection', (socket) => {
      accepting.delete(second);
      accepting.add(third);
      turned();
      second.accepts(socket);
    });
    assert.equal(await look(first), '');
  });

  tidy('sends again what ended with who had accepted it', async (later) => {
    const { server, living, look } = await scene(later);
    const one = new Stand(1);
    living.add(one);
    let met = 0;
    server.on('connection', (socket) => {
      met += 1;
      if (met === 1) socket.resetAndDestroy();
      else assert.ok(one.accepts(socket));
    });
    assert.equal(await look(one), '');
    assert.equal(met, 2);
  });

  tidy('does not wait for a neighbour that is stopped', async (later) => {
    const { server, accepting, living, look } = await scene(later);
    const [one, stopped] = [new Stand(1), new Stand(2, elsewhere(later))];
    stopped.isStopped = true;
    for (const each of [one, stopped]) living.add(each);
    accepting.add(stopped);
    server.on('connection', (socket) => one.accepts(socket));
    assert.equal(await look(one), '');
  });

  tidy('says which generation accepts that is not to any more', async (later) => {
    const { server, living, look } = await scene(later);
    const [predecessor, one] = [new Stand(1), new Stand(2, elsewhere(later))];
    for (const each of [predecessor, one]) living.add(each);
    server.on('connection', (socket) => predecessor.accepts(socket));
    assert.match(await look(one), /accepted by generation 1 \(process \d+\), which no longer serves/);
    // Of one that does not tell the kernel knows.
    server.removeAllListeners('connection');
    assert.match(await look(one), /accepted by generation 1 \(process \d+\), which no longer serves/);
  });

  tidy('says which process accepts that is not of the service', async (later) => {
    const { living, look } = await scene(later);
    const one = new Stand(1, elsewhere(later));
    living.add(one);
    assert.match(await look(one), new RegExp(`accepted by process ${process.pid} \\(\\w+`));
  });

  tidy('says that a listener of a predecessor that is gone was closed', async (later) => {
    const { server, living, look } = await scene(later);
    const one = new Stand(1, elsewhere(later));
    living.add(one);
    one.claims.add('tcp://127.0.0.1:1');
    one.inherited.add('tcp://127.0.0.1:1');
    server.on('connection', (socket) => one.accepts(socket));
    assert.match(await look(one), /its service has closed tcp:\/\/127\.0\.0\.1:1/);
  });

  tidy('says that the last one has ended that received datagrams, which is not closed', async (later) => {
    const { server, living, look } = await scene(later);
    const one = new Stand(1, elsewhere(later));
    living.add(one);
    one.claims.add('udp://127.0.0.1:1');
    one.inherited.add('udp://127.0.0.1:1');
    one.deserted.push('udp://127.0.0.1:1');
    server.on('connection', (socket) => one.accepts(socket));
    const said = await look(one);
    assert.match(said, /nobody receives on udp:\/\/127\.0\.0\.1:1: the last process or thread/);
    assert.doesNotMatch(said, /closed/);
  });

  tidy('says that nobody accepts', async (later) => {
    const { server, living, look } = await scene(later);
    const one = new Stand(1, elsewhere(later));
    living.add(one);
    const copy = duplicate(descriptorOf(server));
    const held = new HeldListeners();
    held.hold({ name: NAME, family: 'tcp', backlog: 1, path: null }, copy, 1);
    later(() => held.letGo());
    await new Promise((resolve) => server.close(resolve));
    assert.match(await look(one), /nobody accepted a connection to tcp:\/\/127\.0\.0\.1:0 within 1500 ms/);
  });

  tidy('waits its turn behind clients that are accepted one by one, and not for ever', async (later) => {
    // Nobody accepts in this process: what comes waits in the queue.
    const { server, living, look } = await scene(later, 511, 400);
    await new Promise((resolve) => server.close(resolve));
    const one = new Stand(1);
    living.add(one);
    let asked = 0;
    one.accepted = () => ++asked;
    // It says so at the beginning, and in each of the times that it is given.
    assert.equal(await look(one), '');
    assert.ok(asked > 2, String(asked));
    one.accepted = () => asked;
    assert.match(await look(one), /nobody accepted a connection/);
    one.accepted = undefined;
    assert.match(await look(one), /nobody accepted a connection/);
  });

  tidy(
    'takes it for well where a rule keeps this machine off, and not where the queue is full',
    async (later) => {
      const { server, living, look } = await scene(later);
      const one = new Stand(1);
      living.add(one);
      dropAll(descriptorOf(server));
      assert.equal(await look(one), '', 'what comes is dropped before it is there');

      const full = await scene(later, 0);
      // Nobody accepts: this thread does not come to it, for the server is not its own any more.
      const copy = duplicate(descriptorOf(full.server));
      later(() => closeDescriptor(copy));
      const { port } = full.server.address() as { port: number };
      await new Promise((resolve) => full.server.close(resolve));
      const waiting = [0, 1, 2].map(() => connect(port, '127.0.0.1').on('error', () => {}));
      for (const socket of waiting) later(() => socket.destroy());
      await Promise.race(waiting.map((socket) => eventOf(socket, 'connect')));
      full.living.add(one);
      assert.match(await full.look(one), /nobody accepted a connection to tcp:\/\/127\.0\.0\.1:0/);
    },
  );

  tidy('takes it for well where it listens at another device only', async (later) => {
    const device = Object.entries(networkInterfaces()).find(([, all]) =>
      all?.every((one) => !one.internal),
    )?.[0];
    const fd = bindAddress('tcp', '127.0.0.1', 0) as number;
    const held = new HeldListeners();
    later(() => held.letGo());
    held.hold({ name: NAME, family: 'tcp', backlog: 1, path: null }, fd, 1);
    const name = Buffer.from(`${device ?? 'lo'}\0`);
    libc().setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length);
    assert.equal(beginToListen(fd, 1), undefined);
    const one = new Stand(1, elsewhere(later));
    const only = [one] as unknown as GenerationProcess[];
    const look = new OutsideLook({ held, withinMs: () => 300, acceptors: () => only, living: () => only });
    const found = look.at(one as unknown as GenerationProcess);
    // Where there is no other device, nobody accepts.
    if (device === undefined) await assert.rejects(found, { code: 'MOULT_NOT_REACHED' });
    else await found;
  });

  tidy('names who listens at the same port without being of the service, every time', async (later) => {
    const { server, living, look } = await scene(later);
    server.on('connection', (socket) => one.accepts(socket));
    shareListening(descriptorOf(server));
    const one = new Stand(1);
    living.add(one);
    assert.equal(await look(one), '');
    const { port } = server.address() as { port: number };
    for (const host of ['127.0.0.1', '0.0.0.0']) {
      // In a process of its own, which accepts none of the connections that it gets.
      const stranger = sharing(later, host, port);
      await eventOf(stranger.stdout, 'data');
      for (let n = 0; n < 8; n += 1) {
        const said = await look(one);
        if (host === '0.0.0.0') assert.equal(said, '', 'ours says more, and gets all');
        else
          assert.match(
            said,
            new RegExp(
              `process ${stranger.pid} \\(.*\\) listens on tcp://127\\.0\\.0\\.1:0, too \\(SO_REUSEPORT\\)`,
            ),
          );
      }
      stranger.kill('SIGKILL');
      await eventOf(stranger, 'close');
    }
    // A process of the service may: it goes with it.
    const helper = sharing(later, '127.0.0.1', port);
    await eventOf(helper.stdout, 'data');
    living.add(new Stand(2, helper.pid));
    assert.doesNotMatch(await look(one), /SO_REUSEPORT/);
  });

  tidy('of one that can wait is given up for another', async (later) => {
    const { server, living, look, lookWhenIdle } = await scene(later);
    const [stopped, one] = [new Stand(1, elsewhere(later)), new Stand(2)];
    for (const each of [stopped, one]) living.add(each);
    server.on('connection', (socket) => one.accepts(socket));
    const order: string[] = [];
    stopped.isStopped = true;
    stopped.hasWaited = () => order.push('the stopped one was waited for');
    const idle = lookWhenIdle(stopped).then((isGivenUp) => order.push(`given up: ${isGivenUp}`));
    await new Promise((resolve) => setImmediate(resolve));
    living.delete(stopped);
    assert.equal(await look(one), '');
    await idle;
    assert.deepEqual(order, ['given up: true']);
    assert.equal(await lookWhenIdle(one), false);
  });

  tidy('asks nothing of one that has no listener, and finds none that is gone', async (later) => {
    const { look } = await scene(later);
    const busy = new Stand(1);
    busy.claims = new Set();
    busy.isStopped = true;
    assert.equal(await look(busy), '');
    const gone = new Stand(2);
    gone.isReachable = false;
    assert.match(await look(gone), /its service is gone/);
  });

  tidy('knows a socket of this network', async (later) => {
    const { server } = await scene(later);
    assert.equal(isInOtherNetwork(descriptorOf(server)), false);
  });
});

/** Has the kernel drop what comes to this socket, as a rule of a firewall does. Source: socket(7), SO_ATTACH_FILTER. */
function dropAll(fd: number): void {
  const dropped = Buffer.alloc(8);
  dropped.writeUInt16LE(0x06, 0);
  const described = Buffer.alloc(16);
  described.writeUInt16LE(1, 0);
  described.writeBigUInt64LE(libc().address(dropped), 8);
  assert.equal(libc().setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, described, described.length), 0);
}
