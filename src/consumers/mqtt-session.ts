import type { IClientOptions, IConnackPacket, IPublishPacket, ISubscriptionMap, MqttClient } from 'mqtt';
import { HandledMessages, Released } from './mqtt-handled.js';
import { pauseUntilAborted, untilAborted } from './until-aborted.js';

/**
 * What moult sets of a connection; to be given to the client last: `connect(url, { ...own, ...session })`.
 */
export type MqttSessionOptions = Pick<
  IClientOptions,
  'clean' | 'incomingStore' | 'resubscribe' | 'clientId' | 'will' | 'reconnectPeriod'
>;

/** What a successor must know of the session that it resumes. */
export interface MqttLegacy {
  /** Of the owner that left it. It is good for the next one only: after that the session may have changed. */
  readonly epoch: number;
  readonly clientId: string;
  /** The filters that the session is subscribed to. */
  readonly topics: readonly string[];
  /** Identifiers of messages of QoS 2 that were handled and are to be released. */
  readonly handled: readonly number[];
}

interface Terms {
  connect(session: MqttSessionOptions): MqttClient;
  readonly topics: ISubscriptionMap;
  readonly epoch: number;
  readonly legacy: MqttLegacy | undefined;
  readonly retryAfterMs: number;
  handle(message: IPublishPacket, signal: AbortSignal): unknown;
  tellError(error: unknown, message?: IPublishPacket): void;
}

type HandleMessage = MqttClient['handleMessage'];

/** The reason code from which on a broker has refused a subscription. */
const REFUSED = 128;
const CLOSED_WITHIN_MS = 2000;
const LONGEST_PING_MS = 20_000;

/** One generation's time in the session: its client, and the message that it handles. */
export class MqttSession {
  /** Settles when the broker has resumed or begun the session, with all its subscriptions. */
  readonly begun: Promise<void>;
  readonly #terms: Terms;
  readonly #client: MqttClient;
  readonly #handled: HandledMessages;
  readonly #abort = new AbortController();
  readonly #stopping = new AbortController();
  #inHand: { identifier: number | undefined; over: Promise<boolean> } | undefined;
  #wanting: 'all' | 'changes' | 'nothing' = 'changes';
  /** Of requests that the broker has not answered. */
  readonly #requests = new Set<number>();
  #began = () => {};

  constructor(terms: Terms) {
    this.#terms = terms;
    const { legacy } = terms;
    this.#handled = new HandledMessages(legacy?.handled ?? [], (packet) => this.#take(packet));
    const client = terms.connect({ clean: false, resubscribe: false, incomingStore: this.#handled });
    this.#client = client;
    if (legacy !== undefined && legacy.clientId !== client.options.clientId) this.#isAnother(legacy);
    client.handleMessage = ((packet: IPublishPacket, done: () => void) => {
      if (packet instanceof Released) done();
      else void this.#take(packet).then(() => done());
    }) as HandleMessage;
    client.on('error', (error) => this.#terms.tellError(error));
    client.on('packetreceive', (packet) => {
      // Before anything that the broker sends in its session is looked at.
      if (packet.cmd === 'connack' && !packet.sessionPresent) this.#handled.forget();
    });
    this.begun = this.#begin();
  }

  /** Handles no more, acknowledges what was handled, and leaves the session to who resumes it. */
  async end(signal: AbortSignal): Promise<MqttLegacy> {
    this.#stopping.abort();
    await untilAborted(signal, this.#inHand?.over ?? Promise.resolve());
    this.#abort.abort();
    await new Promise((resolve) => setImmediate(resolve));
    this.#inHand = undefined;
    await this.#disconnect();
    return {
      epoch: this.#terms.epoch,
      clientId: this.#client.options.clientId as string,
      topics: Object.keys(this.#terms.topics),
      handled: this.#handled.identifiers,
    };
  }

  /** Ends without a word: nothing was begun. */
  async abandon(): Promise<void> {
    this.#stopping.abort();
    this.#abort.abort();
    await this.#disconnect();
  }

  async #begin(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#began = resolve;
      this.#client.on('connect', (packet) => void this.#connected(packet).then(resolve, reject));
      this.#client.once('close', () => reject(new Error('the connection was closed')));
      this.#client.once('error', reject);
    });
  }

  async #connected({ sessionPresent }: IConnackPacket): Promise<void> {
    if (!sessionPresent) this.#wanting = 'all';
    try {
      if (this.#wanting === 'all') await this.#subscribe(Object.keys(this.#terms.topics));
      else if (this.#wanting === 'changes') await this.#amend();
      this.#wanting = 'nothing';
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#terms.tellError(error);
      throw error;
    }
  }

  /**
   * The session is subscribed already. What is subscribed to once more, the broker's retained messages come
   * once more.
   */
  async #amend(): Promise<void> {
    const { topics, legacy } = this.#terms;
    const isKnown = legacy !== undefined && legacy.clientId === this.#client.options.clientId;
    const known = isKnown ? legacy.topics : [];
    await this.#subscribe(Object.keys(topics).filter((topic) => !known.includes(topic)));
    const dropped = known.filter((topic) => !Object.hasOwn(topics, topic));
    if (dropped.length > 0) await this.#answer(this.#client.unsubscribeAsync(dropped));
  }

  async #subscribe(filters: readonly string[]): Promise<void> {
    if (filters.length === 0) return;
    const { topics } = this.#terms;
    // For MQTT 5: retained messages only where the session was not subscribed before.
    const wanted = Object.fromEntries(filters.map((topic) => [topic, { rh: 1, ...topics[topic] }]));
    const granted = await this.#answer(this.#client.subscribeAsync(wanted as ISubscriptionMap));
    const refused = granted.filter(({ qos }) => qos >= REFUSED).map(({ topic }) => topic);
    if (refused.length > 0) throw new Error(`the broker refused to subscribe to ${refused.join(', ')}`);
  }

  /**
   * The client would wait for the answer before it disconnects, and it may lie behind messages that are not
   * handled any more.
   */
  async #answer<T>(answer: Promise<T>): Promise<T> {
    const request = this.#client.getLastMessageId();
    this.#requests.add(request);
    try {
      return await answer;
    } finally {
      this.#requests.delete(request);
    }
  }

