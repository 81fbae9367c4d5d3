import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import type { JournalFact } from '../../lifecycle/journal-entry.js';
import { epochAfter, wallClockMs } from '../../os/clock.js';
import { tryToRemove } from '../../os/files/remove.js';
import { type Exit, startTicks } from '../../os/processes/process.js';
import type { Settings } from '../../protocol/messages.js';
import type { Journal } from '../journal/journal.js';
import { type Expectations, type SupervisorOptions, settingsOf } from '../options.js';
import type { Release } from '../releases/release.js';
import { noteFolder } from '../releases/release-files.js';
import type { GenerationFactory } from './generation-factory.js';
import type { GenerationNumbers } from './generation-numbers.js';
import type { GenerationProcess } from './generation-process.js';
import type { LeftBehind } from './journal-replay.js';
import { adoptTree } from './process-tree.js';
import { ServiceMachine } from './service-machine.js';

/** The generations of one slot that live, which of them serves, and how far both are counted. */
export class Generations {
  /** Who serves, and what follows from what happens. */
  readonly machine: ServiceMachine;
  #current: GenerationProcess | undefined;
  readonly #living = new Map<number, GenerationProcess>();
  readonly #ends = new WeakMap<GenerationProcess, Promise<void>>();
  readonly #options: SupervisorOptions;
  readonly #maker: GenerationFactory;
  readonly #journal: Journal;
  readonly #log: Logger;
  readonly #numbers: GenerationNumbers;
  /** From the clock: also a service that is started anew counts on. */
  #epoch = Math.floor(wallClockMs());
  #hasSaidReady = false;
  #metAddonless = false;
  #onExited: (generation: GenerationProcess, exit: Exit) => void = () => {};
  #onCurrent: () => void = () => {};

  constructor(
    options: SupervisorOptions,
    maker: GenerationFactory,
    journal: Journal,
    log: Logger,
    numbers: GenerationNumbers,
  ) {
    this.#numbers = numbers;
    this.#options = options;
    this.#maker = maker;
    this.#journal = journal;
    this.#log = log;
    this.machine = new ServiceMachine(log);
  }

  /** Whom to tell of each that has ended; by then it is no longer among the living. */
  onExited(handler: (generation: GenerationProcess, exit: Exit) => void): void {
    this.#onExited = handler;
  }

  /** The one that serves. */
  get current(): GenerationProcess | undefined {
    return this.#current;
  }

  set current(generation: GenerationProcess | undefined) {
    this.#current = generation;
    this.#onCurrent();
  }

  /** Whom to tell when another one serves, or none. */
  onCurrent(handler: () => void): void {
    this.#onCurrent = handler;
  }

  /** The highest number that was given to one, of any slot. */
  get lastNumber(): number {
    return this.#numbers.last;
  }

  /** The number of the next one; {@link giveBack} it where that one is not started. */
  takeNumber(): number {
    return this.#numbers.take();
  }

  /** The one that was to have this number is not started. */
  giveBack(number: number): void {
    this.#numbers.giveBack(number);
  }

  /** Counts changes of who accepts; only grows. */
  get epoch(): number {
    return this.#epoch;
  }

  /** A new epoch begins. */
  nextEpoch(): number {
    this.#epoch = epochAfter(this.#epoch);
    return this.#epoch;
  }

  /** Somebody has told of this epoch. */
  reached(epoch: number): void {
    this.#epoch = Math.max(this.#epoch, epoch);
  }

