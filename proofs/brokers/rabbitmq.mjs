// RabbitMQ: one durable queue.
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'amqplib';
import { amqp } from 'moult/amqplib';
import { debianPackage, program, server } from './rabbitmq-server.mjs';

const NUMBERS = 'numbers';

export default {
  program,
  debianPackage,
  server,
  onceInOverlap: true,
  connectionsPerGeneration: 1,

  prepare: (url) => withChannel(url, (channel) => channel.assertQueue(NUMBERS)),

  producer: (url) => Outbox.open(url),

  // The broker counts those that are ready; those that are not acknowledged become so when their channel is closed.
  left: (url) => withChannel(url, async (channel) => (await channel.checkQueue(NUMBERS)).messageCount),

  consumer: ({ url, changeover, handle }) =>
    amqp({
      connect: () => connect(url, { noDelay: true }),
      queue: NUMBERS,
      concurrency: changeover === 'overlap' ? 4 : 1,
      handle: ({ content }, { epoch }) => handle(Number(content), epoch),
    }),
};

/** Keeps what the broker has not confirmed, and sends it again over a new connection. */
class Outbox {
  #url;
  #connection;
  #channel;
  #isClosing = false;
  #unconfirmed = new Map();

  static async open(url) {
    const outbox = new Outbox();
    outbox.#url = url;
    await outbox.#connect();
    return outbox;
  }

  send(n) {
    return new Promise((resolve) => {
      this.#unconfirmed.set(n, resolve);
      this.#publish(n);
    });
  }

  close() {
    this.#isClosing = true;
    return this.#connection.close();
  }

  async #connect() {
    while (this.#channel === undefined) {
      try {
        this.#connection = await connect(this.#url, { noDelay: true });
        this.#connection.on('error', () => {}).on('close', () => this.#lost());
        this.#channel = await this.#connection.createConfirmChannel();
        this.#channel.on('error', () => {});
      } catch {
        await delay(100);
      }
    }
    for (const n of this.#unconfirmed.keys()) this.#publish(n);
  }

  #lost() {
    this.#channel = undefined;
    if (!this.#isClosing) this.#connect();
  }

  #publish(n) {
    const confirmed = (error) => {
      if (error !== null) return;
      this.#unconfirmed.get(n)?.();
      this.#unconfirmed.delete(n);
    };
    try {
      this.#channel?.sendToQueue(NUMBERS, Buffer.from(String(n)), { persistent: true }, confirmed);
    } catch {
      // It is closed already, and is about to say so.
    }
  }
}

async function withChannel(url, work) {
  const connection = await connect(url, { noDelay: true });
  try {
    return await work(await connection.createChannel());
  } finally {
    await connection.close();
  }
}
