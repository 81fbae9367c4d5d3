import type { JournalEntry } from '../../lifecycle/journal-entry.js';
import type { UnseenNote } from '../../lifecycle/listener-names.js';
import type { Release } from '../releases/release.js';

/** A generation that was started and, as far as the journal knows, has not ended. */
export interface LeftBehind {
  readonly generation: number;
  readonly pid: number;
  /** When its process was started, in clock ticks since boot. */
  readonly ticks: number;
  readonly startedFrom: Omit<Release, 'env'>;
  /** Whether it had been confirmed. */
  readonly isProved: boolean;
  /** Whether it had served. */
  readonly hasServed?: boolean;
  /** Its slot, where the service has several. */
  readonly slot?: number | undefined;
}

/**
 * What a journal tells a new supervisor. Where lines of it were lost a number may have been given twice: each start is
 * a generation of its own, by its process. Pure.
 */
export function livingGenerations(entries: readonly JournalEntry[]): {
  lastNumber: number;
  epoch: number;
  living: LeftBehind[];
  /** The releases that were confirmed, oldest first. */
  proved: LeftBehind['startedFrom'][];
  /** On what releases listened when they served last. */
  listened: Map<LeftBehind['startedFrom'], string[]>;
  /** On what processes of releases listened, unseen by moult, and which generation did last. */
  unseen: Map<LeftBehind['startedFrom'], UnseenNote>;
  /** Where there are copies of releases. */
  kept: Map<LeftBehind['startedFrom'], string>;
} {
  let lastNumber = 0;
  let epoch = 0;
  const living = new Map<string, LeftBehind>();
  const last = new Map<number, string>();
  const releases = new Map<number, LeftBehind['startedFrom']>();
  const proved: LeftBehind['startedFrom'][] = [];
  const listened = new Map<LeftBehind['startedFrom'], string[]>();
  const unseen = new Map<LeftBehind['startedFrom'], UnseenNote>();
  const kept = new Map<LeftBehind['startedFrom'], string>();
  for (const entry of entries) {
    const { generation = 0 } = entry;
    lastNumber = Math.max(lastNumber, generation);
    epoch = Math.max(epoch, entry.epoch ?? 0);
    const process = last.get(generation);
    if (entry.event === 'start') {
      const { pid, ticks, release } = entry as unknown as {
        pid: number;
        ticks: number;
        release: LeftBehind['startedFrom'];
      };
      const { slot } = entry;
      const started = `${pid} ${ticks}`;
      const { isProved = false, hasServed = false } = living.get(started) ?? {};
      releases.set(generation, release);
      last.set(generation, started);
      living.set(started, { generation, pid, ticks, startedFrom: release, isProved, hasServed, slot });
    }
    if (entry.event === 'serving' && process !== undefined) {
      const served = living.get(process);
      if (served !== undefined) living.set(process, { ...served, hasServed: true });
    }
    if (entry.event === 'confirmed') {
      const confirmed = releases.get(generation);
      if (confirmed !== undefined) proved.push(confirmed);
      const known = process === undefined ? undefined : living.get(process);
      if (process !== undefined && known !== undefined) living.set(process, { ...known, isProved: true });
    }
    const release = releases.get(generation);
    if (entry.event === 'listened' && release !== undefined && Array.isArray(entry.listeners))
      listened.set(release, entry.listeners.map(String));
    if (entry.event === 'unseen' && release !== undefined && Array.isArray(entry.addresses))
      unseen.set(release, { generation, addresses: entry.addresses.map(String) });
    if (entry.event === 'kept' && release !== undefined && typeof entry.copy === 'string')
      kept.set(release, entry.copy);
    if (entry.event === 'exited' && process !== undefined) living.delete(process);
  }
  return { lastNumber, epoch, living: [...living.values()], proved, listened, unseen, kept };
}
