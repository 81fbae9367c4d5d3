import { createHash } from 'node:crypto';

/*
 * What comes from a broker has no number of its own. Its sender here is the last mark before it, or another server that
 * numbers what it publishes. No process has an id with this sign.
 */
const SIGN = '~';
/** Longer names of others are shortened: the protocol has room for 64 characters. */
const MAX_NAME = 44;

/** Under which senders the messages of one feed are known. */
export interface FeedSenders {
  /** Whether messages from some mark of this feed on have this sender. */
  isEra(sender: string): boolean;
  /** The sender of what comes after a mark. */
  era(mark: string): string;
  /** The sender of what another server has published and numbered. */
  server(id: string): string;
}

/** Whether messages of this sender are received from a broker: no generation sends them to another. */
export function isOfBroker(sender: string): boolean {
  return sender.startsWith(SIGN);
}

/** @param topic under which a feed sends on what it receives. */
export function sendersOf(topic: string): FeedSenders {
  const hash = shortened(topic);
  const eras = `${SIGN}m${hash}${SIGN}`;
  return {
    isEra: (sender) => sender.startsWith(eras),
    era: (mark) => eras + fitting(mark),
    server: (id) => `${SIGN}s${hash}${SIGN}${fitting(id)}`,
  };
}

function fitting(name: string): string {
  return name.length <= MAX_NAME ? name : shortened(name);
}

function shortened(name: string): string {
  return createHash('sha256').update(name).digest('base64url').slice(0, 12);
}
