// BullMQ: one queue, and one worker a generation.
import { Queue, Worker } from 'bullmq';
import { bullmq } from 'moult/bullmq';
import { debianPackage, endedWith, program, server } from './redis-server.mjs';

const NUMBERS = 'numbers';
const COUNTED = ['waiting', 'active', 'delayed', 'prioritized', 'failed', 'paused', 'waiting-children'];

export default {
  program,
  debianPackage,
  server,
  onceInOverlap: true,
  // One for commands, one that waits.
  connectionsPerGeneration: 2,

  async prepare() {},

  async producer(url) {
    const queue = new Queue(NUMBERS, { connection: connectionTo(url) }).on('error', () => {});
    return {
      send: (n) => queue.add('number', { n }, { removeOnComplete: true }),
      close: () => queue.close(),
    };
  },

  async left(url) {
    const queue = new Queue(NUMBERS, { connection: connectionTo(url) });
    const left = await queue.getJobCountByTypes(...COUNTED);
    await queue.close();
    return left;
  },

  consumer({ url, changeover, handle }) {
    let isOver = false;
    const consumer = bullmq({
      worker: (process) => {
        const worker = new Worker(NUMBERS, process, {
          connection: {
            ...connectionTo(url),
            maxRetriesPerRequest: null,
            // BullMQ leaves off by itself only where it can tell the server.
            retryStrategy: () => (isOver ? null : 500),
          },
          autorun: false,
          concurrency: changeover === 'overlap' ? 4 : 1,
          // How soon it looks again after the server was away; half a minute each by default.
          lockDuration: 5000,
          stalledInterval: 5000,
          runRetryDelay: 500,
        });
        // Without a listener it writes each try to connect to the console.
        return worker.on('error', () => {});
      },
      process: (job) => handle(job.data.n),
    });
    return endedWith(consumer, () => {
      isOver = true;
    });
  },
};

function connectionTo(url) {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
