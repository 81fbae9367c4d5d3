import { EventEmitter } from 'node:events';
import type { Server } from 'node:net';
import { asMoultError, MoultError } from '../errors.js';
import type { RestartSummary, StageEvent } from '../lifecycle/restart-record.js';
import type { Generation } from '../service/generation.js';
import type { LifeEvents } from '../service/life-events.js';
import { alone, bridge, hooks } from './entry.js';
import { type ServiceOptions, signals, standaloneOptions } from './options.js';

/** What happens in the life of a service's generation, in the order in which it may happen. */
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

/** A listener's name may be longer by what marks it as a file. */
const MAX_FILE_NAME = 500;

/** This process as one generation of a service. */
export class Service extends EventEmitter<ServiceEvents> {
  readonly mode: ServiceMode;
  /** Why moult does nothing here, for the mode `plain`; else undefined. */
  readonly reason: string | undefined;
  readonly #generation: Generation | undefined;
  readonly #end = new AbortController();
  readonly #stopOn: readonly NodeJS.Signals[];
  readonly #drainTimeoutMs: number;
  #checks: (() => unknown)[] = [];
  #aborted: MoultError | undefined;

  /** Called by {@link openService}. */
  constructor(options: ServiceOptions) {
    super();
    const wanted = standaloneOptions(options);
    const opened = open(wanted, options.standalone !== false, (event) => this.emit('stage', event));
    this.mode = opened.mode;
    this.reason = opened.reason;
    this.#generation = opened.generation;
    this.#drainTimeoutMs = wanted.drainTimeoutMs;
    const restartOn = signals('restartOn', options.restartOn, this.mode === 'standalone' ? ['SIGHUP'] : []);
    this.#stopOn = signals('stopOn', options.stopOn, ['SIGTERM', 'SIGINT']);
    this.#follow();
    if (this.#generation === undefined) return;
    for (const name of restartOn) process.on(name, () => this.#restartBySignal(name));
    if (this.mode === 'standalone') for (const name of this.#stopOn) process.on(name, this.#stopBySignal);
  }

  /** The number of this generation, from 1; 1 in the mode `plain`. */
  get generation(): number {
    return this.#generation?.number ?? 1;
  }

  /** Whether this generation accepts. */
  get isServing(): boolean {
    return this.#generation?.isServing ?? !this.signal.aborted;
  }

  /** Aborts when this generation will never accept again: time to stop taking up work. What runs may be finished. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /**
   * Has a server listen, as its own `listen()` would, which does just as well once the service is open.
   * @returns when it is bound, or has claimed the predecessor's socket. It accepts when this generation serves.
   * @throws what the server emits as its error, such as EADDRINUSE.
   */
  listen(server: Server, ...args: Parameters<Server['listen']> | unknown[]): Promise<void> {
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', () => {
        server.off('error', reject);
        resolve();
      });
      (server.listen as (...all: unknown[]) => unknown).apply(server, args);
    });
  }

  /**
   * A descriptor that is the same open file in every generation: a log, a lock, a pipe. The first generation opens
   * it; each one after gets the predecessor's, even after a crash under `moult run`.
   * @param name 1 to 500 characters, the same in every generation.
   * @param open called where there is none yet. @returns the descriptor, close-on-exec; it is the service's to close.
   * @throws MOULT_BAD_OPTION for a name that cannot be used; what `open` throws.
   */
  file(name: string, open: () => number): number {
    if (name.length === 0 || name.length > MAX_FILE_NAME) {
      const what = `expected a name of 1 to ${MAX_FILE_NAME} characters, received ${name.length}`;
      throw new MoultError('MOULT_BAD_OPTION', `file: ${what}`);
    }
    return this.#generation === undefined ? open() : this.#generation.listeners.file(name, open);
  }

  /** Has this checked before the service is ready; one that throws or rejects keeps this generation from taking over. */
  check(work: () => unknown): this {
    this.#checks.push(work);
    return this;
  }

  /**
   * Says that the service is ready: its listeners are there and it can answer. Needed once in every generation.
   * @returns when this generation accepts.
   * @throws MOULT_CHECK_FAILED; what called the handover off, such as MOULT_READY_TIMEOUT: the predecessor serves then,
   *   and this process is asked to end.
   */
  async ready(): Promise<void> {
    await this.#makeChecks();
    const generation = this.#generation;
    if (generation === undefined) {
      this.emit('serve', { resumed: false });
      return;
    }
    generation.said();
    if (generation.isServing) return;
    if (this.#aborted !== undefined) throw this.#aborted;
    await new Promise<void>((resolve, reject) => {
      generation.life.once('serve', () => resolve());
      generation.life.once('aborted', reject);
    });
  }

  /**
   * Replaces this generation by a new one. One that is asked for during another follows it.
   * @returns when the successor has taken over and all that can move has moved.
   * @throws any code of a handover, and then this generation serves on; MOULT_NOT_SERVING when it does not serve
   *   itself; MOULT_UNSUPPORTED_PLATFORM in the mode `plain`.
   */
  restart(): Promise<RestartSummary> {
    if (this.#generation !== undefined) return this.#generation.overseer.restart();
    const why = `this service cannot restart itself: ${this.reason}`;
    return Promise.reject(new MoultError('MOULT_UNSUPPORTED_PLATFORM', why));
  }

  /**
   * Runs work during which no successor takes over. A restart waits for it, up to its limit, and is called off then.
   * @returns what the work returns. @throws what it throws.
   */
  async critical<T>(work: () => T | Promise<T>): Promise<T> {
    const leave = this.#generation?.critical.enter();
    try {
      return await work();
    } finally {
      leave?.();
    }
  }

  /** Has this done when nothing is left to do, before the process gets its stop signal: close databases, flush logs. */
  beforeEnd(work: () => unknown): this {
    this.#generation?.beforeEnd(work);
    return this;
  }

  /**
   * Ends the service without a successor: the listeners close, what it has is finished, up to the drain time-out.
   * Under `moult run` its supervisor takes that for the service's own end; ask it by `moult stop` instead.
   */
  stop(): void {
    if (this.#generation === undefined) this.#end.abort();
    else this.#generation.retire(this.#drainTimeoutMs);
  }

  #follow(): void {
    const life = this.#generation?.life;
    if (life === undefined) return;
    life.on('serve', (how) => this.emit('serve', how));
    life.on('yield', (to) => this.emit('yield', to));
    life.on('failed', (error) => this.emit('failed', error));
    life.on('drain', () => {
      this.#end.abort();
      this.emit('drain');
    });
    life.on('aborted', (error) => {
      this.#aborted = error;
      this.emit('aborted', error);
    });
    life.on('end', (report) => {
      // The stop signal that follows is for the service's own handlers, or ends the process.
      for (const name of this.#stopOn) process.off(name, this.#stopBySignal);
      this.emit('end', report);
    });
  }

  async #makeChecks(): Promise<void> {
    try {
      await Promise.all(this.#checks.map(async (check) => check()));
    } catch (cause) {
      const message = `the service's own check failed: ${cause instanceof Error ? cause.message : String(cause)}`;
      const error = new MoultError('MOULT_CHECK_FAILED', message, { cause });
      this.#generation?.refuse(error);
      throw error;
    }
  }

  #restartBySignal(name: NodeJS.Signals): void {
    this.#generation?.overseer.restartBySignal(name).catch((error) => {
      const { code, message } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
      process.emitWarning(`restart failed: ${message} (${code})`, 'MoultWarning');
    });
  }

  #stopBySignal = (name: NodeJS.Signals): void => {
    for (const each of this.#stopOn) process.off(each, this.#stopBySignal);
    // The second one finds the service's own handlers, or ends the process.
    if (this.#generation?.isServing) this.stop();
    else setImmediate(() => process.kill(process.pid, name));
  };
}

