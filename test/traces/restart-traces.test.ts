import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { JournalEntry } from '#moult/lifecycle/journal-entry.js';
import { RestartTraces, type Tracing } from '#moult/traces/restart-traces.js';

interface Spanned {
  readonly name: string;
  readonly start: number;
  end: number | undefined;
}

/** A tracer that remembers when each span began and ended. */
function recordingTracing(): { spans: Spanned[]; tracing: Tracing } {
  const spans: Spanned[] = [];
  const startSpan = (name: string, { startTime }: { startTime: number }) => {
    const span: Spanned = { name, start: startTime, end: undefined };
    spans.push(span);
    return {
      setAttribute: () => {},
      setAttributes: () => {},
      setStatus: () => {},
      end: (at: number) => {
        span.end = at;
      },
    };
  };
  return { spans, tracing: { tracer: { startSpan }, inside: () => undefined } as unknown as Tracing };
}

/** The spans of a restart whose stages were told at these times of the wall clock, and took so long by the monotonic one. */
async function traced(
  stages: readonly { stage: string; at: number; ms: number }[],
  takenOverAt: number,
  confirmedAt: number,
): Promise<Spanned[]> {
  const { spans, tracing } = recordingTracing();
  const traces = new RestartTraces(tracing, 'shop');
  const settledBehind = stages.findIndex(({ stage }) => stage === 'confirm');
  const tell = (entry: Omit<JournalEntry, 'generation'>) =>
    traces.add({ generation: 2, ...entry } as JournalEntry);
  stages.forEach((stage, index) => {
    if (index === settledBehind) tell({ event: 'restart', ok: true, at: takenOverAt });
    if (index === settledBehind) tell({ event: 'confirmed', at: confirmedAt });
    tell({ event: 'stage', ...stage });
  });
  await new Promise((resolve) => setImmediate(resolve));
  return spans;
}

function assertWithin([root, ...stages]: readonly Spanned[]): void {
  assert.ok(root?.end !== undefined);
  let before = root.start;
  for (const { name, start, end } of stages) {
    assert.ok(end !== undefined, name);
    assert.equal(start, before, `${name} begins where the stage before it ended`);
    assert.ok(
      start <= end && end <= root.end,
      `${name}: ${start} to ${end}, within ${root.start} to ${root.end}`,
    );
    before = end;
  }
}

describe('the trace of a restart', () => {
  it('has each stage within it, where the wall clock counts whole milliseconds', async () => {
    const spans = await traced(
      [
        { stage: 'spawn', at: 1000, ms: 0.2 },
        { stage: 'hello', at: 1020, ms: 20.9 },
        { stage: 'commit', at: 1030, ms: 9.1 },
        { stage: 'confirm', at: 1040, ms: 10.4 },
      ],
      1030,
      1039,
    );
    assertWithin(spans);
    assert.deepEqual(
      spans.map(({ name }) => name),
      ['restart', 'spawn', 'hello', 'commit', 'confirm'],
    );
  });

  it('has each stage within it, where the clock is set back meanwhile', async () => {
    assertWithin(
      await traced(
        [
          { stage: 'spawn', at: 5000, ms: 3 },
          { stage: 'hello', at: 5020, ms: 20 },
          { stage: 'commit', at: 2000, ms: 10 },
          { stage: 'confirm', at: 2010, ms: 10 },
        ],
        2001,
        2009,
      ),
    );
  });
});
