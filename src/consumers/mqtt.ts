/**
 * Consumers of MQTT for {@link https://www.npmjs.com/package/mqtt | mqtt}, which the service installs itself.
 * @module moult/mqtt
 */
import type { IPublishPacket, ISubscriptionMap, MqttClient } from 'mqtt';
import { MoultError } from '../errors.js';
import type { Consumer, ConsumerStart, ConsumerStop } from '../tasks/consumer.js';
import { ConsumerErrors, type OnError } from './consumer-errors.js';
import type { Handling } from './handling.js';
import { type MqttLegacy, MqttSession, type MqttSessionOptions } from './mqtt-session.js';
import { unreachable, withTimeout } from './with-timeout.js';

/** How to receive and handle messages of an MQTT broker. */
export interface MqttOptions {
  /**
   * Creates a client: `(session) => mqtt.connect(url, { clientId: 'billing', ...session })`. It needs its own
   * client id and, for MQTT 5, a `properties.sessionExpiryInterval` longer than a restart. A will is allowed.
   */
  connect(session: MqttSessionOptions): MqttClient;
  /** The topics, as for the client's `subscribe`: `{ 'orders/#': { qos: 1 } }`. */
  readonly topics: ISubscriptionMap;
  /**
   * Handles messages one at a time. When it returns, or its promise fulfils, the message is acknowledged. If
   * it throws, it is called again with the same message after `retryAfterMs`.
   */
  handle(message: IPublishPacket, handling: Handling): unknown;
  /** Milliseconds until a message whose handler threw is tried again; default 1,000. */
  readonly retryAfterMs?: number;
  /**
   * - `connect` (default): `prepare` connects with another client id and disconnects, to check that the
   *   broker answers.
   * - `never`: for brokers that accept certain client ids only.
   */
  readonly probe?: 'connect' | 'never';
  /** Called when a handler throws, with its message, and when a connection is lost; default: a process warning. */
  readonly onError?: OnError<IPublishPacket>;
}

const ANSWER_WITHIN_MS = 5000;

/**
 * Consumes topics of an MQTT broker in one persistent session, which is handed over: the predecessor
 * disconnects, which fires no will, and the successor resumes the session with the same client id. Meanwhile
 * the broker keeps messages of QoS 1 and 2. Messages that the predecessor has handled are acknowledged; QoS 2
 * stays exactly-once even between PUBREC and PUBREL. The changeover is always exclusive, because a broker
 * closes the first of two connections with the same client id.
 * @throws MOULT_BAD_OPTION from `start` for a changeover of 'overlap', and for a client whose session would
 *   not outlive its connection. MOULT_BROKER_UNREACHABLE from `prepare` and the first `start` when the broker
 *   does not answer within 5 s.
 */
export function mqttSession(options: MqttOptions): Consumer {
  return new MqttConsumer(options);
}

export type { OnError } from './consumer-errors.js';
export type { Handling } from './handling.js';
export type { MqttSessionOptions } from './mqtt-session.js';

class MqttConsumer implements Consumer {
  readonly #options: MqttOptions;
  readonly #errors: ConsumerErrors<IPublishPacket>;
  #session: MqttSession | undefined;
  #hasStopped = false;

  constructor(options: MqttOptions) {
    const { retryAfterMs = 1000 } = options;
    expect(
      'retryAfterMs to be a whole number from 0 on',
      retryAfterMs,
      Number.isInteger(retryAfterMs) && retryAfterMs >= 0,
    );
    this.#options = options;
    this.#errors = new ConsumerErrors('mqttSession', options.onError);
  }

  async prepare(): Promise<void> {
    if (this.#options.probe === 'never') return;
    const client = this.#options.connect({
      clean: true,
      resubscribe: false,
      clientId: `moult-${process.pid}-${Math.random().toString(36).slice(2, 10)}`,
      reconnectPeriod: 0,
      ...{ will: undefined },
    });
    try {
      await withTimeout(connected(client), ANSWER_WITHIN_MS, 'the MQTT broker');
    } finally {
      await withTimeout(client.endAsync(!client.connected), ANSWER_WITHIN_MS, 'the MQTT broker').catch(
        () => {},
      );
    }
  }

  async start({ epoch, saved, changeover }: ConsumerStart): Promise<void> {
    expect(
      "changeover 'exclusive', since a session has one connection",
      changeover,
      changeover !== 'overlap',
    );
    const { topics, handle, retryAfterMs = 1000 } = this.#options;
    const session = new MqttSession({
      connect: (options) => checked(this.#options.connect(options)),
      topics,
      epoch,
      legacy: latest(saved as MqttLegacy | undefined, epoch),
      retryAfterMs,
      handle: (message, signal) => handle(message, { signal, epoch }),
      tellError: (error, message) => this.#errors.tell(error, message),
    });
    this.#session = session;
    // A predecessor that resumes is the last that can: while the broker is away it goes on trying.
    if (this.#hasStopped) {
      session.begun.catch((error) => this.#errors.tell(error));
      return;
    }
    try {
      await withTimeout(session.begun, ANSWER_WITHIN_MS, 'the MQTT broker');
    } catch (error) {
      this.#session = undefined;
      await session.abandon();
      throw unreachable('the MQTT broker', error);
    }
  }

  async stop({ signal }: ConsumerStop): Promise<MqttLegacy | undefined> {
    const session = this.#session;
    this.#session = undefined;
    this.#hasStopped = true;
    return await session?.end(signal);
  }

  async close(): Promise<void> {
    await this.#session?.abandon();
  }
}

/** Settles with the first thing that the broker says. */
export function connected(client: MqttClient): Promise<void> {
  return new Promise((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('close', () => reject(new Error('the connection was closed')));
    client.on('error', reject);
  });
}

/** What is older has been overtaken: another owner had the session meanwhile, and was killed. */
function latest(legacy: MqttLegacy | undefined, epoch: number): MqttLegacy | undefined {
  return legacy?.epoch === epoch - 1 ? legacy : undefined;
}

/** That the session outlives its connection, and belongs to this service. */
function checked(client: MqttClient): MqttClient {
  const { clean, protocolVersion, properties, reconnectPeriod } = client.options;
  const refuse = (what: string, is: unknown) => {
    client.on('error', () => {});
    client.end(true);
    expect(what, is, false);
  };
  const expiry = properties?.sessionExpiryInterval ?? 0;
  if (clean !== false) refuse('connect() to give on `clean: false`', clean);
  if (protocolVersion === 5 && expiry === 0) refuse('properties.sessionExpiryInterval above 0', expiry);
  if ((properties?.topicAliasMaximum ?? 0) > 0) {
    refuse('no properties.topicAliasMaximum', properties?.topicAliasMaximum);
  }
  if (reconnectPeriod === 0) refuse('a reconnectPeriod above 0', reconnectPeriod);
  return client;
}

function expect(what: string, value: unknown, is: boolean): void {
  if (is) return;
  throw new MoultError('MOULT_BAD_OPTION', `mqttSession: expected ${what}, received ${String(value)}`);
}
