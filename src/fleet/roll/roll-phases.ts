/*
 * The phases of a roll: the table that the leader runs. An event that a phase does not name is an answer to an earlier one,
 * and changes nothing.
 */

/** What a roll is doing, or how it ended. */
export type Phase =
  | 'rolling'
  /** The canaries have the new release, and are compared with the rest. */
  | 'watching'
  | 'paused'
  /** It was given up: what has begun is finished, and nothing more begins. */
  | 'stopping'
  | 'undoing'
  | 'done'
  | 'stopped'
  | 'undone';

/** What moves a roll on. */
export type RollEvent =
  | 'canaries-confirmed'
  | 'watched'
  | 'all-confirmed'
  /** A host failed, and the roll is to be undone, or to be stopped. */
  | 'failed-undo'
  | 'failed-stop'
  | 'pause'
  | 'resume'
  | 'abort'
  | 'undo'
  | 'settled'
  | 'all-taken-back'
  | 'not-all-taken-back';

const failures = { 'failed-undo': 'undoing', 'failed-stop': 'stopping' } as const;

/** The phase that follows, by phase and event. */
export const rollPhases: Readonly<Record<Phase, Readonly<Partial<Record<RollEvent, Phase>>>>> = {
  rolling: {
    'canaries-confirmed': 'watching',
    'all-confirmed': 'done',
    ...failures,
    pause: 'paused',
    abort: 'stopping',
    undo: 'undoing',
  },
  watching: { watched: 'rolling', ...failures, pause: 'paused', abort: 'stopping', undo: 'undoing' },
  // The canaries are watched anew then.
  paused: { resume: 'rolling', ...failures, abort: 'stopping', undo: 'undoing' },
  stopping: { settled: 'stopped', undo: 'undoing' },
  undoing: { 'all-taken-back': 'undone', 'not-all-taken-back': 'stopped' },
  done: { undo: 'undoing' },
  stopped: { undo: 'undoing' },
  undone: {},
};

/** Whether a roll in this phase has ended, so that the next one may begin. */
export function hasEnded(phase: Phase): boolean {
  return phase === 'done' || phase === 'stopped' || phase === 'undone';
}
