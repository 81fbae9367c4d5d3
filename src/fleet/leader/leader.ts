import { FLEET_PROTOCOL, MAX_HOST_BYTES, MOST_CLAIMED } from '../limits.js';
import { pause } from '../pause.js';
import { type LeaseRecord, leaseSchema, read } from '../records.js';
import { leaseKey, rollKey } from '../store/keys.js';
import type { FleetStore } from '../store/store.js';
import { RollLead } from './roll-lead.js';

/** How often a leader renews its lease; after so long without that it leads no more, and after so long others take it. */
const RENEW_MS = 1000;
const VALID_MS = 4000;
const TAKE_MS = 5000;
const LOOK_MS = 500;
/** Not all try at once. */
const MOST_JITTER_MS = 1000;

/** What a leader is made of. */
export interface LeaderParts {
  readonly store: FleetStore;
  readonly service: string;
  /** Who it is, for people. */
  readonly holder: string;
  readonly log: { info(what: string): void; warn(what: string): void };
}

interface Seen {
  readonly record: LeaseRecord;
  readonly revision: number;
  /** By this process's own clock: clocks of hosts are never compared. */
  readonly atMs: number;
}

/**
 * Stands for the lead of the rolls of one service. One of all that stand has the lease; each that takes it has a higher epoch than
 * all before. A roll that is under way without a leader is taken up by whoever sees that first.
 */
export class Leader {
  readonly #parts: LeaderParts;
  readonly #ending = new AbortController();
  #ends: (() => void)[] = [];
  #over: Promise<void> = Promise.resolve();
  #seen: Seen = { record: FREE, revision: 0, atMs: 0 };
  /** The last revision of the roll that was seen. */
  #rollRevision = 0;
  /** The epoch of the roll, where the lease of that time is lost. */
  #leastEpoch = 0;

  constructor(parts: LeaderParts) {
    this.#parts = parts;
  }

  /** Watches for rolls that need a leader. */
  async begin(): Promise<void> {
    const { store, service } = this.#parts;
    const lease = await store.main.watch(leaseKey(service), ({ bytes, revision }) =>
      this.#see(bytes, revision),
    );
    const roll = await store.main.watch(
      rollKey(service),
      ({ revision }) => {
        this.#rollRevision = Math.max(this.#rollRevision, revision);
      },
      { withValues: false },
    );
    this.#ends.push(lease, roll);
    this.#over = this.#stand().catch(() => {});
  }

  /** Stands no more; where it leads another one goes on. */
  async end(): Promise<void> {
    this.#ending.abort();
    for (const end of this.#ends) end();
    await this.#over;
  }

  #see(bytes: Uint8Array, revision: number): void {
    if (revision <= this.#seen.revision) return;
    const found = read(leaseSchema, bytes, MAX_HOST_BYTES);
    // What nobody can read nobody holds; the epoch of what was there before is not forgotten.
    const isOne = 'value' in found && found.value.epoch < MOST_CLAIMED;
    const record = isOne ? found.value : { ...FREE, epoch: this.#seen.record.epoch };
    this.#seen = { record, revision, atMs: performance.now() };
  }

  async #stand(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      await pause(LOOK_MS, signal);
      if (!this.#isNeeded()) continue;
      await pause(Math.random() * MOST_JITTER_MS, signal);
      if (signal.aborted || !this.#isNeeded()) continue;
      try {
        await this.#lead();
      } catch (error) {
        this.#parts.log.warn(`fleet: leading the roll of ${this.#parts.service} failed: ${String(error)}`);
        await pause(MOST_JITTER_MS, signal);
      }
    }
  }

  #isNeeded(): boolean {
    const { record, atMs } = this.#seen;
    if (this.#rollRevision === 0 || record.done >= this.#rollRevision) return false;
    return record.holder === null || performance.now() - atMs > TAKE_MS;
  }

  async #lead(): Promise<void> {
    const { store, service, holder, log } = this.#parts;
    const key = leaseKey(service);
    const before = this.#seen;
    const epoch = Math.max(before.record.epoch, this.#leastEpoch) + 1;
    let record: LeaseRecord = { ...before.record, protocol: FLEET_PROTOCOL, epoch, holder, beat: 0 };
    let askedMs = performance.now();
    let revision = await store.main.compareAndSet(key, record, before.revision);
    if (revision === undefined) return;
    let validUntilMs = askedMs + VALID_MS;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#ending.signal, over.signal]);
    const renewing = (async () => {
      while (!signal.aborted) {
        await pause(RENEW_MS, signal);
        if (signal.aborted) return;
        askedMs = performance.now();
        record = { ...record, beat: record.beat + 1 };
        const renewed: number | undefined | null = await store.main
          .compareAndSet(key, record, revision ?? 0)
          .catch(() => null);
        // Where no answer came it is not known which revision it has now: another one may lead from then on.
        if (typeof renewed !== 'number') return over.abort();
        revision = renewed;
        validUntilMs = askedMs + VALID_MS;
      }
    })();
    log.info(`fleet: leads the roll of ${service}, epoch ${epoch}`);
    try {
      const isValid = () => !signal.aborted && performance.now() < validUntilMs;
      const lead = new RollLead({ store, service, epoch, isValid, signal, log });
      const done = await lead.run();
      this.#leastEpoch = lead.laterEpoch;
      over.abort();
      await renewing;
      const free = { ...record, holder: null, beat: record.beat + 1, done: done ?? record.done };
      await store.main.compareAndSet(key, free, revision ?? 0);
      if (done !== undefined) log.info(`fleet: the roll of ${service} has ended`);
    } finally {
      over.abort();
    }
  }
}

const FREE: LeaseRecord = { protocol: FLEET_PROTOCOL, epoch: 0, holder: null, beat: 0, done: 0 };
