import type { Health, LocalService, PastRestart } from '#moult/fleet/agent/local-service.js';

/** A service that does as it is told, and is none. */
export class Obedient implements LocalService {
  readonly hasDeploy = false;
  generation = 1;
  /** What it was told, in order. */
  readonly told: string[] = [];
  readonly #past: PastRestart[] = [];

  async health(): Promise<Health> {
    const none = { connections: 0, inFlight: 0, restarts: 0, crashes: 0 };
    return { state: 'serving', generation: this.generation, isSettled: true, ...none };
  }

  async history(): Promise<readonly PastRestart[]> {
    return this.#past;
  }

  async restart(): Promise<{ generation: number }> {
    return this.#next('restart');
  }

  async rollback(): Promise<{ generation: number }> {
    return this.#next('rollback');
  }

  async deploy(): Promise<void> {}

  #next(kind: string): { generation: number } {
    this.told.push(kind);
    this.generation += 1;
    this.#past.push({ generation: this.generation, kind, result: 'confirmed', at: this.generation });
    return { generation: this.generation };
  }
}
