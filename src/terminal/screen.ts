/** A stream to which people's text is written, such as `process.stdout`. */
export interface TextStream {
  readonly isTTY?: boolean;
  /** 0 where a terminal tells no size. */
  readonly columns?: number;
  write(text: string): unknown;
}

/** What can be shown where text is written. */
export interface Screen {
  /** How many characters fit into a line. */
  readonly columns: number;
  /** Whether characters beyond ASCII can be shown. */
  readonly unicode: boolean;
  readonly colours: boolean;
  /** Whether a line can be written over. */
  readonly live: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The width that is taken where none is told. */
const USUAL_COLUMNS = 80;

/**
 * What a stream can show: colours on a terminal without NO_COLOR, or with FORCE_COLOR; characters beyond ASCII but on a
 * terminal whose locale has another character set. Source: https://no-color.org, locale(7).
 */
export function screenOf(
  stream: Pick<TextStream, 'isTTY' | 'columns'>,
  env: Environment = process.env,
): Screen {
  const isTerminal = stream.isTTY === true;
  const canMove = isTerminal && (env.TERM ?? '') !== '' && env.TERM !== 'dumb';
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || '';
  // Containers often name no locale at all, and their terminals show UTF-8 all the same.
  const unicode = !isTerminal || locale === '' || /utf-?8/i.test(locale);
  const isForced = !['', '0', 'false', undefined].includes(env.FORCE_COLOR);
  const columns = isTerminal ? stream.columns || 0 : 0;
  return {
    columns: columns > 0 ? columns : USUAL_COLUMNS,
    unicode,
    colours: !env.NO_COLOR && (canMove || isForced),
    live: canMove && columns > 0,
  };
}
