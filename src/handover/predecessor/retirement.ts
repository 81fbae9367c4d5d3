import { endIdle, endIdleGently } from '../../connections/close-idle.js';
import type { Message } from '../../protocol/messages.js';
import type { GenerationContext } from '../generation-context.js';
import { type Giving, passTasks } from '../giving.js';
import type { Taker } from '../peer-slots.js';
import type { Work } from './departure.js';
import type { HandoverAttempt } from './handover-attempt.js';

/** How a generation ends without a successor. */
export type Retirement = Omit<Message<'retire'>, 'type' | 'heirs'> & {
  /** Generations of other slots to which the connections go. */
  readonly heirs: readonly Taker[];
  /** Over how long what cannot move is told to go, where there are heirs to come back to. */
  readonly spreadMs: number;
};

/** Ends timers and jobs; another slot goes on with them, where it has such tasks. @returns what passes them on. */
export function endTasks(
  { tasks }: GenerationContext,
  { heirs, timeoutMs }: Retirement,
): Pick<Giving, 'isOver'> | undefined {
  // Of those that differ the one that takes most.
  const taken = (heir: Taker) => heir.tasks?.filter((name) => tasks.get(name)?.runner.parts).length ?? 0;
  const [heir] = heirs.filter((one) => taken(one) > 0).sort((a, b) => taken(b) - taken(a));
  if (heir !== undefined) return passTasks(heir.channel, tasks, heir.tasks ?? [], timeoutMs);
  tasks.end(timeoutMs);
  return undefined;
}

/**
 * Lets go of the listeners, has worker threads retire, and closes idle connections where nobody takes them.
 * @param released told of each listener that is closed for good.
 */
export function endListeners(
  context: GenerationContext,
  { heirs, timeoutMs, keepOpen }: Retirement,
  { servers }: Work,
  released: (name: string) => void,
): void {
  for (const listener of context.listeners.lasting()) {
    context.listeners.release(listener, !keepOpen);
    if (!keepOpen) released(listener.identity.name);
  }
  const doors = heirs.flatMap(({ threads = [] }) => threads);
  context.threads.retire(timeoutMs, keepOpen === true, doors);
  if (heirs.length > 0) return;
  // Where the service will be there again in a moment, clients are to come to it unharmed.
  const end = keepOpen ? endIdleGently : endIdle;
  end(context.connections, servers);
}

/**
 * Leaves the listeners to a successor for good. What it did not claim nobody will: that port closes now.
 * @param released told of each listener that is closed for good.
 */
export function leaveListeners(
  { listeners }: GenerationContext,
  { claims, late }: HandoverAttempt,
  released: (name: string) => void,
): void {
  const claimed = new Set([...claims.map(({ name }) => name), ...late.given]);
  listeners.successorHas(claimed);
  for (const listener of listeners.lasting()) {
    const isClaimed = claimed.has(listener.identity.name);
    listeners.release(listener, !isClaimed);
    if (!isClaimed) released(listener.identity.name);
  }
}
