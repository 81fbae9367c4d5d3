import type { Message } from '../../protocol/messages.js';
import type { Sharing } from '../listeners/held-listeners.js';
import type { Slots } from './slots.js';

/** Tells the other slots of the listeners that one of them opens, and that none has any more. */
export function listenerSharing(slots: Slots): Sharing {
  const tell = <T extends 'share' | 'withdraw'>(
    message: Message<T>,
    descriptors?: number[],
    except?: number,
  ) => {
    for (const { number, lifeline, isEnding } of slots.generations())
      if (number !== except && !isEnding) lifeline?.send(message, descriptors);
  };
  return {
    isAlive: (generation) => slots.of(generation) !== undefined,
    opened: (listener, fd, by) => tell({ type: 'share', listener }, [fd], by),
    closed: (name) => tell({ type: 'withdraw', name }),
  };
}
