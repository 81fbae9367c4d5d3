import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import type { ServiceManagerLink } from '../../service-manager/service-manager.js';
import type { Journal } from '../journal/journal.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { CrashRecovery } from '../restart/crash-recovery.js';
import type { Probation } from '../restart/probation.js';
import type { RestartService } from '../restart/restart-service.js';

/** How long a generation that an earlier supervisor left may take to come to this one. */
const REJOIN_TIMEOUT_MS = 5000;
const LOOK_MS = 50;
/** How long one that is about to be killed may take to say what it has. */
const LAST_WORD_MS = 300;
/** What `moult run` ends with when a second stop has cut what was in flight. */
const CUT_CODE = 1;

/** What an end brings to an end in each slot. */
export interface ShutdownSlot {
  readonly generations: Generations;
  readonly restarts: RestartService;
  readonly probation: Probation;
  readonly crashRecovery: CrashRecovery;
}

/** What an end brings to an end. */
export interface ShutdownParts {
  readonly slots: () => readonly ShutdownSlot[];
  readonly held: HeldListeners;
  readonly manager: ServiceManagerLink;
  readonly options: SupervisorOptions;
  readonly journal: Journal;
  readonly log: Logger;
}

/** The end of a service and of its supervisor. */
export class Shutdown {
  /** Settles with the exit code of `moult run`. */
  readonly ended: Promise<number>;
  /** Whether another supervisor has the listeners too, or may: then they are not closed for it. */
  sparesListeners = false;
  readonly #parts: ShutdownParts;
  #state: 'stopping' | 'stopped' | undefined;
  #isLeaving = false;
  /** Ends the time in which the service still serves, while that runs. */
  #endDelay: (() => void) | undefined;
  /** Whether it was ended before what was in flight had come to its end. */
  #isCut = false;
  #end!: (code: number) => void;

