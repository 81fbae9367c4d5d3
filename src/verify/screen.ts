import picocolors from 'picocolors';

/** What can be shown where a report is written. */
export interface Screen {
  readonly columns: number;
  /** Whether block characters can be shown; plain ASCII otherwise. */
  readonly unicode: boolean;
  readonly colours: Colours;
}

/** Functions that colour a text, or give it back as it is. */
export type Colours = ReturnType<typeof picocolors.createColors>;

/**
 * Finds out what an output stream can show: colours only on a terminal without NO_COLOR, blocks only in a UTF-8
 * locale, 110 columns where there is no terminal.
 */
export function screenOf(
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): Screen {
  const terminal = stream.isTTY === true && env.TERM !== 'dumb';
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || '';
  // Containers often name no locale at all, and their terminals show UTF-8 all the same.
  const unicode = locale === '' ? terminal : /utf-?8/i.test(locale);
  return {
    columns: Math.max(40, terminal ? (stream.columns ?? 80) : 110),
    unicode,
    colours: picocolors.createColors(terminal && !env.NO_COLOR),
  };
}
