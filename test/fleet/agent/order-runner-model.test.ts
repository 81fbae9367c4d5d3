import assert from 'node:assert/strict';
import { it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import {
  type Health,
  type LocalService,
  type PastRestart,
  Unanswered,
} from '#moult/fleet/agent/local-service.js';
import { OrderRunner } from '#moult/fleet/agent/order-runner.js';
import type { ObeyedRecord, Order } from '#moult/fleet/records.js';
import fc from '../../support/fast-check.js';
import { modelRuns } from '../../support/model-runs.js';

const RUNS = modelRuns('MODEL_RUNS', 2000);

/** What strikes a host while it is asked for something. */
const FAULTS = ['none', 'agent', 'unanswered', 'unwritten', 'not begun', 'host', 'reboot'] as const;
type Fault = (typeof FAULTS)[number];

/** A machine: its paths, what serves, and the journal of its supervisor. Its agent may be killed at each call. */
class Machine implements LocalService {
  readonly hasDeploy = true;
  paths = '1';
  serving = { generation: 1, process: 'p1', tookOver: false, release: '1' };
  past: PastRestart[] = [];
  /** What was confirmed, for a rollback. */
  #line = ['0', '1'];
  #generation = 1;
  #processes = 1;
  readonly #faults: Fault[];
  readonly #fails: boolean[];
  kill: () => void = () => {};

  constructor(faults: readonly Fault[], fails: readonly boolean[]) {
    this.#faults = [...faults];
    this.#fails = [...fails];
  }

  health(): Promise<Health> {
    const { release, ...rest } = this.serving;
    const none = { connections: 0, inFlight: 0, restarts: 0, crashes: 0 };
    return this.#strikes(() => ({ state: 'serving', isSettled: true, ...none, ...rest }));
  }

  history(): Promise<readonly PastRestart[]> {
    return this.#strikes(() => [...this.past]);
  }

  deploy(release: string): Promise<void> {
    return this.#strikes(() => {
      this.paths = release;
    });
  }

  restart(): Promise<{ generation: number }> {
    return this.#replaces('restart', () => this.paths);
  }

  rollback(): Promise<{ generation: number }> {
    return this.#replaces('rollback', () => {
      const before = this.#line.at(-2);
      if (before === undefined) throw new MoultError('MOULT_NOTHING_TO_ROLL_BACK', 'there is nothing');
      return before;
    });
  }

  #replaces(kind: string, of: () => string): Promise<{ generation: number }> {
    return this.#strikes((fault) => {
      if (fault === 'not begun') throw new Unanswered('its supervisor ended');
      const release = of();
      this.#generation += 1;
      const generation = this.#generation;
      const isGood = kind === 'rollback' || this.#fails.shift() !== true;
      // A supervisor that is killed after the commit has not written it down, and the next one adopts what serves.
      const isWritten = !(isGood && fault === 'unwritten');
      const result = isGood ? 'confirmed' : 'failed';
      if (isWritten) this.past.push({ generation, kind, result, at: this.#processes * 100 + generation });
      if (isGood) this.#serves(generation, release, true);
      if (isGood) this.#proved(release);
      if (fault === 'unanswered' || fault === 'unwritten') throw new Unanswered('its supervisor ended');
      if (!isGood) throw new Error('it failed');
      return { generation };
    });
  }

  #serves(generation: number, release: string, tookOver: boolean): void {
    this.#processes += 1;
    this.serving = { generation, process: `p${this.#processes}`, tookOver, release };
  }

  // As src/supervisor/releases/release-history.ts has it.
  #proved(release: string): void {
    const at = this.#line.indexOf(release);
    this.#line = at < 0 ? [...this.#line, release] : this.#line.slice(0, at + 1);
  }

  // Before what is asked for, or after it.
  async #strikes<T>(does: (fault: Fault) => T): Promise<T> {
    const fault = this.#faults.shift() ?? 'none';
    const isAfter = this.#faults.length % 2 === 0;
    const result = isAfter || fault === 'unanswered' || fault === 'unwritten' ? does(fault) : undefined;
    if (fault === 'host' || fault === 'reboot') {
      if (fault === 'reboot') {
        this.past = [];
        this.#generation = 0;
        this.#line = [];
      }
      this.#generation += 1;
      this.#serves(this.#generation, this.paths, false);
      this.#proved(this.paths);
    }
    if (fault === 'agent' || fault === 'host' || fault === 'reboot') {
      this.kill();
      return new Promise(() => {});
    }
    return result ?? does(fault);
  }
}

const order = (action: Order['action']): Order => ({
  protocol: 1,
  roll: 'r1',
  serial: 1,
  action,
  epoch: 1,
  release: '2',
});

/** Has a machine obey these, whichever agents of it are killed meanwhile. @returns what is kept at the end. */
async function obeys(machine: Machine, orders: readonly Order[]): Promise<ObeyedRecord | undefined> {
  let kept: ObeyedRecord | undefined;
  let release: string | null = '1';
  for (const one of orders) {
    for (let isOver = false; !isOver; ) {
      let isDead = false;
      const killed = new Promise<'killed'>((resolve) => {
        machine.kill = () => {
          isDead = true;
          resolve('killed');
        };
      });
      const keep = async (obeyed: ObeyedRecord, now?: string | null) => {
        if (isDead) return new Promise<void>(() => {});
        kept = obeyed;
        if (now !== undefined) release = now;
      };
      const log = { info() {}, warn() {} };
      const { signal } = new AbortController();
      const runner = new OrderRunner({ service: machine, keep, release: () => release, log, signal }, kept);
      const work = (async () => {
        await runner.resume();
        await runner.obey(one);
        return 'over';
      })();
      isOver = (await Promise.race([work, killed])) === 'over';
    }
  }
  return kept;
}

it('a host has what was decided for it, whatever ends in the middle, and says so where it has not', async () => {
  const seen = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...FAULTS, 'none' as const, 'none' as const, 'none' as const), {
        maxLength: 30,
      }),
      fc.array(fc.boolean(), { maxLength: 3 }),
      fc.boolean(),
      async (faults, fails, isUndone) => {
        const machine = new Machine(faults, fails);
        const orders = isUndone ? [order('restart'), order('undo')] : [order('restart')];
        const obeyed = await obeys(machine, orders);
        const { outcome } = obeyed ?? {};
        const what = `${outcome}: ${obeyed?.reason}, and ${machine.serving.release} serves`;
        if (outcome === 'succeeded') assert.equal(machine.serving.release, '2', what);
        if (outcome === 'taken-back') assert.equal(machine.serving.release, '1', what);
        assert.ok(['succeeded', 'failed', 'taken-back', 'not-taken-back'].includes(String(outcome)), what);
        seen.set(String(outcome), (seen.get(String(outcome)) ?? 0) + 1);
      },
    ),
    { ...RUNS, includeErrorInReport: true },
  );
  for (const outcome of ['succeeded', 'failed', 'taken-back'])
    assert.ok(seen.get(outcome), `none of them was ${outcome}`);
});
