import type { AliveRecord } from '../records.js';
import { type Figures, judgeCanaries } from '../roll/canary-figures.js';
import type { Roll } from '../roll/roll.js';
import type { Happened } from '../roll/roll-machine.js';

/** Watches canaries for their time, by the clock of this leader; the next leader watches them anew. */
export class CanaryWatch {
  #watchedMs = 0;
  /** How hosts were when it began. */
  #before: Map<string, AliveRecord> | undefined;

  /** So much time has gone by, in which this process could see. */
  pass(ms: number): void {
    this.#watchedMs += ms;
  }

  happened(roll: Roll, hosts: { health(host: string): AliveRecord | undefined }): Happened[] {
    if (roll.phase !== 'watching') {
      this.#before = undefined;
      return [];
    }
    if (this.#before === undefined) {
      const all = Object.keys(roll.hosts).flatMap((host) => {
        const health = hosts.health(host);
        return health === undefined ? [] : [[host, health] as const];
      });
      this.#before = new Map(all);
      this.#watchedMs = 0;
      return [];
    }
    const reason = this.#judge(roll, hosts);
    if (reason !== undefined) return [{ type: 'watched', reason }];
    return this.#watchedMs >= roll.terms.watchForMs ? [{ type: 'watched' }] : [];
  }

  #judge(roll: Roll, hosts: { health(host: string): AliveRecord | undefined }): string | undefined {
    const canaries = roll.waves[0] ?? [];
    const rest = Object.keys(roll.hosts).filter((host) => roll.hosts[host]?.state === 'waiting');
    const crashed = canaries.find(
      (host) => (hosts.health(host)?.crashes ?? 0) > (this.#before?.get(host)?.crashes ?? 0),
    );
    if (crashed !== undefined && this.#before?.has(crashed)) return `${crashed}, a canary, crashed`;
    const figures = (names: readonly string[]): Figures[] =>
      names.flatMap((host) => {
        const now = hosts.health(host);
        const then = this.#before?.get(host);
        return now === undefined || then === undefined ? [] : since(then, now);
      });
    return judgeCanaries(figures(canaries), figures(rest), roll.terms);
  }
}

// A generation counts from its own start.
function since(then: AliveRecord, now: AliveRecord): Figures[] {
  const { requests, errors = 0, durationSumMs = 0 } = now;
  if (requests === undefined) return [];
  const isSame = now.generation === then.generation && (then.requests ?? 0) <= requests;
  if (!isSame) return [{ requests, errors, durationSumMs }];
  return [
    {
      requests: requests - (then.requests ?? 0),
      errors: Math.max(0, errors - (then.errors ?? 0)),
      durationSumMs: Math.max(0, durationSumMs - (then.durationSumMs ?? 0)),
    },
  ];
}
