import type { Asked, Roll } from './roll.js';
import { hasEnded, rollPhases } from './roll-phases.js';

const WEIGHTS: Readonly<Record<Asked, number>> = { pause: 1, resume: 1, abort: 2, undo: 3 };

/**
 * Whether an operator may ask this of a roll, beside what another has asked that no leader has heard yet: that is replaced by what
 * weighs as much or more, and never by less. Pure.
 * @returns `unfit` where there is nothing to do for it.
 */
export function mayAsk(
  { phase, asked }: Pick<Roll, 'phase' | 'asked'>,
  wanted: Asked,
): 'yes' | 'unfit' | 'outweighed' {
  if (asked !== null && WEIGHTS[asked] > WEIGHTS[wanted]) return 'outweighed';
  const later = asked === null ? phase : (rollPhases[phase][asked] ?? phase);
  const isFit = rollPhases[phase][wanted] !== undefined || rollPhases[later][wanted] !== undefined;
  return isFit ? 'yes' : 'unfit';
}

/** Whether nothing more comes of a roll, so that the next one may begin. */
export function isOver({ phase, asked }: Pick<Roll, 'phase' | 'asked'>): boolean {
  return hasEnded(phase) && asked === null;
}
