import { MOULT_VERSION } from '../../version.js';
import { Leader } from '../leader/leader.js';
import { FLEET_PROTOCOL, MAX_HOST_BYTES } from '../limits.js';
import { pause } from '../pause.js';
import {
  aliveSchema,
  type HostRecord,
  hostSchema,
  type ObeyedRecord,
  orderSchema,
  read,
} from '../records.js';
import type { FleetSettings } from '../settings.js';
import { hostKey, orderKey } from '../store/keys.js';
import { FleetStore } from '../store/store.js';
import type { Health, LocalService } from './local-service.js';
import { OrderRunner } from './order-runner.js';

/** How often a host says how it is. */
const BEAT_MS = 5000;
/** How often it looks for instructions, besides being told of them. */
const LOOK_MS = 10_000;
const AGAIN_MS = 1000;
/** A server may lag behind so long. */
const LAG_MS = 100;
const MOST_AGAIN_MS = 10_000;

/** Where an agent says what it does. */
export interface AgentLog {
  info(what: string): void;
  warn(what: string): void;
}

/** What an agent is for. */
export interface AgentParts {
  readonly settings: FleetSettings;
  readonly name: string;
  /** Tells this host from another of the same name, and is the same in its next life. */
  readonly identity: string;
  readonly service: LocalService;
  readonly log: AgentLog;
  /** How often it says how it is, in milliseconds (default: 5 s). */
  readonly beatMs?: number;
}

/**
 * Speaks for one service of this host in its fleet: says how it is, obeys instructions, and may lead. Where the servers are away
 * it waits for them; whatever goes wrong it begins anew, and the service does not notice.
 */
