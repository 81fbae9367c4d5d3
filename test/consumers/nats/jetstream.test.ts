import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { AckPolicy, jetstream, jetstreamManager, type Consumer as PullConsumer } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { type JetStreamOptions, jetStream } from '#moult/consumers/nats.js';
import { brokerOf, Handled, leaves, numbersTo, startAs, started, stopWithin } from '../../support/brokers.js';
import { until } from '../../support/events.js';
import { fixture } from '../../support/fixture.js';
import { lacksServer } from '../../support/message-service.js';
import { tidy } from '../../support/tidy.js';

const broker = await brokerOf('jetstream');

function worker(url: string, options: Partial<JetStreamOptions> & Pick<JetStreamOptions, 'handle'>) {
  return jetStream({
    connection: () => connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50 }),
    consumer: (connection) => jetstream(connection).consumers.get('NUMBERS', 'worker'),
    onError: () => {},
    ...options,
  });
}

/** Sends these, and settles when the stream has all of them. */
async function send(url: string, numbers: readonly number[]): Promise<void> {
  const producer = await broker.producer(url);
  for (const n of numbers) await producer.send(n);
  await producer.close();
}

/** The durable of the tests with settings of their own. */
async function configure(url: string, config: object): Promise<void> {
  const connection = await connect({ servers: url });
  const manager = await jetstreamManager(connection);
  await manager.consumers.delete('NUMBERS', 'worker');
  await manager.consumers.add('NUMBERS', {
    durable_name: 'worker',
    ack_policy: AckPolicy.Explicit,
    ...config,
  });
  await connection.close();
}

