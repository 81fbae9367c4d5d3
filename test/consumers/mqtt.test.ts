import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, connectAsync, type IClientOptions } from 'mqtt';
import { type MqttOptions, mqttSession } from '#moult/consumers/mqtt.js';
import type { Consumer } from '#moult/tasks/consumer.js';
import { brokerOf, Handled, leaves, numbersTo, startAs, started, stopWithin } from '../support/brokers.js';
import { soon, until } from '../support/events.js';
import { fixture } from '../support/fixture.js';
import { lacksServer } from '../support/message-service.js';
import { tidy } from '../support/tidy.js';

const broker = await brokerOf('mqtt');
const WORKER: IClientOptions = { clientId: 'worker', reconnectPeriod: 50 };

/** Mosquitto sends what it has just received before what it sends again, where more than one message may be in flight. */
const WAYS: { name: string; client: IClientOptions; server?: string[]; inOrder: boolean }[] = [
  { name: 'by version 3.1.1', client: { protocolVersion: 4 }, inOrder: false },
  {
    name: 'in order, where the broker sends one at a time',
    client: { protocolVersion: 4 },
    server: ['max_inflight_messages 1'],
    inOrder: true,
  },
  {
    name: 'in order, where the client of version 5 asks for one at a time',
    client: { protocolVersion: 5, properties: { sessionExpiryInterval: 3600, receiveMaximum: 1 } },
    inOrder: true,
  },
  {
    name: 'by version 5',
    client: { protocolVersion: 5, properties: { sessionExpiryInterval: 3600 } },
    inOrder: false,
  },
];

function worker(
  url: string,
  handle: MqttOptions['handle'],
  options: Partial<MqttOptions> = {},
  client: IClientOptions = {},
): Consumer {
  return mqttSession({
    connect: (session) => connect(url, { ...WORKER, ...client, ...session }),
    topics: { numbers: { qos: 2 } },
    handle,
    onError: () => {},
    ...options,
  });
}

async function send(url: string, numbers: readonly number[]): Promise<void> {
  const producer = await broker.producer(url);
  for (const n of numbers) await producer.send(n);
  await producer.close();
}

async function end(...consumers: Consumer[]): Promise<void> {
  for (const consumer of consumers) {
    await consumer.stop(stopWithin(2000));
    await consumer.close?.();
  }
}

