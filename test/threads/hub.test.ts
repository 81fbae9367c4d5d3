import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Channel } from '#moult/channel/channel.js';
import { Door, type Visitor } from '#moult/channel/door.js';
import { Threads } from '#moult/handover/threads.js';
import { ThreadListener } from '#moult/listeners/thread-listener.js';
import type { ListenerItem, Message } from '#moult/protocol/messages.js';
import { type HubSurroundings, type LeftByProcess, ThreadHub } from '#moult/threads/thread-hub.js';

/** How long what a process has left is kept. */
const CLAIM_AGAIN_MS = 5000;
/** Of no process. */
const [HELPER, SIBLING] = [2 ** 22 + 1, 2 ** 22 + 2];

/** The hub's end of a channel. */
class End {
  readonly #heard = new Map<string, ((message: unknown, incoming: unknown) => void)[]>();
  close!: () => void;
  readonly closed = new Promise<void>((resolve) => {
    this.close = resolve;
  });

  on(type: string, hear: (message: unknown, incoming: unknown) => void): void {
    this.#heard.set(type, [...(this.#heard.get(type) ?? []), hear]);
  }

  send(): void {}

  say(type: string, message: object = {}): void {
    for (const hear of this.#heard.get(type) ?? []) hear(message, { take: () => [1000] });
  }
}

/** A hub, and processes of a service that come to it. */
class Service {
  readonly left: LeftByProcess[] = [];
  readonly #visit: Visitor;
  readonly #t: TestContext;

  private constructor(t: TestContext, visit: Visitor, left: LeftByProcess[]) {
    this.#t = t;
    this.#visit = visit;
    this.left = left;
  }

  static async start(t: TestContext): Promise<Service> {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let visit: Visitor | undefined;
    const door = { keep: () => {}, close: () => {} } as unknown as Door;
    t.mock.method(Door, 'open', (_: string, __: string, visited: Visitor) => {
      visit = visited;
      return door;
    });
    const own = new Map<string, ThreadListener>();
    const listeners = {
      initialState: 'open',
      own: () => [...own.values()],
      named: (name: string) => own.get(name),
      streams: () => [],
      inherited: { named: () => undefined, lasting: () => undefined, atPath: () => undefined },
      closedByService: ({ identity }: ThreadListener) => own.delete(identity.name),
      add: (one: ThreadListener) => own.set(one.identity.name, one),
      tell: () => {},
    };
    t.mock.method(ThreadListener.prototype, 'closedByThreads', function (this: ThreadListener) {
      own.delete(this.identity.name);
    });
    const left: LeftByProcess[] = [];
    const threads = new Threads({ listens: () => {}, ready: () => {}, closed: () => {} });
    const around = { number: 1, folder: '/nowhere', settings: {}, listeners, threads, mayAccept: true };
    const hear = (one: LeftByProcess) => left.push(one) > 0;
    await ThreadHub.open({ ...around, left: hear } as unknown as HubSurroundings, new Int32Array(1));
    assert.ok(visit !== undefined);
    return new Service(t, visit, left);
  }

  /** Listens in a process. @returns ends that. */
  listens(name: string, pid: number, thread = 0, exits?: object): () => Promise<void> {
    const hello = { role: 'thread', pid, thread } as unknown as Message<'hello'>;
    const [main, asked] = [new End(), new End()];
    this.#visit(main as unknown as Channel, hello);
    this.#visit(asked as unknown as Channel, { ...hello, wants: [name] });
    const listener = { name, family: 'tcp', path: null, backlog: 1 } satisfies ListenerItem;
    asked.say('hold', { listener });
    asked.close();
    main.say('listening', { name, address: {} });
    return async () => {
      if (exits !== undefined) main.say('exits', exits);
      main.close();
      await turn();
    };
  }

  async pass(ms: number): Promise<void> {
    this.#t.mock.timers.tick(ms);
    await turn();
  }
}

describe('what another process of a service leaves', () => {
  it('has a time of its own: that of one before in its place does not strike', async (t) => {
    const service = await Service.start(t);
    await service.listens('tcp://*:1', SIBLING)();
    await service.pass(1000);
    const end = service.listens('tcp://*:1', SIBLING + 1);
    await service.pass(3500);
    await end();
    await service.pass(CLAIM_AGAIN_MS - 1000);
    assert.deepEqual(service.left, []);
    await service.pass(1000);
    assert.deepEqual(
      service.left.map(({ pid, names }) => ({ pid, names })),
      [{ pid: SIBLING + 1, names: ['tcp://*:1'] }],
    );
  });

  it('is told of with the process that left it, and no other', async (t) => {
    const service = await Service.start(t);
    const helper = service.listens('tcp://*:1', HELPER, 0, {});
    const sibling = service.listens('tcp://*:2', SIBLING, 0, { failed: true });
    await helper();
    await service.pass(CLAIM_AGAIN_MS - 100);
    await sibling();
    await service.pass(100);
    assert.deepEqual(
      service.left.map(({ pid, names, hasFailed }) => ({ pid, names, hasFailed })),
      [{ pid: HELPER, names: ['tcp://*:1'], hasFailed: false }],
    );
    await service.pass(CLAIM_AGAIN_MS - 100);
    assert.deepEqual(
      service.left.slice(1).map(({ pid, names, hasFailed }) => ({ pid, names, hasFailed })),
      [{ pid: SIBLING, names: ['tcp://*:2'], hasFailed: true }],
    );
  });

  it('is nothing while another one of its threads listens there', async (t) => {
    const service = await Service.start(t);
    const [one, other] = [1, 2].map((thread) => service.listens('tcp://*:1', SIBLING, thread));
    await other?.();
    await service.pass(CLAIM_AGAIN_MS);
    assert.deepEqual(service.left, []);
    await one?.();
    await service.pass(CLAIM_AGAIN_MS);
    assert.deepEqual(service.left, [
      { pid: SIBLING, thread: 1, names: ['tcp://*:1'], isExpected: true, hasFailed: false },
    ]);
  });
});
