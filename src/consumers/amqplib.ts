/**
 * Hands consumers of RabbitMQ over at a restart. Imports only types of `amqplib`.
 *
 * @module moult/amqplib
 */

/*
 * Over 300 lines: what a stop, a lost channel and a return do to the messages in hand is decided on the same fields.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Channel, ChannelModel, ConsumeMessage, Options } from 'amqplib';
import { MoultError } from '../errors.js';
import type { Consumer, ConsumerStart, ConsumerStop } from '../tasks/consumer.js';
import { ConsumerErrors, type OnError } from './consumer-errors.js';
import { InHand } from './in-hand.js';
import { settledSoonAfter, unreachable, withTimeout } from './with-timeout.js';

/** The context of a message. */
export interface AmqpDelivery {
  /**
   * Aborts when the message is given up, at the deadline of a stop or when its connection is lost. The broker
   * delivers it again.
   */
  readonly signal: AbortSignal;
  /** Grows with every change of owner; see `ConsumerStart`. */
  readonly epoch: number;
}

/** A queue, and how to handle its messages. */
export interface AmqpOptions {
  /**
   * Opens a separate connection for the consumer: `() => connect('amqp://localhost')`. Called again if it is
   * lost while this generation consumes.
   */
  connect(): PromiseLike<ChannelModel>;
  /** The name of the queue. It must exist after `setup`. */
  readonly queue: string;
  /** Called with each new channel, to declare and bind. */
  setup?(channel: Channel): unknown;
  /**
   * Handles one message. The message is acknowledged when this returns or its promise fulfils. If it throws,
   * `onError` is called, and `onThrow` decides what happens to the message.
   */
  handle(message: ConsumeMessage, delivery: AmqpDelivery): unknown;
  /**
   * What happens to a message if `handle` throws.
   * - `requeue` (default): it returns to its place in the queue at once; a message that always fails is
   *   delivered forever.
   * - `dead-letter`: it goes to the dead-letter exchange of the queue, or is dropped if there is none.
   */
  readonly onThrow?: 'requeue' | 'dead-letter';
  /** How many messages are handled at the same time; default 1, which keeps their order. */
  readonly concurrency?: number;
  /**
   * How many messages the broker sends ahead, including those in progress; default 10, or `concurrency` if
   * that is larger.
   */
  readonly prefetch?: number;
  /** Further options of `channel.consume()`. */
  readonly consume?: Omit<Options.Consume, 'noAck'>;
  /** How long the broker may take to answer, in milliseconds; default 5,000. */
  readonly connectWithinMs?: number;
  /**
   * Called when a handler throws, with its message, and when a connection is lost or cannot be reopened yet;
   * default: a process warning.
   */
  readonly onError?: OnError<ConsumeMessage>;
}

/**
 * A consumer of a RabbitMQ queue, for `service.consumer()`. When it stops, the broker sends no more, messages
 * in progress are finished and acknowledged, and all others return to their place in the queue.
 * @throws MOULT_BAD_OPTION; MOULT_BROKER_UNREACHABLE in `prepare()` and the first `start()`, also if the
 *   queue does not exist; MOULT_NOT_SETTLED in `stop()`.
 */
export function amqp(options: AmqpOptions): Consumer {
  return new AmqpConsumer(options);
}

const CONNECT_WITHIN_MS = 5000;
const PREFETCH = 10;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 30_000;
const BACK_AGAIN_MS = 2;

/** What is consumed through one channel, from its start to its end. */
interface ConsumeRun {
  readonly channel: Channel;
  readonly inHand: InHand<ConsumeMessage>;
  consumerTag: string;
  isOver: boolean;
}

class AmqpConsumer implements Consumer {
  readonly #options: AmqpOptions;
  readonly #concurrency: number;
  readonly #prefetch: number;
  readonly #withinMs: number;
  readonly #name: string;
  #connection: ChannelModel | undefined;
  /** Set up, and not consumed from yet. */
  #channel: Channel | undefined;
  #run: ConsumeRun | undefined;
  #epoch = 0;
  /** Aborts when this generation stops consuming. */
  #wanted: AbortController | undefined;
  #comingBack: Promise<void> | undefined;
  /** Consumers that have ended: what comes for them goes back at once. */
  #cancelled = new Set<string>();
  #hasConsumed = false;
  readonly #errors: ConsumerErrors<ConsumeMessage>;