  /** All that live, in the order of their numbers. */
  all(): GenerationProcess[] {
    return [...this.#living.values()];
  }

  /** Those that this supervisor may signal and end. */
  own(): GenerationProcess[] {
    return this.all().filter(({ isOurs }) => isOurs);
  }

  /** The one of this number, while it lives. */
  numbered(number: number): GenerationProcess | undefined {
    return this.#living.get(number);
  }

  /** One that has been started and does not serve yet. */
  starting(): GenerationProcess | undefined {
    return this.all().findLast((one) => one.servingSince === undefined && !one.isEnding);
  }

  /** Whether generations are expected to say themselves that they are ready. */
  get sayReady(): boolean {
    return this.#hasSaidReady || this.#options.waitReady;
  }

  /** The service itself has said that it is ready: later ones are expected to say so too. */
  saidReady(): void {
    this.#hasSaidReady = true;
  }

  /** What the next one is told. */
  settings(allowFewerListeners: boolean, expectations: Expectations = {}): Settings {
    return settingsOf(this.#options, allowFewerListeners, this.sayReady, expectations);
  }

  /** One has come that can, or cannot, pass descriptors: the next one may be as it is. */
  met({ isAddonless }: GenerationProcess): void {
    this.#metAddonless = isAddonless;
  }

  /** Whether no more are started: the service ends. */
  get isClosed(): boolean {
    return this.machine.is('stopping', 'stopped');
  }

  /**
   * Starts one.
   * @param predecessor the one from which it takes over.
   * @param taken the number that it is to have.
   * @throws MOULT_STOPPING when no more are to be started.
   */
  start(
    release: Release,
    settings: Settings,
    predecessor?: GenerationProcess,
    taken?: number,
  ): GenerationProcess {
    if (this.isClosed) throw new MoultError('MOULT_STOPPING', 'the service is being stopped');
    const number = taken ?? this.takeNumber();
    const generation = this.#maker.start(number, release, settings, predecessor, this.#metAddonless);
    generation.predecessor = predecessor;
    noteFolder(release);
    // One that could not be started has no number by which it could be found again.
    if (generation.pid > 0) this.#journal.write(startOf(generation));
    this.#log.debug(`generation ${number} started as process ${generation.pid}: ${release.label}`);
    this.#add(generation);
    if (predecessor === undefined) this.machine.on('start');
    return generation;
  }

  /** One has turned out to be of another release than it was started for. */
  isOf(generation: GenerationProcess, release: Release): void {
    generation.release = release;
    noteFolder(release);
    if (generation.pid > 0) this.#journal.write(startOf(generation));
  }

  /** What must be known of those that live after a kill. */
  facts(): JournalFact[] {
    const started = this.own().filter(({ pid }) => pid > 0);
    const facts = started.flatMap((one) => factsOf(one, this.#epoch));
    const { current } = this;
    if (current?.isOurs) facts.push({ event: 'serving', generation: current.number, epoch: this.#epoch });
    return facts;
  }

  /** Has a predecessor take the service back, which decides whether it still can, and says so. */
  undo(predecessor: GenerationProcess, successor: GenerationProcess, error: MoultError): void {
    successor.isUndone = true;
    this.machine.on('undo');
    predecessor.lifeline?.send({ type: 'undo', error: error.report() });
  }

  /** Goes on counting where an earlier supervisor ended. */
  countOn(lastNumber: number, epoch: number): void {
    this.#numbers.countOn(lastNumber);
    this.reached(epoch);
  }

  /** Counts one that another supervisor has started among the living. */
  addForeign(generation: GenerationProcess): void {
    this.#add(generation);
  }

  /**
   * Takes over one that an earlier supervisor started.
   * @returns undefined when it has ended.
   */
  adopt(
    { generation: number, pid, ticks, isProved, hasServed = false }: LeftBehind,
    release: Release,
  ): GenerationProcess | undefined {
    const tree = adoptTree(pid, ticks);
    if (tree === undefined) return undefined;
    // Where lines of the journal were lost a number may have been given twice.
    const own = this.#living.has(number) ? this.takeNumber() : number;
    const generation = this.#maker.adopt(own, release, this.settings(false), tree);
    generation.isProved = isProved;
    generation.isAdopted = true;
    generation.hadServed = hasServed;
    this.#add(generation);
    this.machine.on('adopt');
    for (const fact of factsOf(generation, this.#epoch)) this.#journal.write(fact);
    return generation;
  }

  /** Settles when one has ended, what it said before is heard, and it is no longer among the living. */
  async gone(generation: GenerationProcess): Promise<void> {
    await this.#ends.get(generation);
  }

  /** The same, for all that this supervisor may end. */
  async allGone(): Promise<void> {
    await Promise.all(this.own().map((one) => this.gone(one)));
  }

  #add(generation: GenerationProcess): void {
    this.#living.set(generation.number, generation);
    const end = generation.exited.then(async (exit) => {
      // One that was killed has no last words. After a crash of the one that serves, clients wait for the next one.
      const hasFinished = exit.signal !== 'SIGKILL' && generation.servingSince !== undefined;
      const isAwaited = generation === this.#current && !generation.isEnding && !this.isClosed;
      if (hasFinished && !isAwaited) await generation.hasSaidAll();
      this.#exited(generation, exit);
    });
    this.#ends.set(generation, end);
  }

  #exited(generation: GenerationProcess, exit: Exit): void {
    const { number, door, lifeline } = generation;
    this.#living.delete(number);
    if (!generation.isOurs) {
      this.#onExited(generation, exit);
      return;
    }
    this.#journal.write({ event: 'exited', generation: number, code: exit.code, signal: exit.signal });
    lifeline?.close();
    // One that was killed could not remove it itself.
    if (door !== undefined) tryToRemove(door);
    // What the tree left behind, such as a service whose wrapper was ended.
    generation.kill();
    this.#onExited(generation, exit);
  }
}

function factsOf(generation: GenerationProcess, epoch: number): JournalFact[] {
  const confirmed = { event: 'confirmed', generation: generation.number, epoch } as const;
  return generation.isProved ? [startOf(generation), confirmed] : [startOf(generation)];
}

function startOf({ number, pid, release }: GenerationProcess): JournalFact {
  const { command, argv0 = command, args, cwd, isDirect, label, files = {}, writtenOver } = release;
  return {
    event: 'start',
    generation: number,
    pid,
    ticks: startTicks(pid) ?? 0,
    release: {
      command,
      argv0,
      args,
      cwd,
      isDirect,
      label,
      files,
      ...(writtenOver === undefined ? {} : { writtenOver }),
    },
  };
}
