/*
 * How far one host of a roll is: the table that the leader runs. An event that a state does not name is late, or was seen
 * before, and changes nothing.
 */

/** How far a host is. */
export type HostState =
  /** Nothing was asked of it. */
  | 'waiting'
  /** Nothing was asked of it, and it is silent: it counts as unavailable. */
  | 'absent'
  /** It was told to restart, and has not said that it has begun. */
  | 'ordered'
  | 'running'
  | 'confirmed'
  /** Its restart failed, and what it had before serves. */
  | 'failed'
  /** It was told to restart and is silent: what it runs is unknown. */
  | 'unknown'
  | 'withdrawing'
  /** It was told to restart no more, and had not begun. */
  | 'withdrawn'
  /** The same, and it is silent. */
  | 'withdraw-unknown'
  | 'undoing'
  /** It has what it had before the roll. */
  | 'undone'
  | 'undo-failed'
  /** It was told to take back the roll and is silent: it will when it returns. */
  | 'undo-unknown';

/** What happens to a host: what it reports, what the leader decides, and whether it is heard of. */
export type HostEvent =
  | 'order'
  | 'withdraw'
  | 'undo'
  | 'begun'
  | 'succeeded'
  | 'failed'
  | 'left-alone'
  | 'taken-back'
  | 'not-taken-back'
  | 'silent'
  | 'heard';

/** What a host is told; the later ones of a roll replace the earlier. */
export type Action = 'restart' | 'withdraw' | 'undo';

/** The state that follows, by state and event. */
export const hostStates: Readonly<Record<HostState, Readonly<Partial<Record<HostEvent, HostState>>>>> = {
  waiting: { order: 'ordered', silent: 'absent' },
  // Its order waits for it; nobody knows until it returns.
  absent: { order: 'unknown', heard: 'waiting' },
  ordered: {
    begun: 'running',
    succeeded: 'confirmed',
    failed: 'failed',
    silent: 'unknown',
    withdraw: 'withdrawing',
    undo: 'undoing',
  },
  running: { succeeded: 'confirmed', failed: 'failed', silent: 'unknown', undo: 'undoing' },
  // What it runs is known; only whether it serves is not.
  confirmed: { undo: 'undoing', silent: 'confirmed', heard: 'confirmed' },
  failed: { undo: 'undoing' },
  unknown: {
    begun: 'running',
    succeeded: 'confirmed',
    failed: 'failed',
    withdraw: 'withdrawing',
    undo: 'undoing',
  },
  withdrawing: {
    'left-alone': 'withdrawn',
    begun: 'running',
    succeeded: 'confirmed',
    failed: 'failed',
    silent: 'withdraw-unknown',
    undo: 'undoing',
  },
  withdrawn: { undo: 'undoing' },
  'withdraw-unknown': {
    'left-alone': 'withdrawn',
    succeeded: 'confirmed',
    failed: 'failed',
    undo: 'undoing',
  },
  undoing: { 'taken-back': 'undone', 'not-taken-back': 'undo-failed', silent: 'undo-unknown' },
  undone: {},
  'undo-failed': {},
  'undo-unknown': { 'taken-back': 'undone', 'not-taken-back': 'undo-failed' },
};

/** What a host in this state is to be told; undefined for nothing. */
export const told: Readonly<Record<HostState, Action | undefined>> = {
  waiting: undefined,
  absent: undefined,
  ordered: 'restart',
  running: 'restart',
  confirmed: 'restart',
  failed: 'restart',
  unknown: 'restart',
  withdrawing: 'withdraw',
  withdrawn: 'withdraw',
  'withdraw-unknown': 'withdraw',
  undoing: 'undo',
  undone: 'undo',
  'undo-failed': 'undo',
  'undo-unknown': 'undo',
};

/** Whether a host may be down, or on its way: these count against the limit of a roll. */
export function isUnavailable({
  state,
  isSilent,
}: {
  state: HostState;
  isSilent?: boolean | undefined;
}): boolean {
  return state === 'absent' || state === 'unknown' || isSilent === true || isUnderWay(state);
}

/** Whether an answer of it is awaited before the roll goes on. */
export function isUnderWay(state: HostState): boolean {
  return state === 'ordered' || state === 'running' || state === 'withdrawing' || state === 'undoing';
}

/** Whether it was told something that it has not come to yet, also where nobody waits for that. */
export function isOpen(state: HostState): boolean {
  return isUnderWay(state) || state === 'unknown' || state === 'withdraw-unknown' || state === 'undo-unknown';
}
