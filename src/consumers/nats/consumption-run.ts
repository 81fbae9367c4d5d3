import type { ConsumerConfig, ConsumerMessages, JsMsg, Consumer as PullConsumer } from '@nats-io/jetstream';
import type { NatsConnection, Subscription } from '@nats-io/transport-node';
import type { Handling } from '../handling.js';
import { InHand } from '../in-hand.js';
import { pauseUntilAborted, untilAborted } from '../until-aborted.js';

/** A consumer of JetStream, and the connection that it speaks through. */
export interface Attached {
  readonly connection: NatsConnection;
  readonly consumer: PullConsumer;
}

interface Terms {
  readonly config: ConsumerConfig;
  readonly epoch: number;
  readonly concurrency: number;
  readonly prefetch: number;
  readonly retryAfterMs: number;
  /** The consumer, on a new connection where the last one was closed. */
  attach(): Promise<Attached>;
  handle(message: JsMsg, handling: Handling): unknown;
  tellError(error: unknown, message?: JsMsg): void;
}

const NAK = new TextEncoder().encode('-NAK');
/** How long a request to the server waits for messages: the shortest that the client allows. */
const REQUEST_MS = 1000;
/** How long after that the server may take to say that the request is over; a server that is slow is still there. */
const LATE_MS = 10_000;
/** The same where a generation stops: most likely the server is away. */
const LATE_AT_STOP_MS = 4000;
/** How long the server may take to answer when its answer only makes the changeover quicker or tidier. */
const ANSWER_WITHIN_MS = 1000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;
/** As much is fetched as is handled in this time, so that the end of a run need not wait for more. */
const AHEAD_MS = 200;
/** The weight of the last message in the average. */
const NEWEST = 0.2;

/**
 * The time from one start to the next stop: what was fetched, what is being handled, and how all of it is
 * settled.
 */
export class ConsumptionRun {
  readonly #terms: Terms;
  readonly #ending = new AbortController();
  /** Fetched and not settled, in the order of their delivery. */
  readonly #inHand: InHand<JsMsg>;
  /** Not to be settled by their handlers any more: the deadline has come. */
  readonly #takenBack = new Set<JsMsg>();
  readonly #settling = new Map<JsMsg, Promise<unknown>>();
  #attached: Attached | undefined;
  #fetch: ConsumerMessages | undefined;
  #reading: Promise<void> = Promise.resolve();
  #stillWorking: NodeJS.Timeout | undefined;
  /** How long one message takes to be handled, of late. */
  #averageMs = AHEAD_MS;

  constructor(terms: Terms) {
    this.#terms = terms;
    this.#inHand = new InHand(terms.concurrency, (message, signal) => this.#handle(message, signal));
  }

  begin(): void {
    this.#stillWorking = setInterval(() => this.#keep(), keepEveryMs(this.#terms.config));
    this.#reading = this.#read();
  }

