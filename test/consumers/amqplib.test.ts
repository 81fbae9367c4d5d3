import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import { type AmqpOptions, amqp } from '#moult/consumers/amqplib.js';
import type { MoultError } from '#moult/errors.js';
import type { Consumer } from '#moult/tasks/consumer.js';
import { brokerOf } from '../support/brokers.js';
import { until, untilMany } from '../support/events.js';
import { lacksServer, serverFor } from '../support/message-service.js';
import { changesHands } from './changes-hands.js';

await changesHands('rabbitmq');

const broker = await brokerOf('rabbitmq');
const skip = lacksServer(broker);

describe('a consumer of RabbitMQ', { skip }, () => {
  const server = serverFor(broker, skip);
  let queues = 0;

  interface Bench {
    readonly queue: string;
    readonly connection: ChannelModel;
    readonly channel: ConfirmChannel;
    make(options: Partial<AmqpOptions> & Pick<AmqpOptions, 'handle'>): Consumer;
    send(from: number, to: number): Promise<void>;
    left(): Promise<number>;
  }

  async function bench(
    test: (bench: Bench) => Promise<void>,
    kind: 'classic' | 'quorum' = 'classic',
  ): Promise<void> {
    queues += 1;
    const queue = `queue-${queues}`;
    const connection = await connect(server().url, { noDelay: true });
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': kind } });
    const made: Consumer[] = [];
    try {
      await test({
        queue,
        connection,
        channel,
        make(options) {
          const consumer = amqp({
            connect: () => connect(server().url, { noDelay: true }),
            queue,
            ...options,
          });
          made.push(consumer);
          return consumer;
        },
        async send(from, to) {
          for (let n = from; n < to; n += 1) channel.sendToQueue(queue, Buffer.from(String(n)));
          await channel.waitForConfirms();
        },
        left: async () => (await channel.checkQueue(queue)).messageCount,
      });
    } finally {
      for (const consumer of made) {
        await Promise.resolve(consumer.stop(stopBy(100))).catch(() => {});
        await consumer.close?.();
      }
      await connection.close();
    }
  }

  const startOf = (epoch: number) => ({ epoch, saved: undefined, changeover: 'exclusive' as const });
  const stopBy = (withinMs: number) => ({
    signal: AbortSignal.timeout(withinMs),
    withinMs,
    changeover: 'exclusive' as const,
  });

  it('says which queue is not there', async () => {
    await bench(async ({ make }) => {
      await assert.rejects(
        async () => make({ queue: 'nowhere', handle: () => {} }).prepare?.(),
        (error: MoultError) => error.code === 'MOULT_BROKER_UNREACHABLE' && /nowhere/.test(error.message),
      );
    });
  });

  for (const kind of ['classic', 'quorum'] as const) {
    it(`puts back what was sent ahead, and takes it up there (${kind})`, async () => {
      await bench(async ({ make, send, left }) => {
        const seen: number[] = [];
        const handle: AmqpOptions['handle'] = async ({ content }) => {
          await pause(10);
          seen.push(Number(content));
        };
        const [owner, other] = [make({ handle, prefetch: 50 }), make({ handle })];
        await send(0, 100);
        await owner.start(startOf(1));
        await until(() => seen.length === 3, 'three are handled');
        await owner.stop(stopBy(5000));
        assert.ok(seen.length <= 4, 'what was being handled is finished, and no more');
        assert.equal(await left(), 100 - seen.length);
        await other.start(startOf(2));
        await untilMany(() => seen.length, 100, 'all are handled');
        assert.deepEqual(
          inOrder(seen, kind),
          Array.from({ length: 100 }, (_, n) => n),
        );
      }, kind);
    });

    it(`loses and doubles nothing while messages stream in and it stops and starts (${kind})`, async () => {
      await bench(async ({ make, send }) => {
        const seen: number[] = [];
        const consumer = make({ handle: ({ content }) => seen.push(Number(content)), prefetch: 200 });
        const sending = send(0, 3000);
        for (let epoch = 1; epoch <= 20; epoch += 1) {
          await consumer.start(startOf(epoch));
          await pause(10);
          await consumer.stop(stopBy(5000));
        }
        await sending;
        await consumer.start(startOf(21));
        await untilMany(() => seen.length, 3000, 'all are handled');
        await pause(20);
        assert.deepEqual(
          inOrder(seen, kind),
          Array.from({ length: 3000 }, (_, n) => n),
        );
      }, kind);
    });
  }

  it('sends a message that was thrown at to the dead-letter exchange, or back', async () => {
    await bench(async ({ channel, queue, make, send, left }) => {
      const { queue: dead } = await channel.assertQueue('', { exclusive: true });
      const failures: unknown[] = [];
      let count = 0;
      const back = make({
        handle: () => {
          count += 1;
          if (count === 1) throw new Error('not now');
        },
        onError: (error) => failures.push(error),
      });
      await send(0, 1);
      await back.start(startOf(1));
      await until(() => count === 2, 'it has come again');
      await back.stop(stopBy(1000));
      assert.match(String(failures[0]), /not now/);
      assert.equal(await left(), 0);

      const withDead = `${queue}-with-dead`;
      await channel.assertQueue(withDead, { deadLetterExchange: '', deadLetterRoutingKey: dead });
      channel.sendToQueue(withDead, Buffer.from('x'));
      await channel.waitForConfirms();
      const away = make({
        queue: withDead,
        onThrow: 'dead-letter',
        handle: () => {
          throw new Error('never');
        },
        onError: () => {},
      });
      await away.start(startOf(2));
      while ((await channel.checkQueue(dead)).messageCount === 0) await pause(5);
    });
  });

  it('has what is being handled end before the same message comes again over a new connection', async () => {
    await bench(async ({ make, send }) => {
      const connections: ChannelModel[] = [];
      let running = 0;
      let most = 0;
      let done = 0;
      const consumer = make({
        connect: async () => {
          const connection = await connect(server().url, { noDelay: true });
          connections.push(connection);
          return connection;
        },
        onError: () => {},
        handle: async (_, { signal }) => {
          running += 1;
          most = Math.max(most, running);
          await pause(300);
          running -= 1;
          if (!signal.aborted) done += 1;
        },
      });
      await send(0, 1);
      await consumer.start(startOf(1));
      await until(() => running === 1, 'it is being handled');
      await connections[0]?.close();
      await until(() => done === 1, 'it is done');
      assert.equal(most, 1);
      assert.equal(connections.length, 2);
    });
  });

  for (const [who, loses] of [
    [
      'the broker',
      (connection: ChannelModel) =>
        (connection.connection as unknown as { stream: Socket }).stream.destroy(new Error('lost')),
    ],
    ['its own close()', (_: ChannelModel, consumer: Consumer) => void consumer.close?.()],
  ] as const) {
    it(`leaves to the next one what it handles when its connection is ended by ${who} while it stops`, async () => {
      await bench(async ({ make, send, left }) => {
        const connections: ChannelModel[] = [];
        const signals: AbortSignal[] = [];
        let finish = () => {};
        const finished = new Promise<void>((resolve) => {
          finish = resolve;
        });
        const consumer = make({
          connect: async () => {
            const connection = await connect(server().url, { noDelay: true });
            connections.push(connection);
            return connection;
          },
          onError: () => {},
          handle: async (_, { signal }) => {
            signals.push(signal);
            await finished;
          },
        });
        await send(0, 1);
        await consumer.start(startOf(1));
        await until(() => signals.length === 1, 'it is being handled');
        const stopped = Promise.resolve(consumer.stop(stopBy(10_000)));
        const [connection] = connections;
        assert.ok(connection);
        const closed = new Promise((resolve) => connection.once('close', resolve));
        loses(connection, consumer);
        await closed;
        assert.equal(signals[0]?.aborted, true, 'it has been told');
        finish();
        await stopped;
        while ((await left()) === 0) await pause(5);
        const seen: number[] = [];
        await make({ handle: ({ content }) => seen.push(Number(content)) }).start(startOf(2));
        await until(() => seen.length === 1, 'it has come to the next one');
        assert.equal(connections.length, 1);
      });
    });
  }

  it('begins again when the broker has taken its queue away and it is there again', async () => {
    await bench(async ({ channel, queue, make, send }) => {
      const seen: number[] = [];
      const consumer = make({
        setup: (own) => own.assertQueue(queue, { arguments: { 'x-queue-type': 'classic' } }),
        onError: () => {},
        handle: ({ content }) => seen.push(Number(content)),
      });
      await consumer.start(startOf(1));
      await channel.deleteQueue(queue);
      await pause(300);
      await send(0, 1);
      await until(() => seen.length === 1, 'it consumes again');
    });
  });
});

/** A quorum queue puts what comes back at its end, unless it has a delivery limit. */
function inOrder(seen: readonly number[], kind: 'classic' | 'quorum'): readonly number[] {
  return kind === 'classic' ? seen : [...seen].sort((a, b) => a - b);
}
