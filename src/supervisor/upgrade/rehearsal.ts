import { MoultError } from '../../errors.js';
import { withoutNodeOptions } from '../../os/processes/node-options.js';
import { describeExit } from '../../os/processes/process.js';
import { runToEnd } from '../../os/processes/run-to-end.js';
import { CARRIED_FORMAT, type CarriedOver, programCommand, variablesOf } from './next-program.js';

/** How long the new program may take to load and to answer. */
const TIMEOUT_MS = 15_000;
/** The lock and the control socket. */
const KEPT_BESIDE = 2;
const MAX_OUTPUT = 16_384;

/** What a program says that could take over from this one. */
export interface Rehearsed {
  readonly type: 'rehearsed';
  /** Of moult. */
  readonly version: string;
  /** Of what it takes over. */
  readonly format: number;
}

/**
 * Starts the program that this process is to become beside it: it loads all of itself, reads what it would take over,
 * and says so, without touching anything.
 * @throws MOULT_UPGRADE_FAILED when it does not say yes; nothing has changed then.
 */
export async function rehearse(carried: CarriedOver): Promise<Rehearsed> {
  const { command, args } = programCommand('rehearse');
  const env = { ...withoutNodeOptions(process.env), ...variablesOf(carried) };
  // Under the limit of this process, and with as many that are taken as the next program will find: it must still be able to load.
  const { exit, isLate, stdout, stderr } = await runToEnd(
    { command, args, cwd: '/', env },
    { timeoutMs: TIMEOUT_MS, keep: MAX_OUTPUT, kept: 'last', taken: carried.held.length + KEPT_BESIDE },
  );
  const answer = answerIn(stdout);
  if (exit.code === 0 && answer?.format === CARRIED_FORMAT) return answer;
  const how = isLate ? `did not answer within ${TIMEOUT_MS} ms` : describeExit(exit);
  const why =
    answer === undefined
      ? `it ${how}: ${lastLines(stderr)}`
      : `it accepts format ${answer.format}, this one hands over format ${CARRIED_FORMAT}`;
  throw new MoultError(
    'MOULT_UPGRADE_FAILED',
    `the moult that is installed now (${args.find((word) => word.endsWith('.js')) ?? command}) could not take over; ${why}`,
    { serving: 'unchanged' },
  );
}

function answerIn(output: string): Rehearsed | undefined {
  for (const line of output.split('\n').reverse()) {
    try {
      const answer = JSON.parse(line) as Rehearsed;
      if (answer.type === 'rehearsed') return answer;
    } catch {
      // Something that a preload of the user's said.
    }
  }
  return undefined;
}

function lastLines(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const error = lines.findIndex((line) => /Error|✗/.test(line));
  return (
    (error < 0 ? lines.slice(-3) : lines.slice(error, error + 3)).join(' ').slice(0, 600) ||
    'it wrote nothing'
  );
}
