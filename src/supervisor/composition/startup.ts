import type { Logger } from 'pino';
import { isProcess } from '../../os/processes/process.js';
import type { ServiceManagerLink } from '../../service-manager/service-manager.js';
import type { Journal } from '../journal/journal.js';
import type { RunFolder } from '../journal/run-folder.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { livingGenerations } from '../process/journal-replay.js';
import { type LeftDoor, leftDoors } from '../process/orphan-doors.js';
import type { ListenSockets } from '../programs/listen-sockets.js';
import { servedLast } from '../programs/program-factory.js';
import { ProgramGeneration } from '../programs/program-generation.js';
import { takeBackSockets } from '../programs/socket-recovery.js';
import { type Release, resolveRelease, type ServiceCommand } from '../releases/release.js';
import type { ConnectionRouter } from '../serving/connection-router.js';
import { tellWhatItWaitsFor } from '../serving/first-start-watch.js';
import type { FolderGuard } from '../serving/folder-guard.js';
import type { Shutdown } from '../serving/shutdown.js';
import { type InitialSlots, isUnderWay } from '../slots/initial-slots.js';
import type { Slot } from '../slots/slot.js';
import type { Slots } from '../slots/slots.js';
import type { StickyRoutes } from '../slots/sticky-routes.js';
import type { Giver, IncomingTakeover } from '../takeover/incoming-takeover.js';

const OPEN_AGAIN_MS = 500;
/** How often it is tried to read what the program before this one wrote. */
const READ_TIMES = 20;
/** How often those that do not come back are called. */
const CALL_MS = 500;

/** What a supervisor begins with. */
export interface StartupParts {
  readonly folder: RunFolder;
  readonly service: ServiceCommand;
  readonly options: SupervisorOptions;
  readonly held: HeldListeners;
  readonly own: ListenSockets;
  readonly slots: Slots;
  /** The only slot, or the one that is there from the first start to the last stop. */
  readonly first: Slot;
  readonly slotStartup: InitialSlots;
  readonly homes: StickyRoutes;
  readonly connectionRouter: ConnectionRouter;
  readonly guard: FolderGuard;
  /** Whether the run folder is this supervisor's alone now. */
  readonly isOurs: () => boolean;
  readonly takeOver: IncomingTakeover;
  readonly manager: ServiceManagerLink;
  readonly shutdown: Shutdown;
  readonly journal: Journal;
  readonly log: Logger;
}

/** The start of a supervisor: opens its door, and takes over what an earlier one left, or starts the first generation. */
export class Startup {
  readonly #parts: StartupParts;
  #calling: NodeJS.Timeout | undefined;

  constructor(parts: StartupParts) {
    this.#parts = parts;
  }

