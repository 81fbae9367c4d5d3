/*
 * Over 300 lines: what this supervisor does while another one takes over from it. The generation that serves decides, as in
 * every handover; the other supervisor asks and is told through this one.
 */
import type { Logger } from 'pino';
import type { Channel } from '../../channel/channel.js';
import { asMoultError, MoultError } from '../../errors.js';
import type { Message, Settings } from '../../protocol/messages.js';
import type { RunFolder } from '../journal/run-folder.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { CrashRecovery } from '../restart/crash-recovery.js';
import type { Probation } from '../restart/probation.js';
import type { RestartService } from '../restart/restart-service.js';
import type { Shutdown } from '../serving/shutdown.js';

/** How long the other supervisor may take from the offer to its first question. */
const QUESTION_TIMEOUT_MS = 15_000;
/** How long the generation that serves may take to answer. */
const EXPECT_TIMEOUT_MS = 5000;
const STATE_TIMEOUT_MS = 5000;
/** How much longer than its drain a predecessor may take to end. */
const END_TIMEOUT_MS = 10_000;

/** What an outgoing take-over gives away. */
export interface OutgoingTakeoverParts {
  readonly generations: Generations;
  readonly restarts: RestartService;
  readonly probation: Probation;
  readonly crashRecovery: CrashRecovery;
  readonly held: HeldListeners;
  readonly shutdown: Shutdown;
  readonly folder: RunFolder;
  readonly log: Logger;
}

/** What the generation that serves tells of its handover. */
export type Told = Message<'progress' | 'aborted' | 'undone' | 'release'>;

/** The service passing to another supervisor; at most one at a time. */
interface Passing {
  readonly predecessor: GenerationProcess;
  readonly heir: Channel;
  readonly sharesFolder: boolean;
  /** How the other supervisor is named in the log. */
  readonly who: string;
  /** The number that the predecessor was asked to expect. */
  asked?: number;
  /** The same, once it does expect it. */
  successor?: number;
  settings?: Settings;
  /** Whether this supervisor is to be stopped, and waits for the other one to have the service. */
  isToStop: boolean;
}

/** Lets another supervisor take the service over, and ends this one when that has proved itself. */
export class OutgoingTakeover {
  readonly #parts: OutgoingTakeoverParts;
  #passing: Passing | undefined;
  #isCeded = false;
  #keepsFolder = false;

  constructor(parts: OutgoingTakeoverParts) {
    this.#parts = parts;
  }

  /** Whether another supervisor is just taking over. */
  get isUnderWay(): boolean {
    return this.#passing !== undefined;
  }

  /** Whether the run folder is the other supervisor's by now. */
  get hasCededFolder(): boolean {
    return this.#isCeded && this.#keepsFolder;
  }

