import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { ReleaseHistory } from '../releases/release-history.js';

/** On what one that has not proved itself has to listen to do so, and its successor in its place. */
export function owedBy(
  { release, isProved, inherited }: GenerationProcess,
  releases: ReleaseHistory,
): readonly string[] {
  const good = releases.lastGood();
  if (isProved || good === undefined) return [];
  if (release.writtenOver === undefined) return [...inherited];
  return releases.listenersOf(good) ?? [...inherited];
}

/**
 * What a successor is to listen on, where the one before has not proved itself and closed some of it, or nobody serves
 * after one that did.
 * @returns undefined where nothing was closed.
 */
export function owedAfter(
  predecessor: GenerationProcess | undefined,
  releases: ReleaseHistory,
  held: HeldListeners,
): readonly string[] | undefined {
  const good = releases.lastGood();
  const ofGood = (good && releases.listenersOf(good)) ?? [];
  const owed = predecessor === undefined ? ofGood : owedBy(predecessor, releases);
  const has = predecessor === undefined ? held.names() : held.namesOf(predecessor.number);
  return owed.every((name) => has.includes(name)) ? undefined : owed;
}
