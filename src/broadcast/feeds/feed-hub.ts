import type { BroadcastMessage } from '../message.js';
import type { Topic } from '../topic.js';

/** What a feed needs to know of the process in which it is, and of the others that it is linked to. */
export interface FeedHub {
  /** By which this process is known elsewhere. */
  readonly id: string;
  /** Whether another generation takes part. */
  readonly isShared: boolean;
  /** Whether one was asked to take part, and has not answered yet. */
  readonly isOpening: boolean;
  /** Whether one has ever. */
  readonly wasShared: boolean;
  /** A name that no other process has, and none that this one had before. */
  newName(): string;
  /** Messages of this sender may come from now on. */
  begins(sender: string): void;
  /** Nothing of these senders comes any more. */
  forget(isOver: (sender: string) => boolean): void;
  /** Up to which of a sender's messages is no longer kept for clients that come. */
  forgotten(sender: string): number;
  /** A message of a broker: it is dealt with here, and kept for as long as a client may come that lacks it. */
  receive(topic: Topic, message: FromBroker, value: unknown, sent: unknown): void;
  /** Something of a feed has changed that others wait for. */
  feedMoved(): void;
}

/** Of what a message of a broker is told apart, and the era in which it came. */
export type FromBroker = Pick<BroadcastMessage, 'origin' | 'seq'> & { readonly fed: string };
