import fc from '../../support/fast-check.js';
import { sequenceOf } from '../../support/sequence.js';
import type { FeedStepKind } from './feed-world.js';

/** How often each step comes, in proportion. */
export type StepWeights = Partial<Record<FeedStepKind, number>>;

/** The steps of every model of feeds. */
export const commonSteps: StepWeights = {
  publish: 8,
  read: 8,
  'mark arrives': 4,
  'foreign mark': 1,
  deliver: 8,
  'catch up': 5,
  connect: 2,
  move: 12,
  'set up': 3,
  roll: 3,
  subscribe: 3,
  commit: 3,
  undo: 1,
  retire: 2,
  kill: 1,
  repeat: 1,
};

/** Sequences of such steps, each with two numbers that say whom it is about. */
export function feedSequences(weights: StepWeights) {
  const which = fc.nat(20);
  const step = fc.oneof(
    ...Object.entries(weights).map(([kind, weight]) => ({
      weight,
      arbitrary: fc.record({ kind: fc.constant(kind as FeedStepKind), which, other: which }),
    })),
  );
  return sequenceOf(step, { minLength: 10, maxLength: 120 });
}
