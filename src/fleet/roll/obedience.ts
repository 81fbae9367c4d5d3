import type { Action } from './host-states.js';

/** What an instruction is known by. */
export interface OrderMark {
  /** The number of the roll. */
  readonly serial: number;
  readonly action: Action;
  /** Of the leader that gave it. */
  readonly epoch: number;
}

/** What a host remembers of the last instruction that it obeyed. */
export interface Obeyed {
  readonly serial: number;
  readonly action: Action;
  readonly epoch: number;
}

const STEPS: Readonly<Record<Action, number>> = { restart: 1, withdraw: 2, undo: 3 };

/**
 * What a host does with an instruction: obeys it once, and refuses it where it has obeyed a later one, or one of a later
 * leader. Pure.
 */
export function judge(obeyed: Obeyed | undefined, order: OrderMark): 'obey' | 'repeated' | 'older' {
  if (obeyed === undefined) return 'obey';
  const later = order.serial - obeyed.serial || STEPS[order.action] - STEPS[obeyed.action];
  if (later === 0) return 'repeated';
  return later > 0 && order.epoch >= obeyed.epoch ? 'obey' : 'older';
}
