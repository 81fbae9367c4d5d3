import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judgeCanaries } from '#moult/fleet/roll/canary-figures.js';
import { type Candidate, planWaves } from '#moult/fleet/roll/plan.js';

const host = (name: string, zone: string, isHeard = true): Candidate => ({
  host: name,
  labels: { zone, size: name < 'c' ? 'small' : 'large' },
  isHeard,
});
const hosts = [
  host('d', 'b'),
  host('a', 'a'),
  host('b', 'a'),
  host('c', 'b'),
  host('e', 'a'),
  host('f', 'b', false),
];

describe('the plan of a roll', () => {
  it('has canaries of as many zones as it can, then waves by name, and silent hosts at the end', () => {
    const { waves, hasCanaries } = planWaves(hosts, { canaries: { hosts: 2 }, wave: { hosts: 2 } });
    assert.deepEqual(waves, [['a', 'c'], ['b', 'd'], ['e'], ['f']]);
    assert.equal(hasCanaries, true);
  });

  it('takes canaries by labels, one of each value, or none', () => {
    const of = (canaries: Parameters<typeof planWaves>[1]['canaries']) =>
      planWaves(hosts, { canaries, wave: { hosts: 9 } }).waves[0];
    assert.deepEqual(of({ labels: { zone: 'a', size: 'small' } }), ['a', 'b']);
    assert.deepEqual(of({ each: 'zone' }), ['a', 'c']);
    assert.deepEqual(of({ share: 0.5 }), ['a', 'c', 'b']);
    assert.deepEqual(of('none'), ['a', 'b', 'c', 'd', 'e']);
    assert.equal(
      planWaves(hosts, { canaries: { labels: { zone: 'x' } }, wave: { hosts: 1 } }).hasCanaries,
      false,
    );
  });

  it('finishes one value of a label before the next, and has at least one host in a wave', () => {
    const { waves } = planWaves(hosts, { canaries: 'none', wave: { share: 0.01 }, by: 'zone' });
    assert.deepEqual(waves, [['a'], ['b'], ['e'], ['c'], ['d'], ['f']]);
  });
});

describe('what canaries are judged by', () => {
  const limits = { maxErrorRate: 0.05, maxSlowdown: 5 };
  const of = (requests: number, errors: number, ms: number) => ({
    requests,
    errors,
    durationSumMs: requests * ms,
  });

  it('is their share of errors, beside that of the rest', () => {
    assert.match(
      judgeCanaries([of(100, 10, 1)], [of(1000, 10, 1)], limits) ?? '',
      /10\.0% of 100.*rest 1\.0%/,
    );
    assert.equal(judgeCanaries([of(100, 10, 1)], [of(1000, 60, 1)], limits), undefined);
    assert.equal(judgeCanaries([of(49, 49, 1)], [of(1000, 0, 1)], limits), undefined, 'too few tell nothing');
    assert.ok(
      judgeCanaries([of(100, 10, 1)], [], limits),
      'with nobody to compare them with, errors are errors',
    );
  });

  it('is how long their requests take, where people notice', () => {
    assert.match(judgeCanaries([of(100, 0, 120)], [of(100, 0, 20)], limits) ?? '', /120 ms.*rest 20 ms/);
    assert.equal(
      judgeCanaries([of(100, 0, 40)], [of(100, 0, 2)], limits),
      undefined,
      '38 ms more are not noticed',
    );
    assert.equal(
      judgeCanaries([of(100, 0, 90)], [of(100, 0, 20)], limits),
      undefined,
      'less than five times',
    );
    assert.equal(judgeCanaries([of(100, 0, 900)], [of(10, 0, 20)], limits), undefined);
  });
});
