import { MoultError, type Serving } from '../errors.js';

/** Where a generation stands as a predecessor. ARCHITECTURE.md shows the picture, generated from {@link table}. */
export type HandoverState =
  | 'serving'
  | 'expecting'
  | 'inheriting'
  | 'ready'
  | 'committing'
  | 'probation'
  | 'verifying'
  | 'undoing'
  | 'returning'
  | 'draining'
  | 'ended';

/** What can happen to a handover. */
export type HandoverEvent =
  | 'expect'
  | 'hello'
  | 'pass-by'
  | 'ready'
  | 'commit'
  | 'committed'
  | 'elapsed'
  | 'confirm'
  | 'fail'
  | 'resume'
  | 'give-back'
  | 'taken-back'
  | 'retire'
  | 'drained';

interface Row {
  /** Who accepts connections in this state; `none` means that clients wait in the backlog for a moment. */
  readonly accepts: Serving;
  readonly on: Partial<Record<HandoverEvent, HandoverState>>;
}

/** Every state, who accepts in it, and what each event leads to. An event that a state does not name is an error. */
export const table: Readonly<Record<HandoverState, Row>> = {
  serving: {
    accepts: 'predecessor',
    on: { expect: 'expecting', retire: 'draining', 'give-back': 'returning' },
  },
  expecting: { accepts: 'predecessor', on: { hello: 'inheriting', fail: 'serving' } },
  inheriting: { accepts: 'predecessor', on: { ready: 'ready', 'pass-by': 'expecting', fail: 'serving' } },
  ready: { accepts: 'predecessor', on: { commit: 'committing', fail: 'serving' } },
  committing: { accepts: 'none', on: { committed: 'probation', fail: 'undoing' } },
  probation: {
    accepts: 'successor',
    on: { elapsed: 'verifying', confirm: 'draining', fail: 'undoing' },
  },
  verifying: { accepts: 'successor', on: { confirm: 'draining', fail: 'undoing' } },
  undoing: { accepts: 'none', on: { resume: 'serving' } },
  returning: { accepts: 'none', on: { 'taken-back': 'draining', resume: 'serving' } },
  draining: { accepts: 'successor', on: { drained: 'ended' } },
  ended: { accepts: 'successor', on: {} },
};

/** The state that follows, or undefined where the event has no meaning. */
export function next(state: HandoverState, event: HandoverEvent): HandoverState | undefined {
  return table[state].on[event];
}

/**
 * The state that follows.
 * @throws MOULT_PROTOCOL_ORDER where the event has no meaning.
 */
export function step(state: HandoverState, event: HandoverEvent): HandoverState {
  const to = next(state, event);
  if (to === undefined) {
    throw new MoultError('MOULT_PROTOCOL_ORDER', `${event} is not allowed while ${state}`, {
      stage: state,
      serving: table[state].accepts,
    });
  }
  return to;
}

/** The stages of a restart as its operator is shown them, in order. */
export const stages = [
  'spawn',
  'hello',
  'inherit',
  'ready',
  'commit',
  'look',
  'connections',
  'confirm',
] as const;
/** One of {@link stages}. */
export type Stage = (typeof stages)[number];
