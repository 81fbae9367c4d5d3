import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../../errors.js';
import { type OutputHolder, outputHolders } from '../../os/processes/output-holders.js';
import { visibleLine } from '../../terminal/visible.js';
import type { OutputFile } from './output-file.js';

/** How long a generation may take to write to the new file: it finishes the line that it is writing. */
const GENERATION_MS = 10_000;
/** What a process that has just been told may still take to let go of the old file. */
const LOOKS = 5;
const LOOK_MS = 40;

/** A generation whose process writes to the output file. */
export interface OutputWriter {
  readonly number: number;
  readonly takesOutput: boolean;
  readonly isReachable: boolean;
  /** How its process ended; undefined while it lives. */
  readonly exit: unknown;
  /** Has it write to the file that is open now, within so many milliseconds. */
  renewOutput(limitMs: number): Promise<void>;
}

/** What became of the output file. */
export interface Reopened {
  readonly file: string;
  /** The numbers of the generations that write to the new file. */
  readonly generations: readonly number[];
  /** The processes that still write to the file that was there before. */
  readonly left: readonly OutputHolder[];
}

/** What is said of those processes. */
export function leftText(left: readonly OutputHolder[]): string {
  const who = left.map(({ pid, name }) => `${pid} (${visibleLine(name)})`).join(', ');
  const one = left.length === 1;
  return `${one ? 'process' : 'processes'} ${who} still ${one ? 'writes' : 'write'} to the old file, until ${one ? 'it ends' : 'they end'}: do not remove or compress it before`;
}

/**
 * Opens the output file anew, and has each generation write to it, between two of its lines.
 * @throws MOULT_OUTPUT_FILE when there is none, or it cannot be opened: nothing has changed then.
 */
export async function reopenOutput(
  file: OutputFile | undefined,
  generations: () => readonly OutputWriter[],
  log: Logger,
): Promise<Reopened> {
  if (file === undefined) {
    const what =
      'the service has no output file to open anew: moult run --output FILE gives it one, at the next start';
    throw new MoultError('MOULT_OUTPUT_FILE', what, { serving: 'unchanged' });
  }
  const was = await file.reopen();
  const told: number[] = [];
  const renew = async (one: OutputWriter) => {
    if (!one.takesOutput || !one.isReachable) return;
    try {
      await one.renewOutput(GENERATION_MS);
      told.push(one.number);
    } catch (error) {
      // One that has ended meanwhile writes nothing any more.
      if (one.exit === undefined)
        log.warn(
          `generation ${one.number} still writes to the old file: ${asMoultError(error, 'MOULT_PEER_CLOSED').message}`,
        );
    }
  };
  await Promise.all(generations().map(renew));
  let left = outputHolders(was);
  for (let look = 0; left.length > 0 && look < LOOKS; look += 1) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    left = outputHolders(was);
  }
  return { file: file.path, generations: told.sort((a, b) => a - b), left };
}
