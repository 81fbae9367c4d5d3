import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../../errors.js';
import { startTicks } from '../../os/processes/process.js';
import type { RunFolder } from '../journal/run-folder.js';
import type { HeldListeners, KeptListener } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { ConnectionRouter } from '../serving/connection-router.js';
import type { Shutdown } from '../serving/shutdown.js';
import type { RollingRestart } from '../slots/rolling-restart.js';
import type { Slot } from '../slots/slot.js';
import type { Slots } from '../slots/slots.js';
import type { IncomingTakeover } from '../takeover/incoming-takeover.js';
import type { LivingGeneration } from './next-program.js';

/** The answer to who asked gets out first. */
const UPGRADE_DELAY_MS = 50;

/** The program that this process can become. */
export interface NextProgram {
  /** Has it started beside this one, to see that it could take over. @throws MOULT_UPGRADE_FAILED */
  rehearse(held: readonly KeptListener[], living: readonly LivingGeneration[]): Promise<unknown>;
  /** Becomes it. @param leaves the socket at which it is reached, and whether a restart is to begin. @throws MOULT_SYSTEM_CALL; nothing has changed then. */
  become(
    held: readonly KeptListener[],
    leaves: { readonly control?: number; readonly restarts?: boolean },
  ): never;
}

/** What an upgrade must not meet, and what it leaves to the next program. */
export interface InPlaceUpgradeParts {
  readonly next: NextProgram;
  readonly folder: RunFolder;
  readonly options: SupervisorOptions;
  readonly held: HeldListeners;
  readonly slots: Slots;
  /** The only slot, or the one that is there from the first start to the last stop. */
  readonly first: Slot;
  readonly rollingRestart: RollingRestart;
  readonly takeOver: IncomingTakeover;
  readonly connectionRouter: ConnectionRouter;
  /** Whether the run folder is, or will be again, another supervisor's. */
  readonly leavesFolder: () => boolean;
  readonly shutdown: Shutdown;
  readonly log: Logger;
}

/** Replaces the program of this supervisor by the one that its path holds now, while the generations serve on. */
export class InPlaceUpgrade {
  readonly #parts: InPlaceUpgradeParts;
  #isUnderWay = false;
  /** The restart that was asked for within that moment. */
  #owed: (() => void) | undefined;

  constructor(parts: InPlaceUpgradeParts) {
    this.#parts = parts;
  }

  /** Whether the program is just being replaced. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** A restart was asked for meanwhile: the next program begins it, or this one where it goes on. */
  owe(restart: () => void): void {
    this.#owed = restart;
  }

  /**
   * Replaces this process's program by the one that its path holds now, in a moment, so that the answer gets
   * out first. The generations serve on and come back to it. Who connects meanwhile waits.
   * @param onFailure is told where the kernel refuses after the answer; this program goes on then.
   * @throws MOULT_RESTART_IN_PROGRESS, MOULT_STOPPING, MOULT_UPGRADE_FAILED
   */
  async begin(onFailure: (error: MoultError) => void): Promise<{ pid: number }> {
    this.#assertReplaceable();
    await this.#rehearse();
    this.#assertReplaceable();
    // Throws before anything has changed.
    const control = this.#parts.connectionRouter.keepOverExec(this.#parts.folder.control);
    this.#isUnderWay = true;
    setTimeout(() => this.#upgrade(control, onFailure), UPGRADE_DELAY_MS);
    return { pid: process.pid };
  }

  #assertReplaceable(): void {
    this.assertNone();
    this.#parts.shutdown.assertNotBegun();
    this.#parts.first.outgoingTakeover.assertNone();
    this.#parts.takeOver.assertProved();
    const isBusy = ({ restarts, serves }: Slot) => restarts.isUnderWay || !serves;
    if (this.#parts.rollingRestart.isUnderWay || this.#parts.slots.all.some(isBusy)) {
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', 'a generation is just taking over, or none serves');
    }
    if (this.#parts.options.isProgram && this.#parts.first.generations.own().length > 1) {
      // Its sockets would be lost track of.
      throw new MoultError(
        'MOULT_RESTART_IN_PROGRESS',
        'an older generation of the program has not ended yet',
      );
    }
  }

  /** @throws MOULT_RESTART_IN_PROGRESS while one is under way: only who has connected before learns of it, the others are let in by the next program. */
  assertNone(): void {
    if (!this.#isUnderWay) return;
    const what = 'the supervisor is being upgraded (moult upgrade): try again in a moment';
    throw new MoultError('MOULT_RESTART_IN_PROGRESS', what, {
      serving: 'unchanged',
      details: { isReplaced: true },
    });
  }

  #rehearse(): Promise<unknown> {
    const living = this.#parts.slots.generations().filter(({ isOurs, pid }) => isOurs && pid > 0);
    return this.#parts.next.rehearse(
      this.#parts.held.kept(),
      living.map(({ number, pid }) => ({ generation: number, pid, ticks: startTicks(pid) })),
    );
  }

  /**
   * Replaces this process's program as soon as it is known to load, whatever is under way: what is not committed is called
   * off, as after a crash of the supervisor.
   * @returns why it is not the moment for that.
   * @throws MOULT_UPGRADE_FAILED, MOULT_SYSTEM_CALL when it cannot be done.
   */
  async goOn(): Promise<string> {
    const before = this.#whyNotAnew();
    if (before !== undefined) return before;
    await this.#rehearse();
    return this.#whyNotAnew() ?? this.#parts.next.become(this.#parts.held.keepOverExec(), {});
  }

  #whyNotAnew(): string | undefined {
    if (this.#isUnderWay) return 'it is being upgraded (moult upgrade)';
    if (this.#parts.shutdown.hasBegun) return 'it is ending';
    if (this.#parts.leavesFolder() || this.#parts.first.outgoingTakeover.isUnderWay)
      return 'another supervisor takes over';
    const isSeveral = this.#parts.options.isProgram && this.#parts.first.generations.own().length > 1;
    return isSeveral
      ? 'two generations of the program are running, and it would lose track of their sockets'
      : undefined;
  }

  #upgrade(control: number | undefined, onFailure: (error: MoultError) => void): void {
    this.#parts.log.info('upgrading the supervisor in place');
    try {
      this.#parts.shutdown.assertNotBegun();
      const bound = control === undefined ? {} : { control };
      this.#parts.next.become(this.#parts.held.keepOverExec(), {
        ...bound,
        restarts: this.#owed !== undefined,
      });
    } catch (error) {
      this.#isUnderWay = false;
      if (control !== undefined) this.#parts.connectionRouter.resume(this.#parts.folder.control, control);
      this.#parts.log.error(`the supervisor could not be replaced (${String(error)}) and keeps running`);
      const { message } = asMoultError(error, 'MOULT_SYSTEM_CALL');
      onFailure(new MoultError('MOULT_UPGRADE_FAILED', message, { serving: 'unchanged' }));
      this.#owed?.();
      this.#owed = undefined;
    }
  }
}
