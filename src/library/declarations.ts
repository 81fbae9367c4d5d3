import { Cron } from 'croner';
import { MoultError } from '../errors.js';
import { MapEntry, type MapOptions } from '../state/map-entry.js';
import type { StateEntries } from '../state/state-entries.js';
import { StateMap } from '../state/state-map.js';
import { type StateOptions, ValueEntry } from '../state/value-entry.js';
import type { Consumer, ConsumerOptions } from '../tasks/consumer.js';
import { ConsumerRunner } from '../tasks/runners/consumer-runner.js';
import { type Job, type Jobs, type JobsOptions, JobsRunner } from '../tasks/runners/jobs-runner.js';
import { type ScheduleOptions, ScheduleRunner, type TickContext } from '../tasks/runners/schedule-runner.js';
import { type TaskContext, type TaskOptions, TaskRunner } from '../tasks/runners/task-runner.js';
import { type TimerContext, type Timers, TimersRunner } from '../tasks/runners/timers-runner.js';
import type { Tasks } from '../tasks/tasks.js';

/** Options of a task with a cron pattern. */
export interface CronOptions extends ScheduleOptions {
  /** The time zone of the pattern, such as `Europe/Berlin`; default: that of the process. */
  readonly timezone?: string;
}

/** What a service has besides connections, and declares: state and tasks. */
export class Declarations {
  readonly #pieces: StateEntries;
  readonly #tasks: Tasks;

  constructor(pieces: StateEntries, tasks: Tasks) {
    this.#pieces = pieces;
    this.#tasks = tasks;
  }

  state<T>(name: string, options: StateOptions<T>): void {
    checkVersions(name, options);
    this.#pieces.declare(new ValueEntry(name, options));
  }

  map<K, V>(name: string, options: MapOptions<K, V>): StateMap<K, V> {
    checkVersions(name, options);
    const map = new StateMap<K, V>();
    this.#pieces.declare(new MapEntry(name, map, options));
    return map;
  }

  task(name: string, run: (context: TaskContext) => unknown, options: TaskOptions): void {
    this.#tasks.declare(new TaskRunner(name, run, options));
  }

  cron(
    name: string,
    pattern: string,
    run: (context: TickContext) => unknown,
    { timezone, ...options }: CronOptions,
  ): void {
    const cron = patternOf(name, pattern, timezone);
    const next = (afterMs: number) => cron.nextRun(new Date(afterMs))?.getTime();
    this.#tasks.declare(new ScheduleRunner(name, next, run, options));
  }

  every(
    name: string,
    intervalMs: number,
    run: (context: TickContext) => unknown,
    options: ScheduleOptions,
  ): void {
    if (!Number.isFinite(intervalMs) || intervalMs < 1) {
      const told = `every ${name}: expected at least 1 millisecond, received ${String(intervalMs)}`;
      throw new MoultError('MOULT_BAD_OPTION', told);
    }
    this.#tasks.declare(new ScheduleRunner(name, (afterMs) => afterMs + intervalMs, run, options));
  }

  timers<T>(name: string, run: (id: string, data: T, context: TimerContext) => unknown): Timers<T> {
    const timers = new TimersRunner(name, run);
    this.#tasks.declare(timers);
    this.#pieces.declare(timers.piece);
    return timers;
  }

  jobs<T>(name: string, run: (job: Job<T>) => unknown, options: JobsOptions): Jobs<T> {
    const jobs = new JobsRunner(name, run, options);
    this.#tasks.declare(jobs);
    this.#pieces.declare(jobs.piece);
    return jobs;
  }

  consumer(name: string, consumer: Consumer, options: ConsumerOptions): void {
    this.#tasks.declare(new ConsumerRunner(name, consumer, options));
  }

  /** Prepares what tasks need before they may begin. */
  prepare(): Promise<void> {
    return this.#tasks.prepare();
  }
}

function patternOf(name: string, pattern: string, timezone: string | undefined): Cron {
  try {
    return new Cron(pattern, { paused: true, ...(timezone === undefined ? {} : { timezone }) });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MoultError('MOULT_BAD_OPTION', `cron ${name}: ${why}`, { cause });
  }
}

function checkVersions(name: string, options: { version?: number; oldestVersion?: number }): void {
  const version = options.version ?? 1;
  const oldest = options.oldestVersion ?? version;
  const areWhole = [version, oldest].every((each) => Number.isSafeInteger(each) && each >= 0);
  if (areWhole && oldest <= version) return;
  const told = `state ${name}: expected whole numbers from 0 on, oldestVersion at most version, received ${oldest} and ${version}`;
  throw new MoultError('MOULT_BAD_OPTION', told);
}
