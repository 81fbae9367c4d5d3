import type { Message } from '../protocol/messages.js';
import type { MessageHistory } from './backlog.js';
import { isOfBroker } from './feed-senders.js';
import { listOf, positionsOf } from './message.js';

/** How one who takes part introduces itself to another: its name, and up to where it is with each sender. */
export type BroadcastJoin = Message<'broadcast-join'>;

/**
 * How this side introduces itself.
 * @param isFirst whether it has never shared with anybody.
 * @param ownFrom up to which of its own messages nobody was to have; what it sends while it joins is for all that it joins.
 * @param alone the same when it first joined anybody.
 */
export function introductionOf(
  id: string,
  history: MessageHistory,
  isFirst: boolean,
  ownFrom: number,
  alone: number,
): BroadcastJoin {
  const heard = listOf(history.positions).map((one) => {
    return isFirst && one.origin === id ? { origin: id, seq: Math.min(one.seq, ownFrom) } : one;
  });
  const kept = listOf(history.keptFrom);
  return { type: 'broadcast-join', id, heard, kept, first: isFirst, alone };
}

/**
 * Two have introduced themselves, and begin at the same place with what was sent before.
 * @param theirs how the other side has.
 * @param ours how this side has.
 * @param isFresh whether this side has never shared with anybody.
 * @returns up to where the other side is for this one.
 */
export function beginTogether(
  history: MessageHistory,
  theirs: BroadcastJoin,
  ours: BroadcastJoin,
  isFresh: boolean,
): BroadcastJoin['heard'] {
  // One that has shared with nobody begins where the first is that it joins: what was sent before, its clients never get.
  // But others may lack it, and this side may be the only way to them: what the other side keeps comes all the same, to be
  // passed on. A second one may be past a sender of which the first had not heard: from then on all is for clients here, too.
  const kept = positionsOf(theirs.kept ?? []);
  const ofGenerations = theirs.heard.filter(({ origin }) => !isOfBroker(origin));
  // One that shares for the first time knows no sender but itself.
  const areUnshared = theirs.first;
  if (isFresh || areUnshared) {
    for (const { origin, seq } of ofGenerations)
      history.beginAt(origin, { seq, by: theirs.id, areUnshared }, Math.min(seq, kept.get(origin) ?? seq));
  }
  if (!history.positions.has(theirs.id)) history.positions.set(theirs.id, theirs.alone ?? 0);
  if (!theirs.first) return theirs.heard;
  // One that shares for the first time begins with what this side keeps, or has said, which may be long ago.
  return [
    ...ours.heard.filter(({ origin }) => !isOfBroker(origin)),
    ...(ours.kept ?? []),
    ...theirs.heard.filter(({ origin }) => isOfBroker(origin)),
  ];
}
