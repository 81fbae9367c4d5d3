import assert from 'node:assert/strict';
import type { Action, HostState } from '#moult/fleet/roll/host-states.js';
import { isUnavailable } from '#moult/fleet/roll/host-states.js';
import { judge, type Obeyed } from '#moult/fleet/roll/obedience.js';
import type { Asked, Roll, Terms } from '#moult/fleet/roll/roll.js';
import { advance, type Happened, ordersOf, type Report } from '#moult/fleet/roll/roll-machine.js';
import { hasEnded } from '#moult/fleet/roll/roll-phases.js';

/** A roll that begins: the hosts of the first wave are canaries. */
export function rollOf(waves: string[][], terms: Partial<Terms> = {}): Roll {
  return {
    protocol: 1,
    id: 'r1',
    serial: 1,
    service: 'api',
    release: null,
    by: 'test',
    startedAt: 0,
    epoch: 0,
    phase: 'rolling',
    wave: 0,
    hasCanaries: true,
    isWatched: false,
    waves,
    hosts: Object.fromEntries(waves.flat().map((host) => [host, { state: 'waiting' as const }])),
    terms: {
      maxUnavailable: 2,
      onFailure: 'undo',
      watchForMs: 1000,
      hostTimeoutMs: 60_000,
      maxErrorRate: 0.05,
      maxSlowdown: 5,
      ...terms,
    },
    asked: null,
  };
}

interface Order {
  readonly serial: number;
  readonly action: Action;
  readonly epoch: number;
}

interface Host {
  release: 'old' | 'new';
  isAlive: boolean;
  obeyed: (Obeyed & { isBusy: boolean }) | undefined;
  /** The outcome of its restart, where it began one. */
  restarted: Report | undefined;
  restarts: number;
  /** All that it has ever reported, oldest first. */
  reports: Report[];
}

interface Leader {
  epoch: number;
  roll: Roll;
  rollRevision: number;
  orders: Map<string, { revision: number; order: Order | undefined }>;
  /** Writes that have been decided and not reached the bucket yet. */
  late: { host: string; order: Order; expected: number }[];
}

/** Buckets, hosts and leaders in memory: each write and each look is a step of its own, so that any of them can come late. */
export class RollWorld {
  roll: Roll;
  rollRevision = 1;
  epoch = 0;
  readonly hosts = new Map<string, Host>();
  readonly orders = new Map<string, { revision: number; all: Order[] }>();
  leaders: Leader[] = [];
  /** How far hosts have been, by the leaders. */
  readonly statesSeen = new Set<HostState>();
  /** What has been decided for a host at any time: no host may obey anything else. */
  readonly #decided = new Set<string>();
  readonly #canariesPassed: boolean[] = [false];

  constructor(roll: Roll) {
    this.roll = roll;
    for (const host of Object.keys(roll.hosts)) {
      this.hosts.set(host, {
        release: 'old',
        isAlive: true,
        obeyed: undefined,
        restarted: undefined,
        restarts: 0,
        reports: [],
      });
      this.orders.set(host, { revision: 0, all: [] });
    }
  }

