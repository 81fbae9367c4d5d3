import type { JournalEntry } from './journal.js';

/** Past restarts as `moult history` shows them, oldest first: one that was undone later says so. Pure. */
export function historyOf(entries: readonly JournalEntry[]): Record<string, unknown>[] {
  const restarts: Record<string, unknown>[] = [];
  for (const entry of entries) {
    if (entry.event === 'restart') {
      const { event, ok, ...facts } = entry;
      restarts.push({ ...facts, result: ok === true ? 'took over' : 'failed' });
    }
    const restart = restarts.findLast(({ generation }) => generation === entry.generation);
    if (restart === undefined) continue;
    if (entry.event === 'confirmed' && restart.result === 'took over') restart.result = 'confirmed';
    if (entry.event === 'undone')
      Object.assign(restart, { result: 'undone', code: entry.code, message: entry.message });
  }
  return restarts;
}
