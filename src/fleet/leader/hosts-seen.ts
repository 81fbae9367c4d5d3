import { LEADING_HEARTBEAT_MS, MAX_HOST_BYTES } from '../limits.js';
import { type AliveRecord, aliveSchema, type HostRecord, hostSchema, read } from '../records.js';
import { type HostEvent, hostStates, isUnderWay } from '../roll/host-states.js';
import type { Roll } from '../roll/roll.js';
import type { Happened, Report } from '../roll/roll-machine.js';
import type { BucketEntry } from '../store/bucket.js';
import { namesIn, token } from '../store/keys.js';
import { ALIVE_MS, type FleetStore } from '../store/store.js';

const EVENTS: Readonly<Record<string, Report | undefined>> = {
  running: 'begun',
  succeeded: 'succeeded',
  failed: 'failed',
  'left-alone': 'left-alone',
  'taken-back': 'taken-back',
  'not-taken-back': 'not-taken-back',
};

/** What a leader has seen of its hosts, since it leads: how long they have been silent is counted by its own clock. */
export class HostsSeen {
  readonly #store: FleetStore;
  readonly #service: string;
  readonly #records = new Map<string, HostRecord>();
  readonly #alive = new Map<string, AliveRecord>();
  /** Milliseconds since each was heard of. */
  readonly #silentMs = new Map<string, number>();
  /** Milliseconds since each was told something. */
  readonly #askedMs = new Map<string, number>();
  readonly #ends: (() => void)[] = [];
  #passedMs = 0;

  constructor(store: FleetStore, service: string) {
    this.#store = store;
    this.#service = service;
  }

  async begin(): Promise<void> {
    const { main, alive } = this.#store;
    const pattern = `host.*.${token(this.#service)}`;
    const often = { heartbeatMs: LEADING_HEARTBEAT_MS };
    const reports = ({ key, bytes }: BucketEntry) => {
      const found = read(hostSchema, bytes, MAX_HOST_BYTES);
      // What means nothing is as good as nothing: its host falls silent for the roll.
      if ('value' in found) this.#records.set(namesIn(key)[0] ?? '', found.value);
    };
    const beats = ({ key, bytes }: BucketEntry) => {
      const found = read(aliveSchema, bytes, MAX_HOST_BYTES);
      // Where only the agent answers, the host is as silent as without one; its figures say nothing.
      if (!('value' in found) || found.value.state === 'silent') return;
      const [host = ''] = namesIn(key);
      this.#alive.set(host, found.value);
      this.#silentMs.set(host, this.#passedMs);
    };
    this.#ends.push(await main.watch(pattern, reports, often));
    this.#ends.push(await alive.watch(pattern, beats, often));
  }

  end(): void {
    for (const end of this.#ends) end();
  }

  /** So much time has gone by, in which this process could see. */
  pass(ms: number): void {
    this.#passedMs += ms;
  }

  /** A host was told something. */
  asked(host: string): void {
    this.#askedMs.set(host, this.#passedMs);
  }

  /** How a host last said it is, when its supervisor answered. */
  health(host: string): AliveRecord | undefined {
    return this.#alive.get(host);
  }

  /** What a roll has not taken in yet. */
  happened(roll: Roll): Happened[] {
    const happened: Happened[] = [];
    for (const [host, known] of Object.entries(roll.hosts)) {
      const { state } = known;
      const means = (event: HostEvent) => hostStates[state][event] !== undefined;
      const obeyed = this.#records.get(host)?.obeyed;
      const event = obeyed?.serial === roll.serial ? EVENTS[obeyed.outcome] : undefined;
      if (event !== undefined && means(event)) {
        happened.push({ type: 'host', host, event, ...(obeyed?.reason && { reason: obeyed.reason }) });
        continue;
      }
      const isSilent = this.#passedMs - (this.#silentMs.get(host) ?? 0) > ALIVE_MS;
      const isLate =
        isUnderWay(state) && this.#passedMs - (this.#askedMs.get(host) ?? 0) > roll.terms.hostTimeoutMs;
      const isKnown = state === 'confirmed' && isSilent === (known.isSilent === true);
      if (isKnown) continue;
      const late = `gave no result within ${roll.terms.hostTimeoutMs / 1000} s`;
      const reason = isSilent ? {} : { reason: late };
      if ((isSilent || isLate) && means('silent'))
        happened.push({ type: 'host', host, event: 'silent', ...reason });
      else if (!isSilent && this.#alive.has(host) && means('heard'))
        happened.push({ type: 'host', host, event: 'heard' });
    }
    return happened;
  }
}
