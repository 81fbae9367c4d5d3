import type { Logger } from 'pino';
import { MoultError } from '../errors.js';
import type { Message } from '../protocol/messages.js';
import type { GenerationProcess } from './generation-process.js';
import type { Generations } from './generations.js';
import type { Journal } from './journal.js';
import type { Probation } from './probation.js';
import { livingGenerations } from './recovery.js';
import type { Release } from './release.js';
import type { Releases } from './releases.js';
import type { Restarts } from './restarts.js';
import type { Reviver } from './reviver.js';
import type { Succession } from './succession.js';

/** How long the generations that a dead supervisor left may take to come back to the next one. */
const REJOIN_TIMEOUT_MS = 5000;
const LOOK_MS = 50;

type Rejoin = NonNullable<Message<'hello'>['rejoin']>;

/** What an adoption finds out, and whom it tells. */
export interface AdoptionParts {
  readonly generations: Generations;
  readonly restarts: Restarts;
  readonly succession: Succession;
  readonly probation: Probation;
  readonly releases: Releases;
  readonly reviver: Reviver;
  readonly journal: Journal;
  readonly log: Logger;
}

/** Takes over what an earlier supervisor of the service left: its generations, and its count of them. */
export class Adoption {
  readonly #parts: AdoptionParts;
  /** Successors of probations that go on, by the predecessor that told of it. */
  readonly #probations = new Map<GenerationProcess, number>();

  constructor(parts: AdoptionParts) {
    this.#parts = parts;
  }

  /**
   * Reads what the journal tells.
   * @param release completes what the journal does not keep, such as the environment.
   * @returns the generations that still live.
   */
  recover(release: Release): GenerationProcess[] {
    const { generations, releases, journal } = this.#parts;
    const { lastNumber, epoch, living, proved } = livingGenerations(journal.read());
    for (const startedFrom of proved) releases.proved({ ...release, ...startedFrom });
    generations.countOn(lastNumber, epoch);
    return living.flatMap((left) => generations.adopt(left, { ...release, ...left.startedFrom }) ?? []);
  }

  /**
   * Waits until those that live have come back.
   * @throws MOULT_PEER_TIMEOUT when one lives and none that serves has come.
   */
  async allBack(living: readonly GenerationProcess[]): Promise<void> {
    const { generations, reviver, log } = this.#parts;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), REJOIN_TIMEOUT_MS);
    });
    const gone = Promise.all(living.map((one) => one.exited)).then(() => 'gone' as const);
    const how = await Promise.race([late, gone, ...living.map((one) => one.serves)]);
    clearTimeout(timer);
    if (how === 'late') {
      const pids = living.map(({ pid }) => pid).join(', ');
      throw new MoultError(
        'MOULT_PEER_TIMEOUT',
        `an earlier generation still lives (process ${pids}) and does not answer: end it, then run again`,
      );
    }
    if (how === 'gone') {
      reviver.revive(living[0] as GenerationProcess, 'ended while no supervisor ran');
      return;
    }
    // The others, such as a predecessor in probation, come back in their own time; what does not is ended.
    await this.#othersBack(living);
    const { current } = generations;
    log.info(`generation ${current?.number} is adopted (process ${current?.servicePid})`);
  }

  /** A generation has come back, and says how it stands. */
  rejoin(generation: GenerationProcess, { state, accepting, epoch, successor }: Rejoin): void {
    const { generations, restarts, succession } = this.#parts;
    generation.lifeline?.send({ type: 'direct-output' });
    generations.reached(epoch);
    if (state === 'probation' || state === 'draining' || state === 'undoing') generation.hasServed();
    // A handover that lost its supervisor before commit is called off.
    if (['expecting', 'inheriting', 'ready'].includes(state) && !restarts.hasHandover) {
      const error = new MoultError('MOULT_HANDOVER_ABORTED', 'the supervisor was replaced');
      generation.lifeline?.send({ type: 'abort', error: error.report() });
    }
    if (state === 'probation' && successor !== null) this.#probations.set(generation, successor);
    else this.#probations.delete(generation);
    if (accepting) succession.serving(generation, epoch);
    else if (state === 'serving') {
      generation.isEnding = true;
      generation.kill();
    }
    this.#relink();
  }

  async #othersBack(living: readonly GenerationProcess[]): Promise<void> {
    const limit = performance.now() + REJOIN_TIMEOUT_MS;
    const isAway = (one: GenerationProcess) => one.exit === undefined && !one.isReachable;
    while (living.some(isAway) && performance.now() < limit) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    for (const one of living) if (isAway(one) && one !== this.#parts.generations.current) one.kill();
  }

  // Both sides of a probation have come back, in whichever order: if the one fails the other resumes.
  #relink(): void {
    for (const [predecessor, number] of this.#probations) {
      const successor = this.#parts.generations.numbered(number);
      if (successor?.servingSince === undefined || !predecessor.isReachable) continue;
      this.#probations.delete(predecessor);
      successor.predecessor = predecessor;
      this.#parts.probation.begin(successor, predecessor);
    }
  }
}
