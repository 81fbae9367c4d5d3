import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import type { UnseenNote } from '../../lifecycle/listener-names.js';
import { wallClockMs } from '../../os/clock.js';
import { sessionOf } from '../../os/processes/proc-tree.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { howShown } from './shown-path.js';
import { isPortOfSystem, tcpAddress, type UnseenListener, unseenListeners } from './unseen-listeners.js';

/** How often to look in the first time of a generation, and later. */
const SOON_MS = 1000;
const LATER_MS = 30_000;
const FIRST_TIME_MS = 10_000;
/** What an earlier generation of the same release listened on, and this one does not after so long, is told of. */
const MISSING_MS = 5000;
/** How long a generation may take to show itself, before what listens in its tree is looked at. */
const SHOW_MS = 2000;
/** How long a successor may take to open what moult does not see, once it is ready. */
const OPEN_MS = 5000;
/** Between a listen and what is told of it. */
const SETTLE_MS = 300;
/** How long a generation may take to name what it listens on. */
const STATE_TIMEOUT_MS = 2000;

/** What is looked at, and where it is told. */
export interface UnseenParts {
  readonly generations: () => readonly GenerationProcess[];
  /** Where this generation is the one that serves; undefined where it is not. */
  readonly placeOf: (generation: GenerationProcess) => UnseenPlace | undefined;
  readonly held: HeldListeners;
  readonly folder: string;
  readonly log: Logger;
}

/** Where what a generation listens on is kept for later ones of its release. */
export interface UnseenPlace {
  readonly releases: { unseenOf(release: GenerationProcess['release']): UnseenNote | undefined };
  readonly noteUnseen: (generation: GenerationProcess, addresses: readonly string[]) => void;
}

/** Looks from time to time for what moult does not see, and tells of each once: an operator has to know before a restart. */
export class UnseenWatch {
  readonly #parts: UnseenParts;
  readonly #told = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  readonly #looked = new WeakSet<GenerationProcess>();
  readonly #missed = new WeakSet<GenerationProcess>();
  /** What these would leave with nobody, as an error; undefined where that is nothing. */
  readonly #guarded = new WeakMap<GenerationProcess, () => MoultError | undefined>();
  #isOn = false;
  #isOver = false;

  constructor(parts: UnseenParts) {
    this.#parts = parts;
  }

  /** Begins to look. */
  start(): void {
    this.#isOn = true;
    this.#later(SOON_MS);
  }

  /**
   * What a restart would leave with nobody, as was told: a process of this generation listens there, and none of the successor's.
   * Ports of the system's choice are not counted: another one may do as well.
   */
  leftBehind(generation: GenerationProcess, successor?: GenerationProcess): UnseenListener[] {
    if (this.#told.size === 0 || generation.exit !== undefined || generation.pid <= 0) return [];
    const isFixed = ({ address, shown }: UnseenListener) => shown === undefined && !isPortOfSystem(address);
    // One with a session of its own stays when the service ends.
    const isItsOwn = ({ pid }: UnseenListener) => sessionOf(pid) === sessionOf(generation.pid);
    const ones = this.#unseen(generation).filter(
      (one) => this.#told.has(one.address) && isFixed(one) && isItsOwn(one),
    );
    if (ones.length === 0 || successor === undefined) return ones;
    return this.#without(successor, ones);
  }

