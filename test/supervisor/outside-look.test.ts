import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type Server, type Socket } from 'node:net';
import { describe } from 'node:test';
import { descriptorOf } from '#moult/node/handle.js';
import { duplicate } from '#moult/os/descriptor.js';
import type { GenerationProcess } from '#moult/supervisor/generation-process.js';
import { HeldListeners } from '#moult/supervisor/held-listeners.js';
import { OutsideLook } from '#moult/supervisor/outside-look.js';
import { eventOf } from '../support/events.js';
import { type Later, tidy } from '../support/tidy.js';

const NAME = 'tcp://127.0.0.1:0';
const WITHIN_MS = 1500;

/** A generation as a look meets it. Its connections are accepted by this very process, in its name. */
class Stand {
  readonly looks = true;
  readonly isReachable = true;
  readonly claims = new Set([NAME]);
  readonly pid = 0;
  readonly number: number;
  readonly servicePid: number;
  /** What happens when it hears of the connections. */
  heard: () => void = () => {};
  /** Whether it answers nothing. */
  isStopped = false;
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
      throw new Error('it did not answer');
    }
    this.heard();
    return { listeners: [NAME], closed: [] };
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
  /** Tells that who may accept has changed. */
  turned(): void;
}

async function scene(later: Later): Promise<Scene> {
  const server = createServer().listen(0, '127.0.0.1');
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
    withinMs: WITHIN_MS,
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
    turned: () => look.turned(),
  };
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
    assert.match(
      await look(one),
      /accepted by generation 1 \(process \d+\), which is not to accept any more/,
    );
    // Of one that does not tell the kernel knows.
    server.removeAllListeners('connection');
    assert.match(
      await look(one),
      /accepted by generation 1 \(process \d+\), which is not to accept any more/,
    );
  });

  tidy('says which process accepts that is not of the service', async (later) => {
    const { living, look } = await scene(later);
    const one = new Stand(1, elsewhere(later));
    living.add(one);
    assert.match(await look(one), new RegExp(`accepted by process ${process.pid} \\(\\w+`));
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
});
