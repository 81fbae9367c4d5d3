import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../../errors.js';
import type { RestartSummary, StageEvent } from '../../lifecycle/restart-record.js';
import { wallClockMs } from '../../os/clock.js';
import type { Settings } from '../../protocol/messages.js';
import { OLDER_LISTENERS } from '../../protocol/parts.js';
import type { Journal } from '../journal/journal.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { OutsideLook } from '../reachability/outside-look.js';
import type { KeptReleases } from '../releases/kept-releases.js';
import type { Release } from '../releases/release.js';
import type { ReleaseHistory } from '../releases/release-history.js';
import type { ServiceSettings, SettingsChange } from '../service-settings.js';
import type { CrashRecovery } from './crash-recovery.js';
import { endBefore } from './exclusive-changeover.js';
import { checkBudgetMs } from './health-check.js';
import { admit, type QuietRequest } from './preconditions.js';
import type { Probation } from './probation.js';
import { RestartAttempt } from './restart-attempt.js';
import { RestartQueue } from './restart-queue.js';

/** How long a predecessor may take to answer that it expects a successor. */
const EXPECT_TIMEOUT_MS = 5000;
const STATE_TIMEOUT_MS = 1000;
/** So often it is looked whether the release before serves again. */
const RETURN_LOOK_MS = 20;

/** What an operator may ask of a restart. */
export interface RestartRequest {
  readonly ifBusy: 'wait' | 'refuse';
  readonly allowFewerListeners: boolean;
  /** Settle only at the end of probation. */
  readonly untilConfirmed: boolean;
  readonly untilDrained?: boolean | undefined;
  readonly whenQuiet: QuietRequest | null;
  /** Whether a predecessor that does not answer is ended once the successor is ready. */
  readonly force?: boolean | undefined;
  /** Whether it is to go back to what served before. */
  readonly isRollback?: boolean;
  /** Why the same release is started anew, where no operator asked for it. */
  readonly recycledBecause?: string;
}

/** What tells one restart from another. */
interface Asked {
  readonly allowFewerListeners: boolean;
  readonly whenQuiet: QuietRequest | null;
  readonly ifBusy: 'wait' | 'refuse';
  readonly force: boolean;
  readonly isRollback: boolean;
  readonly recycledBecause: string | undefined;
  /** The release to start; undefined for what the command's paths hold at that time. */
  readonly release: Release | undefined;
}

/** Is told what happens in restarts. */
export type Watcher = (event: StageEvent) => void;

/** What a restart is made of. */
export interface RestartServiceParts {
  readonly generations: Generations;
  readonly probation: Probation;
  readonly releases: ReleaseHistory;
  readonly kept: KeptReleases;
  readonly crashRecovery: CrashRecovery;
  readonly held: HeldListeners;
  readonly look: OutsideLook;
  readonly settings: Pick<ServiceSettings, 'renew'>;
  readonly options: SupervisorOptions;
  readonly journal: Journal;
  readonly log: Logger;
  /** How many connections one has, as far as that is seen from outside. */
  readonly connections: (generation: GenerationProcess) => number;
}

/** Replaces the generation that serves by a new one, one restart at a time. */
export class RestartService {
  readonly #parts: RestartServiceParts;
  readonly #onOver: (successor: GenerationProcess) => void;
  readonly #queue: RestartQueue<Asked, RestartSummary>;
  readonly #watchers = new Set<Watcher>();
  #handover: RestartAttempt | undefined;
  #isHandingOver = false;
  #succeeded = 0;
  /** What the restart that is under way has changed. */
  #change: SettingsChange | undefined;
  /** Of the release that is just started. */
  #label: string | undefined;
  #predecessors = new WeakMap<RestartSummary, GenerationProcess>();

