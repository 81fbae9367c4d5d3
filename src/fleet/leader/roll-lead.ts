import {
  FLEET_PROTOCOL,
  LEADING_HEARTBEAT_MS,
  MAX_HOST_BYTES,
  MAX_PAST_ROLLS,
  MAX_VALUE_BYTES,
} from '../limits.js';
import { pause } from '../pause.js';
import { NEWER, type Order, orderSchema, read, rollSchema } from '../records.js';
import { isOpen, isUnderWay } from '../roll/host-states.js';
import { judge } from '../roll/obedience.js';
import type { Roll } from '../roll/roll.js';
import { advance, type Happened, ordersOf } from '../roll/roll-machine.js';
import { hasEnded } from '../roll/roll-phases.js';
import { namesIn, orderKey, pastKey, rollKey, token } from '../store/keys.js';
import type { FleetStore } from '../store/store.js';
import { CanaryWatch } from './canary-watch.js';
import { HostsSeen } from './hosts-seen.js';

const TURN_MS = 200;
/** A pause of this process counts as so much: what it did not see meanwhile was no silence of others. */
const MOST_TURN_MS = 1000;
const LOOK_MS = 10_000;
/** How many instructions are on their way at once. */
const AT_ONCE = 50;

/** What leading one roll takes. */
export interface RollLeadParts {
  readonly store: FleetStore;
  readonly service: string;
  readonly epoch: number;
  /** Whether the lease still holds. */
  readonly isValid: () => boolean;
  readonly signal: AbortSignal;
  readonly log: { info(what: string): void; warn(what: string): void };
}

interface Given {
  readonly order: Order | undefined;
  readonly revision: number;
}

/**
 * Leads one roll: looks at what its hosts report, has the machine decide, writes the decision, and only then gives the
 * instructions that follow from it. It keeps nothing that the next leader would need.
 */
export class RollLead {
  readonly #parts: RollLeadParts;
  #roll: Roll | undefined;
  #revision = 0;
  /** The last revision that was heard of: what is read may be older, where a server lags behind. */
  #heardRevision = 0;
  /** The epoch of a leader that has written the roll and is later than this one; else 0. */
  laterEpoch = 0;
  readonly #given = new Map<string, Given>();
  #nextLookMs = 0;

  constructor(parts: RollLeadParts) {
    this.#parts = parts;
  }