  /** @throws MOULT_RESTART_IN_PROGRESS while another supervisor takes over. */
  assertNone(): void {
    if (this.#passing === undefined) return;
    const what = `${this.#passing.who} is taking the service over: send the request to that one`;
    throw new MoultError('MOULT_RESTART_IN_PROGRESS', what, { serving: 'unchanged' });
  }

  /** Another supervisor has come. */
  receive(heir: Channel): void {
    heir.on('take-over', (message) => {
      heir.off('take-over');
      try {
        this.#offer(heir, message);
      } catch (error) {
        heir.send({ type: 'refused', error: asMoultError(error, 'MOULT_HANDOVER_ABORTED').report() });
        heir.close();
      }
    });
  }

  /** A generation tells of its handover. */
  heard(generation: GenerationProcess, told: Told): void {
    const passing = this.#passing;
    if (passing === undefined || generation !== passing.predecessor) return;
    // What a restart before this had asked for may be answered only now.
    if (told.type !== 'release' && told.generation !== passing.asked) return;
    passing.heir.send(told);
    if (told.type === 'release') return;
    if (told.type === 'aborted' || told.type === 'undone') this.#failed(passing, MoultError.from(told.error));
    else if (told.stage === 'commit') this.#parts.generations.machine.on('handed-on');
    else if (told.stage === 'confirm') this.#leave(passing);
  }

  /** A generation has ended. @returns whether the service goes on all the same, under the other supervisor. */
  outlives(generation: GenerationProcess): boolean {
    const passing = this.#passing;
    if (passing === undefined || generation !== passing.predecessor) return false;
    const { generations, log } = this.#parts;
    const { current } = generations;
    // Its own predecessor had not heard that it was confirmed, and serves again.
    const resumed = current === generation ? undefined : current;
    if (resumed !== undefined && generations.machine.is('passing')) {
      this.#keeps(passing, resumed);
      return false;
    }
    if (passing.successor === undefined || passing.heir.isClosed) {
      this.#over();
      generations.machine.on('not-taken');
      passing.heir.close();
      return false;
    }
    generations.current = undefined;
    const timeoutMs = passing.settings?.drainTimeoutMs ?? 0;
    resumed?.lifeline?.send({ type: 'retire', timeoutMs, keepOpen: true });
    passing.heir.send({ type: 'gone' });
    if (generations.machine.is('passed')) this.#leave(passing);
    else {
      generations.machine.on('crashed-in-passing');
      log.error(`generation ${generation.number} has ended; the successor of ${passing.who} takes over`);
    }
    return true;
  }

  /**
   * The service is to be stopped. @returns when the other supervisor has it, where it has taken over already;
   * undefined where the stop is this supervisor's affair.
   */
  finishBeforeStop(): Promise<void> | undefined {
    const passing = this.#passing;
    if (passing === undefined || !this.#parts.generations.machine.is('passed', 'orphaned')) return undefined;
    passing.isToStop = true;
    passing.predecessor.lifeline?.send({ type: 'confirm' });
    return this.#parts.shutdown.ended.then(() => {});
  }

  #offer(heir: Channel, { sharesFolder }: Message<'take-over'>): void {
    const { generations, held, shutdown, folder } = this.#parts;
    shutdown.assertNotBegun();
    const predecessor = this.#toGive();
    const { pid, uid } = heir.peer;
    const who = pid > 0 ? `the supervisor with process ${pid}` : `a supervisor of user ${uid} elsewhere`;
    const passing: Passing = {
      predecessor,
      heir,
      sharesFolder,
      who,
      isToStop: false,
    };
    this.#passing = passing;
    generations.machine.on('offer');
    shutdown.sparesListeners = true;
    this.#parts.log.info(`${who} asks to take over`);
    const late = setTimeout(() => heir.close(), QUESTION_TIMEOUT_MS);
    heir.closed.then(() => {
      clearTimeout(late);
      this.#lost(passing);
    });
    heir.on('expect', (message) => {
      clearTimeout(late);
      this.#expect(passing, message);
    });
    this.#answer(passing);
    const { number, door = '' } = predecessor;
    const offer = {
      type: 'offer',
      name: folder.name,
      generation: number,
      door,
      epoch: generations.epoch,
      lastNumber: generations.lastNumber,
      saysReady: generations.sayReady,
    } as const;
    // With the lock nobody else can become the supervisor, however the two of us end.
    heir.send(offer, folder.lock === undefined ? [] : [folder.lock.descriptor]);
    const { items, descriptors } = held.describe();
    heir.send({ type: 'inherit', epoch: generations.epoch, listeners: items }, descriptors);
  }

  #toGive(): GenerationProcess {
    const { generations, restarts, crashRecovery } = this.#parts;
    this.assertNone();
    if (restarts.isUnderWay || generations.starting() !== undefined || crashRecovery.isWaiting) {
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', 'a generation is just starting or taking over');
    }
    const { current } = generations;
    if (generations.machine.is('undoing'))
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', 'the generation that serves is just handing back');
    // Three supervisors would have a say in who serves.
    if (generations.machine.is('arriving', 'arrived', 'giving-back')) {
      const what = 'the service was just taken over from another supervisor, to which it may go back yet';
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', what);
    }
    if (current?.door === undefined || !current.isReachable) {
      throw new MoultError('MOULT_NOT_SERVING', 'no generation here can hand over');
    }
    return current;
  }

