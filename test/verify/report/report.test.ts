import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { unpainted } from '#moult/terminal/paint.js';
import { rendered } from '#moult/terminal/print.js';
import { screenOf as terminalOf } from '#moult/terminal/screen.js';
import { drawLatency } from '#moult/verify/report/picture.js';
import { describeOutcome } from '#moult/verify/report/progress.js';
import {
  failureLine,
  renderReport as renderMarked,
  reportJson,
  verdict,
} from '#moult/verify/report/report.js';
import { type ReportScreen, screenOf } from '#moult/verify/report/report-screen.js';
import { drawShares } from '#moult/verify/report/shares.js';
import type { Failure } from '#moult/verify/tally/failure.js';
import type { VerifyResult } from '#moult/verify/verify.js';

const failure: Failure = {
  kind: 'pipelined',
  what: 'failed',
  reason: 'reset',
  detail: 'ECONNRESET',
  id: 'a.1',
  atMs: 1_250,
  connectionAgeMs: 900,
  answeredBefore: 41,
};

function resultWith(wrong: readonly Failure[]): VerifyResult {
  const failed = wrong.length;
  const counts = {
    requests: 48_120,
    answered: 48_120 - failed,
    failed,
    lost: 0,
    duplicated: 0,
    redials: failed,
    toldToClose: 0,
    statuses: { 200: 48_000, 404: 120 },
    generations: { v1: 24_000, v2: 24_120 },
    reasons: failed === 0 ? {} : { reset: failed },
  };
  const latency = { count: 10, p50Ms: 1.25, p99Ms: 8, maxMs: 41.6 };
  return {
    ok: failed === 0,
    interrupted: false,
    restarts: [{ restart: 1, beginMs: 1_200, endMs: 1_400, outcome: { ok: true }, expectedToFail: false }],
    load: {
      ok: failed === 0,
      durationMs: 3_000,
      kinds: [
        { kind: 'pipelined', clients: 20, ...counts, steady: latency, during: latency, samplesDropped: 0 },
        {
          kind: 'slow-body',
          clients: 2,
          ...counts,
          steady: latency,
          during: { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 },
          samplesDropped: 0,
        },
      ],
      total: counts,
      failures: wrong,
      windows: [{ beginMs: 1_200, endMs: 1_400 }],
      timeline: Array.from({ length: 30 }, (_, index) => ({
        answered: 10,
        failures: index === 12 ? failed : 0,
        maxMs: index === 12 ? 41.6 : 5,
        generations: index < 13 ? { v1: 10 } : { v2: 10 },
      })),
    },
  };
}

const plain = { columns: 110, unicode: false, colours: screenOf({}, {}).colours };

/** The report as it is written where there are no colours. */
function renderReport(result: VerifyResult, screen: ReportScreen, hasColours = false): string {
  const where = { ...screen, colours: hasColours, live: false };
  return rendered(renderMarked(result, screen), where);
}

