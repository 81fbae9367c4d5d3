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

/** The events of a generation, in the order in which they may occur, with their arguments. */
export interface ServiceEvents extends LifeEvents {
  /** A restart that this process started itself has reached a stage. Never emitted under `moult run`. */
  stage: [StageEvent];
}

/**
 * - `supervised`: started by `moult run`
 * - `standalone`: started without a supervisor; it starts its successors itself
 * - `plain`: moult does nothing here; {@link Service.reason} says why
 */
export type ServiceMode = 'supervised' | 'standalone' | 'plain';

/**
 * This process as one generation of a service, returned by {@link openService}. Its events are {@link
 * ServiceEvents}.
 */
export interface Service extends EventEmitter<ServiceEvents> {
  /** Who starts the next generation, if anyone. */
  readonly mode: ServiceMode;

  /** Why moult does nothing here, in the mode `plain`; otherwise undefined. */
  readonly reason: string | undefined;

  /** The number of this generation, counted from 1; always 1 in the mode `plain`. */
  readonly generation: number;

  /** Whether this generation accepts. */
  readonly isServing: boolean;

  /** Aborts when this generation will never accept again. Stop taking new work then; work in progress may finish. */
  readonly signal: AbortSignal;

  /**
   * Makes a server listen, like its own `listen()`, which works as well once the service is open.
   * @returns when the server is bound, or has claimed the predecessor's socket. It accepts once this
   *   generation serves.
   * @throws the error that the server emits, such as EADDRINUSE.
   */
  listen(server: Server, port: number, host?: string, backlog?: number): Promise<void>;
  /** Like above, on the path of a Unix socket. */
  listen(server: Server, path: string, backlog?: number): Promise<void>;
  /** Like above, with the options of `net.Server.listen()`. */
  listen(server: Server, options: ListenOptions): Promise<void>;

  /**
   * A descriptor of the same open file in every generation: a log, a lock, a pipe. The first generation opens
   * it; each later one gets that of its predecessor, under `moult run` even after a crash.
   * @param name 1 to 500 characters, the same in every generation.
   * @param open called if there is none yet.
   * @returns the descriptor, close-on-exec. The service must close it.
   * @throws MOULT_BAD_OPTION for an invalid name; whatever `open` throws.
   */
  file(name: string, open: () => number): number;

  /**
   * Adds a check that runs before the service is ready. If it throws or rejects, this generation does not take over.
   * @returns the service. All checks run at the same time, in {@link Service.ready}.
   */
  check(work: () => unknown): this;

  /**
   * Declares a piece of state that is handed over as a whole: counters, sessions, a small cache. The
   * successor restores it before it is ready, so a successor that cannot read it never takes over, and again
   * when it takes over. If a handover is undone, the predecessor gets it back.
   * @param name 1 to 256 characters, the same in every release.
   * @returns the service. Call this before {@link Service.ready}.
   * @throws MOULT_BAD_OPTION
   */
  state<T>(name: string, options: StateOptions<T>): this;

  /**
   * A map of any size that is handed over entry by entry: moult copies it while the service runs, and at the
   * handover sends only later changes.
   * @param name 1 to 256 characters, the same in every release.
   * @returns an empty map, which has the predecessor's entries once {@link Service.ready} has settled.
   * @throws MOULT_BAD_OPTION
   */
  map<K, V>(name: string, options?: MapOptions<K, V>): StateMap<K, V>;

  /**
   * Declares a task that runs in one generation at a time: it starts when this generation serves, and ends
   * before the successor's starts.
   * @param name 1 to 256 characters, the same in every release.
   * @param run called once per generation. If it throws, moult emits a warning and does not call it again.
   * @returns the service.
   * @throws MOULT_BAD_OPTION
   */
  task(name: string, run: (context: TaskContext) => unknown, options?: TaskOptions): this;

  /**
   * Declares a scheduled task. One generation runs each tick, also a tick during a handover. A run in
   * progress finishes where it started.
   * @param pattern a cron pattern; six fields include seconds.
   * @returns the service.
   * @throws MOULT_BAD_OPTION
   */
  cron(name: string, pattern: string, run: (context: TickContext) => unknown, options?: CronOptions): this;

  /** Like {@link Service.cron}, with a tick every `intervalMs` milliseconds, counted from the first start. */
  every(
    name: string,
    intervalMs: number,
    run: (context: TickContext) => unknown,
    options?: ScheduleOptions,
  ): this;

  /**
   * Timers that keep their due time across restarts.
   * @param run called when a timer is due, in the generation that has the timers then.
   * @throws MOULT_BAD_OPTION
   */
  timers<T>(name: string, run: (id: string, data: T, context: TimerContext) => unknown): Timers<T>;

  /**
   * Jobs that must each be done once: they finish where they started, or continue in the successor.
   * @param run does one job. If it throws, moult emits a warning.
   * @throws MOULT_BAD_OPTION
   */
  jobs<T>(name: string, run: (job: Job<T>) => unknown, options?: JobsOptions): Jobs<T>;

  /**
   * Opens a channel between all processes of this service: both generations during a restart, and those of
   * other slots. Each process receives each message once, and the messages of one sender in order; this
   * process receives it before `send` returns. For messages to WebSockets, which may be moving between
   * processes, use `broadcastTo` of `moult/ws`.
   * @param name 1 to 256 characters, the same in every release.
   * @param receive handles a message: anything that `structuredClone` accepts. If it throws, moult emits a
   *   warning.
   * @throws MOULT_BAD_OPTION for a name that is invalid or already in use.
   */
  broadcast<T>(name: string, receive: (message: T) => void): Broadcast<T>;

  /**
   * Declares a consumer that pulls work from a queue, topic or stream. It starts when this generation serves,
   * and stops when the successor does. Ready-made consumers are in `moult/bullmq`, `moult/amqplib` and
   * others.
   * @param name 1 to 256 characters, the same in every release.
   * @returns the service.
   * @throws MOULT_BAD_OPTION
   */
  consumer(name: string, consumer: Consumer, options?: ConsumerOptions): this;

  /**
   * Reports that the service is ready: it listens and can answer. Call it once in every generation.
   * @returns when this generation accepts.
   * @throws MOULT_CHECK_FAILED; MOULT_TASK_FAILED if a consumer cannot start; MOULT_STATE_FAILED; the reason
   *   why the handover was canceled, such as MOULT_READY_TIMEOUT. The predecessor then serves, and this
   *   process is asked to exit.
   */
  ready(): Promise<void>;

  /**
   * Replaces this generation with a new one. If a restart is in progress, this one follows it.
   * @returns when the successor has taken over and every connection at rest has moved.
   * @throws any code of a handover, after which this generation keeps serving; MOULT_NOT_SERVING if it does
   *   not serve; MOULT_UNSUPPORTED_PLATFORM in the mode `plain`.
   */
  restart(): Promise<RestartSummary>;

  /**
   * Runs a critical section, during which no successor takes over. A restart waits for it up to a limit, and
   * is canceled after that.
   * @returns what `work` returns.
   * @throws what `work` throws.
   */
  critical<T>(work: () => T | Promise<T>): Promise<T>;

  /**
   * Adds work to do when the generation has drained, before the process gets its stop signal: close
   * databases, flush logs.
   * @returns the service. All of it runs at the same time, after the event `end`; moult ignores what throws
   *   or rejects.
   */
  beforeEnd(work: () => unknown): this;

  /**
   * Stops the service without a successor: the listeners close, and requests and connections finish within
   * the drain time-out. Under `moult run`, the supervisor treats this as the service exiting by itself; use
   * `moult stop` instead.
   */
  stop(): void;
}
