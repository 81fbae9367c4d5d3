import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { Sample, ServiceHistory } from '../page-messages.js';
import { colourClass, colourOf, property } from './colours.js';
import { figure } from './format.js';

const HEIGHT = 150;
const MIB = 1024 * 1024;
const MS_IN_S = 1000;
/** Of so many generations at most lines are drawn: the newest. */
const MAX_LINES = 8;
const SHOWN_MS = 5 * 60_000;

interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly of: (sample: Sample) => number | undefined;
}

const CHARTS: readonly Chart[] = [
  { title: 'Requests', unit: 'a second', of: ({ requests }) => requests },
  { title: 'Errors', unit: 'a second', of: ({ errors }) => errors },
  { title: 'Latency, 99th percentile', unit: 'ms', of: ({ p99Ms }) => p99Ms },
  { title: 'Connections', unit: '', of: ({ connections }) => connections },
  { title: 'Memory', unit: 'MiB', of: ({ memoryBytes }) => memoryBytes && memoryBytes / MIB },
  { title: 'Event-loop delay, 99th percentile', unit: 'ms', of: ({ loopDelayMs }) => loopDelayMs },
];

/** Figures of each generation over time, old and new in one picture. */
export function Charts({ history, now, scheme }: { history: ServiceHistory; now: number; scheme: string }) {
  const samples = history.samples.filter(({ at }) => at > now - SHOWN_MS);
  const generations = [...new Set(samples.map(({ generation }) => generation))]
    .sort((a, b) => a - b)
    .slice(-MAX_LINES);
  // With other lines, or in other colours, each chart is made anew.
  const lines = `${generations.join(' ')} ${scheme}`;
  return (
    <section aria-labelledby="figures">
      <h2 id="figures">Figures</h2>
      <ul class="key">
        {generations.map((generation) => (
          <li key={generation}>
            <span class={`swatch line ${colourClass(generation)}`} /> generation {generation}
          </li>
        ))}
      </ul>
      <div class="charts">
        {CHARTS.map((chart) => (
          <OneChart
            key={`${chart.title} ${lines}`}
            chart={chart}
            samples={samples}
            generations={generations}
          />
        ))}
      </div>
    </section>
  );
}

interface OneChartProps {
  readonly chart: Chart;
  readonly samples: readonly Sample[];
  readonly generations: readonly number[];
}

function OneChart({ chart, samples, generations }: OneChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const data = dataOf(samples, generations, chart.of);
  const first = useRef({ generations, data });
  useEffect(() => {
    const at = place.current;
    if (at === null) return undefined;
    const { generations: lines, data: begun } = first.current;
    const made = new uPlot(optionsOf(lines, at.clientWidth), begun, at);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: at.clientWidth, height: HEIGHT }));
    observer.observe(at);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(data), [data]);
  const last = generations.map((generation) => {
    const found = samples.findLast((one) => one.generation === generation);
    return `generation ${generation}: ${figure(found && chart.of(found), 1)}`;
  });
  return (
    <figure class="chart">
      <figcaption>
        {chart.title} <small>{chart.unit}</small>
      </figcaption>
      <div ref={place} role="img" aria-label={`${chart.title}. ${last.join(', ')} ${chart.unit}`} />
    </figure>
  );
}

function dataOf(
  samples: readonly Sample[],
  generations: readonly number[],
  of: Chart['of'],
): uPlot.AlignedData {
  const times = [...new Set(samples.map(({ at }) => at))].sort((a, b) => a - b);
  const index = new Map(times.map((at, i) => [at, i]));
  const lines = generations.map(() => new Array<number | null>(times.length).fill(null));
  for (const sample of samples) {
    const line = lines[generations.indexOf(sample.generation)];
    const at = index.get(sample.at);
    if (line !== undefined && at !== undefined) line[at] = of(sample) ?? null;
  }
  return [times.map((at) => at / MS_IN_S), ...lines];
}

function optionsOf(generations: readonly number[], width: number): uPlot.Options {
  const axis = {
    stroke: property('--soft'),
    grid: { stroke: property('--rule'), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: [axis, { ...axis, size: 52 }],
    series: [
      {},
      ...generations.map((generation) => ({
        stroke: colourOf(generation),
        width: 2,
        spanGaps: true,
        points: { show: false },
      })),
    ],
  };
}
