import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type Health,
  type LocalService,
  type PastRestart,
  Unanswered,
} from '#moult/fleet/agent/local-service.js';
import { OrderRunner } from '#moult/fleet/agent/order-runner.js';
import type { ObeyedRecord, Order } from '#moult/fleet/records.js';
import { until } from '../../support/events.js';

/** A service whose supervisor may end at any call; what it had begun goes on. */
class Service implements LocalService {
  hasDeploy = false;
  readonly calls: string[] = [];
  generation = 1;
  process = 'first';
  tookOver = false;
  past: PastRestart[] = [];
  /** What becomes of the next restart or rollback; the supervisor may end before it answers. */
  next: { readonly result: 'confirmed' | 'failed' | 'not begun'; readonly isAnswered: boolean }[] = [];
  /** So many looks go unanswered. */
  looksLost = 0;
  /** What restarts and rollbacks wait for. */
  gate: Promise<void> | undefined;
  #clock = 0;

  async health(): Promise<Health> {
    this.#look();
    const rest = { connections: 0, inFlight: 0, restarts: 0, crashes: 0 };
    const { generation, process, tookOver } = this;
    return { state: 'serving', generation, process, tookOver, isSettled: true, ...rest };
  }

  async history(): Promise<readonly PastRestart[]> {
    this.#look();
    return this.past;
  }

  restart(): Promise<{ generation: number }> {
    return this.#does('restart');
  }

  rollback(): Promise<{ generation: number }> {
    return this.#does('rollback');
  }

  async deploy(release: string, why: string): Promise<void> {
    this.calls.push(`${why} ${release}`);
  }

  /** It is stopped, and started from what its paths hold: nothing is known of what was before. */
  startAnew(generation = 1): void {
    this.generation = generation;
    this.process = 'anew';
    this.tookOver = false;
    if (generation === 1) this.past = [];
  }

  #look(): void {
    if (this.looksLost === 0) return;
    this.looksLost -= 1;
    throw new Unanswered('the supervisor is away');
  }

  async #does(kind: string): Promise<{ generation: number }> {
    this.calls.push(kind);
    await this.gate;
    const { result, isAnswered } = this.next.shift() ?? { result: 'confirmed', isAnswered: true };
    const generation = Math.max(this.generation, this.past.at(-1)?.generation ?? 0) + 1;
    this.#clock += 1;
    if (result !== 'not begun') this.past.push({ generation, kind, result, at: this.#clock });
    if (result === 'confirmed') {
      this.generation = generation;
      this.process = `of ${generation}`;
      this.tookOver = true;
    }
    if (!isAnswered) throw new Unanswered('the supervisor ended');
    if (result !== 'confirmed') throw new Error(`the ${kind} failed`);
    return { generation };
  }
}

const order = (action: Order['action']): Order => ({
  protocol: 1,
  roll: 'r1',
  serial: 1,
  action,
  epoch: 1,
  release: null,
});

function runnerOf(
  service: Service,
  obeyed?: ObeyedRecord,
  release: string | null = null,
): { runner: OrderRunner; kept: string[] } {
  const kept: string[] = [];
  const parts = {
    service,
    keep: async ({ outcome }: ObeyedRecord) => {
      kept.push(outcome);
    },
    release: () => release,
    log: { info() {}, warn() {} },
    signal: new AbortController().signal,
  };
  return { runner: new OrderRunner(parts, obeyed), kept };
}

