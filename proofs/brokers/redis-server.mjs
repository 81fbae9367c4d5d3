// redis-server, and what is the same for BullMQ and for Redis Streams.
import { Redis } from 'ioredis';
import { freePort } from '../../scripts/free-ports.mjs';
import { Program } from './program.mjs';

export const program = '/usr/bin/redis-server';
export const debianPackage = 'redis-server';

/** Each command is on disk before it is answered, so that a server that was stopped goes on where it was. */
const ARGS = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--appendfsync', 'no'];

export async function server(folder) {
  const port = await freePort();
  const running = new Program(program, [...ARGS, '--port', String(port), '--dir', folder], port, folder);
  await running.start();
  const url = `redis://127.0.0.1:${port}`;
  return {
    url,
    get pid() {
      return running.pid;
    },
    start: () => running.start(),
    stop: (signal) => running.stop(signal),
    accepted: () =>
      withRedis(url, async (redis) =>
        Number(/total_connections_received:(\d+)/.exec(await redis.info('stats'))?.[1]),
      ),
  };
}

/** A consumer after whose end something else is ended, too. */
export function endedWith(consumer, end) {
  return {
    prepare: () => consumer.prepare?.(),
    start: (start) => consumer.start(start),
    stop: (stop) => consumer.stop(stop),
    close: () => Promise.resolve(consumer.close?.()).finally(end),
  };
}

/** A client for a moment. */
export async function withRedis(url, work) {
  const redis = new Redis(url);
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
