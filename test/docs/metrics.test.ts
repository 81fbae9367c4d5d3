import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { metricTable } from '#moult/metrics/metric-table.js';
import { codes, page, rows } from './page.js';

describe('docs/reference/metrics.md', () => {
  const text = page('docs/reference/metrics.md');
  const names = new Set(Object.values(metricTable).map(({ name }) => name as string));

  it('has every metric with its type, labels and meaning, and no other', () => {
    const written = rows(text).map(([name = '', type, labels = '', help]) => [
      codes(name)[0],
      type,
      codes(labels),
      help,
    ]);
    const made = Object.values(metricTable).map(({ name, type, labels, help }) => [
      name,
      type,
      [...labels],
      help,
    ]);
    assert.deepEqual(written, made);
  });

  it('asks in its rules for nothing that is not there', () => {
    const asked = [...text.matchAll(/(?<!:)\b(moult_[a-z_]+?)(?:_bucket|_sum|_count)?\b(?=[{[)\s])/g)].map(
      ([, name = '']) => name,
    );
    assert.ok(asked.length > 5);
    for (const name of asked) assert.ok(names.has(name), name);
  });

  it('compares states in its rules by what they have in common', () => {
    const [, rules = ''] = /```yaml\n# moult\.rules\.yml\n(.*?)```/s.exec(text) ?? [];
    for (const [rule] of rules.matchAll(/.*\band\b.*moult_.*/g))
      assert.match(rule, /and (?:on|ignoring) ?\(/);
    assert.match(rules, /and ignoring/);
  });

  it('has names by the conventions of Prometheus', () => {
    for (const { name, type, labels } of Object.values(metricTable)) {
      // These mean something to Prometheus: a part of a summary, a part of a histogram, who was asked.
      for (const label of ['quantile', 'le', 'job', 'instance'])
        assert.ok(!(labels as readonly string[]).includes(label), `${name}: ${label}`);
      assert.equal(name.endsWith('_total'), type === 'counter', name);
      assert.doesNotMatch(name, /_ms\b|milliseconds|_mb\b|_percent/);
      if (type === 'histogram') assert.match(name, /_seconds$/);
    }
  });
});
