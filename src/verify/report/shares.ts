import { BUCKET_MS, type TimelineBucket } from '../tally/timeline.js';
import type { ReportScreen } from './report-screen.js';

const SHADES = [' ', '░', '▒', '▓', '█'];
const ASCII_SHADES = [' ', '.', ':', 'o', '#'];

/** Draws which generation answered when: a row for each generation, darker where its share is larger. */
export function drawShares(timeline: readonly TimelineBucket[], screen: ReportScreen): string[] {
  const names = [...new Set(timeline.flatMap((bucket) => Object.keys(bucket.generations)))];
  const label = Math.max(8, ...names.map((name) => name.length));
  const width = Math.min(timeline.length, screen.columns - label - 12);
  const lines = [screen.colours.dim('share of the answers by version, over time')];
  for (const name of names) {
    let answered = 0;
    let cells = '';
    for (let index = 0; index < width; index += 1) {
      const { own, all } = sharesAt(timeline, name, index, width);
      answered += own;
      const shade = own === 0 ? 0 : Math.max(1, Math.round((own / all) * 4));
      cells += (screen.unicode ? SHADES : ASCII_SHADES)[shade] ?? ' ';
    }
    const total = answered.toLocaleString('en-US').padStart(9);
    lines.push(`${name.padStart(label)}  ${screen.colours.cyan(cells)}${total}`);
  }
  const seconds = `${((timeline.length * BUCKET_MS) / 1000).toFixed(0)} s`;
  lines.push(screen.colours.dim(`${' '.repeat(label + 2)}0${seconds.padStart(Math.max(0, width - 1))}`));
  return lines;
}

function sharesAt(timeline: readonly TimelineBucket[], name: string, index: number, width: number) {
  const from = Math.floor((index * timeline.length) / width);
  const to = Math.max(from + 1, Math.floor(((index + 1) * timeline.length) / width));
  let own = 0;
  let all = 0;
  for (const bucket of timeline.slice(from, to)) {
    own += bucket.generations[name] ?? 0;
    all += bucket.answered;
  }
  return { own, all };
}