describe('a consumer of JetStream', { skip: lacksServer(broker) }, () => {
  tidy('hands over in order, each message once, however often', async (later) => {
    const { url } = await started(broker, later);
    const handled = new Handled();
    const of = () =>
      worker(url, {
        handle: async (message, { epoch }) => {
          await delay(1);
          handled.add(Number(message.string()), epoch);
        },
      });
    const sending = send(url, numbersTo(1000));
    let owner = of();
    await owner.prepare?.();
    await owner.start(startAs(1));
    for (let epoch = 2; epoch < 12; epoch += 1) {
      await handled.reaches((epoch - 1) * 60);
      const successor = of();
      await successor.prepare?.();
      const saved = await owner.stop(stopWithin(5000));
      const count = handled.all.length;
      await successor.start(startAs(epoch, saved));
      await owner.close?.();
      assert.ok(handled.all.slice(count).every((one) => one.epoch === epoch));
      owner = successor;
    }
    await sending;
    await handled.reaches(1000);
    await end(owner);
    assert.deepEqual(handled.numbers, numbersTo(1000));
    assert.equal(await broker.left(url), 0);
  });

  tidy('lets two generations consume at once, and has each message delivered once', async (later) => {
    const { url } = await started(broker, later);
    // The server would not deliver once more what it has sent to nobody.
    await configure(url, { max_deliver: 1 });
    const handled = new Handled();
    const again: number[] = [];
    const of = () =>
      worker(url, {
        concurrency: 4,
        handle: async (message, { epoch }) => {
          if (message.redelivered) again.push(Number(message.string()));
          await delay(1);
          handled.add(Number(message.string()), epoch);
        },
      });
    const sending = send(url, numbersTo(4000));
    let owner = of();
    await owner.start(startAs(1));
    for (let epoch = 2; epoch < 12; epoch += 1) {
      await handled.reaches((epoch - 1) * 200);
      const successor = of();
      await successor.prepare?.();
      await successor.start(startAs(epoch));
      await owner.stop(stopWithin(5000));
      await owner.close?.();
      owner = successor;
    }
    await sending;
    await handled.reaches(4000);
    await end(owner);
    assert.deepEqual(
      [...handled.numbers].sort((a, b) => a - b),
      numbersTo(4000),
    );
    assert.deepEqual(again, []);
    assert.equal(await broker.left(url), 0);
  });

  tidy('finishes what it has fetched before its stop is over, and takes no more', async (later) => {
    const { url } = await started(broker, later);
    const first = new Handled();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const predecessor = worker(url, {
      prefetch: 10,
      handle: async (message, { epoch }) => {
        first.add(Number(message.string()), epoch);
        if (message.string() === '20') await held;
      },
    });
    await predecessor.start(startAs(1));
    await send(url, numbersTo(60));
    await first.reaches(21);
    let isOver = false;
    const stopped = (predecessor.stop(stopWithin(5000)) as Promise<unknown>).then(() => {
      isOver = true;
    });
    // The server has answered since.
    await broker.left(url);
    assert.equal(first.all.length, 21);
    assert.equal(isOver, false);
    release();
    await stopped;
    const count = first.all.length;
    assert.ok(count > 21 && count <= 30, `handled ${count}`);
    assert.equal(await broker.left(url), 60 - count);
    const second = new Handled();
    const successor = worker(url, {
      handle: (message, { epoch }) => second.add(Number(message.string()), epoch),
    });
    await successor.start(startAs(2));
    await second.reaches(60 - count, 5000);
    assert.deepEqual([...first.numbers, ...second.numbers], numbersTo(60));
    await end(successor, predecessor);
  });

  tidy('gives back at the deadline what a handler goes on with, and what waits behind it', async (later) => {
    const { url } = await started(broker, later);
    const aborted: string[] = [];
    const begun: string[] = [];
    const predecessor = worker(url, {
      prefetch: 10,
      handle: (message, { signal }) => {
        begun.push(message.string());
        if (begun.length <= 20) return;
        return new Promise(() => signal.addEventListener('abort', () => aborted.push(message.string())));
      },
    });
    await predecessor.start(startAs(1));
    await send(url, numbersTo(25));
    await until(() => begun.length === 21, 'the message that stays');
    await delay(50);
    await predecessor.stop(stopWithin(100));
    assert.deepEqual(aborted, ['20']);
    const second = new Handled();
    const successor = worker(url, {
      handle: (message, { epoch }) => second.add(Number(message.string()), epoch),
    });
    await successor.start(startAs(2));
    await second.reaches(5, 5000);
    assert.deepEqual(second.numbers, numbersTo(25).slice(20));
    await end(successor, predecessor);
  });

  tidy('goes on after it has stopped, when its successor is undone', async (later) => {
    const { url } = await started(broker, later);
    const handled = new Handled();
    const predecessor = worker(url, {
      handle: (message, { epoch }) => handled.add(Number(message.string()), epoch),
    });
    const successor = worker(url, {
      handle: (message, { epoch }) => handled.add(Number(message.string()), epoch),
    });
    await predecessor.start(startAs(1));
    await send(url, [0]);
    await handled.reaches(1);
    await successor.prepare?.();
    await predecessor.stop(stopWithin(1000));
    await successor.start(startAs(2));
    await send(url, [1]);
    await handled.reaches(2);
    await successor.stop(stopWithin(1000));
    await successor.close?.();
    await predecessor.start(startAs(3));
    await send(url, [2]);
    await handled.reaches(3);
    assert.deepEqual(
      handled.all,
      [0, 1, 2].map((n) => ({ n, epoch: n + 1 })),
    );
    await end(predecessor);
  });

  tidy('handles itself what the server would not deliver once more', async (later) => {
    const { url } = await started(broker, later);
    await configure(url, { max_deliver: 1 });
    await send(url, numbersTo(20));
    const handled = new Handled();
    const handle = async (n: number, epoch: number) => {
      await delay(2);
      handled.add(n, epoch);
    };
    const predecessor = worker(url, {
      handle: (message, { epoch }) => handle(Number(message.string()), epoch),
    });
    await predecessor.start(startAs(1));
    await handled.reaches(2);
    await predecessor.stop(stopWithin(5000));
    assert.equal(await broker.left(url), 20 - handled.all.length);
    const successor = worker(url, {
      handle: (message, { epoch }) => handle(Number(message.string()), epoch),
    });
    await successor.start(startAs(2));
    await handled.reaches(20);
    assert.deepEqual(handled.numbers, numbersTo(20));
    await end(successor, predecessor);
  });

  tidy('keeps what it handles for longer than the server would wait', async (later) => {
    const { url } = await started(broker, later);
    await configure(url, { ack_wait: 300 * 1_000_000 });
    await send(url, [0, 1, 2]);
    const handled = new Handled();
    const consumer = worker(url, {
      handle: async (message, { epoch }) => {
        await delay(700);
        handled.add(Number(message.string()), epoch);
      },
    });
    await consumer.start(startAs(1));
    await handled.reaches(3);
    await end(consumer);
    assert.deepEqual(handled.numbers, [0, 1, 2]);
    assert.equal(await broker.left(url), 0);
  });

  tidy('delivers again what its handler threw at, and tells', async (later) => {
    const { url } = await started(broker, later);
    await send(url, [7]);
    const trouble: string[] = [];
    let tries = 0;
    const handled = new Handled();
    const consumer = worker(url, {
      retryAfterMs: 10,
      onError: (error) => trouble.push(error.message),
      handle: (message, { epoch }) => {
        tries += 1;
        if (tries < 3) throw new Error(`try ${tries}`);
        handled.add(Number(message.string()), epoch);
      },
    });
    await consumer.start(startAs(1));
    await handled.reaches(1);
    await end(consumer);
    assert.deepEqual(trouble, ['try 1', 'try 2']);
    assert.equal(await broker.left(url), 0);
  });

  tidy('has what a killed process had in hand', async (later) => {
    const { url } = await started(broker, later);
    await configure(url, { ack_wait: 500 * 1_000_000 });
    const killed = fixture(later, 'consumers/consume.mjs', ['jetstream', url, 'exclusive'], {
      env: { ...process.env, HANGS_AT: '15' },
    });
    assert.deepEqual(await killed.says(), { started: true });
    await send(url, numbersTo(30));
    for (const n of numbersTo(15)) assert.deepEqual(await killed.says(), { handled: n });
    assert.deepEqual(await killed.says(), { hangsAt: 15 });
    // What was handled has been acknowledged.
    await leaves(broker, url, 15);
    killed.process.kill('SIGKILL');
    await killed.exited;
    const second = new Handled();
    const successor = worker(url, {
      handle: (message, { epoch }) => second.add(Number(message.string()), epoch),
    });
    await successor.start(startAs(2));
    await second.reaches(15);
    assert.deepEqual(
      [...second.numbers].sort((a, b) => a - b),
      numbersTo(30).slice(15),
    );
    await end(successor);
    assert.equal(await broker.left(url), 0);
  });

  tidy(
    'refuses to prepare while the server is away, and the predecessor consumes on when it is back',
    async (later) => {
      const server = await started(broker, later);
      const handled = new Handled();
      const handle: JetStreamOptions['handle'] = (message, { epoch }) =>
        handled.add(Number(message.string()), epoch);
      const predecessor = worker(server.url, { handle });
      await predecessor.start(startAs(1));
      await send(server.url, [0]);
      await handled.reaches(1);
      await server.stop();
      const successor = worker(server.url, { handle });
      await assert.rejects(async () => successor.prepare?.(), { code: 'MOULT_BROKER_UNREACHABLE' });
      await successor.close?.();
      await server.start();
      await send(server.url, [1]);
      await handled.reaches(2);
      assert.deepEqual(
        handled.all.map(({ epoch }) => epoch),
        [1, 1],
      );
      await end(predecessor);
    },
  );

  tidy('stops, starts again and ends while the server is away', async (later) => {
    const server = await started(broker, later);
    const handled = new Handled();
    const consumer = worker(server.url, {
      handle: (message, { epoch }) => handled.add(Number(message.string()), epoch),
    });
    await consumer.start(startAs(1));
    await send(server.url, [0]);
    await handled.reaches(1);
    await server.stop();
    await consumer.stop(stopWithin(300));
    await consumer.start(startAs(2));
    await server.start();
    await send(server.url, [1]);
    await handled.reaches(2);
    assert.deepEqual(handled.all, [
      { n: 0, epoch: 1 },
      { n: 1, epoch: 2 },
    ]);
    await server.stop();
    await end(consumer);
  });

  tidy('refuses a consumer that asks for no acknowledgement', async (later) => {
    const { url } = await started(broker, later);
    await configure(url, { ack_policy: AckPolicy.None });
    const consumer = worker(url, { handle: () => {} });
    await assert.rejects(async () => consumer.prepare?.(), /MOULT_BAD_OPTION|explicit/);
    await consumer.close?.();
    assert.throws(() => worker(url, { handle: () => {}, concurrency: 0 }), /concurrency/);
    assert.throws(() => worker(url, { handle: () => {}, concurrency: 4, prefetch: 2 }), /prefetch/);
  });
});