  /** Looks now at a generation that began a moment ago, so that it is known what a restart would leave behind. */
  async lookNow(generation: GenerationProcess): Promise<void> {
    const { servingSince } = generation;
    const isKnown = this.#looked.has(generation) && age(servingSince ?? 0) > FIRST_TIME_MS;
    if (!this.#isOn || isKnown) return;
    // The clock may have been set back.
    const earlyMs = servingSince === undefined ? 0 : Math.min(SETTLE_MS, SETTLE_MS - age(servingSince));
    if (earlyMs > 0) await pause(earlyMs);
    await this.#look(generation).catch(() => {});
  }

  /**
   * What processes of its predecessor listen on, this one must listen on, too, before it takes over.
   * @param left what the predecessor left, where it has ended before this one begins.
   */
  guard(successor: GenerationProcess, left?: readonly UnseenListener[]): void {
    this.#guarded.set(successor, () => {
      const missing = left === undefined ? this.#leftNow(successor) : this.#without(successor, left);
      return missing.length === 0 ? undefined : wouldLeave(missing, successor);
    });
  }

  /** What was noted of its release it must listen on before it takes over. */
  guardNoted(successor: GenerationProcess, noted: UnseenNote): void {
    this.#guarded.set(successor, () => {
      const missing = this.#missing(successor, noted);
      return missing.length === 0 ? undefined : wouldMiss(missing, noted, successor);
    });
  }

  /**
   * Before a successor takes over, and before it is confirmed: it is not to leave anybody behind.
   * @throws MOULT_NOT_REACHED with the addresses, who listens there, and what to do.
   */
  async assertNoneLeft(successor: GenerationProcess): Promise<void> {
    const leaves = this.#guarded.get(successor);
    if (leaves === undefined) return;
    const deadlineMs = performance.now() + OPEN_MS;
    for (;;) {
      const error = leaves();
      if (error === undefined || successor.exit !== undefined) return;
      // One that shares the port by its own wish may open it a little later.
      if (performance.now() >= deadlineMs) throw error;
      await pause(SETTLE_MS, undefined, { ref: false });
    }
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => {
      const living = this.#parts.generations().filter(isLiving);
      const isNew = living.some(
        ({ startedAt, servingSince }) => age(servingSince ?? startedAt) < FIRST_TIME_MS,
      );
      const looked = Promise.all(living.map((generation) => this.#look(generation)));
      // What could not be seen is looked for again.
      void looked
        .catch(() => {})
        .then(() => {
          if (!this.#isOver) this.#later(isNew || living.length === 0 ? SOON_MS : LATER_MS);
        });
    }, ms).unref();
  }

  async #look(generation: GenerationProcess): Promise<void> {
    const { servingSince, startedAt, lifeline } = generation;
    // What a successor opens behind its gate is held from its commit on.
    if (
      servingSince === undefined
        ? lifeline !== undefined || age(startedAt) < SHOW_MS
        : age(servingSince) < SETTLE_MS
    )
      return;
    await this.#tellFirst(generation);
    this.#looked.add(generation);
    this.#note(generation);
  }

  async #tellFirst(generation: GenerationProcess): Promise<void> {
    const first = this.#unseen(generation).filter(({ address }) => !this.#told.has(address));
    if (first.length === 0) return;
    // A port for a moment is not held, and one that has just been opened not yet: its generation knows of both.
    const known = await knownTo(generation);
    await pause(SETTLE_MS, undefined, { ref: false });
    if (this.#isOver || !isLiving(generation)) return;
    const still = new Set(this.#unseen(generation).map(({ inode }) => inode));
    for (const one of first) {
      // Each generation has a path of its own, and it is told once of all of them.
      const kind = one.shown === undefined ? one.address : one.address.replace(/\d+/g, 'N');
      if (known.has(one.address) || !still.has(one.inode) || this.#told.has(kind)) continue;
      this.#told.add(one.address).add(kind);
      this.#parts.log.warn(`generation ${generation.number}: ${whatItMeans(one)}`);
    }
  }

  // What a release has while it serves a rollback to it, or a start after a crash, is to bring back.
  #note(generation: GenerationProcess): void {
    const place = this.#parts.placeOf(generation);
    if (place === undefined || !isLiving(generation)) return;
    const { number, release, servingSince } = generation;
    const noted = place.releases.unseenOf(release);
    const missing =
      noted === undefined || noted.generation === number ? [] : this.#missing(generation, noted);
    if (noted !== undefined && missing.length > 0) {
      if (age(servingSince ?? 0) < MISSING_MS || this.#missed.has(generation)) return;
      this.#missed.add(generation);
      this.#parts.log.error(
        `generation ${number} does not listen on ${missing.join(', ')}, where generation ${noted.generation} of the same release did. ` +
          'moult does not hold what it does not see: nobody answers there until a process of the service listens again',
      );
      return;
    }
    const addresses = this.leftBehind(generation).map(({ address }) => address);
    if (String(addresses) !== String(noted?.addresses ?? [])) place.noteUnseen(generation, addresses);
  }

  #leftNow(successor: GenerationProcess): UnseenListener[] {
    const { livingPredecessor } = successor;
    return livingPredecessor === undefined ? [] : this.leftBehind(livingPredecessor, successor);
  }

  #without(successor: GenerationProcess, ones: readonly UnseenListener[]): UnseenListener[] {
    const theirs = this.#addresses(successor);
    return ones.filter(({ address }) => !theirs.has(address));
  }

  #missing(generation: GenerationProcess, { addresses }: UnseenNote): string[] {
    const theirs = this.#addresses(generation);
    return addresses.filter((address) => !theirs.has(address));
  }

  /** All on which processes of a generation listen. */
  #addresses(generation: GenerationProcess): Set<string> {
    return new Set(this.#unseen(generation, []).map(({ address }) => address));
  }

  #unseen(generation: GenerationProcess, held = this.#parts.held.describe().descriptors): UnseenListener[] {
    try {
      return unseenListeners(generation.pid, held, this.#parts.folder);
    } catch {
      // Without this the service runs as well; a kernel without sock_diag has nothing to tell.
      return [];
    }
  }
}

