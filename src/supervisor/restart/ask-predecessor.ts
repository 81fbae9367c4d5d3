import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../../errors.js';
import type { Settings } from '../../protocol/messages.js';
import { OLDER_LISTENERS } from '../../protocol/parts.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';

/** How long a predecessor may take to answer that it expects a successor. */
export const EXPECT_TIMEOUT_MS = 5000;

/** What it takes to have a predecessor expect its successor. */
export interface ExpectationParts {
  readonly generations: Generations;
  readonly log: Logger;
  /** How many connections one has, as far as that is seen from outside. */
  readonly connections: (generation: GenerationProcess) => number;
}

/**
 * Has a predecessor expect its successor.
 * @param force whether one that does not answer is replaced all the same.
 * @returns the number of the successor, and whether its predecessor does not answer and is to be ended.
 * @throws MOULT_PEER_TIMEOUT, MOULT_PEER_CLOSED where it does not answer; what it answers where it refuses.
 */
export async function expectSuccessor(
  { generations, log, connections }: ExpectationParts,
  predecessor: GenerationProcess | undefined,
  settings: Settings,
  force: boolean,
): Promise<{ number: number; isForced: boolean }> {
  const number = generations.takeNumber();
  try {
    await predecessor?.expect(number, settings, EXPECT_TIMEOUT_MS);
    return { number, isForced: false };
  } catch (cause) {
    const error = asMoultError(cause, 'MOULT_HANDOVER_ABORTED');
    // Where it did not answer in time its answer may still come, and must not be taken for one to the next question.
    if (error.code !== 'MOULT_PEER_TIMEOUT') generations.giveBack(number);
    const isSilent = error.code === 'MOULT_PEER_TIMEOUT' || error.code === 'MOULT_PEER_CLOSED';
    if (predecessor === undefined || predecessor.exit !== undefined || !isSilent) throw error;
    const cut = connections(predecessor);
    const cost = `cuts its connections (${cut} now) and their requests`;
    if (!force) {
      const what = `${error.message}; moult restart --force replaces it anyway, which ${cost}`;
      throw new MoultError(error.code, what, { serving: 'predecessor', cause: error });
    }
    log.warn(`${error.message}: it will be killed once its successor is ready, which ${cost}`);
    return { number: generations.takeNumber(), isForced: true };
  }
}

/** @throws MOULT_TOO_LARGE where the predecessor's release of moult cannot pass so many listeners: a successor would be started in vain. */
export function assertPasses(predecessor: GenerationProcess | undefined, listeners: number): void {
  if (predecessor?.lifeline?.takesParts !== false || listeners <= OLDER_LISTENERS) return;
  const what = `generation ${predecessor.number} was started by an older release of moult, which can pass at most ${OLDER_LISTENERS} listeners`;
  throw new MoultError('MOULT_TOO_LARGE', `${what}, and there are ${listeners}: it keeps serving`);
}
