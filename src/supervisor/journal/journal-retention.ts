import type { JournalEntry } from '../../lifecycle/journal-entry.js';

/** How many past restarts stay in a journal that is made shorter. */
const MAX_RESTARTS = 200;
/** The releases of so many generations that were confirmed stay, for a rollback. */
const MAX_CONFIRMED = 10;
/** What of a generation must be known after a kill. */
const OF_A_GENERATION = new Set(['start', 'serving', 'confirmed', 'exited', 'stopping', 'kept']);
/** On what its release listens: the last word of each generation stays, for a rollback. */
const OF_A_RELEASE = new Set(['listened', 'unseen']);
/** What tells of past restarts. */
const OF_A_RESTART = new Set(['restart', 'revived', 'undone', 'drained', 'confirmed', 'exited']);

/**
 * The entries that still matter: all of those that may live, the releases for a rollback, the last word on everything
 * that is said more than once, and the last restarts. Pure.
 */
export function retained(entries: readonly JournalEntry[]): JournalEntry[] {
  const wanted = generationsThatMatter(entries);
  const lastRestarts = new Set(
    entries
      .flatMap(({ event, generation }) => (event === 'restart' || event === 'revived' ? [generation] : []))
      .slice(-MAX_RESTARTS),
  );
  const lastSaid = new Map(entries.map((entry, i) => [saidAnew(entry), i]));
  const lastOf = new Map(entries.map(({ event, generation }, i) => [`${event} ${generation}`, i]));
  const highest = (of: 'generation' | 'epoch') =>
    entries.reduce((best, entry, i) => ((entry[of] ?? 0) >= (entries[best]?.[of] ?? 0) ? i : best), 0);
  const counts = new Set([highest('generation'), highest('epoch')]);
  return entries.filter(
    (entry, i) =>
      counts.has(i) ||
      (saidAnew(entry) !== undefined && lastSaid.get(saidAnew(entry)) === i) ||
      (OF_A_GENERATION.has(entry.event) && wanted.has(entry.generation)) ||
      (OF_A_RELEASE.has(entry.event) &&
        wanted.has(entry.generation) &&
        lastOf.get(`${entry.event} ${entry.generation}`) === i) ||
      (OF_A_RESTART.has(entry.event) && lastRestarts.has(entry.generation)),
  );
}

// Of each slot: one slot must not push the releases of another out.
function generationsThatMatter(entries: readonly JournalEntry[]): Set<number | undefined> {
  const living = new Set<number | undefined>();
  const confirmed = new Map<number | undefined, (number | undefined)[]>();
  for (const { event, generation, slot } of entries) {
    if (event === 'start') living.add(generation);
    if (event === 'exited') living.delete(generation);
    if (event === 'confirmed') confirmed.set(slot, [...(confirmed.get(slot) ?? []), generation]);
  }
  for (const numbers of confirmed.values()) for (const one of numbers.slice(-MAX_CONFIRMED)) living.add(one);
  return living;
}

/** What a later entry of the same kind tells anew, by a word; undefined for what happens once. */
export function saidAnew({
  event,
  listener,
}: Pick<JournalEntry, 'event'> & { readonly listener?: unknown }): string | undefined {
  if (event === 'sockets') return `sockets ${String(listener)}`;
  return event === 'run' || event === 'scale' ? event : undefined;
}
