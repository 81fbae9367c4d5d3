/** From where a line came: an output of the service, or the log of moult. */
export type KeptStream = 'stdout' | 'stderr' | 'moult';

/** One line that was kept. */
export interface KeptLine {
  /** Milliseconds since 1970 when it was written, or came through the supervisor. */
  readonly at: number;
  readonly stream: KeptStream;
  readonly text: string;
}

const LETTERS: Readonly<Record<KeptStream, string>> = { stdout: 'o', stderr: 'e', moult: 'm' };
const STREAMS: ReadonlyMap<string, KeptStream> = new Map(
  Object.entries(LETTERS).map(([stream, letter]) => [letter, stream as KeptStream]),
);
/** A longer line is cut; what is missing is said. */
const MOST_CHARACTERS = 16_384;
const RECORD = /^(\d{1,15}) ([oem]) (.*)$/s;

/** A line as it is kept, on one line. No zero byte is in it: these are what was given back of the file. */
export function recordOf({ at, stream, text }: KeptLine): string {
  const cut = text.length - MOST_CHARACTERS;
  const shown = cut > 0 ? `${text.slice(0, MOST_CHARACTERS)}[${cut} more]` : text;
  return `${Math.floor(at)} ${LETTERS[stream]} ${shown.replaceAll('\0', '\u2400')}\n`;
}

/** The line that was kept so; undefined for what is none, such as the rest of one whose beginning was given back. */
export function lineOf(record: string): KeptLine | undefined {
  const [, at, letter = '', text = ''] = RECORD.exec(record) ?? [];
  const stream = STREAMS.get(letter);
  return at === undefined || stream === undefined ? undefined : { at: Number(at), stream, text };
}
