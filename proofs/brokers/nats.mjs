// Core NATS: a subject and a queue group. The server keeps nothing, so only overlap loses nothing.
import { setTimeout as delay } from 'node:timers/promises';
import { natsSubscription } from 'moult/nats';
import { debianPackage, open, program, server, told } from './nats-server.mjs';

export default {
  program,
  debianPackage,
  server,
  onceInOverlap: true,
  changeovers: ['overlap'],
  keeps: false,
  connectionsPerGeneration: 1,

  async prepare() {},

  /** What is sent before the first one subscribes nobody gets. */
  async producer(url) {
    while (!(await isSubscribed(url))) await delay(5);
    const connection = await open(url);
    return {
      async send(n) {
        connection.publish('numbers', String(n));
        await connection.flush();
      },
      close: () => connection.drain(),
    };
  },

  /** The server gives out what it gets, and forgets it. */
  async left() {
    return 0;
  },

  consumer: ({ url, handle }) =>
    natsSubscription({
      connection: () => open(url),
      subject: 'numbers',
      queue: 'workers',
      handle: (message, { epoch }) => handle(Number(message.string()), epoch),
    }),
};

async function isSubscribed(url) {
  const { subscriptions_list: list = [] } = await told(url, 'subsz?subs=1');
  return list.some(({ subject }) => subject === 'numbers');
}