describe('what a host does whose supervisor ends in the middle', () => {
  it('is to find out how a restart ended, and never to call one failed that has succeeded', async () => {
    const service = new Service();
    service.next = [{ result: 'confirmed', isAnswered: false }];
    const { runner, kept } = runnerOf(service);
    await runner.obey(order('restart'));
    assert.deepEqual(kept, ['running', 'succeeded']);
    assert.equal(runner.obeyed?.made, 2);
    assert.deepEqual(service.calls, ['restart']);
  });

  it('is to report a restart as failed that has failed, by the reason that was kept', async () => {
    const service = new Service();
    service.next = [{ result: 'failed', isAnswered: false }];
    const { runner, kept } = runnerOf(service);
    await runner.obey(order('restart'));
    assert.deepEqual(kept, ['running', 'failed']);
    assert.deepEqual(service.calls, ['restart']);
  });

  it('is to begin a restart again that had not begun, three times at most', async () => {
    const service = new Service();
    service.next = [{ result: 'not begun', isAnswered: false }];
    const { runner } = runnerOf(service);
    await runner.obey(order('restart'));
    assert.equal(runner.obeyed?.outcome, 'succeeded');
    assert.deepEqual(service.calls, ['restart', 'restart']);

    const never = new Service();
    never.next = Array.from({ length: 9 }, () => ({ result: 'not begun', isAnswered: false }) as const);
    const another = runnerOf(never);
    await another.runner.obey(order('restart'));
    assert.equal(another.runner.obeyed?.outcome, 'failed');
    assert.deepEqual(never.calls, ['restart', 'restart', 'restart']);
  });

  it('is to ask again where it was asked for what it knows', async () => {
    const service = new Service();
    service.past = [{ generation: 2, kind: 'restart', result: 'confirmed' }];
    service.generation = 2;
    service.looksLost = 2;
    const { runner } = runnerOf(service, {
      ...order('restart'),
      before: { generation: 1, release: null },
      outcome: 'running',
    });
    await runner.resume();
    assert.equal(runner.obeyed?.outcome, 'succeeded');
    assert.deepEqual(service.calls, []);
  });

  it('is to take back what it was told to, once, whether that was answered or not', async () => {
    for (const result of ['confirmed', 'not begun'] as const) {
      const service = new Service();
      const { runner, kept } = runnerOf(service);
      await runner.obey(order('restart'));
      service.next = [{ result, isAnswered: false }];
      await runner.obey(order('undo'));
      // It is kept once more before each try, with the generation from which it goes back.
      assert.deepEqual([...new Set(kept)], ['running', 'succeeded', 'taking-back', 'taken-back']);
      assert.deepEqual(
        service.past.map(({ kind }) => kind),
        ['restart', 'rollback'],
      );
    }
  });
});

describe('a host whose service was stopped and started since a roll', () => {
  it('brings the release before back by its deploy step: what its supervisor counts means nothing', async () => {
    for (const restarts of [0, 1]) {
      const service = new Service();
      service.hasDeploy = true;
      const { runner } = runnerOf(service, undefined, '1');
      await runner.obey({ ...order('restart'), release: '2' });
      assert.equal(runner.obeyed?.outcome, 'succeeded');
      service.startAnew();
      for (let n = 0; n < restarts; n += 1) await service.restart();
      service.calls.length = 0;
      await runner.obey({ ...order('undo'), release: '2' });
      // By another command it has what the roll does not know.
      if (restarts > 0) assert.equal(runner.obeyed?.outcome, 'not-taken-back');
      else assert.equal(runner.obeyed?.outcome, 'taken-back');
      assert.deepEqual(service.calls, restarts > 0 ? [] : ['undo 1', 'restart']);
    }
  });

  it('says that it cannot go back where nobody knows to what', async () => {
    const service = new Service();
    const { runner } = runnerOf(service);
    await runner.obey(order('restart'));
    service.startAnew();
    service.calls.length = 0;
    await runner.obey(order('undo'));
    assert.equal(runner.obeyed?.outcome, 'not-taken-back');
    assert.match(runner.obeyed?.reason ?? '', /stopped and started since the roll/);
    assert.deepEqual(service.calls, []);
  });
});

