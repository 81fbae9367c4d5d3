import { MoultError } from '../../errors.js';
import type { HandoverState } from '../../lifecycle/handover-states.js';
import { type Lack, lacks } from '../../lifecycle/listener-names.js';

/** The same error, as the operator is told of it: at which stage it happened, and that the predecessor serves. */
export function asServing(error: MoultError, stage: HandoverState): MoultError {
  return new MoultError(error.code, error.message, {
    serving: 'predecessor',
    stage,
    cause: error,
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}

/** The channel to the successor has closed. @param reason of an end that neither side asked for. */
export function successorLost(state: HandoverState, reason: MoultError | undefined): MoultError {
  if (reason?.code.startsWith('MOULT_PROTOCOL')) return reason;
  const isAfterCommit = ['committing', 'probation', 'verifying'].includes(state);
  const code = isAfterCommit ? 'MOULT_SUCCESSOR_LOST' : 'MOULT_SUCCESSOR_EXITED';
  const why = reason === undefined ? 'it closed its connection' : reason.message;
  return new MoultError(code, `the successor was lost in the state ${state}: ${why}`);
}

/** The successor was not ready in time. @param missing what it said last that it still lacks. */
export function notReady(ms: number, missing: Lack | undefined, state: HandoverState): MoultError {
  const what =
    state === 'expecting' ? 'it never listened and never said that it is ready' : whyNotReady(missing);
  return new MoultError('MOULT_READY_TIMEOUT', `the successor was not ready within ${ms} ms: ${what}`);
}

function whyNotReady(missing: Lack | undefined): string {
  if (missing === undefined || missing.names.length === 0) {
    return 'it has not claimed all listeners of this generation, and has not said that it is ready';
  }
  return `it ${lacks(missing)}; use --allow-fewer-listeners if the new release listens on fewer addresses`;
}
