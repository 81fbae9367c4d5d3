import type { ConsumerConfig, JsMsg, Consumer as PullConsumer } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { MoultError } from '../../errors.js';
import type { Consumer, ConsumerStart, ConsumerStop } from '../../tasks/consumer.js';
import { ConsumerErrors, type OnError } from '../consumer-errors.js';
import type { Handling } from '../handling.js';
import { withTimeout } from '../with-timeout.js';
import { type Attached, ConsumptionRun } from './consumption-run.js';
import { type ConnectionSource, NatsLink } from './nats-link.js';

const ANSWER_WITHIN_MS = 5000;

/** How messages of a JetStream consumer are taken and handled. */
export interface JetStreamOptions {
  /**
   * A function that connects, and whose connection is drained and closed at the end; or a connection of the
   * service's own, which is left open.
   */
  readonly connection: ConnectionSource;
  /** Looks up a durable pull consumer with explicit acknowledgement. */
  consumer(connection: NatsConnection): Promise<PullConsumer>;
  /**
   * Handles one message. When it returns, or its promise fulfils, the message is acknowledged, unless the handler did
   * so itself; when it throws, the message is delivered again after `retryAfterMs`.
   */
  handle(message: JsMsg, handling: Handling): unknown;
  /** The most messages handled at once; from 1 on, default 1, which keeps their order. */
  readonly concurrency?: number;
  /**
   * The most messages taken from the stream at once, those being handled among them; default 16, and at least
   * `concurrency`. While handling takes long it is fewer: as many as 200 ms suffice for.
   */
  readonly prefetch?: number;
  /** Milliseconds until a message whose handler threw is delivered again; default 1,000. */
  readonly retryAfterMs?: number;
  /**
   * Learns of handlers that threw, with their message, and of calls to the server that failed; default: a warning of
   * the process.
   */
  readonly onError?: OnError<JsMsg>;
}

/**
 * Consumes a durable pull consumer of JetStream. At a changeover what was fetched is handled, and its acknowledgement
 * confirmed by the server; what is not finished at the deadline is given back, and goes to the successor at
 * once. Both ways of changing over are fit: several generations may pull from one durable.
 * @throws MOULT_BAD_OPTION when a number is out of its range; `prepare` throws it for a consumer that is not durable
 *   or does not ask for explicit acknowledgement. MOULT_BROKER_UNREACHABLE from `prepare` and the first `start` when
 *   no connection is made within 5 s; what the client throws when the stream or the consumer is not there.
 */
export function jetStream(options: JetStreamOptions): Consumer {
  return new JetStreamConsumer(options);
}

class JetStreamConsumer implements Consumer {
  readonly #options: JetStreamOptions;
  readonly #errors: ConsumerErrors<JsMsg>;
  readonly #link: NatsLink;
  readonly #limits: { concurrency: number; prefetch: number; retryAfterMs: number };
  #attached: Attached | undefined;
  #config: ConsumerConfig | undefined;
  #run: ConsumptionRun | undefined;
  #hasStopped = false;

  constructor(options: JetStreamOptions) {
    const { concurrency = 1, prefetch = Math.max(16, concurrency), retryAfterMs = 1000 } = options;
    expectAtLeast('concurrency', concurrency, 1);
    expectAtLeast('prefetch', prefetch, concurrency);
    expectAtLeast('retryAfterMs', retryAfterMs, 0);
    this.#options = options;
    this.#errors = new ConsumerErrors('jetStream', options.onError);
    this.#limits = { concurrency, prefetch, retryAfterMs };
    this.#link = new NatsLink(options.connection);
  }

  async prepare(): Promise<void> {
    await withTimeout(this.#link.open(), ANSWER_WITHIN_MS, 'NATS');
    const { consumer } = await this.#attach();
    const { config } = await consumer.info();
    if (config.durable_name === undefined || config.ack_policy !== 'explicit') {
      throw new MoultError(
        'MOULT_BAD_OPTION',
        `jetStream: expected a durable consumer with explicit acknowledgement, received ${
          config.durable_name === undefined
            ? 'one that is not durable'
            : `acknowledgement '${config.ack_policy}'`
        }`,
      );
    }
    this.#config = config;
  }

  async start({ epoch }: ConsumerStart): Promise<void> {
    // A predecessor that resumes is the last that can: while the server is away it goes on trying.
    if (!this.#hasStopped) await this.prepare();
    this.#run = new ConsumptionRun({
      attach: () => this.#attach(),
      config: this.#config as ConsumerConfig,
      epoch,
      handle: (message, handling) => this.#options.handle(message, handling),
      tellError: (error, message) => this.#errors.tell(error, message),
      ...this.#limits,
    });
    this.#run.begin();
  }

  async stop({ signal }: ConsumerStop): Promise<void> {
    const run = this.#run;
    this.#run = undefined;
    this.#hasStopped = true;
    await run?.end(signal);
  }

  /** The consumer on the connection that is open, which may be another than before. */
  async #attach(): Promise<Attached> {
    const connection = await this.#link.open();
    if (this.#attached?.connection !== connection) {
      this.#attached = { connection, consumer: await this.#options.consumer(connection) };
    }
    return this.#attached;
  }

  async close(): Promise<void> {
    await this.#link.close();
  }
}

function expectAtLeast(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new MoultError(
    'MOULT_BAD_OPTION',
    `jetStream: expected ${name} to be a whole number from ${least} on, received ${value}`,
  );
}