describe('a host whose service was stopped and started while a roll restarted it', () => {
  // The journal of its supervisor is lost with a reboot, and kept where only its processes were killed.
  const lives = [1, 2];
  const killedIn = (outcome: ObeyedRecord['outcome'], facts: Partial<ObeyedRecord> = {}): ObeyedRecord => ({
    ...order('restart'),
    release: '2',
    before: { generation: 1, process: 'first', release: '1' },
    outcome,
    isDeployed: true,
    ...facts,
  });
  const startedAs = (generation: number): Service => {
    const service = new Service();
    service.hasDeploy = true;
    service.startAnew(generation);
    return service;
  };

  it('deploys and restarts it, and goes back by the deploy step: the start was no result', async () => {
    for (const generation of lives) {
      const service = startedAs(generation);
      const { runner } = runnerOf(service, killedIn('running'), '1');
      await runner.resume();
      assert.equal(runner.obeyed?.outcome, 'succeeded');
      assert.deepEqual(service.calls.splice(0), ['restart 2', 'restart']);
      await runner.obey({ ...order('undo'), release: '2' });
      assert.equal(runner.obeyed?.outcome, 'taken-back');
      assert.deepEqual(service.calls, ['undo 1', 'restart']);
    }
  });

  it('takes a restart for open that was killed in its probation', async () => {
    const service = startedAs(3);
    service.past = [{ generation: 2, kind: 'restart', result: 'took over', at: 1 }];
    const { runner } = runnerOf(service, killedIn('running'), '1');
    await runner.resume();
    assert.equal(runner.obeyed?.made, 4);
    assert.deepEqual(service.calls, ['restart 2', 'restart']);
  });

  it('brings back what it had where it was told to, however far it was', async () => {
    for (const generation of lives) {
      for (const outcome of ['taking-back', 'failed'] as const) {
        const service = startedAs(generation);
        const { runner } = runnerOf(service, killedIn(outcome), '2');
        if (outcome === 'failed') await runner.obey({ ...order('undo'), release: '2' });
        else await runner.resume();
        assert.equal(runner.obeyed?.outcome, 'taken-back');
        assert.deepEqual(service.calls, ['undo 1', 'restart']);
      }
    }
  });

  it('goes back as ever where nothing had been deployed yet', async () => {
    for (const generation of lives) {
      const service = startedAs(generation);
      const { runner } = runnerOf(service, killedIn('running', { isDeployed: false }), '1');
      await runner.resume();
      await runner.obey({ ...order('undo'), release: '2' });
      assert.equal(runner.obeyed?.outcome, 'taken-back');
      assert.deepEqual(service.calls, ['restart 2', 'restart', 'rollback', 'undo 1']);
    }
  });

  it('takes what took over for the result, also where only its supervisor was killed before it wrote that', async () => {
    const service = startedAs(2);
    service.tookOver = true;
    const { runner } = runnerOf(service, killedIn('running'), '1');
    await runner.resume();
    assert.equal(runner.obeyed?.outcome, 'succeeded');
    assert.deepEqual(service.calls, []);
  });
});

describe('a host that is still busy with an earlier roll', () => {
  it('comes to the result of that first, and never takes it for the result of the next', async () => {
    for (const action of ['restart', 'undo'] as const) {
      const service = new Service();
      const { runner } = runnerOf(service);
      let open = () => {};
      service.gate = new Promise((resolve) => {
        open = resolve;
      });
      const first = runner.obey(order('restart'));
      await until(() => service.calls.length === 1, 'the first restart has begun');
      const next = runner.obey({ ...order(action), serial: 2, roll: 'r2', epoch: 2 });
      open();
      await Promise.all([first, next]);
      assert.deepEqual(service.calls, action === 'restart' ? ['restart', 'restart'] : ['restart']);
      assert.equal(runner.obeyed?.serial, 2);
      assert.equal(runner.obeyed?.outcome, action === 'restart' ? 'succeeded' : 'taken-back');
      if (action === 'restart') assert.equal(runner.obeyed?.made, 3);
    }
  });
});
