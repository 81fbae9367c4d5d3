import type { JournalEntry } from '../lifecycle/journal-entry.js';
import type { Measures } from '../protocol/messages.js';
import type { ServiceStatus, SlotFacts } from '../supervisor/status.js';

/** What metrics are made of; the supervisor has all of it. */
export interface Observed {
  /** What runs now. @param measure whether the generations are to measure, and tell of it. */
  status(measure: boolean): Promise<ServiceStatus>;
  slots(): readonly SlotFacts[];
  /** What has happened so far. */
  facts(): readonly JournalEntry[];
  /** Has this called with what happens from now on. @returns ends that. */
  watch(watcher: (entry: JournalEntry) => void): () => void;
  /** What a generation that lives said last that it has measured. */
  measuresOf(generation: number): Measures | undefined;
}