function whatItMeans({ address, pid, command, shown }: UnseenListener): string {
  const who = `process ${pid} (${command}) listens on ${address}`;
  if (shown === undefined)
    return (
      `${who}, which moult does not see. A restart does not pass it on: the new release finds it in use, and nothing listens there after ` +
      'the old one has exited'
    );
  return (
    `${who}, ${howShown(shown)}. moult cannot hold a path that contains a process number or a time: after a crash, clients are refused ` +
    'until the next process listens, and if a release fails after it has switched the link or the name, clients reach ' +
    'nobody. Listen on a fixed path: moult keeps that through both'
  );
}

function wouldLeave(left: readonly UnseenListener[], successor: GenerationProcess): MoultError {
  const whose =
    successor.livingPredecessor === undefined
      ? 'the one before'
      : `generation ${successor.livingPredecessor.number}`;
  const names = left.map(({ address }) => address);
  const who = left.map(({ address, pid, command }) => `${address} (process ${pid}: ${command})`).join(', ');
  return notReached(
    successor,
    names,
    `expected the new release to listen wherever ${whose} does, but nothing of it listens on ${who}. moult cannot hand that listener ` +
      'over: after the restart nobody would answer there. Open it in the main process or in the primary of ' +
      'node:cluster, or stop it first; --allow-fewer-listeners restarts without it',
  );
}

function wouldMiss(missing: readonly string[], noted: UnseenNote, successor: GenerationProcess): MoultError {
  const names = missing.join(', ');
  return notReached(
    successor,
    missing,
    `expected the release to listen wherever its generation ${noted.generation} did, but nothing of it listens on ${names}. moult cannot ` +
      'hand that listener over: nobody would answer there. If the release that serves now has it, stop that ' +
      'process first; moult rollback --allow-fewer-listeners goes back without it',
  );
}

function notReached(
  { livingPredecessor }: GenerationProcess,
  problems: readonly string[],
  what: string,
): MoultError {
  const { number } = livingPredecessor ?? {};
  const details = { problems, ...(number === undefined ? {} : { generation: number }) };
  return new MoultError('MOULT_NOT_REACHED', what, { stage: 'check', serving: 'predecessor', details });
}

function isLiving({ isOurs, isEnding, exit }: GenerationProcess): boolean {
  return isOurs && !isEnding && exit === undefined;
}

/** The TCP addresses of all listeners that a generation names; none where it does not answer. */
async function knownTo(generation: GenerationProcess): Promise<Set<string>> {
  if (generation.lifeline === undefined) return new Set();
  const state = await generation.state(STATE_TIMEOUT_MS).catch(() => undefined);
  return new Set(
    state?.listeners.flatMap(({ address: { address, port } }) =>
      typeof address === 'string' && typeof port === 'number' ? [tcpAddress(address, port)] : [],
    ),
  );
}

function age(sinceMs: number): number {
  return wallClockMs() - sinceMs;
}
