import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type Job, Queue, Worker, type WorkerOptions } from 'bullmq';
import { type BullMqOptions, bullmq } from '#moult/consumers/bullmq.js';
import type { MoultError } from '#moult/errors.js';
import type { Consumer } from '#moult/tasks/consumer.js';
import { brokerOf } from '../support/brokers.js';
import { until } from '../support/events.js';
import { lacksServer, serverFor } from '../support/message-service.js';
import { changesHands } from './changes-hands.js';

await changesHands('bullmq', {
  notAfterKill: 'BullMQ waits until the lock of a job has expired; tested below',
});

const broker = await brokerOf('bullmq');
// A worker that was closed while its server was away never ends: BullMQ disconnects its blocking connection, which ioredis,
// in the middle of reconnecting, takes for good and tells nobody, so that its main loop waits on, and renews locks. A
// service ends by its stop signal all the same; this file has none.
after(() => {
  setTimeout(() => process.exit(), 2000).unref();
});

const skip = lacksServer(broker);

describe('a worker of BullMQ', { skip }, () => {
  const server = serverFor(broker, skip);
  let queues = 0;

  interface Bench {
    readonly queue: Queue;
    make(
      process: BullMqOptions['process'],
      options?: Partial<WorkerOptions>,
      atStop?: 'finish' | 'hand-over',
    ): Consumer;
  }

  async function bench(test: (bench: Bench) => Promise<void>): Promise<void> {
    queues += 1;
    const { hostname: host, port } = new URL(server().url);
    const connection = { host, port: Number(port), maxRetriesPerRequest: null };
    const queue = new Queue(`queue-${queues}`, { connection });
    const made: Consumer[] = [];
    try {
      await test({
        queue,
        make(process, options = {}, atStop = 'finish') {
          const consumer = bullmq({
            worker: (run) =>
              new Worker(queue.name, run, { connection, autorun: false, ...options }).on('error', () => {}),
            process,
            atStop,
          });
          made.push(consumer);
          return consumer;
        },
      });
    } finally {
      for (const consumer of made) {
        await consumer.stop(stopBy(100));
        await consumer.close?.();
      }
      await queue.close();
    }
  }

  const startOf = (epoch: number) => ({ epoch, saved: undefined, changeover: 'exclusive' as const });
  const stopBy = (withinMs: number) => ({
    signal: AbortSignal.timeout(withinMs),
    withinMs,
    changeover: 'exclusive' as const,
  });

  it('refuses one that would begin by itself', async () => {
    await bench(async ({ make }) => {
      await assert.rejects(
        async () => make(async () => {}, { autorun: true }).prepare?.(),
        (error: MoultError) => error.code === 'MOULT_BAD_OPTION',
      );
    });
  });

  it('hands a job over where it has stored to be, and it does each step once', async () => {
    await bench(async ({ queue, make }) => {
      const steps: number[] = [];
      const inSteps = async (job: Job, _: unknown, signal: AbortSignal) => {
        for (let step = Number(job.progress || 0); step < 10; step += 1) {
          signal.throwIfAborted();
          await pause(10);
          steps.push(step);
          await job.updateProgress(step + 1);
        }
        return 'done';
      };
      const [owner, other] = [make(inSteps, {}, 'hand-over'), make(inSteps, {}, 'hand-over')];
      const { id } = await queue.add('long', {});
      await queue.add('next', {});
      await owner.start(startOf(1));
      await until(() => steps.length === 3, 'three steps');
      await owner.stop(stopBy(5000));
      assert.ok(steps.length < 10);
      assert.equal(await queue.getWaitingCount(), 2);
      await other.start(startOf(2));
      await until(() => steps.length === 20, 'both are done');
      assert.deepEqual(steps, [...tenSteps, ...tenSteps]);
      await untilCompleted(queue, 2);
      const job = await queue.getJob(id ?? '');
      assert.equal(job?.attemptsMade, 1, 'handing over does not count as an attempt');
      assert.equal(job?.returnvalue, 'done');
    });
  });

  it('does not store what a run returns that was given up', async () => {
    await bench(async ({ queue, make }) => {
      let letGo = () => {};
      const held = new Promise<string>((resolve) => {
        letGo = () => resolve('late');
      });
      const owner = make(() => held);
      const other = make(async () => 'in time');
      const job = await queue.add('held', {});
      await owner.start(startOf(1));
      while ((await queue.getActiveCount()) === 0) await pause(5);
      await owner.stop(stopBy(50));
      letGo();
      await other.start(startOf(2));
      await untilCompleted(queue, 1);
      assert.equal((await queue.getJob(job.id ?? ''))?.returnvalue, 'in time');
    });
  });

  it('puts jobs back in their order when several were in progress', async () => {
    await bench(async ({ queue, make }) => {
      let begun = 0;
      const owner = make(
        () => {
          begun += 1;
          return new Promise(() => {});
        },
        { concurrency: 3 },
      );
      const seen: unknown[] = [];
      const other = make(async (job) => seen.push(job.data));
      for (let n = 0; n < 5; n += 1) await queue.add('number', n);
      await owner.start(startOf(1));
      await until(() => begun === 3, 'three have begun');
      await owner.stop(stopBy(50));
      await other.start(startOf(2));
      await until(() => seen.length === 5, 'all are done');
      assert.deepEqual(seen, [0, 1, 2, 3, 4]);
    });
  });

  it('counts what a job throws by itself as a failure, also while it stops', async () => {
    await bench(async ({ queue, make }) => {
      let begun = false;
      const owner = make(async () => {
        begun = true;
        await pause(50);
        throw new Error('by itself');
      });
      const job = await queue.add('fails', {});
      await owner.start(startOf(1));
      await until(() => begun, 'it has begun');
      await owner.stop(stopBy(5000));
      assert.equal(await queue.getFailedCount(), 1);
      assert.equal((await queue.getJob(job.id ?? ''))?.failedReason, 'by itself');
    });
  });

  it('takes the job of a worker that has died when its lock has expired', async () => {
    await bench(async ({ queue, make }) => {
      // No worker renews the lock of a job that none has: as after kill -9.
      const dead = new Worker(queue.name, null, { connection: queue.opts.connection, lockDuration: 500 });
      await queue.add('left', 1);
      assert.equal((await dead.getNextJob('dead'))?.data, 1);
      await dead.close(true);
      const seen: unknown[] = [];
      const other = make(async (job) => seen.push(job.data), { stalledInterval: 300, lockDuration: 500 });
      await other.start(startOf(2));
      await until(() => seen.length === 1, 'it is taken');
    });
  });
});

const tenSteps = Array.from({ length: 10 }, (_, n) => n);

async function untilCompleted(queue: Queue, count: number): Promise<void> {
  while ((await queue.getCompletedCount()) < count) await pause(5);
}