describe('a session of MQTT', { skip: lacksServer(broker) }, () => {
  for (const { name, client, server: settings, inOrder } of WAYS) {
    tidy(`changes hands, each message once, ${name}`, async (later) => {
      const server = await started(broker, later, settings);
      const { url } = server;
      const handled = new Handled();
      const watcher = await connectAsync(url);
      const wills: string[] = [];
      watcher.on('message', (topic) => wills.push(topic));
      await watcher.subscribeAsync('gone');
      const of = () =>
        worker(
          url,
          async ({ payload }, { epoch }) => {
            await delay(1);
            handled.add(Number(payload), epoch);
          },
          {},
          { ...client, will: { topic: 'gone', payload: Buffer.from('worker'), qos: 1, retain: false } },
        );
      const accepted = (await server.accepted()) ?? 0;
      let owner = of();
      await owner.prepare?.();
      await owner.start(startAs(1));
      const sending = send(url, numbersTo(1000));
      for (let epoch = 2; epoch < 12; epoch += 1) {
        await handled.reaches((epoch - 1) * 60);
        const successor = of();
        await successor.prepare?.();
        const saved = await owner.stop(stopWithin(5000));
        const count = handled.all.length;
        await successor.start(startAs(epoch, structuredClone(saved)));
        await owner.close?.();
        assert.ok(handled.all.slice(count).every((one) => one.epoch === epoch));
        owner = successor;
      }
      await sending;
      await handled.reaches(1000);
      await end(owner);
      const numbers = inOrder ? handled.numbers : handled.numbers.sort((a, b) => a - b);
      assert.deepEqual(numbers, numbersTo(1000));
      assert.equal(await broker.left(url), 0);
      assert.deepEqual(wills, []);
      // Two for each of eleven owners, and the producer.
      assert.equal((await server.accepted()) ?? 0, accepted + 23);
      await watcher.endAsync();
    });
  }

  tidy('leaves with the broker what it has received and not handled', async (later) => {
    const { url } = await started(broker, later);
    await send(url, numbersTo(30));
    const first: number[] = [];
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const predecessor = worker(url, ({ payload }) => {
      first.push(Number(payload));
      return held;
    });
    await predecessor.start(startAs(1));
    await until(() => first.length === 1, 'the first message');
    await delay(50);
    const stopped = predecessor.stop(stopWithin(5000)) as Promise<unknown>;
    release();
    const saved = await stopped;
    assert.deepEqual(first, [0]);
    const second = new Handled();
    const successor = worker(url, ({ payload }, { epoch }) => second.add(Number(payload), epoch));
    await successor.start(startAs(2, saved));
    await second.reaches(29);
    assert.deepEqual(second.numbers, numbersTo(30).slice(1));
    await end(successor, predecessor);
  });

  tidy('does not acknowledge what its handler has not finished at the deadline', async (later) => {
    const { url } = await started(broker, later);
    await send(url, [0, 1]);
    let isAborted = false;
    const predecessor = worker(url, (_, { signal }) => {
      return new Promise(() =>
        signal.addEventListener('abort', () => {
          isAborted = true;
        }),
      );
    });
    await predecessor.start(startAs(1));
    await delay(50);
    const saved = await predecessor.stop(stopWithin(100));
    assert.ok(isAborted);
    const second = new Handled();
    const successor = worker(url, ({ payload }, { epoch }) => second.add(Number(payload), epoch));
    await successor.start(startAs(2, saved));
    await second.reaches(2);
    assert.deepEqual(second.numbers, [0, 1]);
    await end(successor, predecessor);
  });

  tidy('lets the successor know what was handled and is not released yet', async (later) => {
    const { url } = await started(broker, later);
    await send(url, [1]);
    const handled: number[] = [];
    const of = () => worker(url, ({ payload }) => handled.push(Number(payload)));
    const predecessor = mqttSession({
      connect: (session) => {
        const client = connect(url, { ...WORKER, ...session });
        // The process is stopped between PUBREC and PUBREL: what follows PUBREC is not read.
        client.on('packetsend', ({ cmd }) => {
          if (cmd === 'pubrec') client.stream.pause();
        });
        return client;
      },
      topics: { numbers: { qos: 2 } },
      handle: ({ payload }) => handled.push(Number(payload)),
    });
    await predecessor.start(startAs(1));
    await until(() => handled.length === 1, 'the message');
    await delay(50);
    const saved = (await predecessor.stop(stopWithin(2000))) as { handled: number[] };
    assert.equal(saved.handled.length, 1);
    const successor = of();
    await successor.start(startAs(2, saved));
    await send(url, [3]);
    await until(() => handled.length >= 2, 'the next message');
    const after = (await successor.stop(stopWithin(2000))) as { handled: number[] };
    assert.deepEqual(handled, [1, 3]);
    assert.deepEqual(after.handled, []);
    await successor.close?.();
    await predecessor.close?.();
    assert.equal(await broker.left(url), 0);
  });

  tidy(
    'does not begin a message twice when the connection is lost while it is being handled',
    async (later) => {
      const { url } = await started(broker, later);
      await send(url, [0, 1]);
      const begun: number[] = [];
      const streams: { destroy(): void }[] = [];
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const consumer = mqttSession({
        connect: (session) => {
          const client = connect(url, { ...WORKER, ...session });
          client.on('connect', () => streams.push(client.stream));
          return client;
        },
        topics: { numbers: { qos: 2 } },
        handle: ({ payload }) => {
          begun.push(Number(payload));
          return held;
        },
        onError: () => {},
      });
      await consumer.start(startAs(1));
      await until(() => begun.length === 1, 'the first message');
      streams[0]?.destroy();
      await until(() => streams.length === 2, 'the second connection');
      await delay(50);
      release();
      await until(() => begun.length >= 2, 'the second message');
      await end(consumer);
      assert.deepEqual(begun, [0, 1]);
      assert.equal(await broker.left(url), 0);
    },
  );

  tidy('does not lose its connection while it handles for longer than the keep-alive time', async (later) => {
    const server = await started(broker, later);
    await send(server.url, [0]);
    const before = (await server.accepted()) ?? 0;
    const handled = new Handled();
    const consumer = worker(
      server.url,
      async ({ payload }, { epoch }) => {
        await delay(4000);
        handled.add(Number(payload), epoch);
      },
      {},
      { keepalive: 1 },
    );
    await consumer.start(startAs(1));
    await handled.reaches(1);
    await end(consumer);
    assert.equal(await server.accepted(), before + 1);
    assert.equal(await broker.left(server.url), 0);
  });

  tidy('resumes when its successor is undone, and gets no retained message once more', async (later) => {
    const { url } = await started(broker, later);
    const producer = await connectAsync(url);
    await producer.publishAsync('kept', '100', { qos: 1, retain: true });
    const handled = new Handled();
    const of = () =>
      worker(url, ({ payload }, { epoch }) => handled.add(Number(payload), epoch), {
        topics: { numbers: { qos: 2 }, kept: { qos: 1 } },
      });
    const predecessor = of();
    const successor = of();
    await predecessor.start(startAs(1));
    await handled.reaches(1);
    await successor.start(startAs(2, await predecessor.stop(stopWithin(1000))));
    await send(url, [1]);
    await handled.reaches(2);
    await predecessor.start(startAs(3, await successor.stop(stopWithin(1000))));
    await successor.close?.();
    await send(url, [2]);
    await handled.reaches(3);
    assert.deepEqual(handled.all, [
      { n: 100, epoch: 1 },
      { n: 1, epoch: 2 },
      { n: 2, epoch: 3 },
    ]);
    await end(predecessor);
    await producer.endAsync();
  });

  tidy('takes up new topics, and leaves those that a release no longer names', async (later) => {
    const { url } = await started(broker, later);
    const got: string[] = [];
    const of = (topics: MqttOptions['topics']) =>
      worker(url, ({ topic, payload }) => got.push(`${topic} ${payload}`), { topics });
    const predecessor = of({ a: { qos: 1 }, b: { qos: 1 } });
    await predecessor.start(startAs(1));
    const successor = of({ b: { qos: 1 }, c: { qos: 1 } });
    await successor.start(startAs(2, await predecessor.stop(stopWithin(1000))));
    const producer = await connectAsync(url);
    for (const topic of ['a', 'b', 'c']) await producer.publishAsync(topic, '1', { qos: 1 });
    await until(() => got.length === 2, 'both messages');
    assert.deepEqual(got, ['b 1', 'c 1']);
    await producer.endAsync();
    await end(successor, predecessor);
  });

  tidy(
    'does not trust what it left itself, when a successor that was killed had the session meanwhile',
    async (later) => {
      const { url } = await started(broker, later);
      const got: string[] = [];
      const of = (topics: MqttOptions['topics']) =>
        worker(url, ({ topic, payload }) => got.push(`${topic} ${payload}`), { topics });
      const predecessor = of({ a: { qos: 1 } });
      await predecessor.start(startAs(1));
      const saved = await predecessor.stop(stopWithin(1000));
      const killed = of({ b: { qos: 1 } });
      await killed.start(startAs(2, saved));
      await killed.stop(stopWithin(1000));
      await predecessor.start(startAs(3, saved));
      const producer = await connectAsync(url);
      await producer.publishAsync('a', '1', { qos: 1 });
      await until(() => got.length === 1, 'the message');
      assert.deepEqual(got, ['a 1']);
      await producer.endAsync();
      await end(predecessor, killed);
    },
  );

  tidy('has what a killed process had in hand', async (later) => {
    const { url } = await started(broker, later);
    const killed = fixture(later, 'consumers/consume.mjs', ['mqtt', url, 'exclusive'], {
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
    const successor = worker(url, ({ payload }, { epoch }) => second.add(Number(payload), epoch));
    await successor.start(startAs(2));
    await second.reaches(15);
    assert.deepEqual(second.numbers, numbersTo(30).slice(15));
    await end(successor);
    assert.equal(await broker.left(url), 0);
  });

  tidy(
    'refuses to prepare while the broker is away, and the predecessor consumes on when it is back',
    async (later) => {
      const server = await started(broker, later);
      const handled = new Handled();
      const of = () => worker(server.url, ({ payload }, { epoch }) => handled.add(Number(payload), epoch));
      const predecessor = of();
      await predecessor.start(startAs(1));
      await send(server.url, [0]);
      await handled.reaches(1);
      await server.stop();
      const successor = of();
      await assert.rejects(async () => successor.prepare?.(), { code: 'MOULT_BROKER_UNREACHABLE' });
      await assert.rejects(async () => successor.start(startAs(2)), { code: 'MOULT_BROKER_UNREACHABLE' });
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

  tidy('stops, starts again and ends while the broker is away', async (later) => {
    const server = await started(broker, later);
    const handled = new Handled();
    const consumer = worker(server.url, ({ payload }, { epoch }) => handled.add(Number(payload), epoch));
    await consumer.start(startAs(1));
    await send(server.url, [0]);
    await handled.reaches(1);
    await server.stop();
    const saved = await soon(consumer.stop(stopWithin(2000)) as Promise<unknown>, 'stop', 1500);
    await consumer.start(startAs(2, saved));
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

  tidy('tries a message again when its handler throws', async (later) => {
    const { url } = await started(broker, later);
    await send(url, [0, 1]);
    const tries: number[] = [];
    const consumer = worker(
      url,
      ({ payload }) => {
        tries.push(Number(payload));
        if (tries.length < 3) throw new Error('not yet');
      },
      { retryAfterMs: 5 },
    );
    await consumer.start(startAs(1));
    await until(() => tries.length === 4, 'both messages');
    assert.deepEqual(tries, [0, 0, 0, 1]);
    await end(consumer);
    assert.equal(await broker.left(url), 0);
  });

  tidy('refuses overlap, and a session that would not outlive its connection', async (later) => {
    const { url } = await started(broker, later);
    const refused = { code: 'MOULT_BAD_OPTION' };
    const overlapping = { ...startAs(1), changeover: 'overlap' as const };
    await assert.rejects(async () => worker(url, () => {}).start(overlapping), refused);
    const bad: IClientOptions[] = [
      { protocolVersion: 5 },
      { reconnectPeriod: 0 },
      { protocolVersion: 5, properties: { sessionExpiryInterval: 60, topicAliasMaximum: 5 } },
    ];
    for (const client of bad) {
      const consumer = worker(url, () => {}, {}, client);
      await assert.rejects(async () => consumer.start(startAs(1)), refused);
      await consumer.close?.();
    }
    const forgetful = mqttSession({
      connect: (session) => connect(url, { ...session, ...WORKER, clean: true }),
      topics: {},
      handle: () => {},
    });
    await assert.rejects(async () => forgetful.start(startAs(1)), refused);
  });
});