  /**
   * Nothing is in hand, and the server knows it, when this settles; at the signal what is left is given back.
   */
  async end(signal: AbortSignal): Promise<void> {
    this.#ending.abort();
    this.#inHand.wake();
    await this.#leave(signal);
    await this.#inHand.settled(signal);
    if (this.#inHand.size > 0) await this.#takeBack();
    await untilAborted(signal, Promise.allSettled(this.#settling.values()));
    // What a handler has acknowledged by itself is on its way too.
    if (!signal.aborted) await untilAborted(AbortSignal.timeout(ANSWER_WITHIN_MS), this.#flush());
    clearInterval(this.#stillWorking);
  }

  /** One fetch at a time, so that messages come in their order; each asks for as much as there is room. */
  async #read(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.#isEnding) {
      try {
        await this.#room();
        if (this.#isEnding) return;
        this.#attached = await this.#terms.attach();
        if (this.#isEnding) return;
        const request = { max_messages: Math.max(1, this.#free()), expires: REQUEST_MS };
        this.#fetch = await this.#attached.consumer.fetch(request);
        for await (const message of patient(this.#fetch)) {
          pauseMs = FIRST_PAUSE_MS;
          this.#inHand.take(message);
        }
      } catch (error) {
        if (this.#isEnding) return;
        this.#terms.tellError(error);
        await pauseUntilAborted(pauseMs, this.#ending.signal);
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      } finally {
        this.#fetch = undefined;
      }
    }
  }

  /** Waits until half of the room is free: single messages are not worth a request each. */
  async #room(): Promise<void> {
    while (!this.#isEnding && this.#free() < Math.ceil(this.#capacity / 2)) {
      await this.#inHand.changed;
    }
  }

  #free(): number {
    return this.#capacity - this.#inHand.size;
  }

  get #capacity(): number {
    const { concurrency, prefetch } = this.#terms;
    return Math.min(prefetch, concurrency * Math.max(1, Math.floor(AHEAD_MS / this.#averageMs)));
  }

  async #handle(message: JsMsg, signal: AbortSignal): Promise<void> {
    const { epoch, handle, retryAfterMs, tellError } = this.#terms;
    const beganAtMs = performance.now();
    try {
      await handle(message, { signal, epoch });
      if (!this.#takenBack.has(message)) this.#settle(message, message.ackAck());
    } catch (error) {
      tellError(error, message);
      if (!this.#takenBack.has(message)) message.nak(retryAfterMs);
    }
    this.#averageMs += NEWEST * (performance.now() - beganAtMs - this.#averageMs);
  }

  #settle(message: JsMsg, settled: Promise<unknown>): void {
    const over = settled.then(
      () => this.#settling.delete(message),
      (error) => {
        this.#settling.delete(message);
        this.#terms.tellError(error);
      },
    );
    this.#settling.set(message, over);
  }

  /** Tells the server that what lies here has not been forgotten, so that it is not delivered once more. */
  #keep(): void {
    for (const message of this.#inHand.all) message.working();
  }

  /**
   * Waits until the last request is over, with all that the server has sent for it. Whoever unsubscribes earlier has
   * the server send a message to nobody: it counts as delivered once, which is one too many where `max_deliver` is 1.
   * Before release 2.10.14 nats-server may then also deliver the message before it twice.
   * Source: https://github.com/nats-io/nats-server/pull/5305
   */
  async #leave(signal: AbortSignal): Promise<void> {
    const late = AbortSignal.timeout(REQUEST_MS + LATE_AT_STOP_MS);
    await untilAborted(AbortSignal.any([signal, late]), this.#reading);
    // The deadline has come, or the server is away.
    if (this.#fetch !== undefined) await leaveFetch(this.#fetch);
    await this.#reading;
  }

  /**
   * At the deadline: handlers are told, and those that do not settle at once have their messages taken from
   * them.
   */
  async #takeBack(): Promise<void> {
    const reason = new Error('the message is returned to the queue: this generation stops consuming');
    this.#inHand.hold();
    this.#inHand.abort(reason);
    await new Promise((resolve) => setImmediate(resolve));
    const messages = this.#inHand.giveAll(reason);
    for (const message of messages) this.#takenBack.add(message);
    // nats-server 2.9 loses a message that is given back while a request is on its list that nobody waits for
    // any more, until its time to be acknowledged is over. Telling of the consumer, it clears the list.
    await this.#attached?.consumer.info().catch((error) => this.#terms.tellError(error));
    await this.#giveBack(messages);
  }

  /** Settles when the server has noted all, so that the successor gets them before any newer one. */
  async #giveBack(messages: readonly JsMsg[]): Promise<void> {
    const noted = await Promise.allSettled(messages.map((message) => this.#nak(message)));
    for (const result of noted) {
      // They come back by themselves when their time to be acknowledged is over.
      if (result.status === 'rejected') this.#terms.tellError(result.reason);
    }
  }

  /** The client's own `nak()` does not ask the server for an answer. */
  async #nak(message: JsMsg): Promise<void> {
    const { reply, didAck } = message as { reply?: string; didAck?: boolean };
    if (didAck === true) return;
    if (reply === undefined) message.nak();
    else await this.#attached?.connection.request(reply, NAK, { timeout: ANSWER_WITHIN_MS });
  }

  async #flush(): Promise<void> {
    if (this.#attached?.connection.isClosed() === false) await this.#attached.connection.flush();
  }

  get #isEnding(): boolean {
    return this.#ending.signal.aborted;
  }
}

/**
 * The messages of one request. The client itself would unsubscribe after a second without a word of the server, which
 * may just be slow.
 */
async function* patient(messages: ConsumerMessages): AsyncGenerator<JsMsg> {
  (messages as { clearTimers?(): void }).clearTimers?.();
  const late = setTimeout(() => void leaveFetch(messages), REQUEST_MS + LATE_MS);
  try {
    yield* messages;
  } finally {
    clearTimeout(late);
  }
}

/**
 * Takes what is on its way and no more. `stop()` of the client would throw away what the server has sent already,
 * and nobody would get it before its time to be acknowledged is over; its subscription can be drained.
 */
async function leaveFetch(messages: ConsumerMessages): Promise<void> {
  const { sub } = messages as { sub?: Subscription };
  if (typeof sub?.drain === 'function')
    await untilAborted(AbortSignal.timeout(ANSWER_WITHIN_MS), sub.drain());
  else messages.stop();
  // The server is away, and sends nothing.
  if (sub?.isClosed() === false) messages.stop();
}

/** A third of the shortest time after which the server would deliver once more. */
function keepEveryMs({ ack_wait = 30_000_000_000, backoff = [] }: Partial<ConsumerConfig>): number {
  const shortestMs = Math.min(ack_wait, ...backoff) / 1_000_000;
  return Math.max(10, Math.min(shortestMs / 3, 60_000));
}
