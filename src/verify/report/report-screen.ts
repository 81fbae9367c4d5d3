import { paint } from '../../terminal/paint.js';
import { type TextStream, screenOf as terminalScreenOf } from '../../terminal/screen.js';

/** What can be shown where a report is written. */
export interface ReportScreen {
  readonly columns: number;
  /** Whether block characters can be shown; plain ASCII otherwise. */
  readonly unicode: boolean;
  readonly colours: Colours;
}

/** Functions that colour a text; what is written by `print` has them only where there are colours. */
export type Colours = typeof paint;

/** The width of a report where there is no terminal. */
const PAPER_COLUMNS = 110;

/** Finds out what an output stream can show: blocks only in a UTF-8 locale, 110 columns where there is no terminal. */
export function screenOf(
  stream: Pick<TextStream, 'isTTY' | 'columns'>,
  env: Readonly<Record<string, string | undefined>>,
): ReportScreen {
  const screen = terminalScreenOf(stream, env);
  const isTerminal = stream.isTTY === true && env.TERM !== 'dumb';
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || '';
  return {
    columns: Math.max(40, isTerminal ? screen.columns : PAPER_COLUMNS),
    unicode: isTerminal ? screen.unicode : /utf-?8/i.test(locale),
    colours: paint,
  };
}
