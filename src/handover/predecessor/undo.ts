import { MoultError } from '../../errors.js';
import { type GenerationContext, movableClaims } from '../generation-context.js';
import type { Taking } from '../taking.js';
import { type HandoverAttempt, warnOfLoss } from './handover-attempt.js';
import type { IncomingConnections } from './incoming-connections.js';

/** How long a living successor may take to stop accepting when it must hand back; then it is ended. */
const HAND_BACK_TIMEOUT_MS = 2000;
/** How long what a successor has said until its end may take to be heard. */
const LAST_WORDS_MS = 1000;

/** What an undo needs of the generation that serves again. */
export interface UndoParts {
  readonly context: GenerationContext;
  readonly feeds: IncomingConnections;
  /**
   * The successor accepts no more: this generation may.
   * @param alive whether the successor lives, and hands back what it has.
   * @param resumeTasks to be called with the epoch in which this generation serves.
   */
  resume(alive: boolean, resumeTasks: (epoch: number) => void): void;
}

/**
 * The predecessor's side of an undo: takes back what a successor got at the commit. The successor's side is
 * ../hand-back.ts. The successor must stop accepting before this side accepts: at every moment at most one of them does.
 * One that lives says so itself, and gives its connections back; one that does not answer is ended first.
 */
export class Undo {
  readonly #attempt: HandoverAttempt;
  readonly #parts: UndoParts;
  #hasAnswered = false;

  constructor(attempt: HandoverAttempt, parts: UndoParts) {
    this.#attempt = attempt;
    this.#parts = parts;
  }

  /** @param isAlive whether the successor may still answer. */
  begin(isAlive: boolean): void {
    const { channel, taking } = this.#attempt;
    if (!isAlive || taking === undefined) {
      this.#endSuccessor();
      return;
    }
    this.#limitAnswer();
    channel.closed.then(() => this.#endSuccessor());
    this.#attempt.whenPartComes = () => {
      if (this.#isWaiting) this.#limitAnswer();
    };
    const tasks = this.#attempt.giving.givenTasks;
    channel.on('handed-back', ({ hearsResumed, door }) => {
      if (this.#isWaiting) this.#answered(taking, tasks, hearsResumed === true, door);
    });
    this.#ask(tasks);
  }

  // A restore that takes long may end when this undo is over, and another one is on.
  get #isOn(): boolean {
    return this.#attempt.isStill('undoing');
  }

  get #isWaiting(): boolean {
    return this.#isOn && !this.#hasAnswered;
  }

  #limitAnswer(): void {
    this.#attempt.limit.set(HAND_BACK_TIMEOUT_MS, () => this.#endSuccessor());
  }

  #ask(tasks: string[]): void {
    const { context } = this.#parts;
    const { settings, channel } = this.#attempt;
    const { drainTimeoutMs, drainSpreadMs } = settings;
    const spread = drainSpreadMs === undefined ? {} : { drainSpreadMs };
    const threads = context.doorsForThreads();
    const doors = threads.length === 0 ? {} : { threads };
    channel.send({
      type: 'hand-back',
      claims: movableClaims(context),
      drainTimeoutMs,
      ...spread,
      state: context.state.wants(),
      tasks,
      ...doors,
      taskParts: true,
      saysResumed: true,
    });
  }

  #answered(taking: Taking, tasks: string[], hearsResumed: boolean, door: string | undefined): void {
    this.#hasAnswered = true;
    const { channel, limit, settings } = this.#attempt;
    channel.off('abort');
    // Connections follow at once, whatever the state that came before them still takes to be restored.
    this.#parts.feeds.takeFrom(channel, (then) => taking.whenTaken(then), door);
    const resume = () => this.#resume(taking, tasks, hearsResumed);
    const restoreMs = settings.readyTimeoutMs;
    limit.set(restoreMs, () => {
      warnOfLoss(new MoultError('MOULT_STATE_TIMEOUT', `state was not restored within ${restoreMs} ms`));
      resume();
    });
    taking.whenTaken(resume);
  }

  #resume(taking: Taking, tasks: string[], hearsResumed: boolean): void {
    if (!this.#isOn) return;
    const { channel, giving } = this.#attempt;
    this.#attempt.end();
    giving.forget();
    this.#parts.resume(true, (epoch) => {
      // Before anybody else hears of it: from now on what this generation has is not the other's any more.
      if (hearsResumed) channel.send({ type: 'resumed' });
      giving.resumeTasks(epoch, tasks);
      taking.expectTasks(epoch, tasks, (name) => giving.givenWith(name));
    });
  }

  #endSuccessor(): void {
    if (!this.#isWaiting) return;
    const { channel, limit, taking } = this.#attempt;
    this.#attempt.kill();
    const resume = () => this.#resumeWithout();
    if (taking === undefined) {
      resume();
      return;
    }
    // What it has said of its tasks until its end is heard first.
    limit.set(LAST_WORDS_MS, resume);
    if (channel.isClosed) taking.whenTaken(resume);
    else channel.closed.then(() => taking.whenTaken(resume));
  }

  #resumeWithout(): void {
    if (!this.#isWaiting) return;
    const { channel, giving } = this.#attempt;
    this.#attempt.end();
    channel.close();
    giving.forget();
    this.#parts.resume(false, (epoch) => giving.resumeTasks(epoch, []));
  }
}