  #answer(passing: Passing): void {
    const { heir, predecessor } = passing;
    const { machine } = this.#parts.generations;
    // What comes late must not reach another handover of the same generation.
    const pass = (message: Message<'abort' | 'undo' | 'proceed' | 'confirm'>) => {
      if (this.#passing === passing) predecessor.lifeline?.send(message);
    };
    heir.on('abort', pass).on('undo', pass).on('proceed', pass).on('confirm', pass);
    heir.on('ask-state', ({ id }) => {
      predecessor.state(STATE_TIMEOUT_MS).then(
        (state) => heir.send({ type: 'state', id, state }),
        // It is told nothing, as by a generation that does not answer.
        () => {},
      );
    });
    heir.on('serving', () => {
      if (this.#passing !== passing) return;
      if (machine.is('orphaned')) this.#leave(passing);
      else machine.on('handed-on');
    });
  }

  async #expect(passing: Passing, { generation: number, settings }: Message<'expect'>): Promise<void> {
    const { generations } = this.#parts;
    const { heir, predecessor } = passing;
    try {
      const isOver = this.#passing !== passing;
      if (isOver || passing.asked !== undefined || number <= generations.lastNumber)
        throw new MoultError('MOULT_PROTOCOL_ORDER', `generation ${number} cannot be expected`);
      // Also if this fails: the number has been used.
      generations.countOn(number, generations.epoch);
      passing.asked = number;
      // The one before is not gone back to any more.
      for (const one of generations.own()) if (one !== predecessor) one.lifeline?.send({ type: 'confirm' });
      await predecessor.expect(number, settings, EXPECT_TIMEOUT_MS);
      passing.successor = number;
      passing.settings = settings;
      heir.send({ type: 'expecting', generation: number });
    } catch (error) {
      const report = asMoultError(error, 'MOULT_HANDOVER_ABORTED').report();
      heir.send({ type: 'expecting', generation: number, error: report });
      heir.close();
    }
  }

  // The other supervisor is gone, or has let go. Its successor may live, but has not proved itself: as long as
  // the predecessor can, it keeps serving.
  #lost(passing: Passing): void {
    if (this.#passing !== passing) return;
    const { generations, crashRecovery } = this.#parts;
    const { machine } = generations;
    const { predecessor, who } = passing;
    if (machine.is('orphaned')) {
      this.#over();
      if (passing.isToStop) void this.#parts.shutdown.stop();
      else if (machine.on('heir-lost') === 'revive')
        crashRecovery.revive(predecessor, `ended, and so did ${who}`);
      return;
    }
    const error = new MoultError('MOULT_HANDOVER_ABORTED', `${who} is gone`, { serving: 'predecessor' });
    // It says how that went: it may be confirmed in the same moment.
    if (passing.successor !== undefined && predecessor.isReachable)
      predecessor.lifeline?.send({ type: 'abort', error: error.report() });
    else this.#failed(passing, error);
  }

  #failed({ who, isToStop }: Passing, error: MoultError): void {
    this.#over();
    const { generations, probation, log } = this.#parts;
    generations.machine.on('not-taken');
    if (probation.canResume) generations.machine.on('resumable');
    log.error(
      `${who} did not take over (${error.message}); generation ${generations.current?.number} keeps serving`,
    );
    // It was told to stop when the service was the other one's already, which has given it back since.
    if (isToStop) void this.#parts.shutdown.stop();
  }

  // The successor of the other supervisor has not been let in, and must not be.
  #keeps(passing: Passing, { number }: GenerationProcess): void {
    const what = `generation ${number} serves again`;
    const error = new MoultError('MOULT_HANDOVER_ABORTED', what, { serving: 'predecessor' });
    const { heir, successor } = passing;
    this.#failed(passing, error);
    if (successor === undefined) heir.close();
    else heir.send({ type: 'aborted', generation: successor, error: error.report() });
  }

  #over(): void {
    this.#passing = undefined;
    this.#parts.shutdown.sparesListeners = false;
  }

  // Its channel stays open until this process ends: by that the other supervisor sees that it may have the name.
  #leave(passing: Passing): void {
    const { shutdown, log } = this.#parts;
    const { predecessor, heir, who, settings } = passing;
    this.#passing = undefined;
    this.#isCeded = true;
    this.#keepsFolder = passing.sharesFolder;
    log.info(`${who} has taken over; this supervisor exits after its generations`);
    const late = setTimeout(
      () => {
        log.warn(`generation ${predecessor.number} did not exit in time and is killed`);
        predecessor.kill();
      },
      (settings?.drainTimeoutMs ?? 0) + END_TIMEOUT_MS,
    );
    predecessor.exited.then(() => {
      clearTimeout(late);
      heir.send({ type: 'gone' });
    });
    shutdown.leave();
  }
}
