import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { MoultError } from '#moult/errors.js';
import type { Consumer, ConsumerStop } from '#moult/tasks/consumer.js';
import { brokerOf, type Server } from '../support/brokers.js';
import { soon, until, untilMany } from '../support/events.js';
import { type Fixture, fixture } from '../support/fixture.js';
import { lacksServer, serverFor } from '../support/message-service.js';

type Changeover = 'exclusive' | 'overlap';

function stop(changeover: Changeover, withinMs = 10_000): ConsumerStop {
  return { signal: AbortSignal.timeout(withinMs), withinMs, changeover };
}

/** What may differ from one message service to another. */
interface Differences {
  /** Why its successor does not begin at once where one was killed. */
  readonly notAfterKill?: string;
}

/**
 * Two objects, or processes, of one consumer change hands: the same tests for each message service.
 * @param name of proofs/brokers.
 */
export async function changesHands(name: string, { notAfterKill }: Differences = {}): Promise<void> {
  const service = await brokerOf(name);
  const skip = lacksServer(service);

  describe(`${name}, changing hands`, { skip }, () => {
    const server = serverFor(service, skip);

    /** Runs a test with a queue that is empty, and looks that it is empty afterwards. */
    async function bench(test: (bench: Bench) => Promise<void>, changeover: Changeover = 'exclusive') {
      const running = new Bench(server(), changeover);
      try {
        await service.prepare(running.url).catch((error: Error) => {
          if (!/BUSYGROUP/.test(error.message)) throw error;
        });
        await test(running);
        await running.end();
        assert.equal(await service.left(running.url), 0, 'nothing is left');
      } finally {
        await running.end();
      }
    }

    class Bench {
      readonly server: Server;
      readonly changeover: Changeover;
      readonly handled: number[] = [];
      #undos: (() => unknown)[] = [];
      #epoch = 0;
      /** What becomes of a message, beyond being noted. */
      work: (n: number) => Promise<void> = async () => {};

      constructor(server: Server, changeover: Changeover) {
        this.server = server;
        this.changeover = changeover;
      }

      get url(): string {
        return this.server.url;
      }

      later(undo: () => unknown): void {
        this.#undos.push(undo);
      }

      consumer(): Consumer {
        const consumer = service.consumer({
          url: this.url,
          changeover: this.changeover,
          handle: async (n) => {
            await this.work(n);
            this.handled.push(n);
          },
        });
        this.later(async () => {
          await consumer.stop(stop(this.changeover, 500));
          await consumer.close?.();
        });
        return consumer;
      }

      async start(consumer: Consumer, saved?: unknown): Promise<void> {
        this.#epoch += 1;
        await consumer.start({ epoch: this.#epoch, saved, changeover: this.changeover });
      }

      stop(consumer: Consumer, withinMs?: number): Promise<unknown> {
        return Promise.resolve(consumer.stop(stop(this.changeover, withinMs)));
      }

      async send(from: number, to: number): Promise<void> {
        const producer = await service.producer(this.url);
        const sent: Promise<unknown>[] = [];
        for (let n = from; n < to; n += 1) {
          sent.push(producer.send(n));
          await pause(1);
        }
        await Promise.all(sent);
        await producer.close();
      }

      async has(count: number): Promise<void> {
        await untilMany(() => new Set(this.handled).size, count, 'all are handled');
      }

      /** A process that consumes, as far as `hangsAt`. */
      async process(hangsAt: number): Promise<Fixture> {
        const running = fixture(
          (undo) => this.later(undo),
          'consumers/consume.mjs',
          [name, this.url, this.changeover],
          { env: { ...process.env, HANGS_AT: String(hangsAt) } },
        );
        assert.deepEqual(await running.says(), { started: true });
        return running;
      }

      async end(): Promise<void> {
        for (const undo of this.#undos.splice(0).reverse()) await undo();
      }
    }

    it('gives each message to one of them, in order, when the one stops before the other starts', async () => {
      await bench(async (b) => {
        let owner = b.consumer();
        await owner.prepare?.();
        await b.start(owner);
        const sending = b.send(0, 300);
        for (let change = 1; change <= 5; change += 1) {
          await b.has(change * 50);
          const next = b.consumer();
          await next.prepare?.();
          await b.start(next, await b.stop(owner));
          await owner.close?.();
          owner = next;
        }
        await sending;
        await b.has(300);
        assert.deepEqual(b.handled, numbers(0, 300));
      });
    });

    it('gives each message to one of them when the one starts before the other stops', async () => {
      await bench(async (b) => {
        b.work = () => pause(1);
        let owner = b.consumer();
        await owner.prepare?.();
        await b.start(owner);
        const sending = b.send(0, 300);
        for (let change = 1; change <= 5; change += 1) {
          await b.has(change * 50);
          const next = b.consumer();
          await next.prepare?.();
          await b.start(next);
          await b.stop(owner);
          await owner.close?.();
          owner = next;
        }
        await sending;
        await b.has(300);
        assert.deepEqual(sorted(b.handled), numbers(0, 300));
      }, 'overlap');
    });

    for (const changeover of ['exclusive', 'overlap'] as const) {
      it(`goes on with the one that had stopped when the other has failed (${changeover})`, async () => {
        await bench(async (b) => {
          const owner = b.consumer();
          await owner.prepare?.();
          await b.start(owner);
          await b.send(0, 20);
          await b.has(20);
          const failing = b.consumer();
          await failing.prepare?.();
          if (changeover === 'overlap') await b.start(failing);
          const saved = await b.stop(owner);
          if (changeover === 'exclusive') await b.start(failing, saved);
          await b.send(20, 40);
          await b.has(40);
          await b.start(owner, await b.stop(failing));
          await failing.close?.();
          await b.send(40, 60);
          await b.has(60);
          assert.deepEqual(sorted(b.handled), numbers(0, 60));
        }, changeover);
      });
    }

    it('takes nothing before it is started, and nothing after it has stopped', async () => {
      await bench(async (b) => {
        const [owner, other] = [b.consumer(), b.consumer()];
        await owner.prepare?.();
        await other.prepare?.();
        await b.start(owner);
        await b.stop(owner);
        await b.send(0, 10);
        await pause(50);
        assert.deepEqual(b.handled, []);
        assert.equal(await service.left(b.url), 10);
        await b.start(other);
        await b.has(10);
      });
    });

    it('gives back at the deadline what is not finished by then, and the other does it', async () => {
      await bench(async (b) => {
        const [owner, other] = [b.consumer(), b.consumer()];
        let letGo = () => {};
        const isHeld = new Promise<void>((resolve) => {
          letGo = resolve;
        });
        let begun = 0;
        b.work = async (n) => {
          if (n !== 3) return;
          begun += 1;
          if (begun === 1) await isHeld;
        };
        await owner.prepare?.();
        await other.prepare?.();
        await b.start(owner);
        await b.send(0, 10);
        await until(() => begun === 1, 'it has begun');
        const saved = await soon(b.stop(owner, 200), 'the stop');
        await b.start(other, saved);
        await b.has(10);
        assert.deepEqual(b.handled, numbers(0, 10));
        letGo();
        await until(() => b.handled.length === 11, 'what was given up ends, too');
        await pause(50);
      });
    });

    it('has the other begin where one was killed', {
      skip: notAfterKill ?? false,
    }, async () => {
      await bench(async (b) => {
        const killed = await b.process(5);
        await b.send(0, 20);
        for (let n = 0; n < 5; n += 1) assert.deepEqual(await killed.says(), { handled: n });
        assert.deepEqual(await killed.says(), { hangsAt: 5 });
        await killed.end();
        const other = b.consumer();
        await other.prepare?.();
        await b.start(other);
        await b.has(15);
        assert.deepEqual(b.handled, numbers(5, 20));
      });
    });

    it('refuses to take over while the server is away; the one that has it goes on when it is back, stopped or not', async () => {
      await bench(async (b) => {
        const owner = b.consumer();
        await owner.prepare?.();
        await b.start(owner);
        await b.send(0, 10);
        await b.has(10);
        await b.server.stop();
        const other = b.consumer();
        await assert.rejects(
          async () => other.prepare?.(),
          (error: MoultError) => {
            assert.ok(error instanceof MoultError);
            assert.equal(error.code, 'MOULT_BROKER_UNREACHABLE');
            return true;
          },
        );
        await other.close?.();
        const saved = await soon(b.stop(owner, 200).catch(isNotSettled), 'the stop');
        await b.start(owner, saved);
        await b.server.start();
        await b.send(10, 20);
        await b.has(20);
        assert.deepEqual(sorted(b.handled), numbers(0, 20));
      });
    });

    it('does not come back after it has stopped, when the server was away in between', async () => {
      await bench(async (b) => {
        const owner = b.consumer();
        await owner.prepare?.();
        await b.start(owner);
        await b.send(0, 10);
        await b.has(10);
        await b.stop(owner);
        await b.server.stop();
        await b.server.start();
        await b.send(10, 20);
        await pause(300);
        assert.equal(await service.left(b.url), 10);
        const other = b.consumer();
        await other.prepare?.();
        await b.start(other);
        await b.has(20);
        assert.deepEqual(b.handled, numbers(0, 20));
      });
    });
  });
}

function isNotSettled(error: MoultError): void {
  assert.equal(error.code, 'MOULT_NOT_SETTLED');
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function sorted(found: readonly number[]): number[] {
  return [...found].sort((a, b) => a - b);
}
