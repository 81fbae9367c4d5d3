import { broadcastHub } from '../../broadcast/shared.js';
import type { Channel } from '../../channel/channel.js';
import { asMoultError, MoultError } from '../../errors.js';
import { type GenerationContext, movableClaims } from '../../handover/generation-context.js';
import type { Predecessor } from '../../handover/predecessor.js';
import type { Message, Settings } from '../../protocol/messages.js';
import { passable, takePassed } from '../../tasks/tasks-of-slot.js';
import type { Overseer } from '../overseer/overseer.js';

/** The generation that is visited. */
export interface VisitedGeneration {
  readonly number: number;
  readonly context: GenerationContext;
  readonly predecessor: Predecessor;
  readonly overseer: Overseer;
  readonly isServing: boolean;
  /** A successor of this number is to come. @throws MOULT_RESTART_IN_PROGRESS where this generation may have to hand back. */
  expectStranger(admit: () => { readonly number: number; readonly settings: Settings }): number;
}

/** Lets in who comes to the door of a generation: its successor, later generations, other slots, and a supervisor. */
export function receiveVisitor(
  generation: VisitedGeneration,
  channel: Channel,
  hello: Message<'hello'>,
): void {
  if (hello.role === 'neighbour' && hello.shares === true) {
    broadcastHub().accept(channel, true);
    return;
  }
  if (hello.role === 'neighbour') {
    receivePeerSlot(generation, channel);
    return;
  }
  if (hello.role === 'fallback') {
    generation.predecessor.letIn(channel);
    return;
  }
  if (hello.role === 'supervisor' && generation.overseer.meet?.(channel) === true) return;
  if (hello.role !== 'successor')
    throw new MoultError('MOULT_NOT_EXPECTED', `expected a successor, met ${hello.role}`);
  if (hello.generation === undefined) receiveStranger(generation, channel, hello);
  else generation.predecessor.receive(channel, hello);
}

// The connections of another slot's generation, or of a thread, come in as if they had been accepted here.
function receivePeerSlot(
  { number, context, predecessor, isServing }: VisitedGeneration,
  channel: Channel,
): void {
  if (!isServing && predecessor.state !== 'undoing') {
    const what = `generation ${number} does not serve: it accepts no connections`;
    throw new MoultError('MOULT_NOT_SERVING', what);
  }
  predecessor.feeds.takeFrom(channel);
  const threads = context.threads.doors();
  const doors = threads.length === 0 ? {} : { threads };
  takePassed(channel, context.tasks);
  const tasks = passable(context.tasks);
  channel.send({ type: 'takes', claims: movableClaims(context), fresh: true, ...doors, tasks });
}

function receiveStranger(
  { overseer, predecessor, expectStranger }: VisitedGeneration,
  channel: Channel,
  hello: Message<'hello'>,
): void {
  const number = expectStranger(() => overseer.admit(channel));
  try {
    predecessor.receive(channel, hello, number);
  } catch (error) {
    predecessor.fail(asMoultError(error, 'MOULT_HANDOVER_ABORTED'));
    throw error;
  }
}