describe('a consumer of JetStream that stops', () => {
  it('takes all that the server has sent for its last request, and unsubscribes only then', async () => {
    const { request, handled, asked, consumer } = alone();
    await consumer.start(startAs(1));
    request.send('one');
    await until(() => handled.length === 1, 'the first message');
    const stopped = consumer.stop(stopWithin(5000));
    // Whoever unsubscribes does it at once.
    await turn();
    request.send('on its way');
    request.end();
    await stopped;
    assert.deepEqual(handled, ['one', 'on its way']);
    assert.equal(request.isDrained, false);
    // Without a time of its own it would stay open at the server for half a minute.
    assert.deepEqual(asked, [{ max_messages: 2, expires: 1000 }]);
  });

  it('does not wait beyond its deadline for a server that is away', async () => {
    const { request, asked, consumer } = alone();
    await consumer.start(startAs(1));
    await until(() => asked.length === 1, 'the request');
    await consumer.stop(stopWithin(20));
    assert.equal(request.isDrained, true);
  });
});

/** A consumer whose requests go to no server. */
function alone() {
  const request = new Request();
  const [handled, asked]: [string[], object[]] = [[], []];
  const info = async () => ({ config: { durable_name: 'worker', ack_policy: 'explicit' } });
  const fetch = async (terms: object) => {
    asked.push(terms);
    return request;
  };
  const consumer = jetStream({
    connection: { isClosed: () => false, flush: async () => {} } as unknown as NatsConnection,
    consumer: async () => ({ info, fetch }) as unknown as PullConsumer,
    concurrency: 2,
    handle: (message) => handled.push(message.string()),
  });
  return { request, handled, asked, consumer };
}

/** The messages of one request to a server that is not there; those that come once it has unsubscribed are lost. */
class Request {
  isDrained = false;
  readonly #messages = new PassThrough({ objectMode: true });
  readonly sub = {
    drain: async () => {
      this.isDrained = true;
      this.end();
    },
    isClosed: () => this.#messages.writableEnded,
  };

  send(text: string): void {
    if (!this.isDrained) this.#messages.write({ string: () => text, ackAck: async () => true, working() {} });
  }

  end(): void {
    this.#messages.end();
  }

  stop(): void {
    this.end();
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    return this.#messages[Symbol.asyncIterator]();
  }
}

async function end(...consumers: ReturnType<typeof worker>[]): Promise<void> {
  for (const consumer of consumers) {
    await consumer.stop(stopWithin(2000));
    await consumer.close?.();
  }
}