  /** An agent takes the lease: the one before may not know. */
  elect(): void {
    this.epoch += 1;
    this.leaders.push({ ...this.#read(), epoch: this.epoch, late: [] });
    const leader = this.leaders.at(-1);
    assert.ok(leader);
    this.#write(leader, { ...leader.roll, epoch: leader.epoch });
  }

  kill(at: number): void {
    this.leaders.splice(this.leaders.length === 0 ? 0 : at % this.leaders.length, 1);
  }

  #leader(at: number): Leader | undefined {
    return this.leaders[this.leaders.length === 0 ? 0 : at % this.leaders.length];
  }

  /** A leader learns what has happened, decides, and its decisions are on their way. */
  happen(at: number, happened: readonly Happened[]): void {
    const leader = this.#leader(at);
    if (leader !== undefined) this.#write(leader, advance(leader.roll, happened));
  }

  /** A leader sees what others have written of the roll. */
  watch(at: number): void {
    const leader = this.#leader(at);
    if (leader !== undefined) this.#rereads(leader);
  }

  /** A leader looks at what a host reports: the last, or an older one. */
  look(at: number, name: string, back: number): void {
    const host = this.#host(name);
    const report = host.reports.at(-1 - (back % Math.max(1, host.reports.length)));
    if (report !== undefined) this.happen(at, [{ type: 'host', host: name, event: report }]);
  }

  /** The next of its late writes reaches the bucket. */
  flush(at: number, which: number): void {
    const leader = this.#leader(at);
    if (leader !== undefined) this.#flush(leader, which);
  }

  #flush(leader: Leader, which: number): void {
    const [write] = leader.late.splice(which % Math.max(1, leader.late.length), 1);
    if (write === undefined) return;
    const bucket = this.#orders(write.host);
    if (bucket.revision !== write.expected) {
      leader.orders.set(write.host, { revision: bucket.revision, order: bucket.all.at(-1) });
      return;
    }
    bucket.revision += 1;
    bucket.all.push(write.order);
    leader.orders.set(write.host, { revision: bucket.revision, order: write.order });
  }

