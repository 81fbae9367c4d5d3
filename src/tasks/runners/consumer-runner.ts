import { MoultError } from '../../errors.js';
import type { Consumer, ConsumerOptions } from '../consumer.js';
import type { Runner, TaskDeparture } from './runner.js';

/** How long a consumer may take to stop, where the service does not say. */
const STOP_WITHIN_MS = 10_000;

/** Runs a consumer. */
export class ConsumerRunner implements Runner {
  readonly name: string;
  readonly overlaps: boolean;
  readonly endWithinMs: number;
  readonly #consumer: Consumer;

  /** @throws MOULT_BAD_OPTION for what cannot be started and stopped. */
  constructor(name: string, consumer: Consumer, options: ConsumerOptions) {
    for (const method of ['start', 'stop'] as const) {
      const found = typeof (consumer as Partial<Consumer> | undefined)?.[method];
      if (found === 'function') continue;
      const what = `consumer ${name}: expected an object with the methods start and stop, and its ${method} is ${found}`;
      throw new MoultError('MOULT_BAD_OPTION', what);
    }
    this.name = name;
    this.overlaps = options.changeover === 'overlap';
    this.endWithinMs = options.stopWithinMs ?? STOP_WITHIN_MS;
    this.#consumer = consumer;
  }

  prepare(): unknown {
    return this.#consumer.prepare?.();
  }

  begin(epoch: number, saved: unknown): unknown {
    return this.#consumer.start({ epoch, saved, changeover: this.#changeover });
  }

  // It has begun already, and what the former owner gives is for those that have not.
  receive(): void {}

  end({ limit, withinMs }: TaskDeparture): unknown {
    return this.#consumer.stop({ signal: limit, withinMs, changeover: this.#changeover });
  }

  finish(): void {}

  get #changeover(): 'exclusive' | 'overlap' {
    return this.overlaps ? 'overlap' : 'exclusive';
  }

  close(): unknown {
    return this.#consumer.close?.();
  }
}