  constructor(parts: ShutdownParts) {
    this.#parts = parts;
    // Adopted generations are no children of this process, and do not keep it alive.
    const alive = setInterval(() => {}, 2 ** 30);
    this.ended = new Promise((resolve) => {
      this.#end = (code) => {
        clearInterval(alive);
        resolve(code);
      };
    });
  }

  /** Undefined while no end has begun. */
  get state(): 'stopping' | 'stopped' | undefined {
    return this.#state;
  }

  get hasBegun(): boolean {
    return this.#state !== undefined;
  }

  /** @throws MOULT_STOPPING when the end has begun. */
  assertNotBegun(): void {
    if (this.hasBegun) throw stopping();
  }

  /**
   * Ends the service: it serves on for the stop delay, then what is in flight is finished, up to the drain time-out. A second
   * call ends the delay; a further one, or a second one without a delay, ends it at once.
   * @param exitCode what `moult run` ends with.
   */
  async stop(exitCode = 0): Promise<void> {
    if (this.#state === 'stopped') return;
    const { slots, held, manager, journal, log } = this.#parts;
    if (this.#isLeaving) {
      // It is on its way; only a second one means in haste.
      this.#isLeaving = false;
      await this.ended;
      return;
    }
    if (this.#endDelay !== undefined) {
      log.info('the delay of the stop ends');
      this.#endDelay();
      await this.ended;
      return;
    }
    if (this.#state === 'stopping') {
      await this.#endAtOnce();
      return;
    }
    this.#state = 'stopping';
    for (const { generations } of slots()) generations.machine.on('stop');
    const { stopDelayMs } = this.#parts.options;
    log.info(
      stopDelayMs > 0 ? `stopping: the service goes on for ${stopDelayMs} ms (--stop-delay)` : 'stopping',
    );
    journal.write({ event: 'stop' });
    manager.stopping();
    for (const { crashRecovery, probation, restarts } of slots()) {
      crashRecovery.cancel();
      probation.stop();
      restarts.callOff(stopping());
    }
    await this.#delay();
    // Where a service manager stores them, it decides whether the listeners have come to their end.
    if (manager.keepsListeners) held.letGo();
    else held.paths?.endLooks();
    await this.#allEnded();
    if (!this.sparesListeners) for (const name of held.names()) held.closeForGood(name);
    this.finish(this.#isCut ? CUT_CODE : exitCode);
  }

  // A balancer that still sends clients here finds out by its next checks, and nobody is refused meanwhile.
  async #delay(): Promise<void> {
    const { stopDelayMs: delayMs, stopDelaySignal, unreadyPath } = this.#parts.options;
    const serving = this.#own().filter((one) => one.servingSince !== undefined);
    if (delayMs === 0 || serving.length === 0) return;
    for (const one of serving) {
      const unready = unreadyPath === null ? {} : { unready: unreadyPath };
      if (one.hearsStopping && one.isReachable) one.lifeline?.send({ type: 'stopping', delayMs, ...unready });
      if (stopDelaySignal !== null) one.signalService(stopDelaySignal);
    }
    let timer: NodeJS.Timeout | undefined;
    const isOver = new Promise<void>((resolve) => {
      this.#endDelay = resolve;
      timer = setTimeout(resolve, delayMs);
    });
    await Promise.race([isOver, Promise.all(serving.map((one) => one.exited))]);
    clearTimeout(timer);
    this.#endDelay = undefined;
  }

  // Who said it twice hears what it costs.
  async #endAtOnce(): Promise<void> {
    const { slots, log } = this.#parts;
    const living = slots().flatMap(({ generations }) => generations.all());
    const words = await Promise.all(living.map(async (one) => ({ one, has: await whatItHas(one) })));
    // One that came to its end meanwhile has cut nothing.
    const cut = words.filter(({ one }) => one.exit === undefined);
    if (cut.length === 0) return;
    this.#isCut = true;
    log.warn(`stopping at once: ${cut.map(({ has }) => has).join(', ')}`);
    for (const { one } of cut) one.kill();
  }

  /** The service goes on under another supervisor: waits until the generations here have come to their end. */
  async leave(): Promise<void> {
    if (this.hasBegun) return;
    this.#state = 'stopping';
    this.#isLeaving = true;
    for (const { generations, crashRecovery } of this.#parts.slots()) {
      generations.machine.on('leave');
      crashRecovery.cancel();
    }
    await this.#allGone();
    this.finish(0);
  }

  /** The supervisor ends now: nothing of the service is left. */
  finish(code: number): void {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    for (const { generations, crashRecovery } of this.#parts.slots()) {
      generations.machine.on('finish');
      crashRecovery.cancel();
    }
    this.#end(code);
  }

  #own(): GenerationProcess[] {
    return this.#parts.slots().flatMap(({ generations }) => generations.own());
  }

  async #allEnded(): Promise<void> {
    const { manager, options, log } = this.#parts;
    const keepOpen = manager.keepsListeners;
    const { drainTimeoutMs, stopTimeoutMs, stopSignal } = options;
    const ask = (one: GenerationProcess) => {
      one.isEnding = true;
      if (one.isReachable && one.servingSince !== undefined) {
        one.lifeline?.send({ type: 'retire', timeoutMs: drainTimeoutMs, keepOpen });
      } else one.signalService(stopSignal);
    };
    for (const one of this.#own()) {
      if (one.isAdopted && !one.isReachable) isBack(one).then(() => ask(one));
      else ask(one);
    }
    const limitMs = drainTimeoutMs + stopTimeoutMs;
    const force = setTimeout(() => {
      for (const one of this.#own()) {
        log.warn(`generation ${one.number} did not exit within ${limitMs} ms and is killed`);
        one.kill();
      }
    }, limitMs);
    await this.#allGone();
    clearTimeout(force);
  }

  // Who watches the journal is told of all of it: that one has drained, and what was cut.
  async #allGone(): Promise<void> {
    await Promise.all(this.#parts.slots().map(({ generations }) => generations.allGone()));
  }
}

async function whatItHas(one: GenerationProcess): Promise<string> {
  const state = await one.state(LAST_WORD_MS).catch(() => undefined);
  if (state === undefined) return `generation ${one.number} is killed`;
  const { connections, inFlight } = state;
  return `generation ${one.number} is killed with ${inFlight} requests in flight and ${connections} connections`;
}

/** By its stop signal alone it would end with all that it has in hand; so it is told when it has come. */
async function isBack(one: GenerationProcess): Promise<void> {
  const limit = performance.now() + REJOIN_TIMEOUT_MS;
  while (one.exit === undefined && !one.isReachable && performance.now() < limit) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function stopping(): MoultError {
  return new MoultError('MOULT_STOPPING', 'the service is being stopped');
}
