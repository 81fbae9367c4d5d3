import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CanaryWatch } from '#moult/fleet/leader/canary-watch.js';
import type { AliveRecord } from '#moult/fleet/records.js';
import type { Roll } from '#moult/fleet/roll/roll.js';
import { rollOf } from '../roll/roll-world.js';

const beat = (facts: Partial<AliveRecord> = {}): AliveRecord => ({
  protocol: 1,
  identity: 'x',
  state: 'serving',
  generation: 2,
  connections: 0,
  inFlight: 0,
  restarts: 1,
  crashes: 0,
  requests: 0,
  errors: 0,
  durationSumMs: 0,
  ...facts,
});

/** Two canaries and two others, for ten seconds. */
function watched(): {
  tell(host: string, health: AliveRecord): void;
  after(ms: number): ReturnType<CanaryWatch['happened']>;
} {
  const roll = rollOf(
    [
      ['a', 'b'],
      ['c', 'd'],
    ],
    { watchForMs: 10_000 },
  );
  const hosts = { ...roll.hosts, a: { state: 'confirmed' }, b: { state: 'confirmed' } } as const;
  const watching: Roll = { ...roll, hosts, phase: 'watching' };
  const known = new Map<string, AliveRecord>();
  const watch = new CanaryWatch();
  return {
    tell: (host, health) => known.set(host, health),
    after(ms) {
      watch.pass(ms);
      return watch.happened(watching, { health: (host) => known.get(host) });
    },
  };
}

describe('canaries are watched', () => {
  it('until each has said how it is after the time', () => {
    const { tell, after } = watched();
    for (const host of ['a', 'b', 'c', 'd']) tell(host, beat());
    assert.deepEqual(after(0), []);
    assert.deepEqual(after(9999), []);
    assert.deepEqual(after(1), []);
    tell('a', beat());
    tell('c', beat());
    assert.deepEqual(after(200), [], 'b has not said so yet');
    tell('b', beat());
    assert.deepEqual(after(200), [{ type: 'watched' }]);
  });

  it('and judged by what they say last, however short the time', () => {
    const { tell, after } = watched();
    for (const host of ['a', 'b', 'c', 'd']) tell(host, beat());
    after(0);
    assert.deepEqual(after(10_000), []);
    tell('a', beat());
    tell('b', beat({ requests: 100, errors: 100 }));
    assert.match(JSON.stringify(after(200)), /100\.0% of 100 requests with 5xx/);
  });

  it('also by a leader that has heard of nobody when it begins', () => {
    const { tell, after } = watched();
    after(0);
    for (const host of ['a', 'b', 'c', 'd']) tell(host, beat({ requests: 1000 }));
    after(200);
    tell('a', beat({ requests: 1100, errors: 50 }));
    assert.match(JSON.stringify(after(200)), /50\.0% of 100 requests with 5xx/);
  });

  it('and a crash of one is its failure, but not one from before', () => {
    const { tell, after } = watched();
    after(0);
    for (const host of ['a', 'b']) tell(host, beat({ crashes: 3 }));
    assert.deepEqual(after(200), []);
    tell('b', beat({ crashes: 4 }));
    assert.match(JSON.stringify(after(200)), /b, a canary, crashed/);
  });
});
