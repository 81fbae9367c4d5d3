import type { TimeWindow } from '../tally/samples.js';
import { BUCKET_MS, type TimelineBucket } from '../tally/timeline.js';
import type { ReportScreen } from './report-screen.js';

const BLOCKS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_BLOCKS = [' ', '.', '.', ':', ':', '+', '+', '#', '#'];
const ROWS = 6;
const MARGIN = 10;

/** One column of a picture. */
interface Column {
  readonly maxMs: number;
  readonly failures: number;
  readonly restarting: boolean;
}

/**
 * Draws the longest latency over time as bars, with the restarts marked below; columns in which something
 * failed end in a cross. Gives lines without line ends, none wider than the screen.
 */
export function drawLatency(
  timeline: readonly TimelineBucket[],
  windows: readonly TimeWindow[],
  screen: ReportScreen,
): string[] {
  if (timeline.length === 0) return [];
  const width = Math.min(timeline.length, screen.columns - MARGIN - 1);
  const columns = Array.from({ length: width }, (_, index) => columnAt(timeline, windows, index, width));
  const topMs = niceCeiling(Math.max(...columns.map((column) => column.maxMs)));
  const { colours } = screen;
  const lines = [colours.dim('longest latency of a request, over time')];
  for (let row = ROWS - 1; row >= 0; row -= 1) {
    const label = row === ROWS - 1 ? `${topMs} ms` : row === ROWS / 2 - 1 ? `${topMs / 2} ms` : '';
    const cells = columns.map((column) => cell(column, row, topMs, screen)).join('');
    lines.push(`${label.padStart(MARGIN - 2)} ${axis(screen)}${cells}`.trimEnd());
  }
  lines.push(`${' '.repeat(MARGIN - 1)}${corner(screen)}${(screen.unicode ? '─' : '-').repeat(width)}`);
  lines.push(`${'restarts'.padStart(MARGIN - 2)}  ${marks(columns, windows, timeline, screen)}`);
  const seconds = `${((timeline.length * BUCKET_MS) / 1000).toFixed(0)} s`;
  lines.push(colours.dim(`${' '.repeat(MARGIN)}0${seconds.padStart(Math.max(0, width - 1))}`));
  return lines;
}

function columnAt(
  timeline: readonly TimelineBucket[],
  windows: readonly TimeWindow[],
  index: number,
  width: number,
): Column {
  const from = Math.floor((index * timeline.length) / width);
  const to = Math.max(from + 1, Math.floor(((index + 1) * timeline.length) / width));
  const buckets = timeline.slice(from, to);
  return {
    maxMs: Math.max(...buckets.map((bucket) => bucket.maxMs)),
    failures: buckets.reduce((sum, bucket) => sum + bucket.failures, 0),
    restarting: windows.some((window) => window.beginMs < to * BUCKET_MS && window.endMs >= from * BUCKET_MS),
  };
}

function cell(column: Column, row: number, topMs: number, screen: ReportScreen): string {
  const { colours } = screen;
  if (column.failures > 0 && row === ROWS - 1) return colours.red(screen.unicode ? '✖' : 'x');
  const eighths = Math.ceil((column.maxMs / topMs) * ROWS * 8);
  const filled = Math.max(0, Math.min(8, eighths - row * 8));
  const block = (screen.unicode ? BLOCKS : ASCII_BLOCKS)[filled] ?? ' ';
  if (filled === 0) return ' ';
  if (column.failures > 0) return colours.red(block);
  return column.restarting ? colours.yellow(block) : colours.green(block);
}

function marks(
  columns: readonly Column[],
  windows: readonly TimeWindow[],
  timeline: readonly TimelineBucket[],
  screen: ReportScreen,
): string {
  const starts = new Set(
    windows.map((window) => Math.floor((window.beginMs / (timeline.length * BUCKET_MS)) * columns.length)),
  );
  const mark = screen.unicode ? '▲' : '^';
  return columns
    .map((_, index) => (starts.has(index) ? screen.colours.yellow(mark) : ' '))
    .join('')
    .trimEnd();
}

function axis(screen: ReportScreen): string {
  return screen.colours.dim(screen.unicode ? '│' : '|');
}

function corner(screen: ReportScreen): string {
  return screen.unicode ? '└' : '+';
}

/** The next of 2, 4, 10, 20, 40, 100, … so that half of it is a whole number. */
function niceCeiling(ms: number): number {
  for (let decade = 1; ; decade *= 10) {
    for (const step of [2, 4, 10]) if (ms <= step * decade) return step * decade;
  }
}
