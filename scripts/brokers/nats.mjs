// Core NATS: a subject and a queue group. The server keeps nothing, so only overlap loses nothing.
import { natsSubscription } from 'moult/nats';
import { debianPackage, open, program, server } from './nats-server.mjs';

export default {
  program,
  debianPackage,
  server,
  onceInOverlap: true,
  changeovers: ['overlap'],
  connectionsPerGeneration: 1,

  async prepare() {},

  async producer(url) {
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
