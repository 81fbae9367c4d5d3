import { cpuSeconds } from '../os/processes/cpu-time.js';
import { ownResidentBytes } from '../os/processes/memory.js';
import type { GenerationStatus, ServiceStatus, SlotFacts, SupervisorState } from '../supervisor/status.js';
import type { MetricSet } from './metric-set.js';

const MS_IN_S = 1000;
const STATES = Object.keys({
  starting: true,
  verifying: true,
  serving: true,
  restarting: true,
  waiting: true,
  stopping: true,
  stopped: true,
} satisfies Record<SupervisorState, true>);
/** What is there for living generations only. */
const PASSING = [
  'generationState',
  'generationStart',
  'connections',
  'inFlight',
  'memory',
  'loopDelay',
  'backoff',
  'probation',
] as const;

/** Sets what is so at this moment. */
export class StateMetrics {
  readonly #set: MetricSet;
  #crashes = 0;
  #supervisorCpu = 0;

  constructor(set: MetricSet, version: string) {
    this.#set = set;
    set.gauge('info').set({ version, node: process.version }, 1);
  }

  /** @param nowMs since 1970. */
  update(status: ServiceStatus, slots: readonly SlotFacts[], nowMs: number): void {
    const set = this.#set;
    for (const key of PASSING) set.gauge(key).reset();
    set.counter('cpu').reset();
    for (const state of STATES) set.gauge('state').set({ state }, state === status.state ? 1 : 0);
    set.gauge('slots').set(status.slots ?? 1);
    set.gauge('supervisorStart').set(status.startedAt / MS_IN_S);
    set.gauge('supervisorMemory').set(ownResidentBytes());
    this.#supervisorCpu = grow(cpuSeconds(process.pid), this.#supervisorCpu, (by) =>
      set.counter('supervisorCpu').inc(by),
    );
    this.#crashes = grow(status.crashes, this.#crashes, (by) => set.counter('crashes').inc(by));
    for (const one of slots) this.#slot(one, nowMs);
    for (const one of status.generations) this.#generation(one);
  }

  #slot({ slot, inProbation, nextStartAt }: SlotFacts, nowMs: number): void {
    const labels = { slot: slotLabel(slot) };
    const waitMs = nextStartAt === undefined ? 0 : Math.max(0, nextStartAt - nowMs);
    this.#set.gauge('backoff').set(labels, waitMs / MS_IN_S);
    this.#set.gauge('probation').set(labels, inProbation === undefined ? 0 : 1);
  }

  #generation(one: GenerationStatus): void {
    const set = this.#set;
    const labels = { slot: slotLabel(one.slot), generation: String(one.generation) };
    set.gauge('generationState').set({ ...labels, state: one.state }, 1);
    if (one.startedAt !== undefined) set.gauge('generationStart').set(labels, one.startedAt / MS_IN_S);
    if (one.connections !== undefined) set.gauge('connections').set(labels, one.connections);
    if (one.inFlight !== undefined) set.gauge('inFlight').set(labels, one.inFlight);
    if (one.memoryBytes !== undefined) set.gauge('memory').set(labels, one.memoryBytes);
    const cpu = cpuSeconds(one.pid);
    if (cpu !== undefined) set.counter('cpu').inc(labels, cpu);
    if (one.measures === undefined) return;
    const { delayP50Ms, delayP99Ms, delayMaxMs } = one.measures;
    const delay = set.gauge('loopDelay');
    delay.set({ ...labels, percentile: '50' }, delayP50Ms / MS_IN_S);
    delay.set({ ...labels, percentile: '99' }, delayP99Ms / MS_IN_S);
    delay.set({ ...labels, percentile: '100' }, delayMaxMs / MS_IN_S);
  }
}

/** The slot as a label; to Prometheus an empty one is as good as none. */
export function slotLabel(slot: number | undefined): string {
  return slot === undefined ? '' : String(slot);
}

function grow(now: number | undefined, before: number, add: (by: number) => void): number {
  if (now === undefined || now <= before) return before;
  add(now - before);
  return now;
}
