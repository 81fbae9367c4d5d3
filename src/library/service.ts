import { EventEmitter } from 'node:events';
import { isMainThread } from 'node:worker_threads';
import { asMoultError, MoultError } from '../errors.js';
import type { RestartSummary, StageEvent } from '../lifecycle/restart-record.js';
import type { Generation } from '../service/generation.js';
import { StateEntries } from '../state/state-entries.js';
import type { Tasks } from '../tasks/tasks.js';
import { acceptInPrimary, alone, bridge, hooks } from './bridge.js';
import { type Broadcast, broadcastBetween } from './broadcast.js';
import { Declarations } from './declarations.js';
import { DeclaringService } from './declaring-service.js';
import { ownTasks } from './own-tasks.js';
import type { Service, ServiceEvents, ServiceMode } from './service-interface.js';
import { type ServiceOptions, signals, standaloneOptions } from './service-options.js';

/** A listener's name may be longer by what marks it as a file. */
const MAX_FILE_NAME = 500;
/** How often to check whether it is decided who serves. */
const BETWEEN_LOOK_MS = 10;

/** The service that {@link openService} gives; what its members promise is said at {@link Service}. */
export class ProcessService extends DeclaringService implements Service {
  readonly mode: ServiceMode;
  readonly reason: string | undefined;
  readonly #generation: Generation | undefined;
  readonly #end = new AbortController();
  readonly #stopOn: readonly NodeJS.Signals[];
  #restartOn: readonly NodeJS.Signals[] = [];
  readonly #drainTimeoutMs: number;
  /** Of this process alone in the mode `plain`, else the generation's. */
  readonly #tasks: Tasks;
  protected readonly declarations: Declarations;
  #aborted: MoultError | undefined;

  constructor(options: ServiceOptions) {
    super();
    // An event of the emitter itself, which its types leave out.
    EventEmitter.prototype.on.call(this, 'newListener', assertKnown);
    const wanted = standaloneOptions(options);
    const opened = open(wanted, options.standalone !== false, (event) => this.emit('stage', event));
    this.mode = opened.mode;
    this.reason = opened.reason;
    this.#generation = opened.generation;
    this.#tasks = opened.generation?.tasks ?? ownTasks();
    this.declarations = new Declarations(opened.generation?.state ?? new StateEntries(), this.#tasks);
    this.#drainTimeoutMs = wanted.drainTimeoutMs;
    const restartOn = signals('restartOn', options.restartOn, this.mode === 'standalone' ? ['SIGHUP'] : []);
    this.#stopOn = signals('stopOn', options.stopOn, ['SIGTERM', 'SIGINT']);
    this.#follow();
    if (this.#generation === undefined) return;
    this.#restartOn = restartOn;
    for (const name of restartOn) process.on(name, this.#restartBySignal);
    if (this.mode === 'standalone') for (const name of this.#stopOn) process.on(name, this.#stopBySignal);
  }

  get generation(): number {
    return this.#generation?.number ?? 1;
  }

  get isServing(): boolean {
    return this.#generation?.isServing ?? !this.signal.aborted;
  }

  get signal(): AbortSignal {
    return this.#end.signal;
  }

  file(name: string, open: () => number): number {
    if (name.length === 0 || name.length > MAX_FILE_NAME) {
      const what = `expected a name of 1 to ${MAX_FILE_NAME} characters, received ${name.length}`;
      throw new MoultError('MOULT_BAD_OPTION', `file: ${what}`);
    }
    return this.#generation === undefined ? open() : this.#generation.listeners.file(name, open);
  }

  broadcast<T>(name: string, receive: (message: T) => void): Broadcast<T> {
    return broadcastBetween(name, receive);
  }

  async ready(): Promise<void> {
    const generation = this.#generation;
    await this.makeChecks(() => generation?.takeState()).catch((error: MoultError) => {
      generation?.refuse(error);
      throw error;
    });
    if (generation === undefined) {
      this.#tasks.begin(Date.now());
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

  restart(): Promise<RestartSummary> {
    if (this.#generation !== undefined) return this.#generation.overseer.restart();
    const why = `this service cannot restart itself: ${this.reason}`;
    return Promise.reject(new MoultError('MOULT_UNSUPPORTED_PLATFORM', why));
  }

  async critical<T>(work: () => T | Promise<T>): Promise<T> {
    const leave = this.#generation?.critical.enter();
    try {
      return await work();
    } finally {
      leave?.();
    }
  }

  beforeEnd(work: () => unknown): this {
    this.#generation?.beforeEnd(work);
    return this;
  }

  stop(): void {
    if (this.#generation === undefined) {
      this.#end.abort();
      this.#tasks.end(this.#drainTimeoutMs);
    } else this.#generation.retire(this.#drainTimeoutMs);
  }

  #follow(): void {
    const life = this.#generation?.life;
    if (life === undefined) return;
    life.on('serve', (how) => this.emit('serve', how));
    life.on('yield', (to) => this.emit('yield', to));
    life.on('failed', (error) => this.emit('failed', error));
    life.on('stopping', (delay) => this.emit('stopping', delay));
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
      for (const name of this.#restartOn) process.off(name, this.#restartBySignal);
      this.emit('end', report);
    });
  }

  #restartBySignal = (name: NodeJS.Signals): void => {
    this.#generation?.overseer.restartBySignal(name).catch((error) => {
      const { code, message } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
      process.emitWarning(`restart failed: ${message} (${code})`, 'MoultWarning');
    });
  };

  #stopBySignal = (name: NodeJS.Signals): void => {
    for (const each of this.#stopOn) process.off(each, this.#stopBySignal);
    const generation = this.#generation;
    if (generation?.isBetween) {
      // Who is to be stopped is known in a moment.
      const look = () => {
        if (generation.isBetween) setTimeout(look, BETWEEN_LOOK_MS);
        else this.#stopBySignal(name);
      };
      look();
      return;
    }
    // The second one finds the service's own handlers, or ends the process.
    if (this.#generation?.isServing) this.stop();
    else if (!this.#generation?.overseer.passOnStop()) setImmediate(() => process.kill(process.pid, name));
  };
}

const EVENTS: Readonly<Record<keyof ServiceEvents, true>> = {
  serve: true,
  yield: true,
  failed: true,
  stopping: true,
  drain: true,
  end: true,
  aborted: true,
  stage: true,
};
/** Node's own: `events.once()` listens to the first. */
const OF_NODE = ['error', 'newListener', 'removeListener'];

/** @throws MOULT_BAD_OPTION for an event that never comes. */
function assertKnown(name: string | symbol): void {
  if (typeof name === 'symbol' || Object.hasOwn(EVENTS, name) || OF_NODE.includes(name)) return;
  const known = Object.keys(EVENTS).join(', ');
  throw new MoultError(
    'MOULT_BAD_OPTION',
    `expected the name of an event (${known}), received ${JSON.stringify(name)}`,
  );
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
  if (!mayBeAlone) return { mode: 'plain', reason: 'no supervisor started it, and standalone is false' };
  acceptInPrimary();
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
  if (!isMainThread) return 'a worker thread belongs to the service of its main thread';
  return undefined;
}
