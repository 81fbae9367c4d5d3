import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import { describe } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, headers } from '@nats-io/transport-node';
import { type NatsSubscriptionOptions, natsSubscription } from '#moult/consumers/nats.js';
import { brokerOf, Handled, numbersTo, startAs, started, stopWithin } from '../support/brokers.js';
import { until } from '../support/events.js';
import { lacksServer } from '../support/message-service.js';
import { type Later, tidy } from '../support/tidy.js';

/** Far more than a message takes from one process to another here. */
const SLOW_MS = 200;

const broker = await brokerOf('nats');

function worker(
  url: string,
  options: Partial<NatsSubscriptionOptions> & Pick<NatsSubscriptionOptions, 'handle'>,
) {
  return natsSubscription({
    connection: () => connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50 }),
    subject: 'numbers',
    queue: 'workers',
    onError: () => {},
    ...options,
  });
}

const overlapping = (epoch: number) => ({ ...startAs(epoch), changeover: 'overlap' as const });
const stop = (withinMs: number) => ({ ...stopWithin(withinMs), changeover: 'overlap' as const });

describe('a subscription of core NATS', { skip: lacksServer(broker) }, () => {
  tidy('gives each message to one generation, and none to nobody', async (later) => {
    const { url } = await started(broker, later);
    const handled = new Handled();
    const of = () =>
      worker(url, {
        handle: async (message, { epoch }) => {
          await delay(1);
          handled.add(Number(message.string()), epoch);
        },
      });
    let owner = of();
    await owner.prepare?.();
    await owner.start(overlapping(1));
    const producer = await broker.producer(url);
    const sending = (async () => {
      for (const n of numbersTo(2000)) await producer.send(n);
    })();
    for (let epoch = 2; epoch < 12; epoch += 1) {
      await handled.reaches((epoch - 1) * 100);
      const successor = of();
      await successor.prepare?.();
      await successor.start(overlapping(epoch));
      await owner.stop(stop(5000));
      await owner.close?.();
      owner = successor;
    }
    await sending;
    await producer.close();
    await handled.reaches(2000);
    await owner.stop(stop(1000));
    await owner.close?.();
    assert.deepEqual(
      [...handled.numbers].sort((a, b) => a - b),
      numbersTo(2000),
    );
  });

  tidy(
    'hands on at the deadline what it has not finished: data, headers and who waits for an answer',
    async (later) => {
      const { url } = await started(broker, later);
      const begun: number[] = [];
      const predecessor = worker(url, {
        handle: (message) => {
          begun.push(Number(message.string()));
          return new Promise(() => {});
        },
      });
      await predecessor.start(overlapping(1));
      const client = await connect({ servers: url });
      const head = headers();
      head.append('colour', 'red');
      head.append('colour', 'blue');
      const answer = client.request('numbers', '41', { headers: head, timeout: 10_000 });
      client.publish('numbers', '1');
      await client.flush();
      await until(() => begun.length === 1, 'the first message');
      const got: string[] = [];
      const successor = worker(url, {
        handle: (message) => {
          got.push(`${message.subject} ${message.string()} ${message.headers?.values('colour').join()}`);
          message.respond(String(message.json<number>() + 1));
        },
      });
      await successor.start(overlapping(2));
      await predecessor.stop(stop(50));
      assert.equal((await answer).string(), '42');
      await until(() => got.length === 2, 'both messages');
      assert.deepEqual(got.sort(), ['numbers 1 undefined', 'numbers 41 red,blue']);
      await client.close();
      await successor.stop(stop(1000));
      await successor.close?.();
      await predecessor.close?.();
    },
  );

  tidy('says that nobody took what it had no time for', async (later) => {
    const { url } = await started(broker, later);
    const trouble: string[] = [];
    let begun = 0;
    const last = worker(url, {
      onError: ({ message }) => trouble.push(message),
      handle: () => {
        begun += 1;
        return new Promise(() => {});
      },
    });
    await last.start(overlapping(1));
    const producer = await broker.producer(url);
    await producer.send(1);
    await producer.close();
    await until(() => begun === 1, 'the message');
    await last.stop(stop(20));
    await last.close?.();
    assert.deepEqual(trouble, ['a message of numbers was not finished, and no other subscriber took it']);
  });

  tidy(
    'consumes again when its successor is undone, and when the server was away meanwhile',
    async (later) => {
      const server = await started(broker, later);
      const handled = new Handled();
      const consumer = worker(server.url, {
        handle: (message, { epoch }) => handled.add(Number(message.string()), epoch),
      });
      await consumer.start(overlapping(1));
      await server.stop();
      const successor = worker(server.url, { handle: () => {} });
      await assert.rejects(async () => successor.prepare?.(), { code: 'MOULT_BROKER_UNREACHABLE' });
      await successor.close?.();
      await consumer.stop(stop(100));
      const resumed = consumer.start(overlapping(3));
      await server.start();
      await resumed;
      const producer = await broker.producer(server.url);
      // Core NATS does not say who is subscribed: sent until one arrives.
      while (handled.all.length === 0) {
        await producer.send(5);
        await delay(10);
      }
      assert.deepEqual(handled.all[0], { n: 5, epoch: 3 });
      await producer.close();
      await consumer.stop(stop(1000));
      await consumer.close?.();
    },
  );

  tidy('is subscribed at the server before its successor leaves, when it serves again', async (later) => {
    const { url } = await started(broker, later);
    const slow = await slowWayTo(url, later);
    const handled = new Handled();
    const of = (through: string) =>
      worker(through, { handle: (message, { epoch }) => handled.add(Number(message.string()), epoch) });
    const [predecessor, successor] = [of(slow), of(url)];
    await predecessor.start(overlapping(1));
    await successor.start(overlapping(2));
    const producer = await broker.producer(url);
    await predecessor.stop(stop(5000));
    await predecessor.start(overlapping(3));
    await successor.stop(stop(5000));
    for (const n of numbersTo(10)) await producer.send(n);
    await handled.reaches(10);
    assert.deepEqual(
      handled.all,
      numbersTo(10).map((n) => ({ n, epoch: 3 })),
    );
    await producer.close();
    await predecessor.stop(stop(1000));
    for (const one of [predecessor, successor]) await one.close?.();
  });

  tidy('refuses to be without a queue group, and to change over exclusively', async (later) => {
    const { url } = await started(broker, later);
    assert.throws(() => worker(url, { handle: () => {}, queue: '' }), { code: 'MOULT_BAD_OPTION' });
    const consumer = worker(url, { handle: () => {} });
    await assert.rejects(async () => consumer.start(startAs(1)), /overlap/);
    await consumer.close?.();
  });
});

/** Another address of this server: what is sent to it there arrives a while later, in order. */
async function slowWayTo(url: string, later: Later): Promise<string> {
  const { port } = new URL(url);
  const sockets = new Set<Socket>();
  const door = createServer((near) => {
    const far = dial(Number(port), '127.0.0.1');
    for (const one of [near, far]) sockets.add(one.on('error', () => {}));
    near.on('data', (bytes) => setTimeout(() => far.write(bytes), SLOW_MS));
    near.on('close', () => far.destroy());
    far.pipe(near);
  });
  await once(door.listen(0, '127.0.0.1'), 'listening');
  later(() => {
    door.close();
    for (const one of sockets) one.destroy();
  });
  return `nats://127.0.0.1:${(door.address() as AddressInfo).port}`;
}
