import { EventEmitter } from 'node:events';
import type { Server } from 'node:net';
import { MoultError } from '../errors.js';
import type { MapOptions } from '../state/map-entry.js';
import type { StateMap } from '../state/state-map.js';
import type { StateOptions } from '../state/value-entry.js';
import type { Consumer, ConsumerOptions } from '../tasks/consumer.js';
import type { Job, Jobs, JobsOptions } from '../tasks/runners/jobs-runner.js';
import type { ScheduleOptions, TickContext } from '../tasks/runners/schedule-runner.js';
import type { TaskContext, TaskOptions } from '../tasks/runners/task-runner.js';
import type { TimerContext, Timers } from '../tasks/runners/timers-runner.js';
import type { CronOptions, Declarations } from './declarations.js';
import type { ServiceEvents } from './service-interface.js';

/** What the real service and its stand-in in tests share: declaring, and the checks before `ready()`. */
export abstract class DeclaringService extends EventEmitter<ServiceEvents> {
  protected abstract readonly declarations: Declarations;
  #checks: (() => unknown)[] = [];
  #hasSaidReady = false;

  listen(server: Server, ...args: unknown[]): Promise<void> {
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', () => {
        server.off('error', reject);
        resolve();
      });
      (server.listen as (...all: unknown[]) => unknown).apply(server, args);
    });
  }

  check(work: () => unknown): this {
    this.#checks.push(work);
    return this;
  }

  state<T>(name: string, options: StateOptions<T>): this {
    this.#assertNotReady(`state ${name}`);
    this.declarations.state(name, options);
    return this;
  }

  map<K, V>(name: string, options: MapOptions<K, V> = {}): StateMap<K, V> {
    this.#assertNotReady(`map ${name}`);
    return this.declarations.map(name, options);
  }

  task(name: string, run: (context: TaskContext) => unknown, options: TaskOptions = {}): this {
    this.declarations.task(name, run, options);
    return this;
  }

  cron(
    name: string,
    pattern: string,
    run: (context: TickContext) => unknown,
    options: CronOptions = {},
  ): this {
    this.declarations.cron(name, pattern, run, options);
    return this;
  }

  every(
    name: string,
    intervalMs: number,
    run: (context: TickContext) => unknown,
    options: ScheduleOptions = {},
  ): this {
    this.declarations.every(name, intervalMs, run, options);
    return this;
  }

  timers<T>(name: string, run: (id: string, data: T, context: TimerContext) => unknown): Timers<T> {
    return this.declarations.timers(name, run);
  }

  jobs<T>(name: string, run: (job: Job<T>) => unknown, options: JobsOptions = {}): Jobs<T> {
    return this.declarations.jobs(name, run, options);
  }

  consumer(name: string, consumer: Consumer, options: ConsumerOptions = {}): this {
    this.declarations.consumer(name, consumer, options);
    return this;
  }

  /**
   * Runs the service's checks, then takes its state.
   * @throws what failed, as a MoultError.
   */
  protected async makeChecks(takeState: () => Promise<void> | undefined): Promise<void> {
    this.#hasSaidReady = true;
    try {
      await Promise.all([this.declarations.prepare(), ...this.#checks.map(async (check) => check())]);
      await takeState();
    } catch (cause) {
      if (cause instanceof MoultError) throw cause;
      const message = `the service's own check failed: ${cause instanceof Error ? cause.message : String(cause)}`;
      throw new MoultError('MOULT_CHECK_FAILED', message, { cause });
    }
  }

  // The predecessor was asked for its part before.
  #assertNotReady(what: string): void {
    if (!this.#hasSaidReady) return;
    const why =
      'expected before ready(), received after it, when the predecessor has already handed over its part';
    throw new MoultError('MOULT_BAD_OPTION', `${what}: ${why}`);
  }
}
