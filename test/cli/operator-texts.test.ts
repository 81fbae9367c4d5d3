import assert from 'node:assert/strict';
import { after, before, describe, it, mock } from 'node:test';
import { drawPauses } from '#moult/cli/show/pause-picture.js';
import { summaryText } from '#moult/cli/show/show-stages.js';
import { statusText } from '#moult/cli/show/status-text.js';
import type { RestartSummary } from '#moult/lifecycle/restart-record.js';
import { rollSummary } from '#moult/lifecycle/roll-summary.js';
import { classed } from '#moult/protocol/durations.js';
import type { ServiceStatus } from '#moult/supervisor/status.js';
import { unpainted } from '#moult/terminal/paint.js';
import { widthOf } from '#moult/terminal/width.js';

// What is told of times must not hang on how long a test takes.
const now = Date.now();
before(() => mock.timers.enable({ apis: ['Date'], now }));
after(() => mock.timers.reset());

const generation = { pid: 4_194_303, state: 'serving', startedAt: now - 5000, connections: 12 };
const service: ServiceStatus = {
  name: 'api',
  pid: 4_194_300,
  version: '1.0.0',
  state: 'serving',
  command: 'server.js',
  startedAt: now - 5000,
  restarts: 1,
  crashes: 0,
  generations: [],
};
const summary: RestartSummary = {
  generation: 3,
  predecessor: 2,
  listeners: 1,
  moved: 4,
  draining: 0,
  cut: 0,
  longestPauseMs: 12,
  pauseP50Ms: 1,
  pauseP99Ms: 12,
  pauses: classed([0.5, 2, 2, 12]),
  watchedMs: 29_400,
  tookMs: 100,
  stages: [],
};

describe('what operators read', () => {
  it('shows which generation is watched, and what still ends with the one before, and why, in 80 columns', () => {
    const reason = 'WebSocket: its service has not declared it movable';
    const text = statusText(
      {
        ...service,
        generations: [
          {
            ...generation,
            generation: 1,
            state: 'probation',
            draining: {
              remaining: [
                { reason, connections: 40 },
                { reason: 'TLS: it cannot move', connections: 2 },
              ],
              cutInMs: 12_300,
            },
          },
          { ...generation, generation: 2, watchedUntil: now + 8000 },
        ],
      },
      80,
    );
    const lines = unpainted(text).split('\n');
    assert.ok(lines.every((line) => widthOf(line) <= 80));
    const whole = lines.join(' ').replaceAll(/\s+/g, ' ');
    assert.match(whole, /serving, watched/);
    assert.match(whole, /still open: 40 \(WebSocket: its service has not declared it movable\), cut in 12 s/);
    assert.match(whole, /still open: 2 \(TLS: it cannot move\)/);
    assert.match(
      whole,
      /generation 2 is in probation for another 8 s: if it fails, its predecessor serves again/,
    );
  });

  it('says why nobody serves, and when the next one starts', () => {
    const wait = { reason: 'generation 4 exited with code 7', nextStartAt: now + 6400 };
    const text = statusText(
      {
        ...service,
        state: 'waiting',
        waits: [
          { ...wait, lastLine: 'no database\u001b[2J' },
          { ...wait, slot: 1 },
        ],
      },
      80,
    );
    const whole = unpainted(text).replaceAll(/\s+/g, ' ');
    assert.match(
      whole,
      /generation 4 exited with code 7; clients wait, and the last good release starts in 6 s/,
    );
    assert.match(whole, /its last line: no database\\x1b\[2J/);
    assert.match(whole, /slot 1: generation 4/);
  });

  it('shows no empty table, and the first of many addresses', () => {
    const waits = [{ reason: 'it failed', nextStartAt: now + 1000 }];
    assert.doesNotMatch(statusText({ ...service, state: 'waiting', waits }, 80), /memory/);
    const listening = (count: number) => {
      const listeners = Array.from({ length: count }, (_, n) => ({ name: `l${n}`, address: { port: n } }));
      const one = {
        ...generation,
        generation: 1,
        listeners,
      } as unknown as ServiceStatus['generations'][number];
      return [30, 80, 200].map((columns) => statusText({ ...service, generations: [one] }, columns));
    };
    for (const text of listening(300)) {
      assert.match(unpainted(text).replaceAll(/\s+/g, ' '), /:18,? and 281 more/);
      assert.ok(text.split('\n').length < 60);
    }
    for (const text of listening(20)) assert.match(text, /:19/);
  });

  it('says for how long a restart may still be undone', () => {
    assert.match(unpainted(summaryText(summary)), /watched: {5}for 30 s; if generation 3 fails/);
    const { watchedMs: _, ...over } = summary;
    assert.doesNotMatch(summaryText(over), /watched/);
    const roll = rollSummary(
      [
        { ...summary, slot: 0 },
        { ...summary, slot: 1 },
      ],
      300,
    );
    assert.match(unpainted(summaryText(roll)), /watched: {5}for 30 s; if one fails/);
    assert.deepEqual(roll.pauses?.counts.slice(0, 5), [2, 4, 0, 0, 2]);
  });

  it('draws pauses in as many lines as there are classes between the shortest and the longest', () => {
    const lines = drawPauses(classed([0.5, 2, 2, 12]).counts, { columns: 40, unicode: false });
    assert.deepEqual(
      lines.map((line) => unpainted(line).trim().split(/\s+/).slice(1, 3).join(' ')),
      ['1 ms', '2.5 ms', '5 ms', '10 ms', '25 ms'],
    );
    assert.match(unpainted(lines[1] ?? ''), /##########\s2$/);
    assert.match(unpainted(lines[2] ?? ''), / 0$/);
    for (const columns of [1, 40, 80, 300])
      for (const unicode of [true, false]) {
        const drawn = drawPauses(classed([0.5, 20_000, 20_000]).counts, { columns, unicode });
        assert.ok(drawn.every((line) => widthOf(line) <= Math.max(columns, 34)));
      }
    assert.deepEqual(drawPauses(classed([]).counts, { columns: 80, unicode: true }), []);
  });
});
