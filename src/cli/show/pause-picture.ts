import { DURATION_BOUNDS_MS } from '../../protocol/durations.js';
import { paint } from '../../terminal/paint.js';
import type { Screen } from '../../terminal/screen.js';
import { showMs } from '../options/option-types.js';

/** What stands before a bar, and behind it. */
const BESIDE = 30;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/**
 * How long connections were in nobody's hands, as bars: a line for each class of durations from the first to the last that has
 * any. None is wider than the screen.
 * @param counts how many there are in each class.
 */
export function drawPauses(counts: readonly number[], screen: Pick<Screen, 'columns' | 'unicode'>): string[] {
  const first = counts.findIndex((n) => n > 0);
  const last = counts.findLastIndex((n) => n > 0);
  if (first < 0) return [];
  const most = Math.max(...counts);
  const room = Math.max(4, Math.min(50, screen.columns - BESIDE));
  return counts.slice(first, last + 1).map((n, at) => {
    const bar = screen.unicode ? smoothBar((n / most) * room) : '#'.repeat(Math.ceil((n / most) * room));
    return `  ${label(first + at).padStart(11)}  ${paint.cyan(bar)}${bar === '' ? '' : ' '}${n}`;
  });
}

function label(at: number): string {
  const bound = DURATION_BOUNDS_MS[at];
  return bound === undefined ? `> ${bounded(DURATION_BOUNDS_MS.at(-1) ?? 0)}` : `<= ${bounded(bound)}`;
}

function bounded(ms: number): string {
  return ms % 1 === 0 && ms < 1000 ? `${ms} ms` : showMs(ms);
}

// What is there at all is seen.
function smoothBar(length: number): string {
  const eighths = length === 0 ? 0 : Math.max(1, Math.round(length * 8));
  return '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
}
