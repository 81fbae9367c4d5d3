import { asMoultError } from '../../errors.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { RestartService } from '../restart/restart-service.js';
import type { ServingState } from './serving-state.js';

/** How long a predecessor may take to answer before anything has changed, and how long to stop accepting. */
const ANSWER_TIMEOUT_MS = 5000;

/** What such a handover needs. */
export interface DrainedHandoverParts {
  readonly restarts: RestartService;
  readonly servingState: ServingState;
  /** Makes the configured check; rejects when it fails. */
  readonly check: (generation: GenerationProcess) => Promise<void>;
}

/**
 * Replaces a predecessor by a successor that is ready, where one of them cannot pass descriptors: the listeners live on in the
 * supervisor, connections come to their end where they are. Until the predecessor is told to leave, a failure changes nothing;
 * then it cannot resume, and what is started in place of a successor that fails is the last good release.
 */
export async function replaceByDrain(
  successor: GenerationProcess,
  predecessor: GenerationProcess,
  { restarts, servingState, check }: DrainedHandoverParts,
  facts: Record<string, unknown>,
): Promise<void> {
  const handover = restarts.handoverTo(successor);
  if (handover === undefined) return;
  handover.stage('ready', facts);
  try {
    if (successor.settings.checked) {
      await check(successor);
      handover.stage('check', {});
    }
    const { connections } = await predecessor.state(ANSWER_TIMEOUT_MS);
    // Where the predecessor has ended meanwhile, the successor was told to begin.
    if (handover.isSettled || successor.exit !== undefined || successor.livingPredecessor === undefined)
      return;
    handover.predecessorLeaves(connections);
    servingState.leaves(predecessor, successor, successor.settings.drainTimeoutMs);
    // It answers what comes after only when it accepts no more.
    await predecessor.state(ANSWER_TIMEOUT_MS).catch(() => undefined);
    servingState.follows(successor);
  } catch (error) {
    if (successor.exit === undefined || handover.predecessorHasLeft)
      handover.fail(asMoultError(error, 'MOULT_HANDOVER_ABORTED'));
  }
}
