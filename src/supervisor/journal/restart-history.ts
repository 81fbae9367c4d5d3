import type { JournalEntry } from '../../lifecycle/journal-entry.js';

/**
 * Past restarts as `moult history` shows them, oldest first, with those after a crash: one that was undone later says so, what
 * became of the predecessor's connections is added when it has drained, and how the generation ended when it has. How many
 * past restarts the journal keeps is in journal-retention.ts. Pure.
 */
export function historyOf(entries: readonly JournalEntry[]): Record<string, unknown>[] {
  const restarts: Record<string, unknown>[] = [];
  /** Confirmed while connections still moved: what the restart came to is written after that. */
  const confirmedBefore = new Set<number | undefined>();
  const ends = new Map<number | undefined, Record<string, unknown>>();
  for (const entry of entries) {
    if (entry.event === 'restart') {
      const { event, ok, ...facts } = entry;
      // Past commit a failure is undone.
      const failed = facts.stage === 'probation' ? 'undone' : 'failed';
      const isConfirmed = confirmedBefore.delete(facts.generation);
      const succeeded = isConfirmed ? 'confirmed' : 'took over';
      restarts.push({ ...facts, result: ok === true ? succeeded : failed });
    }
    if (entry.event === 'revived') {
      const { event, ...facts } = entry;
      restarts.push({ ...facts, kind: 'crash', result: 'started again' });
    }
    if (entry.event === 'exited') ends.set(entry.generation, { code: entry.code, signal: entry.signal });
    if (entry.event === 'drained') {
      const by = restarts.findLast(({ predecessor }) => predecessor === entry.generation);
      const { moved, drained, cut } = entry;
      if (by !== undefined) Object.assign(by, { moved, drained, cut });
    }
    const restart = restarts.findLast(({ generation }) => generation === entry.generation);
    if (entry.event === 'confirmed' && restart?.result !== 'took over') confirmedBefore.add(entry.generation);
    if (restart === undefined) continue;
    if (entry.event === 'confirmed' && restart.result === 'took over') restart.result = 'confirmed';
    if (entry.event === 'undone') {
      const { code, message, lastLine } = entry;
      Object.assign(restart, { result: 'undone', code, message }, lastLine === undefined ? {} : { lastLine });
    }
  }
  return restarts.map((one) => {
    const exit = ends.get(Number(one.generation));
    return exit === undefined ? one : { ...one, exit };
  });
}
