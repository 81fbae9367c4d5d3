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
 */
export function introductionOf(
  id: string,
  history: MessageHistory,
  isFirst: boolean,
  ownFrom: number,
): BroadcastJoin {
  const heard = listOf(history.positions).map((one) => {
    return isFirst && one.origin === id ? { origin: id, seq: Math.min(one.seq, ownFrom) } : one;
  });
  return { type: 'broadcast-join', id, heard, kept: listOf(history.keptFrom), first: isFirst };
}

/**
 * Two have introduced themselves, and begin at the same place with what was sent before.
 * @param theirs how the other side has.
 * @param ours how this side has.
 * @returns up to where the other side is for this one.
 */
export function beginTogether(
  history: MessageHistory,
  theirs: BroadcastJoin,
  ours: BroadcastJoin,
): BroadcastJoin['heard'] {
  // What was sent before nobody has who could bring a client that was not sent it. One that joins several at once is
  // sent it by none of them; of senders that it knows by then another one has begun to tell it. But others may lack it,
  // and this side may be the only way to them: what the other side keeps comes all the same, to be passed on.
  const kept = positionsOf(theirs.kept ?? []);
  const ofGenerations = theirs.heard.filter(({ origin }) => !isOfBroker(origin));
  // One that shares for the first time knows no sender but itself.
  const areUnshared = theirs.first;
  for (const { origin, seq } of ofGenerations) {
    const isBeginning = areUnshared || (ours.first && !history.positions.has(origin));
    // Of one that has sent nothing yet all is for this side: another one that answers later may be further with it.
    if (isBeginning)
      history.beginAt(origin, { seq, by: theirs.id, areUnshared }, Math.min(seq, kept.get(origin) ?? seq));
  }
  if (!history.positions.has(theirs.id)) history.positions.set(theirs.id, 0);
  if (!theirs.first) return theirs.heard;
  // One that shares for the first time begins with what this side keeps, or has said, which may be long ago.
  return [
    ...ours.heard.filter(({ origin }) => !isOfBroker(origin)),
    ...(ours.kept ?? []),
    ...theirs.heard.filter(({ origin }) => isOfBroker(origin)),
  ];
}
