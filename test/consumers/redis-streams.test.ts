import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { type RedisStreamsOptions, redisStreams } from '#moult/consumers/redis-streams.js';
import type { Consumer } from '#moult/tasks/consumer.js';
import { brokerOf } from '../support/brokers.js';
import { until } from '../support/events.js';
import { lacksServer, serverFor } from '../support/message-service.js';
import { changesHands } from './changes-hands.js';

await changesHands('redis-streams');

const broker = await brokerOf('redis-streams');
const skip = lacksServer(broker);

describe('a consumer of Redis Streams', { skip }, () => {
  const server = serverFor(broker, skip);
  let streams = 0;

  interface Bench {
    readonly redis: Redis;
    readonly stream: string;
    make(options: Partial<RedisStreamsOptions> & Pick<RedisStreamsOptions, 'handle'>): Consumer;
    /** Entries that have been given out and not acknowledged, by consumer. */
    pending(): Promise<Record<string, number>>;
  }

  async function bench(test: (bench: Bench) => Promise<void>): Promise<void> {
    streams += 1;
    const redis = new Redis(server().url);
    redis.on('error', () => {});
    const stream = `stream-${streams}`;
    const made: Consumer[] = [];
    try {
      await test({
        redis,
        stream,
        make(options) {
          const consumer = redisStreams({ redis, stream, group: 'group', consumer: 'me', ...options });
          made.push(consumer);
          return consumer;
        },
        async pending() {
          const rows = (await redis.xinfo('CONSUMERS', stream, 'group')) as (string | number)[][];
          return Object.fromEntries(rows.map((row) => [row[1], row[3]]));
        },
      });
    } finally {
      for (const consumer of made) {
        await consumer.stop(stopBy(100));
        await consumer.close?.();
      }
      redis.disconnect();
    }
  }

  const startOf = (epoch: number, changeover: 'exclusive' | 'overlap' = 'exclusive', saved?: unknown) => ({
    epoch,
    changeover,
    saved,
  });
  const stopBy = (withinMs: number, changeover: 'exclusive' | 'overlap' = 'exclusive') => ({
    signal: AbortSignal.timeout(withinMs),
    withinMs,
    changeover,
  });

  it('gives fields by their names, and all of them as they were added', async () => {
    await bench(async ({ redis, stream, make }) => {
      const seen: unknown[] = [];
      const consumer = make({ handle: ({ fields, values }) => seen.push([{ ...fields }, values]) });
      await redis.xadd(stream, '*', 'a', '1', 'b', '2', 'a', '3');
      await consumer.start(startOf(1));
      await until(() => seen.length === 1, 'it is handled');
      assert.deepEqual(seen, [[{ a: '3', b: '2' }, ['a', '1', 'b', '2', 'a', '3']]]);
    });
  });

  it('starts though its connection was lost since it was prepared, and does not come back by itself', async () => {
    await bench(async ({ redis, stream, make }) => {
      const own = new Redis(server().url, { retryStrategy: () => null });
      own.on('error', () => {});
      const readers: Redis[] = [];
      const duplicate = own.duplicate.bind(own);
      own.duplicate = (options) => {
        const reader = duplicate(options);
        readers.push(reader);
        return reader;
      };
      const seen: string[] = [];
      const consumer = make({ redis: own, handle: ({ id }) => seen.push(id) });
      await consumer.prepare?.();
      const [reader] = readers;
      assert.ok(reader);
      const over = new Promise((resolve) => reader.once('end', resolve));
      await redis.client('KILL', 'ID', await reader.client('ID'));
      await over;
      await consumer.start(startOf(1));
      const id = await redis.xadd(stream, '*', 'n', '1');
      await until(() => seen.length === 1, 'it is handled');
      assert.deepEqual(seen, [id]);
      await consumer.stop(stopBy(1000));
      own.disconnect();
    });
  });

  it('leaves what it had read ahead to its successor, which takes it in order and before what is new', async () => {
    await bench(async ({ redis, stream, make, pending }) => {
      const seen: string[] = [];
      const note = async ({ values }: { values: readonly string[] }) => {
        await pause(20);
        seen.push(values[1] ?? '');
      };
      const [owner, other] = [make({ handle: note }), make({ handle: note })];
      for (let n = 0; n < 8; n += 1) await redis.xadd(stream, '*', 'n', n);
      await owner.start(startOf(1));
      await until(() => seen.length === 2, 'two are handled');
      assert.equal(await owner.stop(stopBy(1000)), undefined);
      assert.ok(seen.length <= 3, 'what was being handled is finished, and no more');
      assert.deepEqual(await pending(), { me: 8 - seen.length });
      await redis.xadd(stream, '*', 'n', 8);
      await other.start(startOf(2));
      await until(() => seen.length === 9, 'all are handled');
      assert.deepEqual(seen.map(Number), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    });
  });

  it('hands on what it has handled and could not acknowledge, and the successor only acknowledges it', async () => {
    await bench(async ({ redis, stream, make, pending }) => {
      const seen: string[] = [];
      const own = redis.duplicate();
      // As when the connection is cut right then: the entry is handled, and nobody is told.
      own.xack = (() => new Promise(() => {})) as typeof own.xack;
      const owner = make({ redis: own, handle: ({ id }) => seen.push(id) });
      const other = make({ handle: ({ id }) => seen.push(id) });
      const id = await redis.xadd(stream, '*', 'n', '1');
      await owner.start(startOf(1));
      await until(() => seen.length === 1, 'it is handled');
      const saved = await owner.stop(stopBy(100));
      assert.deepEqual(saved, { handled: [id] });
      assert.deepEqual(await pending(), { me: 1 });
      await other.start(startOf(2, 'exclusive', saved));
      for (let left = 1; left > 0; left = (await pending()).me ?? 0) await pause(5);
      assert.deepEqual(seen, [id]);
      own.disconnect();
    });
  });

  it('gives up at the deadline beside one that has begun already, and that one claims it', async () => {
    await bench(async ({ redis, stream, make, pending }) => {
      const seen: string[] = [];
      const owner = make({ handle: () => new Promise(() => {}) });
      const other = make({ handle: ({ id }) => seen.push(id) });
      const id = await redis.xadd(stream, '*', 'n', '1');
      await owner.start(startOf(1, 'overlap'));
      for (let taken = 0; taken === 0; taken = (await pending())['me-1'] ?? 0) await pause(5);
      await owner.stop(stopBy(100, 'overlap'));
      await other.start(startOf(2, 'overlap'));
      await until(() => seen.length === 1, 'it is claimed');
      assert.deepEqual(seen, [id]);
    });
  });

  it('leaves no name behind that has a number, and forgets none that still has entries', async () => {
    await bench(async ({ redis, stream, make, pending }) => {
      const idle = make({ handle: () => {} });
      const hung = make({ handle: () => new Promise(() => {}), claimIdleMs: 'never' });
      await idle.start(startOf(1, 'overlap'));
      await pause(50);
      await idle.stop(stopBy(1000, 'overlap'));
      await hung.start(startOf(2, 'overlap'));
      await redis.xadd(stream, '*', 'n', '1');
      for (let taken = 0; taken === 0; taken = (await pending())['me-2'] ?? 0) await pause(5);
      await hung.stop(stopBy(50, 'overlap'));
      await idle.close?.();
      await hung.close?.();
      assert.deepEqual(await pending(), { 'me-2': 1 });
    });
  });

  it('has an entry come again that was thrown at, and goes on with the next one', async () => {
    await bench(async ({ redis, stream, make }) => {
      const seen: string[] = [];
      const failures: unknown[] = [];
      const options = {
        handle: ({ fields }: { fields: Readonly<Record<string, string>> }) => {
          seen.push(fields.n ?? '');
          if (seen.length === 1) throw new Error('not now');
        },
        onError: (error: unknown) => failures.push(error),
      };
      const [owner, other] = [make(options), make(options)];
      await redis.xadd(stream, '*', 'n', '1');
      await redis.xadd(stream, '*', 'n', '2');
      await owner.start(startOf(1));
      await until(() => seen.length === 2, 'both are handled');
      assert.match(String(failures[0]), /not now/);
      await other.start(startOf(2, 'exclusive', await owner.stop(stopBy(1000))));
      await until(() => seen.length === 3, 'the first one again');
      assert.deepEqual(seen, ['1', '2', '1']);
    });
  });

  it('loses no entry when the connection that reads is cut, nor one whose answer was lost with it', async () => {
    await bench(async ({ redis, stream, make }) => {
      const seen: number[] = [];
      const consumer = make({ handle: ({ fields }) => seen.push(Number(fields.n)) });
      await consumer.start(startOf(1));
      for (let n = 0; n < 300; n += 1) {
        if (n % 50 !== 25) {
          await redis.xadd(stream, '*', 'n', n);
          continue;
        }
        // Given to this consumer, which never hears of it: as when the answer is lost with the connection. Where the consumer
        // had not been given those before, the first of them would be lost, and come after those that it was given since.
        await until(() => seen.length === n, 'those before are handled');
        const lost = redis.multi().xadd(stream, '*', 'n', n);
        await lost.xreadgroup('GROUP', 'group', 'me', 'COUNT', 1, 'STREAMS', stream, '>').exec();
        let reader: string | undefined;
        while (reader === undefined) {
          const clients = (await redis.client('LIST')) as string;
          reader = /^id=(\d+) .* cmd=xreadgroup /m.exec(clients)?.[1];
        }
        await redis.client('KILL', 'ID', Number(reader));
      }
      await until(() => seen.length === 300, 'all are handled');
      assert.deepEqual(
        seen,
        Array.from({ length: 300 }, (_, n) => n),
      );
    });
  });
});
