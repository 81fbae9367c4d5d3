import { MoultError } from '../errors.js';
import type { RestartSummary, StageEvent } from '../lifecycle/restart-record.js';
import type { Complaints } from './complaints.js';
import type { ServiceManager } from './environment.js';
import { SdNotify } from './sd-notify.js';
import { StoredListeners } from './stored-listeners.js';

/** While a reload or a stop is under way, the service manager hears so often that it may take longer, */
const EXTEND_EVERY_MS = 10_000;
/** and by so much. The limits of the restart or the stop itself end it. */
const EXTEND_BY_MS = 30_000;
/** How long a manager may take to read what it was told. */
const BARRIER_TIMEOUT_MS = 5000;

/** What the main process of a unit tells the service manager that started it: nothing, where none did. */
export class ServiceManagerLink {
  /** Where listeners are kept for the next start of the unit. */
  readonly store: StoredListeners | undefined;
  readonly #manager: ServiceManager | undefined;
  readonly #notifier: SdNotify | undefined;
  #isReady = false;
  #reloads = 0;
  /** What holds while no restart is under way. */
  #standing = 'starting';
  #extending: NodeJS.Timeout | undefined;
  #watching: NodeJS.Timeout | undefined;

  /** @param isReady whether it was told already that the start is complete, by the program before. */
  constructor(manager: ServiceManager | undefined, log: Complaints, isReady = false) {
    this.#manager = manager;
    this.#isReady = isReady;
    if (manager === undefined) return;
    this.#notifier = new SdNotify(manager.notifySocket, (error) =>
      log.warn(`the state of the service cannot be reported to the service manager: ${error.message}`),
    );
    if (manager.storeMax !== 0) this.store = new StoredListeners(this.#notifier, manager.storeMax, log);
  }

  /** Whether closed listeners may live on in the service manager, for its next start of the unit. */
  get keepsListeners(): boolean {
    return this.store !== undefined;
  }

  /** Whether it was told that the start is complete. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /**
   * Somebody accepts: the watchdog of a unit runs on meanwhile, also before anybody was found.
   * @param answers whether supervisor and service are well.
   */
  accepting(answers: () => Promise<boolean>): void {
    if (this.#watching === undefined) this.#watch(answers);
  }

  /** Somebody serves. The first time the start is complete. @param answers as for {@link accepting}. */
  serving(status: string, answers: () => Promise<boolean>): void {
    this.accepting(answers);
    this.#standing = status;
    if (this.#isReady) {
      if (this.#reloads === 0) this.#notifier?.status(status);
      return;
    }
    this.#isReady = true;
    this.#notifier?.ready(status);
  }

  /** Something that lasts is to be known. */
  tell(status: string): void {
    this.#standing = status;
    this.#notifier?.status(status);
  }

  /** A restart goes on. */
  stage({ stage, generation }: StageEvent): void {
    if (this.#reloads > 0) this.#notifier?.status(`restart: generation ${generation} is at ${stage}`);
  }

  /** Runs a restart as a reload of the unit, which is over when none of those that were asked for runs any more. */
  async reload(restart: () => Promise<RestartSummary>, serving: () => string): Promise<RestartSummary> {
    // Until the start is complete there is nothing to reload.
    if (this.#notifier === undefined || !this.#isReady) return restart();
    this.#reloads += 1;
    // Each time: a manager waits for one that is younger than its signal.
    this.#notifier.reloading('restart: it begins');
    this.#extend();
    try {
      const summary = await restart();
      this.#standing = restartedStatus(summary, serving());
      return summary;
    } catch (error) {
      this.#standing = failedStatus(error, serving());
      throw error;
    } finally {
      this.#reloads -= 1;
      if (this.#reloads === 0) this.#reloaded();
    }
  }

  /**
   * Another process is the main process of the unit from now on.
   * @returns when the manager knows: the process that was must live until then, or its end is taken for the service's.
   */
  async handOver(pid: number): Promise<void> {
    if (this.#notifier === undefined) return;
    clearInterval(this.#watching);
    this.#notifier.mainPid(pid);
    // A manager that does not read will not hear of our end either.
    await this.#notifier.barrier(BARRIER_TIMEOUT_MS).catch(() => {});
  }

  /** The end of the service begins; it ends by its own time-outs. */
  stopping(): void {
    clearInterval(this.#watching);
    // Whatever is reloaded is not reloaded any more.
    this.#reloads = Number.NEGATIVE_INFINITY;
    this.#notifier?.stopping('stopping: finishing requests in flight');
    this.#extend();
  }

  /** Says no more. */
  close(): void {
    clearInterval(this.#watching);
    clearInterval(this.#extending);
    this.#notifier?.close();
  }

  #reloaded(): void {
    clearInterval(this.#extending);
    this.#extending = undefined;
    this.#notifier?.ready(this.#standing);
  }

  #extend(): void {
    this.#notifier?.extendTimeout(EXTEND_BY_MS);
    this.#extending ??= setInterval(
      () => this.#notifier?.extendTimeout(EXTEND_BY_MS),
      EXTEND_EVERY_MS,
    ).unref();
  }

  #watch(answers: () => Promise<boolean>): void {
    const intervalMs = this.#manager?.watchdogMs ?? 0;
    if (intervalMs === 0) return;
    const look = async () => {
      // One that cannot be asked does not answer.
      if (await answers().catch(() => false)) this.#notifier?.watchdog();
    };
    this.#watching = setInterval(look, intervalMs / 2).unref();
    void look();
  }
}

function restartedStatus({ predecessor, moved, draining, tookMs }: RestartSummary, serving: string): string {
  const from = predecessor === null ? '' : ` from generation ${predecessor}`;
  return `${serving}; it took over${from} in ${Math.round(tookMs)} ms: ${moved} connections moved, ${draining} drain`;
}

function failedStatus(error: unknown, serving: string): string {
  const { code, stage, message } =
    error instanceof MoultError ? error : { code: undefined, stage: undefined, message: String(error) };
  const at = stage === undefined ? '' : ` at ${stage}`;
  return `restart failed${at}: ${message}${code === undefined ? '' : ` (${code})`}; ${serving}`;
}
