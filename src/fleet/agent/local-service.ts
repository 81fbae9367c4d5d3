/** The supervisor could not be asked, or ended before it answered: what it had begun comes to its end without it, well or not. */
export class Unanswered extends Error {
  /** As text. */
  override readonly name = 'Unanswered';
}

/** What an agent knows of its service, and can do with it. Where the supervisor gives no answer, all throw {@link Unanswered}. */
export interface LocalService {
  /** How it is. */
  health(): Promise<Health>;
  /** Past restarts, oldest first, as `moult history --json` has them. */
  history(): Promise<readonly PastRestart[]>;
  /**
   * Replaces it by what its paths hold now.
   * @param told is called with the name of each stage.
   * @returns the generation that serves, at the end of its probation.
   * @throws why it failed; what served before serves then.
   */
  restart(told: (stage: string) => void): Promise<{ readonly generation: number }>;
  /** Gives it back to what served before. @throws why that cannot be. */
  rollback(): Promise<{ readonly generation: number }>;
  /** Runs the deploy step of this host. @throws why it failed. */
  deploy(release: string, why: 'restart' | 'undo'): Promise<void>;
  /** Whether this host has a deploy step. */
  readonly hasDeploy: boolean;
}

/** How a service is. */
export interface Health {
  readonly state: string;
  /** The generation that serves; 0 for none. */
  readonly generation: number;
  /** Which process that is, as no later one is named; absent where nothing serves. */
  readonly process?: string;
  /** Whether it took over from one that served; absent where it does not say. */
  readonly tookOver?: boolean;
  /** Whether no generation of it is starting, handing over or in probation. */
  readonly isSettled: boolean;
  readonly label?: string;
  readonly connections: number;
  readonly inFlight: number;
  readonly requests?: number;
  readonly errors?: number;
  readonly durationSumMs?: number;
  readonly restarts: number;
  readonly crashes: number;
}

/** What an agent needs to know of a past restart. */
export interface PastRestart {
  readonly generation: number;
  /** `restart`, `rollback`, or `crash` for a start after one. */
  readonly kind: string;
  readonly result: string;
  readonly message?: string;
  /** When, by the clock of this host: a service that is started anew counts its generations anew. */
  readonly at?: number;
}
