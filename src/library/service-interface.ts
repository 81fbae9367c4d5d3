import type { EventEmitter } from 'node:events';
import type { ListenOptions, Server } from 'node:net';
import type { RestartSummary, StageEvent } from '../lifecycle/restart-record.js';
import type { LifeEvents } from '../service/life-events.js';
import type { MapOptions } from '../state/map-entry.js';
import type { StateMap } from '../state/state-map.js';
import type { StateOptions } from '../state/value-entry.js';
import type { Consumer, ConsumerOptions } from '../tasks/consumer.js';
import type { Job, Jobs, JobsOptions } from '../tasks/runners/jobs-runner.js';
import type { ScheduleOptions, TickContext } from '../tasks/runners/schedule-runner.js';
import type { TaskContext, TaskOptions } from '../tasks/runners/task-runner.js';
import type { TimerContext, Timers } from '../tasks/runners/timers-runner.js';
import type { Broadcast } from './broadcast.js';
import type { CronOptions } from './declarations.js';

/** What happens in the life of a service's generation, in the order in which it may happen; each with its arguments. */
export interface ServiceEvents extends LifeEvents {
  /** A stage of a restart that this process began itself was reached. Never under `moult run`. */
  stage: [StageEvent];
}

/**
 * - `supervised`: started by `moult run`
 * - `standalone`: without a supervisor; it starts its successors itself
 * - `plain`: moult does nothing here; {@link Service.reason} says why
 */
export type ServiceMode = 'supervised' | 'standalone' | 'plain';

/** This process as one generation of a service. Made by {@link openService}; its events are {@link ServiceEvents}. */
export interface Service extends EventEmitter<ServiceEvents> {
  /** Who starts the next generation, and whether anybody does. */
  readonly mode: ServiceMode;

  /** Why moult does nothing here, for the mode `plain`; else undefined. */
  readonly reason: string | undefined;

  /** The number of this generation, from 1; 1 in the mode `plain`. */
  readonly generation: number;

  /** Whether this generation accepts. */
  readonly isServing: boolean;

  /** Aborts when this generation will never accept again: time to stop taking up work. What runs may be finished. */
  readonly signal: AbortSignal;

  /**
   * Has a server listen, as its own `listen()` would, which does just as well once the service is open.
   * @returns when it is bound, or has claimed the predecessor's socket. It accepts when this generation serves.
   * @throws what the server emits as its error, such as EADDRINUSE.
   */
  listen(server: Server, port: number, host?: string, backlog?: number): Promise<void>;
  /** As above, at the path of a Unix socket. */
  listen(server: Server, path: string, backlog?: number): Promise<void>;
  /** As above, with the options of `net.Server.listen()`. */
  listen(server: Server, options: ListenOptions): Promise<void>;

  /**
   * A descriptor that is the same open file in every generation: a log, a lock, a pipe. The first generation opens
   * it; each one after gets the predecessor's, even after a crash under `moult run`.
   * @param name 1 to 500 characters, the same in every generation.
   * @param open called where there is none yet.
   * @returns the descriptor, close-on-exec; it is the service's to close.
   * @throws MOULT_BAD_OPTION for a name that cannot be used; what `open` throws.
   */
  file(name: string, open: () => number): number;

  /**
   * Has this checked before the service is ready; one that throws or rejects keeps this generation from taking over.
   * @returns the service. All checks run at once, at {@link Service.ready}.
   */
  check(work: () => unknown): this;

  /**
   * Declares a piece of state that is given whole: counters, sessions, a small cache. The successor restores it before
   * it is ready, so that one that cannot read it never takes over; once more when it takes over; and it goes back when
   * a handover is undone.
   * @param name 1 to 256 characters, the same in every release.
   * @returns the service. Declare it before {@link Service.ready}.
   * @throws MOULT_BAD_OPTION
   */
  state<T>(name: string, options: StateOptions<T>): this;

  /**
   * A map that changes hands entry by entry, however large: it is copied while its service goes on, and at the
   * handover only what has changed since.
   * @param name 1 to 256 characters, the same in every release.
   * @returns an empty one, which has the predecessor's entries when {@link Service.ready} has settled.
   * @throws MOULT_BAD_OPTION
   */
  map<K, V>(name: string, options?: MapOptions<K, V>): StateMap<K, V>;

