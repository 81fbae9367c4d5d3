// JetStream: one stream, one durable pull consumer. Both ways of changing over give each message to one generation.
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { jetStream } from 'moult/nats';
import { debianPackage, open, program, server, told } from './nats-server.mjs';

const NUMBERS = 'NUMBERS';

export default {
  program,
  debianPackage,
  server,
  onceInOverlap: true,
  connectionsPerGeneration: 1,

  async prepare(url) {
    const connection = await open(url);
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: NUMBERS, subjects: ['numbers'] });
    await manager.consumers.add(NUMBERS, { durable_name: 'worker', ack_policy: AckPolicy.Explicit });
    await connection.close();
  },

  async producer(url) {
    const connection = await open(url);
    const stream = jetstream(connection);
    return {
      send: (n) => stream.publish('numbers', String(n)),
      close: () => connection.drain(),
    };
  },

  async left(url) {
    const { account_details } = await told(url, 'jsz?consumers=true');
    const [stream] = account_details[0].stream_detail;
    const { num_pending, num_ack_pending } = stream.consumer_detail[0];
    return num_pending + num_ack_pending;
  },

  consumer: ({ url, changeover, handle }) =>
    jetStream({
      connection: () => open(url),
      consumer: (connection) => jetstream(connection).consumers.get(NUMBERS, 'worker'),
      handle: (message, { epoch }) => handle(Number(message.string()), epoch),
      concurrency: changeover === 'overlap' ? 4 : 1,
    }),
};
