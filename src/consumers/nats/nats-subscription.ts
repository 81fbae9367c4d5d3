import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import { MoultError } from '../../errors.js';
import type { Consumer, ConsumerStart, ConsumerStop } from '../../tasks/consumer.js';
import { ConsumerErrors, type OnError } from '../consumer-errors.js';
import type { Handling } from '../handling.js';
import { InHand } from '../in-hand.js';
import { withTimeout } from '../with-timeout.js';
import { type NatsMessage, packed, unpacked } from './nats-envelope.js';
import { type ConnectionSource, NatsLink } from './nats-link.js';

/** How messages of core NATS are taken and handled. */
export interface NatsSubscriptionOptions {
  /**
   * A function that connects, and whose connection is drained and closed at the end; or a connection of the
   * service's own, which is left open.
   */
  readonly connection: ConnectionSource;
  /** What to subscribe to; may have wildcards. */
  readonly subject: string;
  /**
   * The queue group. It is what gives each message to one generation while two are subscribed; several instances of
   * a service that shall each have all messages need a name each.
   */
  readonly queue: string;
  /** Handles one message. Core NATS does not deliver it again when this throws. */
  handle(message: NatsMessage, handling: Handling): unknown;
  /** The most messages handled at once; from 1 on, default 1. */
  readonly concurrency?: number;
  /** The subject by which a generation hands on what it has no time for; default `_moult.<queue>`. */
  readonly handOnSubject?: string;
  /**
   * Learns of handlers that threw, with their message, of messages that nobody took, and of a lost connection; default:
   * a warning of the process.
   */
  readonly onError?: OnError<NatsMessage>;
}

const ANSWER_WITHIN_MS = 5000;
/** How long the group may take to accept a message that is handed on. */
const TAKEN_WITHIN_MS = 1000;
const RETRY_AFTER_MS = 500;

/**
 * Subscribes to core NATS, which keeps no messages: what comes while nobody is subscribed is gone. So it changes over
 * by overlap only: `service.consumer(name, natsSubscription(…), { changeover: 'overlap' })`. The predecessor
 * drains its subscription and handles what it was given; what it has not finished at the deadline goes to the
 * group once more.
 * @throws MOULT_BAD_OPTION without a queue group; from `start` where the changeover is 'exclusive'.
 *   MOULT_BROKER_UNREACHABLE from `prepare` and the first `start` when the server does not answer within 5 s.
 */
export function natsSubscription(options: NatsSubscriptionOptions): Consumer {
  return new NatsSubscription(options);
}

interface SubscribedRun {
  readonly connection: NatsConnection;
  readonly subscriptions: readonly Subscription[];
}

class NatsSubscription implements Consumer {
  readonly #options: NatsSubscriptionOptions;
  readonly #errors: ConsumerErrors<NatsMessage>;
  readonly #link: NatsLink;
  readonly #handOnSubject: string;
  #hasStopped = false;
  #inHand: InHand<NatsMessage> | undefined;
  #run: SubscribedRun | undefined;

  constructor(options: NatsSubscriptionOptions) {
    const { queue, concurrency = 1, handOnSubject = `_moult.${queue}` } = options;
    expect('queue to be the name of a queue group', queue, typeof queue === 'string' && queue !== '');
    expect(
      'concurrency to be a whole number from 1 on',
      concurrency,
      concurrency > 0 && concurrency % 1 === 0,
    );
    this.#options = options;
    this.#errors = new ConsumerErrors('natsSubscription', options.onError);
    this.#handOnSubject = handOnSubject;
    this.#link = new NatsLink(options.connection);
  }

