// What clients see of a restart: moult's strict client drives a mixed load while the service is restarted; beside
// it, in the same run, the same load while a second process of the same service merely starts. What that costs on
// a machine with few cores is not moult's.
import { cells, figure, ms, ratio, whole } from './measure/figures.mjs';
import { program, startListening, stopChild } from './measure/processes.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';

const RESTARTS = 12;
const PASSES = 3;
const STEADY_MS = 1200;
const PROBATION_MS = 400;
/** Three times the default of the strict client: a machine that is full already would hide what a restart adds. */
const THINK_MS = 60;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const { verify } = await import('../dist/verify/verify.js');
  const passes = isQuick ? 1 : PASSES;
  const restarts = Math.ceil((isQuick ? 4 : RESTARTS) / passes);
  const options = { restarts, warmUpMs: 2000, steadyMs: STEADY_MS, load: { thinkMs: THINK_MS } };
  /** @type {any[]} */
  const summaries = [];
  /** @type {Record<string, { during: number[], control: number[], steadyMs: number[] }>} */
  const kinds = {};
  let answered = 0;
  let failed = 0;
  let lost = 0;
  for (let pass = 0; pass < passes; pass += 1) {
    say(`pass ${pass + 1} of ${passes}: ${restarts} restarts, then ${restarts} mere starts, under load`);
    const moult = await startUnderMoult({}, ['--probation', `${PROBATION_MS}ms`]);
    try {
      const target = { host: '127.0.0.1', port: moult.port };
      const restarted = await verify({
        ...options,
        service: { target, stop: moult.stop, restart: () => restart(moult, summaries) },
      });
      const started = await verify({
        ...options,
        service: { target, stop: moult.stop, restart: () => mereStart(moult) },
      });
      for (const one of restarted.load.kinds) {
        const control = started.load.kinds.find(({ kind }) => kind === one.kind);
        if (control === undefined) continue;
        kinds[one.kind] ??= { during: [], control: [], steadyMs: [] };
        kinds[one.kind].during.push(one.during.p99Ms / one.steady.p99Ms);
        kinds[one.kind].control.push(control.during.p99Ms / control.steady.p99Ms);
        kinds[one.kind].steadyMs.push(one.steady.p99Ms);
      }
      answered += restarted.load.total.answered;
      failed += restarted.load.total.failed;
      lost += restarted.load.total.lost;
    } finally {
      await moult.stop();
    }
  }

  /** @type {Record<string, number[]>} */
  const stages = {};
  for (const one of summaries.flatMap((summary) => summary.stages)) {
    stages[one.stage] ??= [];
    stages[one.stage].push(one.ms);
  }
  const of = (/** @type {string} */ name) => figure(summaries.map((one) => one[name]));
  const json = {
    restarts: summaries.length,
    answered,
    failed,
    lost,
    p99: Object.fromEntries(
      Object.entries(kinds).map(([kind, one]) => [
        kind,
        { during: figure(one.during), control: figure(one.control), steadyMs: figure(one.steadyMs) },
      ]),
    ),
    pauseMs: { p50: of('pauseP50Ms'), p99: of('pauseP99Ms'), max: of('longestPauseMs') },
    moved: of('moved'),
    tookMs: of('tookMs'),
    stagesMs: Object.fromEntries(Object.entries(stages).map(([stage, values]) => [stage, figure(values)])),
  };
  const columns = ['median', 'quartiles', 'extremes'];
  const text = [
    table(
      [`p99 latency / steady p99, ${passes} passes`, ...columns],
      Object.entries(json.p99).flatMap(([kind, one]) => [
        [`${kind}, during restarts`, ...cells(one.during, ratio)],
        ['  control: a process merely starts', ...cells(one.control, ratio)],
        ['  steady p99, this machine: ms', ...cells(one.steadyMs, ms)],
      ]),
    ),
    table(
      [`one restart under load, this machine, ${json.restarts} restarts`, ...columns],
      [
        ['connections moved', ...cells(json.moved, whole)],
        ['pause of a moved connection, p50: ms', ...cells(json.pauseMs.p50, ms)],
        ['  p99: ms', ...cells(json.pauseMs.p99, ms)],
        ['  longest: ms', ...cells(json.pauseMs.max, ms)],
        ...Object.entries(json.stagesMs).map(([stage, one]) => [`stage ${stage}: ms`, ...cells(one, ms)]),
        ['whole restart: ms', ...cells(json.tookMs, ms)],
      ],
    ),
    `${whole(answered)} requests answered across the restarts, ${failed} failed, ${lost} connections lost`,
  ].join('\n');
  return { json, text };
}

async function restart(moult, summaries) {
  const summary = await moult.restart();
  summaries.push(summary);
  return { ok: true, summary };
}

// The same command line process, and the same program; nothing is handed over.
async function mereStart(moult) {
  await moult.status();
  const started = await startListening([program('service.mjs')], {});
  await stopChild(started.child, 'SIGKILL');
  return { ok: true };
}