  /** @param onOver is told when a handover to this successor has ended, in whichever way. */
  constructor(parts: RestartServiceParts, onOver: (successor: GenerationProcess) => void) {
    this.#parts = parts;
    this.#onOver = onOver;
    this.#queue = new RestartQueue(
      {
        isUnderWay: () => parts.generations.starting() !== undefined,
        over: (asked) => this.#otherStartOver(asked),
      },
      (asked) => this.#begin(asked),
    );
  }

  /** How many have succeeded. */
  get succeeded(): number {
    return this.#succeeded;
  }

  /** Whether one has been asked for and is not over. */
  get isUnderWay(): boolean {
    return this.#queue.isRunning;
  }

  /** Whether a successor has been started, or its predecessor told to expect it. */
  get isHandingOver(): boolean {
    return this.#isHandingOver;
  }

  /** The handover of this successor, when it is the last one. */
  handoverTo(successor: GenerationProcess | number | undefined): RestartAttempt | undefined {
    const known = this.#handover?.successor;
    return known !== undefined && (successor === known || successor === known.number)
      ? this.#handover
      : undefined;
  }

  /** Whether a handover has begun under this supervisor. */
  get hasHandover(): boolean {
    return this.#handover !== undefined;
  }

  /**
   * Replaces the running generation.
   * @param release the one to start; without it what the command's paths hold now.
   * @returns when the successor has taken over and all that can move has moved.
   */
  async restart(request: RestartRequest, watch: Watcher, release?: Release): Promise<RestartSummary> {
    this.#watchers.add(watch);
    try {
      const { ifBusy, allowFewerListeners, whenQuiet, untilConfirmed, untilDrained = false } = request;
      const { force = false, isRollback = false, recycledBecause } = request;
      const asked = { ifBusy, allowFewerListeners, whenQuiet, force, isRollback, recycledBecause, release };
      const summary = await this.#queue.enqueue(ifBusy, asked);
      if (untilConfirmed) await this.#parts.probation.watched(summary.generation);
      else if (untilDrained) await this.#parts.probation.confirmed(summary.generation);
      return this.#withWatch(untilDrained ? await this.#withDrain(summary) : summary);
    } finally {
      this.#watchers.delete(watch);
    }
  }

  #withWatch(summary: RestartSummary): RestartSummary {
    const { generations, probation } = this.#parts;
    const { current } = generations;
    if (current?.number !== summary.generation) return summary;
    const until = probation.watchedUntil(current);
    return until === undefined ? summary : { ...summary, watchedMs: Math.max(0, until - wallClockMs()) };
  }

  async #withDrain(summary: RestartSummary): Promise<RestartSummary> {
    const report = await this.#predecessors.get(summary)?.drained;
    if (report === undefined) return summary;
    const { moved, drained, cut } = report;
    return { ...summary, moved, drained, draining: 0, cut: cut.length, cutConnections: cut };
  }

  /** Gives up the one that has not committed. */
  callOff(error: MoultError): void {
    if (this.#handover !== undefined && !this.#handover.hasCommitted) this.#handover.fail(error);
  }

  async #begin(asked: Asked): Promise<RestartSummary> {
    this.#label = asked.release?.label;
    try {
      const summary = await this.#replace(asked);
      this.#succeed(summary, asked);
      this.#keepWhenConfirmed(summary, this.#change);
      return summary;
    } catch (error) {
      this.#change?.revert();
      throw this.#failed(error, asked);
    } finally {
      this.#isHandingOver = false;
      this.#change = undefined;
    }
  }

  async #renewed(): Promise<Release> {
    this.#change = await this.#parts.settings.renew();
    return this.#change.release;
  }

  // Who serves after an undo has what held before.
  #keepWhenConfirmed({ generation }: RestartSummary, change: SettingsChange | undefined): void {
    this.#parts.probation.confirmed(generation).catch(() => change?.revert());
  }

  async #replace(asked: Asked): Promise<RestartSummary> {
    const { generations, probation, releases, crashRecovery, held, options, log } = this.#parts;
    await admit(asked, options, {
      draining: () => this.#draining(),
      inFlight: async () => {
        const state = await generations.current?.state(STATE_TIMEOUT_MS);
        return (state?.inFlight ?? 0) + (state?.critical ?? 0);
      },
      log,
    });
    // While it waited a crashed service may have come to its next start.
    if (generations.starting() !== undefined) await this.#otherStartOver(asked);
    await this.#undoOver();
    const wanted = asked.release ?? (await this.#renewed());
    // Reading a config takes its time, in which one may have begun.
    await this.#undoOver();
    const release = await this.#asItWas(wanted);
    this.#label = release.label;
    // One that crashed meanwhile may be on its way again.
    if (generations.starting() !== undefined) await this.#otherStartOver(asked);
    const predecessor = generations.current;
    // One that has served before is to have what it had then, whatever the one between listens on.
    const expects = releases.listenersOf(release);
    const settings = generations.settings(asked.allowFewerListeners && expects === undefined, { expects });
    crashRecovery.cancel();
    if (options.changeover === 'exclusive' && predecessor !== undefined)
      return this.#changeOver(release, settings, predecessor);
    assertPasses(predecessor, held.size);
    const { number, isForced } = await this.#expected(predecessor, settings, asked.force);
    // Undone while it answered: it may have told already that it calls the next one off.
    if (
      generations.current !== predecessor ||
      (predecessor?.isUndone && probation.successor === predecessor)
    ) {
      const what = `generation ${predecessor?.number} is just being undone`;
      const error = new MoultError('MOULT_RESTART_IN_PROGRESS', what, { serving: 'unchanged' });
      predecessor?.expectNoMore(number, error);
      throw error;
    }
    // The operator has decided: what is in probation is confirmed.
    for (const one of generations.all()) if (one !== predecessor) one.lifeline?.send({ type: 'confirm' });
    this.#isHandingOver = true;
    // Of several slots each successor's changes come in their turn.
    if (options.slots === null) held.paths?.guard();
    const successor = this.#start(release, settings, predecessor, number);
    successor.isForced = isForced;
    return this.#handOver(successor, predecessor, settings);
  }

  async #handOver(
    successor: GenerationProcess,
    predecessor: GenerationProcess | undefined,
    settings: Settings,
  ): Promise<RestartSummary> {
    const { options, look } = this.#parts;
    const toCommitMs = checkBudgetMs(options.check) + options.busyTimeoutMs;
    const handover = new RestartAttempt(
      successor,
      predecessor,
      settings,
      toCommitMs,
      (event) => this.#tell(event),
      () => look.at(successor),
    );
    this.#handover = handover;
    try {
      const summary = await handover.done;
      if (predecessor !== undefined) this.#predecessors.set(summary, predecessor);
      return summary;
    } finally {
      this.#onOver(successor);
    }
  }

  // Going back to what was written over since would start something else.
  async #asItWas(release: Release): Promise<Release> {
    const { releases, kept } = this.#parts;
    if (!releases.isKnown(release)) return release;
    const asItWas = await kept.asItWas(release);
    releases.replace(release, asItWas);
    return asItWas;
  }

  // The two never run at once: should the successor fail, the release before is started again.
  async #changeOver(
    release: Release,
    settings: Settings,
    predecessor: GenerationProcess,
  ): Promise<RestartSummary> {
    const { generations, probation, options, log } = this.#parts;
    let successor: GenerationProcess;
    this.#isHandingOver = true;
    generations.isChangingOver = true;
    try {
      probation.end(predecessor.number);
      await endBefore(predecessor, generations, options, log);
      successor = generations.start(release, settings);
    } catch (error) {
      generations.isChangingOver = false;
      this.#onOver(predecessor);
      throw await this.#withReturn(error);
    }
    generations.isChangingOver = false;
    return this.#handOver(successor, predecessor, settings).catch(async (error) => {
      throw await this.#withReturn(error);
    });
  }

  // Who is told that it failed is told, too, who serves from then on.
  async #withReturn(error: unknown): Promise<MoultError> {
    const { generations, crashRecovery, options } = this.#parts;
    const limitMs = performance.now() + options.readyTimeoutMs;
    const isComing = () => crashRecovery.isWaiting || generations.starting() !== undefined;
    while (generations.current === undefined && isComing() && performance.now() < limitMs)
      await new Promise((resolve) => setTimeout(resolve, RETURN_LOOK_MS));
    const told = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
    const { current } = generations;
    const { stage, details } = told;
    const what =
      current === undefined
        ? 'the release before has not come to serve again so far'
        : `generation ${current.number} was started in its place, by the release before`;
    return new MoultError(told.code, `${told.message}; ${what}`, {
      serving: current === undefined ? 'none' : 'predecessor',
      ...(stage === undefined ? {} : { stage }),
      ...(details === undefined ? {} : { details }),
      cause: told,
    });
  }

  // @returns the number of the successor, and whether its predecessor does not answer and is to be ended.
  async #expected(
    predecessor: GenerationProcess | undefined,
    settings: Settings,
    force: boolean,
  ): Promise<{ number: number; isForced: boolean }> {
    const { generations, log } = this.#parts;
    const number = generations.takeNumber();
    try {
      await predecessor?.expect(number, settings, EXPECT_TIMEOUT_MS);
      return { number, isForced: false };
    } catch (cause) {
      const error = asMoultError(cause, 'MOULT_HANDOVER_ABORTED');
      // Where it did not answer in time its answer may still come, and must not be taken for one to the next question.
      if (error.code !== 'MOULT_PEER_TIMEOUT') generations.giveBack(number);
      const isSilent = error.code === 'MOULT_PEER_TIMEOUT' || error.code === 'MOULT_PEER_CLOSED';
      if (predecessor === undefined || predecessor.exit !== undefined || !isSilent) throw error;
      const cut = this.#parts.connections(predecessor);
      const cost = `cuts its connections, ${cut} at the moment, with the requests on them`;
      if (!force) {
        const what = `${error.message}; moult restart --force replaces it all the same, and ${cost}`;
        throw new MoultError(error.code, what, { serving: 'predecessor', cause: error });
      }
      log.warn(`${error.message}: it will be ended once its successor is ready, which ${cost}`);
      return { number: generations.takeNumber(), isForced: true };
    }
  }

  #start(
    release: Release,
    settings: Settings,
    predecessor: GenerationProcess | undefined,
    number: number,
  ): GenerationProcess {
    try {
      return this.#parts.generations.start(release, settings, predecessor, number);
    } catch (error) {
      predecessor?.expectNoMore(number, asMoultError(error, 'MOULT_HANDOVER_ABORTED'));
      throw error;
    }
  }

  #succeed(summary: RestartSummary, asked: Asked): void {
    const { generations, journal, log } = this.#parts;
    this.#succeeded += 1;
    const { epoch } = generations;
    journal.write({ event: 'restart', ok: true, epoch, ...summary, ...this.#about(asked) });
    log.info(
      `generation ${summary.generation} took over from ${summary.predecessor ?? 'nobody'} in ${Math.round(summary.tookMs)} ms: ` +
        `${summary.listeners} ${summary.listeners === 1 ? 'listener' : 'listeners'} passed, ${summary.moved} connections moved, ${summary.draining} draining`,
    );
  }

  /** What tells a restart from others in the history. */
  #about({ isRollback, recycledBecause }: Asked): { kind: string; because?: string; release?: string } {
    const release = this.#label === undefined ? {} : { release: this.#label };
    if (recycledBecause !== undefined) return { kind: 'recycle', because: recycledBecause, ...release };
    return { kind: isRollback ? 'rollback' : 'restart', ...release };
  }

  #failed(error: unknown, asked: Asked): MoultError {
    const { generations, journal, log } = this.#parts;
    const told = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
    const { code, message, stage, serving, details } = told;
    const generation = Number(details?.generation ?? generations.lastNumber + 1);
    const lastLine = lastOf(details?.output);
    const about = { ...this.#about(asked), ...(lastLine === undefined ? {} : { lastLine }) };
    const { output } = details ?? {};
    journal.write(
      { event: 'restart', ok: false, generation, code, message, stage, serving, ...about },
      { output },
    );
    log.error(`restart failed at ${stage ?? 'its start'}: ${message} (${code}); serving now: ${serving}`);
    return told;
  }

  #tell(event: StageEvent): void {
    const { type, at, ...entry } = event;
    this.#parts.journal.write({ event: type, at, ...entry });
    for (const watch of this.#watchers) watch(event);
  }

  // The one in probation is not counted: a restart ends its probation, and with it usually its life.
  #draining(): GenerationProcess[] {
    const { generations, probation } = this.#parts;
    return generations
      .all()
      .filter(
        (one) =>
          one !== generations.current && one !== probation.predecessor && one.servingSince !== undefined,
      );
  }

  // Of a generation that hands back, and another that takes, neither can be replaced.
  async #undoOver(): Promise<void> {
    const { generations, probation, options } = this.#parts;
    const { successor } = probation;
    // One that has handed back all that it had may be gone while its predecessor still restores it.
    const isOn = successor?.isUndone === true || (generations.current === undefined && probation.canResume);
    if (successor === undefined || !isOn) return;
    const limitMs = options.readyTimeoutMs + EXPECT_TIMEOUT_MS;
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      limit = setTimeout(() => resolve('late'), limitMs);
    });
    const how = await Promise.race([probation.confirmed(successor.number).catch(() => 'undone'), late]);
    clearTimeout(limit);
    if (how !== 'late') return;
    const what = `generation ${successor.number} is to hand back, and its predecessor has not answered within ${limitMs} ms`;
    throw new MoultError('MOULT_RESTART_IN_PROGRESS', what, { serving: 'unchanged' });
  }

  async #otherStartOver({ force }: Pick<Asked, 'force'>): Promise<void> {
    const { generations, releases, options, log } = this.#parts;
    const starting = generations.starting();
    if (starting === undefined) return;
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      limit = setTimeout(() => resolve('late'), options.readyTimeoutMs);
    });
    const how = await Promise.race([starting.serves, starting.exited, late]);
    clearTimeout(limit);
    if (how !== 'late') return;
    if (starting.isAdopted && !force) throw this.#notBack(starting);
    if (releases.lastGood() === undefined && !starting.isAdopted) {
      // It may serve all the same, in a way that moult does not see: it is not ours to end.
      throw new MoultError(
        'MOULT_READY_TIMEOUT',
        `generation ${starting.number} has not shown itself: it neither listened nor said that it is ready`,
        { serving: 'unchanged' },
      );
    }
    // A start that hangs must not hold up the release that mends it.
    if (starting.isAdopted) log.warn(`generation ${starting.number} has not come back, and is ended`);
    starting.kill();
    await starting.exited;
  }

  // It may serve clients all the while.
  #notBack(generation: GenerationProcess): MoultError {
    const { number, pid } = generation;
    const what = `generation ${number} (process ${pid}), which an earlier supervisor left, lives and has not come back`;
    const cost = `cuts its connections, ${this.#parts.connections(generation)} at the moment, with the requests on them`;
    return new MoultError(
      'MOULT_PEER_TIMEOUT',
      `${what}; moult restart --force ends it and starts another one, and ${cost}`,
      { serving: 'unchanged' },
    );
  }
}

/** The last line of an output, where there is one. */
function lastOf(output: unknown): string | undefined {
  const lines = Array.isArray(output) ? output.map(String) : [];
  return lines.findLast((line) => line.trim() !== '');
}

/** @throws MOULT_TOO_LARGE where the predecessor's release of moult cannot pass so many listeners: a successor would be started in vain. */
function assertPasses(predecessor: GenerationProcess | undefined, listeners: number): void {
  if (predecessor?.lifeline?.takesParts !== false || listeners <= OLDER_LISTENERS) return;
  const what = `generation ${predecessor.number} was started by an older release of moult, which passes at most ${OLDER_LISTENERS} listeners`;
  throw new MoultError('MOULT_TOO_LARGE', `${what}, and there are ${listeners}: it serves on`);
}