  constructor(options: AmqpOptions) {
    this.#options = options;
    this.#concurrency = wholeNumber('concurrency', options.concurrency ?? 1);
    this.#prefetch = wholeNumber('prefetch', options.prefetch ?? Math.max(PREFETCH, this.#concurrency));
    this.#withinMs = options.connectWithinMs ?? CONNECT_WITHIN_MS;
    this.#name = `the queue ${options.queue} of RabbitMQ`;
    this.#errors = new ConsumerErrors(this.#name, options.onError);
  }

  async prepare(): Promise<void> {
    await this.#open();
  }

  async start({ epoch }: ConsumerStart): Promise<void> {
    this.#epoch = epoch;
    this.#wanted = new AbortController();
    try {
      await this.#consume();
    } catch (error) {
      // The one that goes on after an undo tries again instead: it is the last that can.
      if (this.#hasConsumed) return this.#comeBack(error);
      this.#wanted.abort();
      this.#wanted = undefined;
      throw error;
    }
  }

  async stop({ signal, changeover }: ConsumerStop): Promise<void> {
    this.#wanted?.abort();
    this.#wanted = undefined;
    await this.#comingBack;
    const run = this.#run;
    if (run === undefined) return;
    run.inHand.hold();
    try {
      await settledSoonAfter(signal, this.#leave(run, signal, changeover === 'exclusive'), this.#name);
    } finally {
      this.#run = undefined;
      run.isOver = true;
      run.inHand.giveRunning(
        new Error('the message is returned to the queue: this generation stops consuming'),
      );
    }
  }

  async close(): Promise<void> {
    this.#wanted?.abort();
    await this.#comingBack;
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) return;
    await withTimeout(connection.close(), this.#withinMs, this.#name).catch(() => {});
  }

  /** Opens what is not open yet. @throws MOULT_BROKER_UNREACHABLE */
  async #open(): Promise<Channel> {
    if (this.#channel !== undefined) return this.#channel;
    const connection = this.#connection ?? (await this.#connect());
    try {
      this.#channel = await withTimeout(this.#openChannel(connection), this.#withinMs, this.#name);
    } catch (error) {
      this.#discard();
      throw error;
    }
    return this.#channel;
  }

  /** Closes the connection, whatever it is good for. */
  #discard(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#channel = undefined;
    connection?.close().catch(() => {});
  }

  async #connect(): Promise<ChannelModel> {
    const opening = Promise.resolve(this.#options.connect());
    this.#cancelled.clear();
    const connection = await withTimeout(opening, this.#withinMs, this.#name).catch((error) => {
      opening.then(
        (late) => late.close(),
        () => {},
      );
      throw error;
    });
    this.#connection = connection;
    let cause: unknown = new Error('the connection was closed');
    connection.on('error', (error) => {
      cause = error;
    });
    connection.on('close', () => this.#lost(connection, cause));
    return connection;
  }

  async #openChannel(connection: ChannelModel): Promise<Channel> {
    const channel = await connection.createChannel();
    let cause: unknown = new Error('the channel was closed');
    channel.on('error', (error) => {
      cause = error;
    });
    channel.on('close', () => this.#lost(channel, cause));
    // amqplib knows no consumer for what was on its way when it was cancelled, and would close the channel for it.
    channel.on('handler-error', () => {});
    channel.prependListener('delivery', (message: ConsumeMessage) => {
      if (this.#cancelled.has(message.fields.consumerTag)) channel.nack(message);
    });
    await this.#options.setup?.(channel);
    await channel.checkQueue(this.#options.queue);
    await channel.prefetch(this.#prefetch);
    return channel;
  }

  /** @throws MOULT_BROKER_UNREACHABLE */
  async #consume(): Promise<void> {
    const channel = await this.#open();
    this.#channel = undefined;
    const run: ConsumeRun = {
      channel,
      inHand: new InHand(this.#concurrency, (message, signal) => this.#deal(run, message, signal)),
      consumerTag: '',
      isOver: false,
    };
    this.#run = run;
    const taken = (message: ConsumeMessage | null) => {
      if (message === null) this.#lost(channel, new Error('the broker canceled the consumer'));
      else if (!run.isOver && !this.#cancelled.has(message.fields.consumerTag)) run.inHand.take(message);
    };
    this.#cancelled.delete(this.#options.consume?.consumerTag ?? '');
    const consuming = channel.consume(this.#options.queue, taken, { ...this.#options.consume, noAck: false });
    try {
      run.consumerTag = (await withTimeout(consuming, this.#withinMs, this.#name)).consumerTag;
    } catch (error) {
      run.isOver = true;
      this.#discard();
      throw error;
    }
    if (run.isOver) throw unreachable(this.#name, new Error('the connection was lost at once'));
    this.#hasConsumed = true;
  }

  async #deal(run: ConsumeRun, message: ConsumeMessage, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.handle(message, { signal, epoch: this.#epoch });
    } catch (error) {
      if (signal.aborted || run.isOver) return;
      this.#settle(() => run.channel.nack(message, false, this.#options.onThrow !== 'dead-letter'));
      this.#errors.tell(error, message);
      return;
    }
    if (!signal.aborted && !run.isOver) this.#settle(() => run.channel.ack(message));
  }

  /** A connection that is being closed takes no answer: the broker delivers the message again. */
  #settle(answer: () => void): void {
    try {
      answer();
    } catch (error) {
      this.#errors.tell(error);
    }
  }

  /**
   * Settles everything. The channel stays open: a quorum queue applies what it is told later than it answers,
   * and would forget what it has not applied when the channel is closed.
   */
  async #leave(run: ConsumeRun, signal: AbortSignal, isExclusive: boolean): Promise<void> {
    const { channel, inHand, consumerTag } = run;
    try {
      await channel.cancel(consumerTag);
      this.#cancelled.add(consumerTag);
      await inHand.settled(signal);
      const { messageCount } = await channel.checkQueue(this.#options.queue);
      const left = inHand.giveAll(
        new Error('the message is returned to the queue: this generation stops consuming'),
      );
      if (left.length > 0) channel.nackAll(true);
      await this.#isBack(channel, isExclusive ? messageCount + left.length : 0, signal);
      this.#channel = channel;
    } catch {
      // The channel has been lost, and what was in hand is back in the queue. What runs may finish all the same.
      await inHand.settled(signal);
    }
  }

  /** Waits until so many messages are ready: else the successor would get those behind them first. */
  async #isBack(channel: Channel, count: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { messageCount } = await channel.checkQueue(this.#options.queue);
      if (messageCount >= count || signal.aborted) return;
      await pause(BACK_AGAIN_MS);
    }
  }

  #lost(what: ChannelModel | Channel, cause: unknown): void {
    const run = this.#run;
    if (what === this.#connection) this.#connection = undefined;
    if (what === this.#channel || this.#connection === undefined) this.#channel = undefined;
    if (run === undefined || run.isOver) return;
    if (what !== run.channel && this.#connection !== undefined) return;
    run.isOver = true;
    run.inHand.hold();
    run.inHand.giveWaiting();
    run.inHand.abort(
      new Error('the connection to the broker was lost: the broker delivers the message again'),
    );
    if (this.#wanted !== undefined) this.#comeBack(cause);
  }

  /** Consumes again as soon as it can, unless it is stopped before. */
  #comeBack(cause: unknown): void {
    const signal = this.#wanted?.signal;
    if (signal === undefined || this.#comingBack !== undefined) return;
    this.#errors.tell(disconnected(cause));
    this.#comingBack = this.#tryAgain(signal).finally(() => {
      this.#comingBack = undefined;
    });
  }

  async #tryAgain(signal: AbortSignal): Promise<void> {
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      await pause(waitMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
      // What comes again is not dealt with beside its former self.
      await this.#run?.inHand.settled(signal);
      if (signal.aborted) return;
      try {
        return await this.#consume();
      } catch (error) {
        this.#errors.tell(disconnected(error));
      }
    }
  }
}

function disconnected(cause: unknown): Error {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new Error(`disconnected: ${text}`, { cause });
}

function wholeNumber(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= 65_535) return value;
  throw new MoultError(
    'MOULT_BAD_OPTION',
    `amqp: expected ${name} to be a whole number from 1 to 65535, received ${value}`,
  );
}