  async prepare(): Promise<void> {
    const connection = await withTimeout(this.#link.open(), ANSWER_WITHIN_MS, 'NATS');
    await withTimeout(connection.flush(), ANSWER_WITHIN_MS, 'NATS');
  }

  async start({ epoch, changeover }: ConsumerStart): Promise<void> {
    expect("changeover 'overlap', since core NATS keeps no messages", changeover, changeover !== 'exclusive');
    const inHand = new InHand<NatsMessage>(this.#options.concurrency ?? 1, (message, signal) =>
      this.#handle(message, { signal, epoch }),
    );
    if (this.#hasStopped) await this.#resume(inHand);
    else await this.#begin(inHand);
  }

  async stop({ signal }: ConsumerStop): Promise<void> {
    this.#hasStopped = true;
    const [inHand, run] = [this.#inHand, this.#run];
    this.#inHand = undefined;
    this.#run = undefined;
    if (inHand === undefined || run === undefined) return;
    await this.#leave(run);
    await inHand.settled(signal);
    if (inHand.size === 0) return;
    inHand.hold();
    inHand.abort(new Error('the time to finish is over'));
    await new Promise((resolve) => setImmediate(resolve));
    const left = [...inHand.giveRunning(new Error('the time to finish is over')), ...inHand.giveWaiting()];
    await Promise.all(left.map((message) => this.#handOn(run.connection, message)));
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  async #begin(inHand: InHand<NatsMessage>): Promise<void> {
    await this.prepare();
    this.#inHand = inHand;
    const run = this.#subscribe(inHand, await this.#link.open());
    try {
      await withTimeout(run.connection.flush(), ANSWER_WITHIN_MS, 'NATS');
    } catch (error) {
      this.#inHand = undefined;
      for (const subscription of run.subscriptions) subscription.unsubscribe();
      throw error;
    }
  }

  /**
   * The successor leaves when this is over: by then the server has to know of the subscription. A predecessor that
   * resumes is the last that can: while the server is away it goes on trying.
   */
  async #resume(inHand: InHand<NatsMessage>): Promise<void> {
    this.#inHand = inHand;
    const subscribed = this.#persist(inHand).then(() => this.#run?.connection.flush());
    await withTimeout(subscribed, ANSWER_WITHIN_MS, 'NATS').catch((error) => this.#errors.tell(error));
  }

  async #persist(inHand: InHand<NatsMessage>): Promise<void> {
    while (inHand === this.#inHand) {
      try {
        const connection = await this.#link.open();
        // It may have been stopped meanwhile.
        if (inHand === this.#inHand) this.#subscribe(inHand, connection);
        return;
      } catch (error) {
        this.#errors.tell(error);
        await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS));
      }
    }
  }

  #subscribe(inHand: InHand<NatsMessage>, connection: NatsConnection): SubscribedRun {
    const { subject, queue } = this.#options;
    const subscriptions = [
      connection.subscribe(subject, {
        queue,
        callback: (error, message) => this.#take(inHand, error, message),
      }),
      connection.subscribe(this.#handOnSubject, {
        queue,
        callback: (error, message) => this.#takeOn(inHand, connection, error, message),
      }),
    ];
    this.#run = { connection, subscriptions };
    void connection.closed().then(() => this.#lost(inHand));
    return this.#run;
  }

  /** The client has given up for good, as its own settings say; a consumer has not. */
  #lost(inHand: InHand<NatsMessage>): void {
    if (inHand !== this.#inHand) return;
    this.#errors.tell(new Error('the connection was closed'));
    void this.#persist(inHand);
  }

  async #leave({ connection, subscriptions }: SubscribedRun): Promise<void> {
    if (connection.isClosed()) return;
    const drained = Promise.all(subscriptions.map((subscription) => subscription.drain()));
    // A server that does not answer sends nothing more either. What lies here unread is read before.
    await withTimeout(drained, TAKEN_WITHIN_MS, 'NATS').catch(async (error) => {
      await new Promise((resolve) => setImmediate(resolve));
      if (connection.isClosed() || subscriptions.every((subscription) => subscription.isClosed())) return;
      for (const subscription of subscriptions) subscription.unsubscribe();
      this.#errors.tell(error);
    });
  }

  #take(inHand: InHand<NatsMessage>, error: Error | null, message: Msg): void {
    if (error !== null) this.#errors.tell(error);
    else inHand.take(message);
  }

  #takeOn(inHand: InHand<NatsMessage>, connection: NatsConnection, error: Error | null, message: Msg): void {
    if (error !== null) {
      this.#errors.tell(error);
      return;
    }
    inHand.take(unpacked(message.data, connection));
    message.respond();
  }

  async #handOn(connection: NatsConnection, message: NatsMessage): Promise<void> {
    try {
      await connection.request(this.#handOnSubject, packed(message), { timeout: TAKEN_WITHIN_MS });
    } catch (cause) {
      this.#errors.tell(
        new Error(`a message of ${message.subject} was not finished, and no other subscriber took it`, {
          cause,
        }),
        message,
      );
    }
  }

  async #handle(message: NatsMessage, handling: Handling): Promise<void> {
    try {
      await this.#options.handle(message, handling);
    } catch (error) {
      this.#errors.tell(error, message);
    }
  }
}

function expect(what: string, value: unknown, is: boolean): void {
  if (is) return;
  throw new MoultError('MOULT_BAD_OPTION', `natsSubscription: expected ${what}, received ${String(value)}`);
}
