import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../../errors.js';
import { namesOf } from '../../lifecycle/listener-names.js';
import type { Journal } from '../journal/journal.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { OutsideLook } from '../reachability/outside-look.js';
import type { UnseenWatch } from '../reachability/unseen-watch.js';
import type { ReleaseHistory } from '../releases/release-history.js';
import { owedBy } from '../restart/owed-listeners.js';
import type { LoneEnd, Probation } from '../restart/probation.js';
import type { StartedFiles } from '../restart/started-files.js';
import type { GenerationExits } from './generation-exits.js';
import type { Teller } from './teller.js';

/** What changes when a generation is confirmed. */
export interface ConfirmationParts {
  readonly generations: Generations;
  readonly probation: Probation;
  readonly look: OutsideLook;
  readonly unseen: Pick<UnseenWatch, 'assertNoneLeft'>;
  readonly held: HeldListeners;
  readonly releases: ReleaseHistory;
  readonly startedFiles: StartedFiles;
  readonly manager: Teller;
  readonly options: SupervisorOptions;
  readonly journal: Journal;
  readonly log: Logger;
}

/** How often it is looked whether one listens on what it does not listen on yet, at first and later. */
const LOOK_MS = 100;
const MAX_LOOK_MS = 1000;
/** How long a predecessor may take to say on what it listens. */
const STATE_TIMEOUT_MS = 2000;

/** Confirms generations that have proved themselves: with a predecessor, which decides, or alone. */
export class Confirmation {
  readonly #parts: ConfirmationParts;
  readonly #exits: () => GenerationExits;
  /** Those at which it is being looked from outside, before they are confirmed. */
  readonly #looking = new Set<GenerationProcess>();

  constructor(parts: ConfirmationParts, exits: () => GenerationExits) {
    this.#parts = parts;
    this.#exits = exits;
  }

  /** A successor has proved itself. */
  confirmed(number: number): void {
    const { generations, probation, held } = this.#parts;
    const inProbation = probation.successor;
    if (probation.end(number)) generations.machine.on('confirmed');
    const successor = generations.numbered(number);
    if (successor?.predecessor !== undefined) held.handedOn(successor.predecessor.number);
    if (successor !== undefined) {
      successor.predecessor = undefined;
      // Its predecessor was told so before it heard of an undo.
      successor.isUndone = false;
      this.#prove(successor);
    }
    // It died in the same moment, when its predecessor was still thought able to resume.
    else if (inProbation !== undefined) this.#exits().nobodyLeft(inProbation, 'ended');
  }

  /** The probation of this successor is over but for a look from outside; its predecessor waits for that. */
  verify(predecessor: GenerationProcess, number: number): void {
    const { generations, probation } = this.#parts;
    const successor = generations.numbered(number);
    if (successor === undefined) return;
    probation.elapsed(number);
    // It asks again where it has not heard for long.
    if (this.#looking.has(successor)) return;
    this.#looking.add(successor);
    // It may have been undone meanwhile, and its predecessor be watching another one.
    const isStill = () => successor.predecessor === predecessor && !successor.isEnding;
    // One that an earlier supervisor started may have to come back first.
    const looked = successor.serves.then(() => this.#passes(successor));
    const over = () => this.#looking.delete(successor);
    looked.then(over, over);
    looked.then(
      (isFound) => isFound && isStill() && predecessor.lifeline?.send({ type: 'confirm' }),
      (error) => {
        if (!isStill()) return;
        generations.undo(predecessor, successor, asMoultError(error, 'MOULT_NOT_REACHED'));
      },
    );
  }

  /** One serves without a predecessor. Where there is a release to come back to, it has to prove itself as any other. */
  watchAlone(generation: GenerationProcess): void {
    const { generations, startedFiles } = this.#parts;
    const known = startedFiles.isKnown(generation);
    if (known === undefined) this.#watchAlone(generation);
    else
      known.then(() => {
        const isOver = generation.exit !== undefined || generation.isEnding;
        if (generations.current === generation && !isOver) this.#watchAlone(generation);
      });
  }

  #watchAlone(generation: GenerationProcess): void {
    const { releases, probation, held } = this.#parts;
    const known = releases.lastGood();
    if (known === undefined || known === generation.release) {
      this.#prove(generation);
      return;
    }
    // There is no predecessor whose listeners the look at its end could compare with.
    const { number, late } = generation;
    const owed = owedBy(generation, releases);
    const isOld = (name: string) => held.hadBefore(name, number) || owed.includes(name);
    const inherited = held.namesOf(number).filter((name) => isOld(name) && !late?.has(name));
    // Watched anew after an undo, it may have closed some meanwhile.
    generation.inherited = new Set([...generation.inherited, ...inherited]);
    probation.beginAlone(generation, this.#loneEnd(generation));
  }

  /** A predecessor has ended in the probation of its successor: there is nobody left to go back to. */
  goesOnAlone(predecessor: GenerationProcess, successor: GenerationProcess): void {
    const { probation, held } = this.#parts;
    const inherited = held.namesOf(predecessor.number);
    if (!probation.goesOnAlone(predecessor, this.#loneEnd(successor))) return;
    successor.inherited = new Set([...inherited, ...successor.inherited]);
    held.handedOn(predecessor.number);
    successor.predecessor = undefined;
  }

  #loneEnd(generation: GenerationProcess): LoneEnd {
    const { options, log, manager } = this.#parts;
    let isIncomplete = false;
    return {
      look: async () => {
        const lacks = await this.#lacks(generation);
        const isFound = await this.#look(generation);
        isIncomplete = lacks.length > 0;
        if (isIncomplete) throw notListening(generation, lacks);
        return isFound;
      },
      proved: () => this.confirmed(generation.number),
      failed: ({ message, code }) => {
        const what = `generation ${generation.number} failed in its probation: ${message} (${code})`;
        log.error(what);
        manager.tell(what);
        // The last good release is started in its place. What has come to be there instead of it would listen on no more.
        if (options.restart !== 'never' && !isIncomplete) generation.kill();
      },
    };
  }

  // What the last good release listened on, and this one never has, once it is waited for no more.
  async #lacks(generation: GenerationProcess): Promise<string[]> {
    const { releases, held } = this.#parts;
    const owed = owedBy(generation, releases);
    const isAwaited = () => owed.some((name) => generation.late?.has(name));
    while (isAwaited() && generation.exit === undefined && !generation.isEnding)
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS).unref());
    const has = held.namesOf(generation.number);
    return owed.filter((name) => !has.includes(name) && !generation.inherited.has(name));
  }

