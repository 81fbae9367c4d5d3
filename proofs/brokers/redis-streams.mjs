// Redis Streams: one stream, one group.
import { Redis } from 'ioredis';
import { redisStreams } from 'moult/redis-streams';
import { debianPackage, endedWith, program, server, withRedis } from './redis-server.mjs';

const NUMBERS = 'numbers';
const GROUP = 'workers';

export default {
  program,
  debianPackage,
  server,
  onceInOverlap: true,
  // One for commands, one that reads.
  connectionsPerGeneration: 2,

  prepare: (url) => withRedis(url, (redis) => redis.xgroup('CREATE', NUMBERS, GROUP, '0', 'MKSTREAM')),

  async producer(url) {
    const redis = new Redis(url).on('error', () => {});
    return {
      send: (n) => redis.xadd(NUMBERS, '*', 'n', n),
      close: () => redis.quit(),
    };
  },

  left: (url) =>
    withRedis(url, async (redis) => {
      const [pending] = await redis.xpending(NUMBERS, GROUP);
      const groups = await redis.xinfo('GROUPS', NUMBERS);
      const group = groups.find((row) => row.includes(GROUP));
      const given = group[group.indexOf('last-delivered-id') + 1];
      // Redis has a figure for it, too, but does not know it any more after it has been started again.
      const waiting = await redis.xrange(NUMBERS, `(${given}`, '+');
      return pending + waiting.length;
    }),

  consumer({ url, changeover, handle }) {
    // What fails is told by the commands that fail.
    const redis = new Redis(url).on('error', () => {});
    const consumer = redisStreams({
      redis,
      stream: NUMBERS,
      group: GROUP,
      consumer: 'worker',
      concurrency: changeover === 'overlap' ? 4 : 1,
      handle: ({ fields }, { epoch }) => handle(Number(fields.n), epoch),
    });
    return endedWith(consumer, () => redis.disconnect());
  },
};
