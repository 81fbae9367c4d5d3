import type { AliveRecord } from '../records.js';
import { type Figures, judgeCanaries } from '../roll/canary-figures.js';
import type { Roll } from '../roll/roll.js';
import type { Happened } from '../roll/roll-machine.js';

/** How hosts say they are. */
interface Healths {
  health(host: string): AliveRecord | undefined;
}

/**
 * Watches canaries for their time, by the clock of this leader; the next leader watches them anew. It is over when each canary
 * has said how it is after that time: hosts say so every few seconds only.
 */
export class CanaryWatch {
  #watchedMs = 0;
  /** How hosts were when each was first heard of. */
  #before: Map<string, AliveRecord> | undefined;
  /** What canaries had said last when their time was over. */
  #atEnd: Map<string, AliveRecord | undefined> | undefined;

  /** So much time has gone by, in which this process could see. */
  pass(ms: number): void {
    this.#watchedMs += ms;
  }

  happened(roll: Roll, hosts: Healths): Happened[] {
    if (roll.phase !== 'watching') {
      this.#before = undefined;
      return [];
    }
    if (this.#before === undefined) {
      this.#before = new Map();
      this.#atEnd = undefined;
      this.#watchedMs = 0;
    }
    for (const host of Object.keys(roll.hosts)) {
      const health = hosts.health(host);
      if (health !== undefined && !this.#before.has(host)) this.#before.set(host, health);
    }
    const reason = this.#judge(roll, hosts);
    if (reason !== undefined) return [{ type: 'watched', reason }];
    if (this.#watchedMs < roll.terms.watchForMs) return [];
    const canaries = roll.waves[0] ?? [];
    this.#atEnd ??= new Map(canaries.map((host) => [host, hosts.health(host)]));
    const isHeard = canaries.every((host) => hosts.health(host) !== this.#atEnd?.get(host));
    return isHeard ? [{ type: 'watched' }] : [];
  }

  #judge(roll: Roll, hosts: Healths): string | undefined {
    const canaries = roll.waves[0] ?? [];
    const rest = Object.keys(roll.hosts).filter((host) => roll.hosts[host]?.state === 'waiting');
    const crashed = canaries.find(
      (host) =>
        (hosts.health(host)?.crashes ?? 0) > (this.#before?.get(host)?.crashes ?? Number.POSITIVE_INFINITY),
    );
    if (crashed !== undefined) return `${crashed}, a canary, crashed`;
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