  // One without listeners is not asked by a look. @returns false where it has failed meanwhile.
  async #look(generation: GenerationProcess): Promise<boolean> {
    const { look, probation } = this.#parts;
    const { looked } = await look.at(generation);
    return looked > 0 || probation.answersStill(generation);
  }

  // What the predecessor has opened since it was replaced the successor must have come to, too: it was given what moult
  // sees of that, and a helper that moult does not see finds the address taken.
  async #passes(successor: GenerationProcess): Promise<boolean> {
    const isFound = await this.#lookUntilAllListen(successor);
    if (isFound) await this.#parts.unseen.assertNoneLeft(successor);
    return isFound;
  }

  async #lookUntilAllListen(successor: GenerationProcess): Promise<boolean> {
    const { look, probation } = this.#parts;
    const beganMs = performance.now();
    for (let waitMs = LOOK_MS; ; waitMs = Math.min(2 * waitMs, MAX_LOOK_MS)) {
      const { looked, late: lacks = [] } = await look.at(successor);
      const late =
        lacks.length === 0 || mayLack(successor) ? [] : await whatHas(successor.predecessor, lacks);
      if (late.length === 0) return looked > 0 || probation.answersStill(successor);
      if (successor.exit !== undefined || successor.isEnding) return false;
      if (performance.now() - beganMs > successor.settings.readyTimeoutMs)
        throw notYetListening(successor, late);
      await new Promise((resolve) => setTimeout(resolve, waitMs).unref());
    }
  }

  // It has proved itself: a crash or a rollback may come back to it.
  #prove(generation: GenerationProcess): void {
    if (generation.isProved) return;
    generation.isProved = true;
    generation.inherited = new Set();
    const { generations, releases, journal } = this.#parts;
    releases.proved(generation.release);
    journal.write({ event: 'confirmed', generation: generation.number, epoch: generations.epoch });
  }
}

/** Which of these the predecessor has still: its service may have closed them again. Where it does not say, all. */
async function whatHas(
  predecessor: GenerationProcess | undefined,
  names: readonly string[],
): Promise<readonly string[]> {
  if (predecessor === undefined) return names;
  const state = await predecessor.state(STATE_TIMEOUT_MS).catch(() => undefined);
  if (state === undefined) return names;
  const has = new Set(state.listeners.map(({ name }) => name));
  return names.filter((name) => has.has(name));
}

/** Whether it may have less than its predecessor: by the operator's wish, or because it had so before. What an earlier supervisor was asked is not known. */
function mayLack({ settings: { allowFewerListeners, expects }, isAdopted }: GenerationProcess): boolean {
  return isAdopted || allowFewerListeners || expects !== undefined;
}

function notYetListening(
  { number, predecessor, settings: { readyTimeoutMs } }: GenerationProcess,
  late: readonly string[],
): MoultError {
  const who = predecessor === undefined ? 'The generation before' : `Generation ${predecessor.number}`;
  const what =
    `generation ${number} has not listened on ${namesOf(late)} within ${readyTimeoutMs} ms (--ready-timeout). ${who} opened that during ` +
    'the restart; --allow-fewer-listeners restarts without it';
  return new MoultError('MOULT_NOT_REACHED', what, { serving: 'predecessor' });
}

function notListening({ number }: GenerationProcess, lacks: readonly string[]): MoultError {
  const what = `generation ${number} does not listen on ${namesOf(lacks)}, as the last good release did`;
  return new MoultError('MOULT_NOT_REACHED', what);
}