  /** Calls nobody any more that has not come back. */
  stop(): void {
    clearInterval(this.#calling);
  }

  /**
   * Opens the listeners that `--listen` names, or takes back copies of them from the generations that an earlier supervisor left.
   * A service that knows moult and may not be looked into brings what it has claimed when it comes back.
   * @throws MOULT_LISTEN_FAILED
   */
  openListeners(): void {
    const { listen, isProgram } = this.#parts.options;
    const entries = listen.length === 0 ? [] : this.#parts.journal.read();
    const living = livingGenerations(entries).living.filter(({ pid, ticks }) => isProcess(pid, ticks));
    const isHeld = (listener: string) => this.#parts.held.descriptorOf(listener) !== undefined;
    // A service that knows moult brings what it has claimed; of what it has not, it keeps a copy that it does not bring.
    const left = takeBackSockets(listen, entries, living, isProgram ? isHeld : () => true);
    this.#parts.own.open(this.#parts.manager, isProgram, left, !isProgram && living.length > 0);
  }

  /**
   * Opens the door, and takes over the generations that an earlier supervisor left, or starts the first.
   * @param giver the supervisor from which the first takes over, where there is one.
   * @param before what the program before an exec left, where there was one: the socket of the door, if that was bound.
   * @throws MOULT_BAD_OPTION when the command cannot be resolved; MOULT_PEER_TIMEOUT when an earlier
   *   generation lives but does not come back; any code of a handover when a take-over failed.
   */
  async start(giver?: Giver, before?: { readonly control?: number }): Promise<void> {
    // What the journal of a folder that both have tells is of the other's.
    const isOfOther = giver?.sharesFolder === true && giver.ask() !== undefined;
    const { release, left } = await this.#recover(before !== undefined, isOfOther);
    const control = before?.control;
    const living = left.flatMap((one) => one.living);
    if (control === undefined) await this.#openDoor(living.length > 0);
    else this.#parts.connectionRouter.inherit(this.#parts.folder.control, control);
    this.#parts.guard.start(this.#parts.isOurs);
    const { expected } = this.#parts.slotStartup;
    const slots = this.#hasSlots ? { slots: expected } : {};
    this.#parts.journal.write({ event: 'run', pid: process.pid, command: release.label, ...slots });
    if (this.#parts.options.isProgram) {
      this.#parts.own.watch((what) => this.#parts.log.warn(what));
      this.#resume(living);
    }
    const begin = () => this.#begin(release, giver);
    this.#calling = setInterval(() => this.#callThoseAway(), CALL_MS).unref();
    if (living.length === 0) await begin();
    else if (this.#hasSlots) await this.#parts.slotStartup.allBack(left, release);
    else await this.#parts.first.adoption.allBack(living, giver && begin);
    await this.#parts.own.brought();
    this.#parts.homes.begin(left.flatMap(({ slot, living: one }) => (one.length > 0 ? slot : [])));
  }

  // What lives is not left alone because its supervisor's next program cannot read something just now.
  async #recover(
    isInItsPlace: boolean,
    isOfOther: boolean,
  ): Promise<{ release: Release; left: ReturnType<InitialSlots['recover']> }> {
    for (let times = 1; ; times += 1) {
      const isLast = times >= READ_TIMES;
      try {
        const release = this.#releaseAtStart(isInItsPlace && isLast);
        const left = isOfOther ? [] : this.#parts.slotStartup.recover(release, isInItsPlace && !isLast);
        return { release, left };
      } catch (error) {
        if (!isInItsPlace || this.#parts.shutdown.hasBegun) throw error;
        if (times === 1)
          this.#parts.log.error(`${String(error)}: running generations keep running, and moult tries again`);
      }
      await new Promise((resolve) => setTimeout(resolve, OPEN_AGAIN_MS));
    }
  }

  // Where the command cannot be found for long, what lives is followed by what it was started from.
  #releaseAtStart(mayBeThatOfBefore: boolean): Release {
    try {
      return resolveRelease(this.#parts.service);
    } catch (error) {
      const before = mayBeThatOfBefore
        ? livingGenerations(this.#parts.journal.read()).living.at(-1)
        : undefined;
      if (before === undefined) throw error;
      return { ...before.startedFrom, env: process.env };
    }
  }

  // What lives is not left alone because there is no room for a socket just now.
  async #openDoor(isAwaited: boolean): Promise<void> {
    for (let isTold = false; ; isTold = true) {
      try {
        this.#parts.connectionRouter.open(this.#parts.folder.control);
        return;
      } catch (error) {
        if (!isAwaited || this.#parts.shutdown.hasBegun) throw error;
        if (!isTold)
          this.#parts.log.error(`${String(error)}: running generations keep running, and moult tries again`);
      }
      await new Promise((resolve) => setTimeout(resolve, OPEN_AGAIN_MS));
      this.#parts.folder.clear();
    }
  }

  #callThoseAway(): void {
    const isAway = (one: GenerationProcess) => one.isAdopted && !one.isReachable && one.exit === undefined;
    if (this.#parts.options.isProgram || !this.#parts.slots.generations().some(isAway)) return;
    for (const door of this.#leftDoors()) {
      const generation = this.#parts.slots.placeOf(door.pid)?.generation;
      if (generation !== undefined && isAway(generation))
        this.#parts.connectionRouter.call(door).catch(() => {});
    }
  }

  #leftDoors(): LeftDoor[] {
    try {
      return leftDoors(this.#parts.folder.path);
    } catch {
      // There is no room for a socket just now: the next look may see them.
      return [];
    }
  }

  async #begin(release: Release, giver: Giver | undefined): Promise<void> {
    const offer = giver?.ask();
    if (giver !== undefined && offer !== undefined) await this.#parts.takeOver.begin(giver, offer, release);
    else {
      const slot = this.#parts.first;
      // What an earlier supervisor left has just ended, and its last good release is on its way.
      if (isUnderWay(slot)) return;
      // A release that listens elsewhere than the one before must not wait for what the unit passed.
      const first = slot.begin(release, slot.generations.settings(this.#parts.held.size > 0));
      tellWhatItWaitsFor(first, this.#parts.options.isProgram, this.#parts.log);
      this.#parts.slotStartup.othersAfter(first, slot);
    }
  }

  // Programs do not come back by themselves: the one that served serves, and what else is left comes to its end.
  #resume(living: readonly GenerationProcess[]): void {
    const entries = this.#parts.journal.read();
    const current = servedLast(entries);
    // To many servers a second stop signal means at once.
    const isStopping = (number: number) =>
      entries.some(({ event, generation }) => event === 'stopping' && generation === number);
    for (const one of living) {
      if (one.number === current)
        this.#parts.first.servingState.servesAgain(one, this.#parts.first.generations.epoch);
      else if (one instanceof ProgramGeneration) one.comeToEnd(isStopping(one.number));
    }
  }

  get #hasSlots(): boolean {
    return this.#parts.options.slots !== null;
  }
}
