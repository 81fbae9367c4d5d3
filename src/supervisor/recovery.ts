import type { JournalEntry } from './journal.js';
import type { Release } from './release.js';

/** A generation that was started and, as far as the journal knows, has not ended. */
export interface LeftBehind {
  readonly generation: number;
  readonly pid: number;
  /** When its process was started, in clock ticks since boot. */
  readonly ticks: number;
  readonly startedFrom: Omit<Release, 'env'>;
  /** Whether it had been confirmed. */
  readonly isProved: boolean;
  /** Its slot, where the service has several. */
  readonly slot?: number | undefined;
}

/** What a journal tells a new supervisor. Pure. */
export function livingGenerations(entries: readonly JournalEntry[]): {
  lastNumber: number;
  epoch: number;
  living: LeftBehind[];
  /** The releases that were confirmed, oldest first. */
  proved: LeftBehind['startedFrom'][];
} {
  let lastNumber = 0;
  let epoch = 0;
  const living = new Map<number, LeftBehind>();
  const releases = new Map<number, LeftBehind['startedFrom']>();
  const proved: LeftBehind['startedFrom'][] = [];
  for (const entry of entries) {
    const { generation = 0 } = entry;
    lastNumber = Math.max(lastNumber, generation);
    epoch = Math.max(epoch, entry.epoch ?? 0);
    if (entry.event === 'start') {
      const { pid, ticks, release } = entry as unknown as {
        pid: number;
        ticks: number;
        release: LeftBehind['startedFrom'];
      };
      releases.set(generation, release);
      const { slot } = entry;
      living.set(generation, { generation, pid, ticks, startedFrom: release, isProved: false, slot });
    }
    if (entry.event === 'confirmed') {
      const confirmed = releases.get(generation);
      if (confirmed !== undefined) proved.push(confirmed);
      const known = living.get(generation);
      if (known !== undefined) living.set(generation, { ...known, isProved: true });
    }
    if (entry.event === 'exited') living.delete(generation);
  }
  return { lastNumber, epoch, living: [...living.values()], proved };
}