interface Opened {
  readonly mode: ServiceMode;
  readonly reason?: string;
  readonly generation?: Generation;
}

function open(
  options: ReturnType<typeof standaloneOptions>,
  mayBeAlone: boolean,
  onStage: (event: StageEvent) => void,
): Opened {
  const reason = unsupported();
  if (reason !== undefined) return { mode: 'plain', reason };
  const { entry, env, isHooked } = bridge();
  const supervised = entry.become(env);
  if (supervised !== null) {
    supervised.willSay();
    return { mode: 'supervised', generation: supervised };
  }
  if (isHooked) return { mode: 'plain', reason: 'another process of its tree is the service' };
  if (!mayBeAlone) return { mode: 'plain', reason: 'no supervisor started it, and it may not be standalone' };
  const { onListen, onDatagramBind } = hooks();
  onListen((server, original, args) => entry.listen(server, original, args, env));
  onDatagramBind((socket) => entry.bind(socket, env));
  const { beginAlone } = alone();
  const generation = entry.becomeAlone(() => beginAlone(options, { stage: onStage }));
  return { mode: 'standalone', generation };
}

function unsupported(): string | undefined {
  if (process.platform !== 'linux')
    return `moult passes descriptors on Linux only, this is ${process.platform}`;
  if (process.arch !== 'x64' && process.arch !== 'arm64')
    return `expected a 64-bit processor, this is ${process.arch}`;
  return undefined;
}
