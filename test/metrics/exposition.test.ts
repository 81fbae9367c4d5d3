import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { JournalEntry } from '#moult/lifecycle/journal-entry.js';
import { Exposition } from '#moult/metrics/exposition.js';
import { metricTable } from '#moult/metrics/metric-table.js';
import type { Observed } from '#moult/metrics/observed.js';
import { classed, noDurations } from '#moult/protocol/durations.js';
import type { Measures } from '#moult/protocol/messages.js';
import type { GenerationStatus, ServiceStatus, SlotFacts } from '#moult/supervisor/status.js';
import fc from '../support/fast-check.js';
import { sequenceOf } from '../support/sequence.js';

/** Of one series, by its name and labels. */
type Series = Map<string, number>;

function seriesOf(text: string): Series {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

function measured(requests: number): Measures {
  const durations = noDurations();
  durations[2] = requests;
  const delays = { delayP50Ms: 1, delayP99Ms: 2, delayMaxMs: 3 };
  return { requests, errors: Math.floor(requests / 2), durations, durationSumMs: requests * 4, ...delays };
}

/** A service that does what the test says. */
class Service implements Observed {
  now: Partial<ServiceStatus> = {};
  generations: GenerationStatus[] = [];
  slotFacts: SlotFacts[] = [{ slot: undefined, inProbation: undefined, nextStartAt: undefined }];
  readonly past: JournalEntry[] = [];
  asked = 0;
  readonly #watchers = new Set<(entry: JournalEntry) => void>();

  async status(): Promise<ServiceStatus> {
    this.asked += 1;
    return {
      name: 'api',
      pid: process.pid,
      version: '1',
      state: 'serving',
      command: 'api.js',
      startedAt: 1000,
      restarts: 0,
      crashes: 0,
      generations: this.generations,
      ...this.now,
    };
  }

  slots(): readonly SlotFacts[] {
    return this.slotFacts;
  }

  facts(): readonly JournalEntry[] {
    return this.past;
  }

  watch(watcher: (entry: JournalEntry) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  measuresOf(generation: number): Measures | undefined {
    return this.generations.find((one) => one.generation === generation)?.measures;
  }

  happens(entry: Omit<JournalEntry, 'at'> & Pick<JournalEntry, 'event'>): void {
    for (const watcher of this.#watchers) watcher({ at: 5000, ...entry } as JournalEntry);
  }

  serves(generation: number, requests: number): void {
    const rest = {
      pid: process.pid,
      state: 'serving',
      startedAt: 1,
      connections: 2,
      inFlight: 1,
      memoryBytes: 9,
    };
    this.generations = [
      ...this.generations.filter((one) => one.generation !== generation),
      { generation, ...rest, measures: measured(requests) },
    ];
  }

  ends(generation: number): void {
    this.happens({ event: 'drained', generation, moved: 0, drained: 0, cut: [] });
    this.generations = this.generations.filter((one) => one.generation !== generation);
    this.happens({ event: 'exited', generation });
  }
}

const api = 'service="api"';

describe('metrics', () => {
  it('count a restart when its end is known, by kind and result, and why it failed', async () => {
    const service = new Service();
    const past = {
      event: 'restart',
      ok: true,
      predecessor: 1,
      moved: 3,
      tookMs: 80,
      kind: 'restart',
    } as const;
    service.past.push({ at: 1, generation: 2, ...past });
    const metrics = new Exposition('api', service);
    const counted = async () => {
      const all = seriesOf(await metrics.text());
      return [...all].filter(([name, value]) => /^moult_restart(s|_failures)_total/.test(name) && value > 0);
    };
    assert.deepEqual(await counted(), []);
    const { size } = seriesOf(await metrics.text());
    service.happens({ event: 'confirmed', generation: 2 });
    // The end of one that is known already adds nothing.
    service.happens({ event: 'confirmed', generation: 2 });
    service.happens({
      event: 'restart',
      ok: true,
      generation: 3,
      predecessor: 2,
      kind: 'rollback',
      tookMs: 9,
    });
    service.happens({ event: 'undone', generation: 3, code: 'MOULT_ROLLED_BACK' });
    service.happens({
      event: 'restart',
      ok: false,
      generation: 4,
      code: 'MOULT_READY_TIMEOUT',
      kind: 'restart',
    });
    service.happens({ event: 'restart', ok: false, generation: 5, code: 'it said: </x>', kind: 'anything' });
    assert.deepEqual(Object.fromEntries(await counted()), {
      [`moult_restarts_total{kind="restart",result="confirmed",${api}}`]: 1,
      [`moult_restarts_total{kind="rollback",result="undone",${api}}`]: 1,
      [`moult_restarts_total{kind="restart",result="failed",${api}}`]: 2,
      [`moult_restart_failures_total{reason="MOULT_ROLLED_BACK",${api}}`]: 1,
      [`moult_restart_failures_total{reason="MOULT_READY_TIMEOUT",${api}}`]: 1,
      [`moult_restart_failures_total{reason="other",${api}}`]: 1,
    });
    // All were there before, with 0: of a series that begins with 1 increase() sees nothing. Only the time of the last one is new.
    assert.equal(seriesOf(await metrics.text()).size, size + 3);
    metrics.close();
  });

  it('count a restart that is confirmed while its connections still move', async () => {
    const service = new Service();
    const metrics = new Exposition('api', service);
    service.happens({ event: 'confirmed', generation: 1 });
    service.happens({ event: 'confirmed', generation: 2 });
    service.happens({
      event: 'restart',
      ok: true,
      generation: 2,
      predecessor: 1,
      kind: 'restart',
      tookMs: 9,
    });
    const all = seriesOf(await metrics.text());
    assert.equal(all.get(`moult_restarts_total{kind="restart",result="confirmed",${api}}`), 1);
    metrics.close();
  });

  it('count what moved once although it is told twice, what was cut by what it was, and each pause', async () => {
    const service = new Service();
    const metrics = new Exposition('api', service);
    const pauses = classed([0.4, 3, 3, 40_000]);
    service.happens({
      event: 'stage',
      generation: 2,
      stage: 'connections',
      ms: 7,
      facts: { moved: 3, pauses },
    });
    service.happens({ event: 'restart', ok: true, generation: 2, predecessor: 1, moved: 3, tookMs: 80 });
    const cut = [{ kind: 'websocket' }, { kind: 'websocket' }, { kind: 'new' }, { peer: 'x' }];
    service.happens({ event: 'drained', generation: 1, moved: 5, drained: 4, cut });
    const all = seriesOf(await metrics.text());
    assert.equal(all.get(`moult_connections_moved_total{${api}}`), 5);
    assert.equal(all.get(`moult_connections_drained_total{${api}}`), 4);
    assert.equal(all.get(`moult_connections_cut_total{kind="websocket",${api}}`), 2);
    assert.equal(all.get(`moult_connections_cut_total{kind="other",${api}}`), 2);
    assert.equal(all.get(`moult_connection_pause_seconds_bucket{le="0.001",${api}}`), 1);
    assert.equal(all.get(`moult_connection_pause_seconds_bucket{le="0.005",${api}}`), 3);
    assert.equal(all.get(`moult_connection_pause_seconds_bucket{le="+Inf",${api}}`), 4);
    assert.equal(all.get(`moult_connection_pause_seconds_count{${api}}`), 4);
    assert.ok(Math.abs((all.get(`moult_connection_pause_seconds_sum{${api}}`) ?? 0) - 40.0064) < 1e-9);
    metrics.close();
  });

  it('have every metric of the table, and no series of a generation that is gone', async () => {
    const service = new Service();
    const metrics = new Exposition('api', service);
    service.serves(1, 4);
    service.now = { state: 'waiting', crashes: 2, slots: 2 };
    service.slotFacts = [{ slot: 1, inProbation: 3, nextStartAt: Date.now() + 60_000 }];
    service.happens({ event: 'stage', generation: 2, stage: 'one of tomorrow', ms: 7, facts: {} });
    service.happens({ event: 'restart', ok: false, generation: 4, code: 'MOULT_READY_TIMEOUT' });
    const text = await metrics.text();
    for (const { name, type } of Object.values(metricTable)) {
      assert.match(text, new RegExp(`^# TYPE ${name} ${type}$`, 'm'));
      assert.match(text, new RegExp(`^${name}(_count)?\\{`, 'm'), `${name} has a value`);
    }
    assert.match(text, /^moult_restart_stage_duration_seconds_count\{.*stage="other"\} 1$/m);
    const all = seriesOf(text);
    assert.equal(all.get(`moult_crashes_total{${api}}`), 2);
    assert.equal(all.get(`moult_state{state="waiting",${api}}`), 1);
    assert.ok((all.get(`moult_backoff_seconds{slot="1",${api}}`) ?? 0) > 50);
    assert.equal(
      all.get(`moult_event_loop_delay_seconds{slot="",generation="1",percentile="100",${api}}`),
      0.003,
    );
    service.ends(1);
    assert.doesNotMatch(await metrics.text(), /generation="1"/);
    metrics.close();
  });

  it('ask the service once for all who ask at a time', async () => {
    const service = new Service();
    const metrics = new Exposition('api', service);
    const all = await Promise.all([metrics.text(), metrics.text(), metrics.text()]);
    assert.equal(service.asked, 1);
    assert.equal(new Set(all).size, 1);
    metrics.close();
  });

  it('have counters that never fall, sums that are right and a bounded number of series, whatever the order of generations', async () => {
    const step = fc.record({
      what: fc.constantFrom('request', 'look', 'restart', 'end', 'late'),
      by: fc.integer({ min: 1, max: 5 }),
    });
    const property = fc.asyncProperty(sequenceOf(step, { maxLength: 40 }), async (steps) => {
      const service = new Service();
      const metrics = new Exposition('api', service);
      let number = 1;
      const counts = new Map([[1, 0]]);
      service.serves(1, 0);
      let last: Series = new Map();
      const look = async () => {
        const now = seriesOf(await metrics.text());
        for (const [name, value] of last)
          if (
            /_total|_bucket|_count|_sum/.test(name) &&
            !name.includes('generation=') &&
            !name.includes('_cpu_')
          )
            assert.ok((now.get(name) ?? -1) >= value, `${name} fell from ${value} to ${now.get(name)}`);
        last = now;
      };
      for (const { what, by } of steps) {
        if (what === 'request') {
          counts.set(number, (counts.get(number) ?? 0) + by);
          service.serves(number, counts.get(number) ?? 0);
        }
        if (what === 'look') await look();
        if (what === 'restart') {
          number += 1;
          counts.set(number, 0);
          service.serves(number, 0);
        }
        if (what === 'end') {
          const [oldest] = service.generations;
          if (oldest !== undefined && oldest.generation !== number) service.ends(oldest.generation);
        }
        if (what === 'late') {
          // It ends while it is being asked: its answer comes after its last word.
          const looked = look();
          const [oldest] = service.generations;
          if (oldest !== undefined && oldest.generation !== number) service.ends(oldest.generation);
          await looked;
        }
      }
      await look();
      const sum = [...counts.values()].reduce((all, one) => all + one, 0);
      const total = last.get(`moult_http_requests_total{slot="",${api}}`) ?? 0;
      assert.equal(total, sum);
      assert.equal(last.get(`moult_http_request_duration_seconds_count{slot="",${api}}`) ?? 0, sum);
      assert.ok(last.size < 380 + 12 * service.generations.length, `${last.size} series`);
      metrics.close();
    });
    await fc.assert(property, { numRuns: 60 });
  });
});