  /** @returns the revision of the roll that has ended; undefined where this one leads no more. */
  async run(): Promise<number | undefined> {
    const { store, service, epoch, isValid, signal, log } = this.#parts;
    const trouble = await this.#read();
    if (trouble !== undefined) {
      log.warn(`fleet: the roll of ${service} cannot be led: ${trouble}`);
      return this.#revision;
    }
    if (this.#roll === undefined) return this.#revision;
    if (this.#isOfLater(this.#roll)) return undefined;
    // From here on no earlier leader can write.
    if (!(await this.#write({ ...this.#roll, epoch }))) return undefined;
    const hosts = new HostsSeen(store, service);
    const canaries = new CanaryWatch();
    const stopWatching = await store.main.watch(
      rollKey(service),
      ({ revision }) => {
        this.#heardRevision = Math.max(this.#heardRevision, revision);
      },
      { withValues: false, heartbeatMs: LEADING_HEARTBEAT_MS },
    );
    try {
      await hosts.begin();
      await this.#readGiven();
      for (let lastMs = performance.now(); isValid(); ) {
        const nowMs = performance.now();
        hosts.pass(Math.min(MOST_TURN_MS, nowMs - lastMs));
        canaries.pass(Math.min(MOST_TURN_MS, nowMs - lastMs));
        lastMs = nowMs;
        if (await this.#turn(hosts, canaries)) return this.#revision;
        await pause(TURN_MS, signal);
      }
      return undefined;
    } finally {
      stopWatching();
      hosts.end();
    }
  }

  /** @returns whether there is nothing left to lead. */
  async #turn(hosts: HostsSeen, canaries: CanaryWatch): Promise<boolean> {
    if (this.#heardRevision > this.#revision) {
      const trouble = await this.#read();
      if (trouble !== undefined && !(await this.#restore(trouble))) return false;
    }
    const roll = this.#roll;
    if (roll === undefined) return true;
    if (this.#isOfLater(roll))
      throw new Error(`a newer leader has taken the roll over (epoch ${roll.epoch})`);
    const happened: Happened[] = [...hosts.happened(roll), ...canaries.happened(roll, hosts)];
    const next = advance(roll, happened);
    if (next !== roll) {
      const isOver = hasEnded(next.phase);
      const { endedAt, ...running } = next;
      const written = isOver ? { ...running, endedAt: endedAt ?? Date.now() } : running;
      if (!this.#parts.isValid()) return false;
      // Whoever leads after this one may find the next roll in the place of this one.
      if (isOver) await this.#parts.store.main.compareAndSet(this.#pastKey(written), written, 0);
      if (!(await this.#write(written))) return false;
      this.#tell(roll, written);
    }
    await this.#lookAgain();
    await this.#give(hosts);
    const now = this.#roll ?? roll;
    const isBusy = Object.values(now.hosts).some(({ state }) => isUnderWay(state));
    if (!hasEnded(now.phase) || now.asked !== null || isBusy || this.#heardRevision > this.#revision)
      return false;
    await this.#keepPast(now);
    return true;
  }

  #isOfLater({ epoch }: Roll): boolean {
    this.laterEpoch = epoch > this.#parts.epoch ? epoch : 0;
    return this.laterEpoch > 0;
  }

  // What is in the bucket says what each host is told; one that is there already is not given again.
  async #give(hosts: HostsSeen): Promise<void> {
    const { store, service, epoch, isValid } = this.#parts;
    const roll = this.#roll;
    if (roll === undefined) return;
    const wanted: [string, Order][] = [];
    for (const [host, action] of ordersOf(roll)) {
      const order = {
        protocol: FLEET_PROTOCOL,
        roll: roll.id,
        serial: roll.serial,
        action,
        epoch,
        release: roll.release,
      };
      if (judge(this.#given.get(host)?.order, order) === 'obey') wanted.push([host, order]);
    }
    for (let from = 0; from < wanted.length && isValid(); from += AT_ONCE) {
      const some = wanted.slice(from, from + AT_ONCE);
      await Promise.all(
        some.map(async ([host, order]) => {
          const key = orderKey(host, service);
          const known = this.#given.get(host)?.revision ?? 0;
          const revision = await store.main.compareAndSet(key, order, known);
          if (revision !== undefined) {
            this.#given.set(host, { order, revision });
            hosts.asked(host);
            return;
          }
          const found = await store.main.get(key);
          if (found === undefined) this.#given.delete(host);
          else this.#given.set(host, { order: orderIn(found.bytes), revision: found.revision });
        }),
      );
    }
  }

  // What a host was told, and has not come to, somebody may have written over or removed since.
  async #lookAgain(): Promise<void> {
    const { store, service } = this.#parts;
    if (performance.now() < this.#nextLookMs) return;
    this.#nextLookMs = performance.now() + LOOK_MS;
    const open = Object.entries(this.#roll?.hosts ?? {}).filter(([, { state }]) => isOpen(state));
    for (const [host] of open.slice(0, AT_ONCE)) {
      const found = await store.main.get(orderKey(host, service));
      if (found === undefined) this.#given.delete(host);
      else if (found.revision > (this.#given.get(host)?.revision ?? 0))
        this.#given.set(host, { order: orderIn(found.bytes), revision: found.revision });
    }
  }

  async #readGiven(): Promise<void> {
    const { store, service } = this.#parts;
    for (const { key, bytes, revision } of await store.main.all(`order.*.${token(service)}`)) {
      const [host = ''] = namesIn(key);
      this.#given.set(host, { order: orderIn(bytes), revision });
    }
    this.#nextLookMs = performance.now() + LOOK_MS;
  }

  /** @returns what is wrong with what is there. */
  async #read(): Promise<string | undefined> {
    const { store, service } = this.#parts;
    const found = await store.main.get(rollKey(service));
    if (found === undefined) {
      this.#roll = undefined;
      return undefined;
    }
    if (found.revision < this.#revision) return undefined;
    this.#revision = found.revision;
    const roll = read(rollSchema, found.bytes, MAX_VALUE_BYTES);
    if ('trouble' in roll) return roll.trouble;
    this.#roll = roll.value;
    return undefined;
  }

  // What nobody can read is none of a leader's; one that is newer may have written what only it understands.
  async #restore(trouble: string): Promise<boolean> {
    if (this.#roll === undefined || trouble.includes(NEWER)) throw new Error(trouble);
    this.#parts.log.warn(
      `fleet: the roll of ${this.#parts.service} was overwritten (${trouble}) and is restored`,
    );
    return this.#write(this.#roll);
  }

  async #write(roll: Roll): Promise<boolean> {
    const revision = await this.#parts.store.main.compareAndSet(
      rollKey(this.#parts.service),
      roll,
      this.#revision,
    );
    if (revision === undefined) {
      // Somebody else has written it since.
      this.#heardRevision = Math.max(this.#heardRevision, this.#revision + 1);
      return false;
    }
    this.#roll = roll;
    this.#revision = revision;
    return true;
  }

  #tell(before: Roll, now: Roll): void {
    const { log, service } = this.#parts;
    if (before.phase === now.phase && before.wave === now.wave) return;
    const why = now.reason === undefined ? '' : `: ${now.reason}`;
    log.info(
      `fleet: roll ${now.serial} of ${service} is ${now.phase}, wave ${now.wave + 1} of ${now.waves.length}${why}`,
    );
  }

  #pastKey({ serial }: Roll): string {
    return pastKey(this.#parts.service, serial);
  }

  async #keepPast(roll: Roll): Promise<void> {
    const { store, service } = this.#parts;
    await store.main.put(this.#pastKey(roll), roll);
    if (roll.serial > MAX_PAST_ROLLS) await store.main.remove(pastKey(service, roll.serial - MAX_PAST_ROLLS));
  }
}

function orderIn(bytes: Uint8Array): Order | undefined {
  const found = read(orderSchema, bytes, MAX_HOST_BYTES);
  return 'value' in found ? found.value : undefined;
}