  /** A host reads its instruction: the last, or one that comes late. */
  read(name: string, back: number): void {
    const host = this.#host(name);
    const { all } = this.#orders(name);
    const order = all.at(-1 - (back % Math.max(1, all.length)));
    if (order === undefined || !host.isAlive || host.obeyed?.isBusy === true) return;
    if (judge(host.obeyed, order) !== 'obey') return;
    assert.ok(this.#decided.has(`${name} ${order.action}`), `${name} obeyed what nobody decided`);
    assert.ok(order.epoch >= (host.obeyed?.epoch ?? 0), 'an older leader was obeyed');
    host.obeyed = { serial: order.serial, action: order.action, epoch: order.epoch, isBusy: true };
    if (order.action === 'restart') {
      assert.ok(
        this.#isCanary(name) || this.#canariesPassed.at(-1),
        `${name} began before the canaries passed`,
      );
      host.restarts += 1;
      assert.equal(host.restarts, 1);
      host.reports.push('begun');
    }
  }

  /** A host comes to the end of what it does. */
  finish(name: string, isGood: boolean): void {
    const host = this.#host(name);
    if (host.obeyed?.isBusy !== true || !host.isAlive) return;
    host.obeyed.isBusy = false;
    const { action } = host.obeyed;
    if (action === 'restart') {
      host.restarted = isGood ? 'succeeded' : 'failed';
      if (isGood) host.release = 'new';
      host.reports.push(host.restarted);
    } else if (action === 'withdraw') host.reports.push(host.restarted ?? 'left-alone');
    else {
      if (isGood) host.release = 'old';
      host.reports.push(isGood ? 'taken-back' : 'not-taken-back');
    }
  }

  ask(asked: Asked): void {
    this.roll = { ...this.roll, asked };
    this.rollRevision += 1;
  }

  /**
   * All comes to its end: every host answers, and the leader of the last epoch goes on, or a new one.
   * What leaders before it have on its way comes late or never.
   */
  settle(isLeaderKept: boolean, comesLate: boolean): void {
    for (const host of this.hosts.values()) host.isAlive = true;
    if (comesLate) for (const leader of this.leaders) while (leader.late.length > 0) this.#flush(leader, 0);
    this.leaders = this.leaders.filter(({ epoch }) => isLeaderKept && epoch === this.epoch);
    if (this.leaders.length === 0) this.elect();
    for (let round = 0; round < 100; round += 1) {
      if (this.roll.phase === 'paused' && this.roll.asked === null) this.ask('resume');
      this.watch(0);
      this.happen(0, []);
      for (const name of this.hosts.keys()) {
        this.happen(0, [{ type: 'host', host: name, event: 'heard' }]);
        this.look(0, name, 0);
      }
      this.happen(0, [{ type: 'watched' }]);
      while ((this.leaders[0]?.late.length ?? 0) > 0) this.flush(0, 0);
      for (const name of this.hosts.keys()) {
        this.read(name, 0);
        this.finish(name, true);
      }
    }
  }

  /** What must hold when all has come to its end. */
  assertSettled(): void {
    const { roll } = this;
    assert.ok(hasEnded(roll.phase), `it ends, and is ${roll.phase}: ${JSON.stringify(roll.hosts)}`);
    for (const [name, { release, obeyed }] of this.hosts) {
      const state = roll.hosts[name]?.state;
      const what = `${name} is ${state}, and has the ${release} release after a roll that is ${roll.phase}`;
      if (roll.phase === 'undone') assert.equal(release, 'old', what);
      if (roll.phase === 'done') assert.equal(release, 'new', what);
      if (state === 'confirmed') assert.equal(release, 'new', what);
      if (state !== 'confirmed' && state !== 'undo-failed' && state !== 'unknown')
        assert.equal(release, 'old', what);
      const last = this.#orders(name).all.at(-1);
      assert.equal(obeyed?.action, last?.action, `${name} has obeyed the last`);
    }
  }

  #write(leader: Leader, roll: Roll): void {
    const isNew = roll !== leader.roll;
    if (isNew) {
      if (this.#rereads(leader)) return;
      assert.ok(leader.epoch >= this.roll.epoch, `leader ${leader.epoch} wrote after ${this.roll.epoch}`);
      this.#assertDecision(roll);
      this.roll = roll;
      this.rollRevision += 1;
      leader.roll = roll;
      leader.rollRevision = this.rollRevision;
    }
    for (const [host, action] of ordersOf(roll)) {
      const known = leader.orders.get(host);
      const order = { serial: roll.serial, action, epoch: leader.epoch };
      const isOnItsWay = leader.late.some((one) => one.host === host && one.order.action === action);
      if (known === undefined || isOnItsWay || judge(known.order, order) !== 'obey') continue;
      leader.late.push({ host, order, expected: known.revision });
    }
  }

  // Where somebody else has written, what that was is read, and a later leader is left alone.
  #rereads(leader: Leader): boolean {
    if (leader.rollRevision === this.rollRevision) return false;
    Object.assign(leader, this.#read());
    if (leader.roll.epoch > leader.epoch) this.leaders = this.leaders.filter((one) => one !== leader);
    return true;
  }

  #assertDecision(roll: Roll): void {
    for (const { state } of Object.values(roll.hosts)) this.statesSeen.add(state);
    for (const [host, action] of ordersOf(roll)) this.#decided.add(`${host} ${action}`);
    const states = Object.entries(roll.hosts);
    const isNew = states.some(
      ([name, { state }]) => state === 'ordered' && this.roll.hosts[name]?.state !== state,
    );
    // Hosts may fall silent by themselves; nothing is asked of another one then.
    if (isNew) {
      const away = states.filter(([, one]) => isUnavailable(one)).length;
      assert.ok(away <= roll.terms.maxUnavailable, `${away} hosts are unavailable at once`);
    }
    const isPassed =
      roll.isWatched && (roll.waves[0] ?? []).every((host) => roll.hosts[host]?.state === 'confirmed');
    this.#canariesPassed.push(this.#canariesPassed.at(-1) === true || isPassed);
  }

  #isCanary(name: string): boolean {
    return this.roll.waves[0]?.includes(name) === true;
  }

  #read(): Pick<Leader, 'roll' | 'rollRevision' | 'orders'> {
    const orders = new Map(
      [...this.orders].map(([host, { revision, all }]) => [host, { revision, order: all.at(-1) }]),
    );
    return { roll: this.roll, rollRevision: this.rollRevision, orders };
  }

  #host(name: string): Host {
    const host = this.hosts.get(name);
    assert.ok(host);
    return host;
  }

  #orders(name: string): { revision: number; all: Order[] } {
    const orders = this.orders.get(name);
    assert.ok(orders);
    return orders;
  }
}