  /** Settles when the message may be acknowledged; never, when it must not be. */
  async #take(packet: IPublishPacket): Promise<void> {
    const { stream } = this.#client;
    // The answer to a subscription comes after the messages that waited in the session.
    this.#began();
    if (!(await this.#isDone(packet)) || stream !== this.#client.stream || !this.#client.connected) {
      await new Promise(() => {});
    }
  }

  /**
   * Handles the message; but one that the broker sends again after the connection was lost, while its handler
   * is still at work, is not begun a second time.
   */
  #isDone(packet: IPublishPacket): Promise<boolean> {
    const identifier = packet.qos > 0 ? packet.messageId : undefined;
    if (this.#inHand !== undefined && packet.dup && this.#inHand.identifier === identifier) {
      return this.#inHand.over;
    }
    if (this.#stopping.signal.aborted) return Promise.resolve(false);
    const before = this.#inHand?.over ?? Promise.resolve(true);
    const inHand = { identifier, over: before.then(() => this.#handle(packet)) };
    this.#inHand = inHand;
    void inHand.over.then(() => {
      if (this.#inHand === inHand) this.#inHand = undefined;
    });
    return inHand.over;
  }

  async #handle(packet: IPublishPacket): Promise<boolean> {
    const ping = setInterval(() => this.#ping(), this.#pingEveryMs);
    this.#abort.signal.addEventListener('abort', () => clearInterval(ping));
    try {
      while (!this.#stopping.signal.aborted) {
        try {
          await this.#terms.handle(packet, this.#abort.signal);
          return !this.#abort.signal.aborted;
        } catch (error) {
          this.#terms.tellError(error, packet);
          await pauseUntilAborted(this.#terms.retryAfterMs, this.#stopping.signal);
        }
      }
      return false;
    } finally {
      clearInterval(ping);
    }
  }

  get #pingEveryMs(): number {
    return Math.min(((this.#client.options.keepalive ?? 60) * 1000) / 3, LONGEST_PING_MS) || LONGEST_PING_MS;
  }

  /** The client reads no answers while a message is being handled, and would take the broker for dead. */
  #ping(): void {
    if (!this.#client.connected) return;
    this.#client.sendPing();
    this.#client.reschedulePing(true);
  }

  /**
   * DISCONNECT, and then the broker's end of the connection: it has read all that was sent before, and the
   * session is free.
   */
  async #disconnect(): Promise<void> {
    const client = this.#client;
    client.removeAllListeners('connect');
    if (!client.connected) {
      await untilAborted(AbortSignal.timeout(CLOSED_WITHIN_MS), client.endAsync(true));
      return;
    }
    const { stream } = client;
    const closed = new Promise((resolve) => stream.once('close', resolve));
    for (const request of this.#requests) client.removeOutgoingMessage(request);
    client.end(false);
    // What has arrived and was not handled stays with the broker; it must be read away for the end to be seen.
    stream.unpipe();
    stream.resume();
    await untilAborted(AbortSignal.timeout(CLOSED_WITHIN_MS), closed);
    stream.destroy();
  }

  #isAnother({ clientId }: MqttLegacy): void {
    this.#terms.tellError(
      new Error(
        `the broker keeps a session of ${clientId} with its messages, which this release does not resume`,
      ),
    );
  }
}
