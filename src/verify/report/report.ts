import { visibleLine } from '../../terminal/visible.js';
import { padded, widthOf } from '../../terminal/width.js';
import type { KindReport, LoadReport } from '../load.js';
import type { Failure } from '../tally/failure.js';
import type { LatencySummary, TimeWindow } from '../tally/samples.js';
import type { Counts } from '../tally/tally.js';
import type { VerifiedRestart, VerifyResult } from '../verify.js';
import { drawLatency } from './picture.js';
import type { ReportScreen } from './report-screen.js';

const LISTED_FAILURES = 10;
const ERROR_LINES = 8;

/** The whole report of a verification as text, ending in the verdict; lines end in "\n". */
export function renderReport(result: VerifyResult, screen: ReportScreen): string {
  const parts = [
    renderTable(result.load, screen),
    ...renderNotes(result, screen),
    drawLatency(result.load.timeline, result.load.windows, screen).join('\n'),
    renderVerdict(result, screen),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

/** The report for programs: everything but the samples; stable names, times in milliseconds. */
export function reportJson(result: VerifyResult): string {
  return JSON.stringify({ ...result, verdict: verdict(result) });
}

/** One line, such as "20 restarts, 48,120 requests: 0 failed, 0 lost". */
export function verdict(result: VerifyResult): string {
  const { total } = result.load;
  const restarts = plural(result.restarts.length, 'restart');
  const found = [`${number(total.failed)} failed`, `${number(total.lost)} lost`];
  if (total.duplicated > 0) found.push(`${number(total.duplicated)} answered twice`);
  const broken = brokenRestarts(result).length;
  if (broken > 0) found.push(`${plural(broken, 'restart')} failed`);
  if (total.answered === 0) found.push('no request was answered');
  if (result.interrupted) found.push('interrupted');
  return `${restarts}, ${number(total.requests)} requests: ${found.join(', ')}`;
}

/** The table of kinds; screens narrower than 104 columns get fewer columns. */
export function renderTable(load: LoadReport, screen: ReportScreen): string {
  const columns = COLUMNS.filter((column) => screen.columns >= WIDE_COLUMNS || !column.wideOnly);
  const titles = columns.map(({ head }) => head.split('\n'));
  const lines = [
    ['clients', ...titles.map(([first = '']) => first)],
    ['', ...titles.map(([, second = '']) => second)],
    ...load.kinds.map((kind) => [
      `${kind.clients} ${kind.kind}`,
      ...columns.map((column) => column.cell(kind, screen)),
    ]),
  ];
  if (load.kinds.length > 1) {
    lines.push([screen.colours.bold('all'), ...columns.map((column) => column.total(load.total, screen))]);
  }
  return ruled(lines, 2, screen);
}

/** Cells in columns, with a rule below so many lines; the first column is for words, the others for numbers. */
function ruled(lines: readonly (readonly string[])[], headLines: number, { unicode }: ReportScreen): string {
  const [bar, rule, cross] = unicode ? [' │ ', '─', '─┼─'] : [' | ', '-', '-+-'];
  const widths = (lines[0] ?? []).map((_, at) => Math.max(...lines.map((line) => widthOf(line[at] ?? ''))));
  const drawn = lines.map((line) =>
    line
      .map((text, at) => padded(text, widths[at] ?? 0, at > 0))
      .join(bar)
      .trimEnd(),
  );
  drawn.splice(headLines, 0, widths.map((width) => rule.repeat(width)).join(cross));
  return drawn.join('\n');
}

interface TableColumn {
  readonly head: string;
  readonly wideOnly: boolean;
  cell(kind: KindReport, screen: ReportScreen): string;
  total(total: Counts, screen: ReportScreen): string;
}

const WIDE_COLUMNS = 104;

const COLUMNS: readonly TableColumn[] = [
  countColumn('requests', false, (counts) => number(counts.requests)),
  countColumn('failed', false, (counts, screen) => zeroIsGood(counts.failed, screen)),
  countColumn('lost', false, (counts, screen) => zeroIsGood(counts.lost, screen)),
  countColumn('twice', true, (counts, screen) => zeroIsGood(counts.duplicated, screen)),
  countColumn('redials', true, (counts) => number(counts.redials)),
  countColumn('told to\nclose', true, (counts) => number(counts.toldToClose)),
  latencyColumn('steady ms', (kind) => kind.steady),
  latencyColumn('restarts ms', (kind) => kind.during),
];

function countColumn(
  head: string,
  wideOnly: boolean,
  show: (counts: Counts, screen: ReportScreen) => string,
): TableColumn {
  return { head, wideOnly, cell: show, total: show };
}

function latencyColumn(head: string, pick: (kind: KindReport) => LatencySummary): TableColumn {
  return {
    head: `${head}\np50/p99/max`,
    wideOnly: false,
    cell: (kind) => {
      const { count, p50Ms, p99Ms, maxMs } = pick(kind);
      return count === 0 ? '-' : [p50Ms, p99Ms, maxMs].map(milliseconds).join('/');
    },
    total: () => '',
  };
}

function renderNotes(result: VerifyResult, screen: ReportScreen): string[] {
  const { total, failures, windows } = result.load;
  const { colours } = screen;
  const notes: string[] = [];
  const statuses = Object.entries(total.statuses).map(([status, count]) => `${status}: ${number(count)}`);
  const generations = Object.entries(total.generations).map(
    ([name, count]) => `${visibleLine(name)}: ${number(count)}`,
  );
  const figures = [`responses by status   ${statuses.join(', ')}`];
  const bySlot = result.connectionsBySlot?.at(-1);
  if (bySlot !== undefined) {
    const ratio = (Math.max(...bySlot) / Math.max(1, Math.min(...bySlot))).toFixed(2);
    figures.push(`connections by slot  ${bySlot.join(', ')} (highest/lowest ${ratio})`);
  }
  if (generations.length > 0) figures.push(`answers by generation ${generations.join(', ')}`);
  if (screen.columns < WIDE_COLUMNS) {
    figures.push(`redials ${number(total.redials)}, told to close ${number(total.toldToClose)}`);
  }
  if (statuses.length > 0) notes.push(figures.join('\n'));
  const broken = brokenRestarts(result).map(({ restart, outcome }) => {
    const { code, message } = outcome.error ?? { code: 'failed', message: '' };
    const lines = message.trim().split('\n').slice(0, ERROR_LINES);
    return `  restart ${restart}: ${code} ${lines.map(visibleLine).join('\n    ')}`.trimEnd();
  });
  if (broken.length > 0) notes.push([colours.red('restarts that failed'), ...broken].join('\n'));
  const expected = result.restarts.filter((record) => !record.outcome.ok && record.expectedToFail).length;
  if (expected > 0) notes.push(`${plural(expected, 'restart')} of a broken release failed, as expected`);
  if (failures.length > 0) {
    const reasons = Object.entries(total.reasons).map(([reason, count]) => `${reason}: ${number(count)}`);
    const lines = failures
      .slice(0, LISTED_FAILURES)
      .map((failure) => `  ${visibleLine(failureLine(failure, windows))}`);
    const count = total.failed + total.lost + total.duplicated;
    if (count > LISTED_FAILURES) lines.push(`  … and ${number(count - LISTED_FAILURES)} more`);
    notes.push([colours.red('what went wrong'), `  ${reasons.join(', ')}`, ...lines].join('\n'));
  }
  const dropped = result.load.kinds.reduce((sum, kind) => sum + kind.samplesDropped, 0);
  if (dropped > 0) notes.push(`${number(dropped)} late samples are left out of the latencies`);
  return notes;
}

/** One line about one failure: when, which kind, what, why, and near which restart. */
export function failureLine(failure: Failure, windows: readonly TimeWindow[]): string {
  const at = `${(failure.atMs / 1000).toFixed(3)} s`.padStart(9);
  const connection =
    failure.connectionAgeMs === 0
      ? 'never connected'
      : `connection ${failure.connectionAgeMs} ms old, ${failure.answeredBefore} answered before`;
  const detail = failure.detail === '' ? '' : ` (${failure.detail})`;
  return `${at}  ${failure.kind} ${failure.what}: ${failure.reason}${detail}; ${connection}; ${whichRestart(failure.atMs, windows)}`;
}

function whichRestart(atMs: number, windows: readonly TimeWindow[]): string {
  const begun = windows.filter((window) => window.beginMs <= atMs).length;
  const last = windows[begun - 1];
  if (last === undefined) return 'before the first restart';
  if (atMs <= last.endMs) return `during restart ${begun}`;
  return `${Math.round(atMs - last.endMs)} ms after restart ${begun}`;
}

function renderVerdict(result: VerifyResult, screen: ReportScreen): string {
  const { colours } = screen;
  const mark = screen.unicode ? (result.ok ? '✔ ' : '✖ ') : result.ok ? 'ok: ' : 'FAILED: ';
  const line = `${mark}${verdict(result)}`;
  return colours.bold(result.ok ? colours.green(line) : colours.red(line));
}

function brokenRestarts(result: VerifyResult): VerifiedRestart[] {
  return result.restarts.filter((record) => !record.outcome.ok && !record.expectedToFail);
}

function zeroIsGood(count: number, { colours }: ReportScreen): string {
  return count === 0 ? colours.green('0') : colours.red(number(count));
}

function milliseconds(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : String(Math.round(ms));
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function plural(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`;
}
