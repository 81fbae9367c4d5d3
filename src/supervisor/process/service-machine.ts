import type { Logger } from 'pino';
import type { ServiceAction, ServiceEvent, ServiceState } from '../../lifecycle/service-events.js';
import { serviceStep } from '../../lifecycle/service-states.js';

/** Who serves in one slot: runs the table of `lifecycle/service-states.ts`. */
export class ServiceMachine {
  #state: ServiceState = 'empty';
  readonly #log: Pick<Logger, 'warn'>;

  constructor(log: Pick<Logger, 'warn'>) {
    this.#log = log;
  }

  get state(): ServiceState {
    return this.#state;
  }

  /** Whether it is in one of these states. */
  is(...states: readonly ServiceState[]): boolean {
    return states.includes(this.#state);
  }

  /** Whether it is not this supervisor's affair any more who serves: it stops, has stopped, or another one has the service. */
  get isOver(): boolean {
    return this.is('leaving', 'stopping', 'stopped');
  }

  /**
   * Something has happened. What cannot happen in this state is told, and a service is not ended for it: one that nobody serves
   * is started again.
   * @returns what is to be done.
   */
  on(event: ServiceEvent): ServiceAction | undefined {
    const { to, action, isExpected } = serviceStep(this.#state, event);
    if (!isExpected)
      this.#log.warn(`unexpected while the service is ${this.#state}: ${event}; this is a bug in moult`);
    this.#state = to;
    return action;
  }
}
