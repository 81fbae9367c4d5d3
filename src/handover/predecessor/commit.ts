import { knownHub } from '../../broadcast/shared.js';
import type { Channel } from '../../channel/channel.js';
import { MoultError } from '../../errors.js';
import { epochAfter } from '../../os/clock.js';
import { listenersWithFlows } from '../flow-peer.js';
import type { GenerationContext } from '../generation-context.js';
import type { HandoverAttempt } from './handover-attempt.js';

/** How long a successor may take to open its gates once it is told to. */
const COMMIT_TIMEOUT_MS = 5000;
/** How long a commit waits for critical sections where the settings do not say. */
const BUSY_TIMEOUT_MS = 30_000;

/**
 * What comes before nobody accepts: the successor catches up with state and broadcasts, and the service leaves its
 * critical sections. Meanwhile this side serves.
 * @param then called when nothing is in the way. Neither this nor `fail` is called once the attempt is over.
 * @param fail called when it takes too long, or state can't be given.
 */
export function beforeCommit(
  context: GenerationContext,
  attempt: HandoverAttempt,
  then: () => void,
  fail: (error: MoultError) => void,
): void {
  const { channel, giving, limit, settings } = attempt;
  const limitMs = settings.busyTimeoutMs ?? BUSY_TIMEOUT_MS;
  const late = `critical sections of the service were not over within ${limitMs} ms`;
  let isBehind = false;
  limit.set(limitMs, () =>
    fail(isBehind ? behind(channel, limitMs) : new MoultError('MOULT_CRITICAL_SECTION', late)),
  );
  const commit = () =>
    context.critical.whenNone(() => {
      if (attempt.isStill('ready')) then();
    });
  // One that is behind before it has a client will be so for those that come to it.
  const keepUp = () => {
    const hub = knownHub();
    if (hub === undefined) {
      commit();
      return;
    }
    isBehind = true;
    hub.keepsUp(channel).then(() => {
      isBehind = false;
      commit();
    });
  };
  giving.catchUp(keepUp, (error) => attempt.isStill('ready') && fail(error));
}

/** Gives the rest, and then the commit, while nobody accepts. @param fail called when the successor takes too long. */
export function commit(
  context: GenerationContext,
  attempt: HandoverAttempt,
  fail: (error: MoultError) => void,
): void {
  const { giving, limit, tasks } = attempt;
  const isStill = () => attempt.isStill('committing');
  const late = `the rest of the state was not handed over within ${COMMIT_TIMEOUT_MS} ms`;
  limit.set(COMMIT_TIMEOUT_MS, () => fail(new MoultError('MOULT_STATE_TIMEOUT', late)));
  giving.finish(
    tasks,
    () => isStill() && sayCommit(context, attempt, fail),
    (error) => isStill() && fail(error),
  );
}

function sayCommit(
  context: GenerationContext,
  attempt: HandoverAttempt,
  fail: (error: MoultError) => void,
): void {
  attempt.limit.clear();
  const tasks = attempt.giving.common(attempt.tasks);
  // Known to the successor before it receives.
  attempt.flows.tell(listenersWithFlows(attempt.claims));
  // It counts from here on: the successor may have it although it is never heard of again.
  context.epoch = epochAfter(context.epoch);
  attempt.take();
  const mirrors = context.state.wants('of tasks');
  const mirrored = mirrors.length === 0 ? {} : { mirrors };
  attempt.channel.send({ type: 'commit', epoch: context.epoch, tasks, ...mirrored });
  const late = `the successor did not open its gates within ${COMMIT_TIMEOUT_MS} ms`;
  attempt.limit.set(COMMIT_TIMEOUT_MS, () => fail(new MoultError('MOULT_COMMIT_FAILED', late)));
}

function behind(channel: Channel, limitMs: number): MoultError {
  const bytes = knownHub()?.waitingBytes(channel) ?? 0;
  const what = `expected the successor to deal with what is broadcast within ${limitMs} ms; ${bytes} bytes wait for it`;
  return new MoultError('MOULT_BROADCAST_BEHIND', what);
}
