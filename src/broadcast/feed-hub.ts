import type { PublishOptions } from './topic.js';

/** What the feeds need to know of the process in which they are, and of the others that it is linked to. */
export interface FeedHub {
  /** By which the messages of this process are known elsewhere. */
  readonly id: string;
  readonly isShared: boolean;
  readonly isOpening: boolean;
  readonly linked: readonly string[];
  readonly feeds: ServingFeeds;
  knows(origin: string): boolean;
  isSilentOfPassed(origin: string): boolean;
  feedMoved(): void;
  publish(topic: string, value: unknown, options?: PublishOptions): boolean;
}

/** What one feed needs to know of all: which generations serve, and how to tell them something. */
export interface ServingFeeds {
  readonly isServing: boolean;
  readonly isServedElsewhere: boolean;
  isServedBy(origin: string): boolean;
  isReachable(origin: string): boolean;
  tell(note: { readonly topic: string; readonly passed: string }): void;
}