export class Agent {
  readonly #parts: AgentParts;
  readonly #ending = new AbortController();
  readonly #over: Promise<void>;
  #store: FleetStore | undefined;
  #runner: OrderRunner | undefined;
  #record: HostRecord | undefined;
  /** The revision of the record that this agent wrote last: what an agent before it has on its way is refused. */
  #revision = 0;
  #told: string | undefined;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#over = this.#live();
  }

  /** Ends it; what its service does goes on. @param leaves whether the service ends, too, so that nobody waits for it. */
  async end(leaves: boolean): Promise<void> {
    const record = this.#record;
    const store = this.#store;
    if (leaves && record !== undefined && store !== undefined) {
      // Whatever is kept of it from now on says so, too.
      this.#record = { ...record, hasLeft: true };
      const said = this.#write(store).then(() => store.alive.remove(this.#key));
      await Promise.race([said, pause(1000)]).catch(() => {});
    }
    this.#ending.abort();
    await this.#over;
  }

  get #key(): string {
    return hostKey(this.#parts.settings.host, this.#parts.name);
  }

  async #live(): Promise<void> {
    const { signal } = this.#ending;
    for (let times = 0; !signal.aborted; times += 1) {
      const beganMs = performance.now();
      try {
        await this.#join();
        times = 0;
      } catch (error) {
        if (!signal.aborted) this.#say(`this host cannot reach its fleet at the moment: ${messageOf(error)}`);
      }
      if (performance.now() - beganMs > MOST_AGAIN_MS) times = 0;
      await pause(Math.min(MOST_AGAIN_MS, AGAIN_MS * 2 ** Math.min(times, 8)), signal);
    }
  }

  // From one connection to its end.
  async #join(): Promise<void> {
    const { settings, name, log } = this.#parts;
    const { signal } = this.#ending;
    const over = new AbortController();
    const isOver = AbortSignal.any([signal, over.signal]);
    const store = await FleetStore.open(settings);
    const ends: (() => unknown)[] = [() => store.close()];
    try {
      await this.#introduce(store);
      this.#store = store;
      this.#resume();
      this.#told = undefined;
      log.info(`fleet: joined fleet ${settings.name} as ${settings.host}`);
      const fail = (error: unknown) => over.abort(error);
      store.connection.closed().then(fail, fail);
      const look = async () => {
        const found = await store.main.get(orderKey(settings.host, name));
        if (found !== undefined) this.#hear(found.bytes);
        // Somebody may have written over the record of this host, or removed it.
        const own = await store.main.get(this.#key);
        if (own === undefined || own.revision > this.#revision) await this.#write(store);
      };
      ends.push(await store.main.watch(orderKey(settings.host, name), ({ bytes }) => this.#hear(bytes)));
      if (settings.lead) {
        const leader = new Leader({ store, service: name, holder: `${settings.host} ${process.pid}`, log });
        ends.push(() => leader.end());
        await leader.begin();
      }
      let nextLookMs = 0;
      while (!isOver.aborted) {
        await this.#beat(store);
        if (performance.now() >= nextLookMs) {
          await look();
          nextLookMs = performance.now() + LOOK_MS;
        }
        await pause(this.#parts.beatMs ?? BEAT_MS, isOver);
      }
      if (!signal.aborted) throw over.signal.reason ?? new Error('the connection was closed');
    } finally {
      this.#store = undefined;
      over.abort();
      for (const end of ends.reverse()) await end();
    }
  }

  // Who one is, what was left by the agent before, and that nobody else has the name.
  async #introduce(store: FleetStore): Promise<void> {
    const { settings, name, identity, service, log } = this.#parts;
    const there = await store.alive.get(this.#key);
    const alive = there && read(aliveSchema, there.bytes, MAX_HOST_BYTES);
    if (alive !== undefined && 'value' in alive && alive.value.identity !== identity)
      throw new Error(
        `another host of this fleet is named ${settings.host} and has a service ${name}; set another "host" for this one`,
      );
    const kept = await store.main.get(this.#key);
    const before = kept && read(hostSchema, kept.bytes, MAX_HOST_BYTES);
    const known = before !== undefined && 'value' in before ? before.value : undefined;
    if (before !== undefined && 'trouble' in before)
      log.warn(`fleet: the record of this host cannot be read (${before.trouble}) and is replaced`);
    const record: HostRecord = {
      protocol: FLEET_PROTOCOL,
      host: settings.host,
      service: name,
      labels: settings.labels,
      version: MOULT_VERSION,
      identity,
      hasDeploy: service.hasDeploy,
      release: this.#record?.release ?? known?.release ?? null,
      ...(known?.obeyed === undefined ? {} : { obeyed: known.obeyed }),
    };
    // What this agent knows is newer than what it could write while the servers were away.
    const obeyed = this.#runner?.obeyed ?? record.obeyed;
    this.#record = obeyed === undefined ? record : { ...record, obeyed };
    // A server may have read an older value: whoever goes on from that would do again what was done since.
    const revision = await store.main.compareAndSet(this.#key, this.#record, kept?.revision ?? 0);
    if (revision === undefined)
      throw new Error('the record of this host was read from a server that lags behind');
    this.#revision = revision;
  }

  /** Writes the record as it is by then. */
  async #write(store: FleetStore): Promise<void> {
    while (!store.connection.isClosed()) {
      const written = await store.main.compareAndSet(this.#key, this.#record, this.#revision);
      if (written !== undefined) {
        this.#revision = Math.max(this.#revision, written);
        return;
      }
      // One's own write whose answer was lost, or what is none of this agent: it knows best how its host is.
      this.#revision = (await store.main.get(this.#key))?.revision ?? 0;
      await pause(LAG_MS, this.#ending.signal);
    }
    throw new Error('the connection was closed');
  }

  #resume(): void {
    if (this.#runner !== undefined) return;
    const { service, log } = this.#parts;
    const parts = {
      service,
      keep: (one: ObeyedRecord, release?: string | null) => this.#keep(one, release),
      release: () => this.#record?.release ?? null,
      log,
      signal: this.#ending.signal,
    };
    this.#runner = new OrderRunner(parts, this.#record?.obeyed);
    this.#runner.resume().catch((error: unknown) => this.#say(messageOf(error)));
  }

  // Until it is kept: what is begun must be known to whoever comes after.
  async #keep(obeyed: ObeyedRecord, release?: string | null): Promise<void> {
    if (this.#record === undefined) return;
    this.#record = { ...this.#record, obeyed, ...(release === undefined ? {} : { release }) };
    for (;;) {
      this.#ending.signal.throwIfAborted();
      const store = this.#store;
      try {
        if (store !== undefined) {
          await this.#write(store);
          return;
        }
      } catch (error) {
        this.#say(`the state of this host cannot be reported: ${messageOf(error)}`);
      }
      await pause(AGAIN_MS, this.#ending.signal);
    }
  }

  // Whatever was written there, and by whoever.
  #hear(bytes: Uint8Array): void {
    const order = read(orderSchema, bytes, MAX_HOST_BYTES);
    if ('trouble' in order) {
      this.#say(`an order for this host cannot be used: ${order.trouble}`);
      return;
    }
    this.#runner?.obey(order.value).catch((error: unknown) => {
      if (!this.#ending.signal.aborted) this.#say(`an order failed: ${messageOf(error)}`);
    });
  }

  async #beat(store: FleetStore): Promise<void> {
    const { service, identity } = this.#parts;
    const health: Health = await service.health().catch(() => SILENT);
    const { isSettled, process: _, tookOver, ...figures } = health;
    await store.alive.put(this.#key, {
      protocol: FLEET_PROTOCOL,
      identity,
      ...figures,
      ...(figures.label === undefined ? {} : { label: figures.label.slice(0, 1024) }),
    });
  }

  #say(what: string): void {
    if (this.#told === what) return;
    this.#told = what;
    this.#parts.log.warn(`fleet: ${what}`);
  }
}

const SILENT: Health = {
  state: 'silent',
  generation: 0,
  isSettled: false,
  connections: 0,
  inFlight: 0,
  restarts: 0,
  crashes: 0,
};

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
