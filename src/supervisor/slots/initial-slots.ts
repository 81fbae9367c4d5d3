import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import type { JournalEntry } from '../../lifecycle/journal-entry.js';
import { isProcess } from '../../os/processes/process.js';
import type { Journal } from '../journal/journal.js';
import type { RunFolder } from '../journal/run-folder.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { type LeftBehind, livingGenerations } from '../process/journal-replay.js';
import { leftBehind, leftDoors, unknownGenerations } from '../process/orphan-doors.js';
import type { Release } from '../releases/release.js';
import type { Slot } from './slot.js';
import type { Slots } from './slots.js';

/** What an earlier supervisor left of one slot. */
interface Left {
  readonly slot: Slot;
  readonly living: readonly GenerationProcess[];
}

/** What beginnings are made of. */
export interface InitialSlotsParts {
  readonly slots: Slots;
  readonly options: SupervisorOptions;
  readonly journal: Journal;
  readonly folder: RunFolder;
  readonly log: Logger;
}

/** How several slots come to serve: those that an earlier supervisor left, or a first one, and then others like it. */
export class InitialSlots {
  readonly #slots: Slots;
  readonly #options: SupervisorOptions;
  readonly #journal: Journal;
  readonly #folder: RunFolder;
  readonly #log: Logger;
  #expected = 1;

  constructor({ slots, options, journal, folder, log }: InitialSlotsParts) {
    this.#slots = slots;
    this.#options = options;
    this.#journal = journal;
    this.#folder = folder;
    this.#log = log;
  }

  /** With how many slots the start is complete. */
  get expected(): number {
    return this.#expected;
  }

  /**
   * Makes the slots, and reads what is left of them.
   * @param release completes what the journal does not keep.
   * @param mustRead throws where the journal is there and cannot be read; else what lives is known by its sockets alone.
   * @throws MOULT_BAD_OPTION when generations live that were started without slots, or with them and this
   *   supervisor has none.
   */
  recover(release: Release, mustRead = false): Left[] {
    const { slots } = this.#options;
    const entries = this.#journal.read(
      (lines) => this.#tellLeftOut(lines),
      (error) => {
        if (mustRead) throw error;
        this.#log.error(
          `the journal cannot be read (${String(error)}): running generations are found by their sockets`,
        );
      },
    );
    const told = livingGenerations(entries).living.filter(({ pid, ticks }) => isProcess(pid, ticks));
    const { env: _, ...startedFrom } = release;
    const untold = unknownGenerations(leftDoors(this.#folder.path), told, startedFrom);
    for (const { generation, pid } of untold)
      this.#log.warn(`generation ${generation} (process ${pid}) is running, but not in the journal`);
    const alive = [...told, ...untold];
    if (alive.some(({ slot }) => (slot === undefined) !== (slots === null))) {
      const how = slots === null ? 'with --slots: give it again' : 'without --slots: leave it out';
      const what = 'the generations left by an earlier supervisor were started';
      throw new MoultError('MOULT_BAD_OPTION', `${what} ${how}, or stop them first`);
    }
    const known = new Map<string, Release>();
    return this.#indices(entries, alive).map((index) => {
      const slot = this.#slots.at(index);
      return {
        slot,
        living: slot.adoption.recover(
          entries.filter((one) => index === undefined || one.slot === index),
          release,
          untold.filter((one) => one.slot === index),
          known,
        ),
      };
    });
  }

  #tellLeftOut(lines: readonly string[]): void {
    const count = lines.length === 1 ? 'a line' : `${lines.length} lines`;
    const [first = ''] = lines;
    this.#log.warn(
      `${count} of the journal cannot be read and is skipped: ${JSON.stringify(first.slice(0, 200))}`,
    );
  }

  /**
   * Takes over a generation that has come back, and of which nothing is known but its process.
   * @returns where it belongs; nothing where it has ended, or belongs to no slot.
   */
  meet(
    service: number,
    number: number,
    release: Release,
  ): { slot: Slot | undefined; generation: GenerationProcess | undefined } {
    const { env: _, ...startedFrom } = release;
    const left = leftBehind(service, number, startedFrom);
    const slot = this.#slots.all.find(({ index }) => index === left?.slot);
    if (left === undefined || slot === undefined) return { slot, generation: undefined };
    this.#log.warn(`generation ${number} (process ${left.pid}) has reconnected, but is not in the journal`);
    return { slot, generation: slot.generations.adopt(left, release) };
  }

  // As many as there were, where some of them live.
  #indices(entries: readonly JournalEntry[], alive: readonly LeftBehind[]): (number | undefined)[] {
    const { slots } = this.#options;
    if (slots === null) return [undefined];
    const before = entries.findLast((entry) => typeof entry.slots === 'number')?.slots;
    const count = alive.length > 0 && before !== undefined ? Number(before) : slots;
    const first = Array.from({ length: count }, (_, index) => index);
    this.#expected = count;
    return [...new Set([...first, ...alive.map(({ slot }) => slot ?? 0)])];
  }

  /**
   * Waits until what is left has come back, and starts what is missing like the rest.
   * @param release what the first one starts with where none has come back and nothing has proved itself.
   */
  async allBack(left: readonly Left[], release: Release): Promise<void> {
    const some = left.filter(({ living }) => living.length > 0);
    // Only when the others have come are all listeners held, which those that are missing need.
    await Promise.all(some.map(({ slot, living }) => slot.adoption.allBack(living, async () => {})));
    const model = left.find(({ slot }) => slot.serves)?.slot;
    const first = left[0]?.slot;
    if (model === undefined && first !== undefined) {
      if (!isUnderWay(first)) this.othersAfter(first.begin(first.releases.lastGood() ?? release), first);
      return;
    }
    for (const { slot } of left) {
      if (model !== undefined && !slot.serves && !isUnderWay(slot))
        this.#slots.startLike(model, slot.index ?? 0);
    }
  }

  /** The others begin when this one, the first, serves. */
  othersAfter(first: GenerationProcess, slot: Slot): void {
    const begin = () => {
      for (let index = 1; index < this.#expected; index += 1) {
        const other = this.#slots.at(index);
        // One that an earlier supervisor left may have come back to it, of which nothing was known.
        if (!slot.generations.isClosed && !other.serves && !isUnderWay(other))
          this.#slots.startLike(slot, index);
      }
    };
    // It, or one that has come back and serves in its place.
    first.serves.then(begin);
    first.exited.then(() => {
      if (first.servingSince === undefined && slot.serves) begin();
    });
  }
}

/** Whether somebody is on the way to serve there. */
export function isUnderWay({ generations, crashRecovery }: Slot): boolean {
  return generations.starting() !== undefined || crashRecovery.isWaiting;
}
