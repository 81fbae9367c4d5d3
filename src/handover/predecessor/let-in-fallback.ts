import type { Channel } from '../../channel/channel.js';
import { MoultError } from '../../errors.js';
import type { HandoverState } from '../../lifecycle/handover-states.js';
import type { Giving } from '../giving.js';

/** Another generation has all that is here. */
const GIVEN_AWAY: readonly HandoverState[] = ['probation', 'verifying', 'returning', 'draining', 'ended'];

/** A later generation takes what this one tells, if the one that it tells is gone. @throws MOULT_NOT_EXPECTED where nothing was given away. */
export function letInFallback(state: HandoverState, giving: Giving | undefined, channel: Channel): void {
  if (giving !== undefined && GIVEN_AWAY.includes(state)) giving.letIn(channel);
  else throw new MoultError('MOULT_NOT_EXPECTED', `a fallback came while this generation is ${state}`);
}
