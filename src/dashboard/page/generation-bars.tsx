import type { Sample, ServiceHistory } from '../page-messages.js';
import { clock, duration } from './format.js';

const SHOWN_MS = 5 * 60_000;
const LEAST_MS = 60_000;
/** A generation that was not seen for so long has ended. */
const UNSEEN_MS = 3000;
const TICKS = 4;

interface Segment {
  readonly state: string;
  readonly from: number;
  readonly to: number;
}

interface Lane {
  readonly generation: number;
  readonly slot: number | undefined;
  readonly segments: readonly Segment[];
  readonly lives: boolean;
}

/** What a state is called for people. */
const WORDS: Readonly<Record<string, string>> = {
  expecting: 'serving',
  inheriting: 'serving',
  ready: 'serving',
  probation: 'standing by',
  ended: 'ending',
};

/** The lives of generations over time, one bar each; where bars overlap two lived at a time. */
export function GenerationBars({ history, now }: { history: ServiceHistory; now: number }) {
  const all = lanes(history, now).filter(({ segments }) => segments.length > 0);
  const first = Math.min(now - LEAST_MS, ...all.map(({ segments }) => segments[0]?.from ?? now));
  const from = Math.max(first, now - SHOWN_MS);
  const place = (at: number) => (Math.max(0, at - from) / (now - from)) * 100;
  return (
    <section aria-labelledby="generations">
      <h2 id="generations">Generations over time</h2>
      <ul class="lanes">
        {all.map((lane) => (
          <li key={lane.generation} class="lane">
            <span class="lane-name">
              {lane.generation}
              {lane.slot !== undefined && <small> slot {lane.slot}</small>}
            </span>
            <span class="lane-track">
              {lane.segments.map((one) => (
                <span
                  key={one.from}
                  class={`bar bar-${one.state}`}
                  style={{
                    left: `${place(one.from)}%`,
                    width: `${Math.max(0.4, place(one.to) - place(one.from))}%`,
                  }}
                />
              ))}
              <span class="visually-hidden">{spoken(lane, now)}</span>
            </span>
          </li>
        ))}
      </ul>
      <div class="ticks" aria-hidden="true">
        {Array.from({ length: TICKS }, (_, i) => (
          <span key={i}>{clock(from + ((now - from) * i) / (TICKS - 1))}</span>
        ))}
      </div>
      <ul class="key" aria-hidden="true">
        {['starting', 'serving', 'probation', 'draining', 'undoing', 'silent'].map((state) => (
          <li key={state}>
            <span class={`swatch bar-${state}`} /> {WORDS[state] ?? state}
          </li>
        ))}
      </ul>
    </section>
  );
}

function lanes({ samples, view }: ServiceHistory, now: number): Lane[] {
  const byGeneration = new Map<number, Sample[]>();
  for (const one of samples)
    byGeneration.set(one.generation, [...(byGeneration.get(one.generation) ?? []), one]);
  const living = new Set(view.generations.map(({ generation }) => generation));
  return [...byGeneration]
    .sort(([a], [b]) => a - b)
    .slice(-24)
    .map(([generation, own]) => {
      const lives = living.has(generation);
      return { generation, slot: own[0]?.slot, segments: segmentsOf(own, lives ? now : undefined), lives };
    });
}

function segmentsOf(samples: readonly Sample[], until: number | undefined): Segment[] {
  const segments: { state: string; from: number; to: number }[] = [];
  for (const { state, at } of samples) {
    const shown = shownState(state);
    const last = segments.at(-1);
    if (last !== undefined && at - last.to < UNSEEN_MS) last.to = at;
    if (last === undefined || last.state !== shown || at - last.to >= UNSEEN_MS)
      segments.push({ state: shown, from: at, to: at });
  }
  const last = segments.at(-1);
  if (last !== undefined && until !== undefined) last.to = until;
  return segments;
}

function shownState(state: string): string {
  if (['expecting', 'inheriting', 'ready', 'committing', 'verifying'].includes(state)) return 'serving';
  return state === 'ended' ? 'draining' : state;
}

function spoken({ generation, segments, lives }: Lane, now: number): string {
  const parts = segments.map(({ state, from, to }) => `${WORDS[state] ?? state} for ${duration(to - from)}`);
  const ended = segments.at(-1)?.to ?? now;
  return `Generation ${generation}: ${parts.join(', ')}${lives ? '' : `, gone since ${clock(ended)}`}`;
}