  /**
   * Declares a task that runs in one generation at a time: from when this one serves until its successor does.
   * @param name 1 to 256 characters, the same in every release.
   * @param run is called once a generation. What it throws is told as a warning, and it is not called again by itself.
   * @returns the service.
   * @throws MOULT_BAD_OPTION
   */
  task(name: string, run: (context: TaskContext) => unknown, options?: TaskOptions): this;

  /**
   * Declares a periodic task: each tick is run by one generation, also one that falls into a handover. A run in
   * progress is finished where it began.
   * @param pattern as cron has them, with seconds if there are six fields.
   * @returns the service.
   * @throws MOULT_BAD_OPTION
   */
  cron(name: string, pattern: string, run: (context: TickContext) => unknown, options?: CronOptions): this;

  /** As {@link Service.cron}, each so many milliseconds from the first start on. */
  every(
    name: string,
    intervalMs: number,
    run: (context: TickContext) => unknown,
    options?: ScheduleOptions,
  ): this;

  /**
   * Timers that keep their due time over restarts.
   * @param run is called when one is due, by the generation that has them then.
   * @throws MOULT_BAD_OPTION
   */
  timers<T>(name: string, run: (id: string, data: T, context: TimerContext) => unknown): Timers<T>;

  /**
   * Jobs that are each to be done once: finished where they began, or carried on by the successor.
   * @param run does one. What it throws is told as a warning.
   * @throws MOULT_BAD_OPTION
   */
  jobs<T>(name: string, run: (job: Job<T>) => unknown, options?: JobsOptions): Jobs<T>;

  /**
   * Opens a channel between all processes of this service: the generations of a restart, for as long as both have
   * anything, and those of other slots. Each message is dealt with once in each of them, those of one sender in the
   * order in which it sent them; in this process before `send` returns. For messages to WebSockets, which may be on their
   * way from one process to the other, there is `broadcastTo` of `moult/ws`.
   * @param name 1 to 256 characters, the same in every release.
   * @param receive deals with a message: anything that `structuredClone` takes. What it throws is told as a warning.
   * @throws MOULT_BAD_OPTION for a name that cannot be used, or is used already.
   */
  broadcast<T>(name: string, receive: (message: T) => void): Broadcast<T>;

  /**
   * Declares what pulls work from a queue, topic or stream; it is started when this generation serves, and stopped
   * when its successor does. Ready-made ones are in `moult/bullmq`, `moult/amqplib` and others.
   * @param name 1 to 256 characters, the same in every release.
   * @returns the service.
   * @throws MOULT_BAD_OPTION
   */
  consumer(name: string, consumer: Consumer, options?: ConsumerOptions): this;

  /**
   * Says that the service is ready: its listeners are there and it can answer. Needed once in every generation.
   * @returns when this generation accepts.
   * @throws MOULT_CHECK_FAILED; MOULT_TASK_FAILED where a consumer cannot begin; MOULT_STATE_FAILED; what called the handover off, such as MOULT_READY_TIMEOUT: the predecessor serves then,
   *   and this process is asked to end.
   */
  ready(): Promise<void>;

  /**
   * Replaces this generation by a new one. One that is asked for during another follows it.
   * @returns when the successor has taken over and all that can move has moved.
   * @throws any code of a handover, and then this generation serves on; MOULT_NOT_SERVING when it does not serve
   *   itself; MOULT_UNSUPPORTED_PLATFORM in the mode `plain`.
   */
  restart(): Promise<RestartSummary>;

  /**
   * Runs work during which no successor takes over. A restart waits for it, up to its limit, and is called off then.
   * @returns what the work returns.
   * @throws what the work throws.
   */
  critical<T>(work: () => T | Promise<T>): Promise<T>;

  /**
   * Has this done when nothing is left to do, before the process gets its stop signal: close databases, flush logs.
   * @returns the service. All of it runs at once, after the event `end`; what throws or rejects is left aside.
   */
  beforeEnd(work: () => unknown): this;

  /**
   * Ends the service without a successor: the listeners close, what it has is finished, up to the drain time-out.
   * Under `moult run` its supervisor takes that for the service's own end; ask it by `moult stop` instead.
   */
  stop(): void;
}
