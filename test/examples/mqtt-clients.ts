import { setTimeout as pause } from 'node:timers/promises';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { until } from '../integration/supervised.js';
import { PACE } from '../support/pace.js';
import { type Clients, Tally } from './tally.js';

const COUNT = 6;

/**
 * Six clients, of every quality of service and with sessions and without, each of which sends to the next and hears from
 * the one before. Nothing of it may close, nobody's will be heard until one is killed at the end.
 */
export function mqttClients(port: number): Clients {
  const tally = new Tally();
  const talkers = Array.from({ length: COUNT }, (_, index) => new Talker(index, port, tally));
  const running = talkers.map((talker) => talker.run().catch((error) => tally.failed(error)));
  return {
    tally,
    async stop() {
      tally.isOver.abort();
      await Promise.all(running);
      for (const talker of talkers) {
        const before = talkers.at(talker.index - 1) as Talker;
        await until(`all has come to ${talker.index}`, () => talker.heard === before.sent).catch((error) =>
          tally.failed(`${error.message}: ${talker.heard} of ${before.sent}`),
        );
      }
      const [first, ...others] = talkers as [Talker, ...Talker[]];
      first.die();
      for (const other of others) {
        await until('the will of one that died is heard', () => other.wills.length > 0);
        if (other.wills.join() !== '0') tally.failed(`heard the wills of ${other.wills}`);
      }
      await Promise.all(others.map((other) => other.end()));
    },
  };
}

class Talker {
  sent = 0;
  heard = 0;
  readonly wills: string[] = [];
  readonly index: number;
  readonly #port: number;
  readonly #tally: Tally;
  readonly #qos: 0 | 1 | 2;
  #client!: MqttClient;

  constructor(index: number, port: number, tally: Tally) {
    this.index = index;
    this.#port = port;
    this.#tally = tally;
    this.#qos = (index % 3) as 0 | 1 | 2;
  }

  async run(): Promise<void> {
    const options: IClientOptions = {
      clientId: `talker ${this.index}`,
      clean: this.index < 3,
      keepalive: 20,
      reconnectPeriod: 0,
      will: { topic: 'wills', payload: Buffer.from(String(this.index)), qos: 1, retain: false },
    };
    this.#client = await connectAsync(`mqtt://127.0.0.1:${this.#port}`, options);
    this.#client.on('close', () => this.#tally.failed(`the connection of ${this.index} was closed`));
    this.#client.on('error', (error) => this.#tally.failed(error));
    this.#client.on('message', (topic, payload) => this.#hear(topic, String(payload)));
    await this.#client.subscribeAsync([`to/${this.index}`, 'wills'], { qos: 2 });
    await pause(200);
    while (!this.#tally.isOver.signal.aborted) {
      const text = String(this.sent++);
      await this.#client.publishAsync(`to/${(this.index + 1) % COUNT}`, text, { qos: this.#qos });
      await pause(5 * PACE);
    }
  }

  die(): void {
    this.#client.removeAllListeners('close');
    (this.#client.stream as { destroy(): void }).destroy();
  }

  async end(): Promise<void> {
    this.#client.removeAllListeners('close');
    await this.#client.endAsync();
  }

  #hear(topic: string, payload: string): void {
    const [text = '', by] = payload.split(' by ');
    if (topic === 'wills') {
      this.wills.push(text);
      return;
    }
    if (text !== String(this.heard))
      this.#tally.failed(`expected ${this.heard} at ${this.index}, heard ${text}`);
    this.heard += 1;
    this.#tally.answered(by ?? payload);
  }
}
