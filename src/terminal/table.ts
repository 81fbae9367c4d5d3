import { paint, unpainted } from './paint.js';
import { visibleLine } from './visible.js';
import { padded, widthOf, wrap } from './width.js';

/** A cell: a text, or several lines. */
export type Cell = string | number | readonly string[];

/** A row of a table, and what is written under it. */
export interface Row {
  readonly cells: readonly Cell[];
  /** Colours a cell's text by its place in the row. */
  readonly paint?: Readonly<Record<number, (text: string) => string>>;
  /** Texts under the row, indented, wrapped to the width. */
  readonly below?: readonly string[];
}

const GAP = '  ';
const INDENT = '  ';

/**
 * A table for people that fits into so many columns: where it does not, each row becomes a list. Takes time in proportion to
 * its text. What others have written is made visible, also line ends in it.
 */
export function table(head: readonly string[], rows: readonly Row[], columns: number): string[] {
  const lines = rows.map(({ cells }) => cells.map(linesOf));
  const widths = head.map((title, at) =>
    lines.reduce(
      (widest, cells) => (cells[at] ?? []).reduce((most, line) => Math.max(most, widthOf(line)), widest),
      widthOf(title),
    ),
  );
  const whole = widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length);
  if (whole > columns) return rows.flatMap((row, at) => asList(head, row, lines[at] ?? [], columns));
  const isRight = head.map((_, at) => rows.every(({ cells }) => typeof cells[at] === 'number'));
  const line = (cells: readonly string[]) =>
    cells.map((cell, at) => padded(cell, widths[at] ?? 0, isRight[at])).join(GAP);
  return [
    paint.dim(line(head).trimEnd()),
    ...rows.flatMap((row, at) => {
      const cells = lines[at] ?? [];
      const height = cells.reduce((most, { length }) => Math.max(most, length), 1);
      const drawn = Array.from({ length: height }, (_, n) =>
        line(cells.map((all, place) => painted(all[n] ?? '', row.paint?.[place]))).trimEnd(),
      );
      return [...drawn, ...below(row, columns)];
    }),
  ];
}

// A title and what it stands for in a line each; what is empty is left out.
function asList(
  head: readonly string[],
  row: Row,
  cells: readonly (readonly string[])[],
  columns: number,
): string[] {
  const titles = Math.max(...head.map(widthOf)) + GAP.length;
  const isNarrow = columns < titles + 16;
  const lines = cells.flatMap((all, at) => {
    if (all.every((line) => line === '')) return [];
    const title = head[at] ?? '';
    const room = isNarrow ? columns - INDENT.length : columns - titles;
    const text = all.flatMap((line) => wrap(line, room)).map((line) => painted(line, row.paint?.[at]));
    if (isNarrow) return [...wrap(title, columns).map(paint.dim), ...text.map((line) => INDENT + line)];
    return text.map((line, n) => (n === 0 ? paint.dim(padded(title, titles)) : ' '.repeat(titles)) + line);
  });
  return [...lines, ...below(row, columns), ''];
}

function below(row: Row, columns: number): string[] {
  return (row.below ?? []).flatMap((text) => indented(visibleLine(text), columns));
}

/** A text in lines that fit, each indented. */
export function indented(text: string, columns: number, indent = INDENT): string[] {
  return wrap(unpainted(text), columns - indent.length).map((line) => indent + line);
}

function linesOf(cell: Cell): string[] {
  if (typeof cell === 'object') return cell.map(visibleLine);
  return [visibleLine(String(cell))];
}

function painted(text: string, colour: ((text: string) => string) | undefined): string {
  return colour === undefined || text === '' ? text : colour(text);
}