describe('the report', () => {
  it('ends in a verdict of one line', () => {
    assert.equal(verdict(resultWith([])), '1 restart, 48,120 requests: 0 failed, 0 lost');
    const text = renderReport(resultWith([]), plain);
    assert.ok(text.endsWith('\nok: 1 restart, 48,120 requests: 0 failed, 0 lost\n'));
  });

  it('is plain ASCII where nothing else can be shown', () => {
    assert.match(renderReport(resultWith([]), plain), /^[\x20-\x7e\n]*$/);
  });

  it('has no colours in a pipe and with NO_COLOR, and has them on a terminal', () => {
    const render = (stream: { isTTY?: boolean }, env: Record<string, string>) =>
      renderReport(
        resultWith([]),
        screenOf(stream, { LANG: 'C.UTF-8', TERM: 'xterm', ...env }),
        terminalOf(stream, { TERM: 'xterm', ...env }).colours,
      );
    const coloured = render({ isTTY: true }, {});
    assert.notEqual(stripVTControlCharacters(coloured), coloured);
    for (const text of [render({}, {}), render({ isTTY: true }, { NO_COLOR: '1' })]) {
      assert.equal(stripVTControlCharacters(text), text);
      assert.match(text, /█/);
    }
  });

  it('lists kinds, statuses and generations', () => {
    const text = renderReport(resultWith([]), plain);
    assert.match(text, /20 pipelined +\| +48,120 +\| +0 +\| +0 +\| +0 +\|/);
    assert.match(text, /1\.3\/8\.0\/42/);
    assert.match(text, /200: 48,000, 404: 120/);
    assert.match(text, /v1: 24,000, v2: 24,120/);
  });

  it('fits a terminal of 80 columns', () => {
    const lines = renderReport(resultWith([]), { ...plain, columns: 80 }).split('\n');
    assert.ok(lines.every((line) => line.length <= 80));
    assert.match(lines.join('\n'), /redials 0, told to close 0/);
  });

  it('lists the first ten failures with their reason, connection and restart', () => {
    const text = renderReport(resultWith(Array.from({ length: 12 }, () => failure)), plain);
    assert.equal(text.split('pipelined failed: reset (ECONNRESET)').length - 1, 10);
    assert.match(text, /and 2 more/);
    assert.match(text, /FAILED: 1 restart, 48,120 requests: 12 failed, 0 lost\n$/);
    const windows = [{ beginMs: 1_200, endMs: 1_400 }];
    assert.match(
      failureLine(failure, windows),
      /1\.250 s .*connection 900 ms old, 41 answered before; during restart 1$/,
    );
    assert.match(failureLine({ ...failure, atMs: 100 }, windows), /before the first restart$/);
    assert.match(failureLine({ ...failure, atMs: 1_500 }, windows), /100 ms after restart 1$/);
  });

  it('names a restart that failed, and not one that was expected to', () => {
    const result = resultWith([]);
    const outcome = { ok: false, error: { code: 'MOULT_READY_TIMEOUT', message: 'not ready in 5 s' } };
    const record = { restart: 1, beginMs: 0, endMs: 1, outcome, expectedToFail: false };
    const unexpected = renderReport({ ...result, ok: false, restarts: [record] }, plain);
    assert.match(unexpected, /restart 1: MOULT_READY_TIMEOUT not ready in 5 s/);
    assert.match(unexpected, /1 restart failed\n$/);
    const expected = renderReport({ ...result, restarts: [{ ...record, expectedToFail: true }] }, plain);
    assert.match(expected, /as expected/);
    assert.match(expected, /0 lost\n$/);
  });

  it('is whole as JSON', () => {
    const json: unknown = JSON.parse(reportJson(resultWith([failure])));
    assert.deepEqual(json, {
      ...JSON.parse(JSON.stringify(resultWith([failure]))),
      verdict: '1 restart, 48,120 requests: 1 failed, 0 lost',
    });
  });
});

describe('the pictures', () => {
  it('draw bars over time, mark restarts and failures, and fit the screen', () => {
    const { load } = resultWith([failure]);
    for (const columns of [40, 80]) {
      const lines = drawLatency(load.timeline, load.windows, { ...plain, columns }).map(unpainted);
      assert.ok(
        lines.every((line) => line.length <= columns),
        `within ${columns}`,
      );
      assert.ok(lines.some((line) => line.includes('x')));
      assert.ok(lines.some((line) => /restarts +\^$/.test(line)));
    }
    const [, top] = drawLatency(load.timeline, load.windows, plain).map(unpainted);
    assert.match(top ?? '', /^ *100 ms/);
    assert.deepEqual(drawLatency([], [], plain), []);
  });

  it('draw one row for each version', () => {
    const rows = drawShares(resultWith([]).load.timeline, plain)
      .map(unpainted)
      .filter((line) => /^ +v\d/.test(line));
    assert.equal(rows.length, 2);
    assert.match(rows[0] ?? '', /v1 {2}#{13} +130$/);
    assert.match(rows[1] ?? '', /v2 {15}#{17} +170$/);
  });
});

describe('the line about a restart', () => {
  it('tells what moved, or why it failed', () => {
    const summary = { listeners: 1, moved: 97, draining: 0, cut: 0, longestPauseMs: 12.4 };
    assert.equal(
      describeOutcome({ ok: true, summary }, 41.2),
      'took over in 41 ms: 1 listener passed, 97 connections moved, longest pause 12 ms',
    );
    assert.equal(describeOutcome({ ok: true }, 41), 'took over in 41 ms');
    assert.match(
      describeOutcome({ ok: false, error: { code: 'MOULT_X', message: 'why\nmore' } }, 5),
      /^failed after 5 ms \(MOULT_X: why\)$/,
    );
  });
});
