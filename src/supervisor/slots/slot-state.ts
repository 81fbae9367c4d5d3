import type { GenerationState } from '../../protocol/messages.js';

/** What a slot has in memory, as it says itself. */
export interface SlotState extends Pick<GenerationState, 'declared' | 'passable'> {
  readonly index: number;
  /** Whether it lives, and did not say. */
  readonly isSilent?: boolean;
}

/** What some slots had of one name, and no other slot has. */
export interface LostState {
  readonly name: string;
  /** Of timers and jobs; undefined for maps and values, and for all that a slot has that did not say. */
  readonly kind?: 'timers' | 'jobs';
  /** In how many of the slots. */
  readonly slots: number;
  /** Of a map, of timers or jobs: how many there were, in all of them. */
  readonly entries?: number;
  /** Whether that slot did not say what it has. */
  readonly unknown?: true;
}

/**
 * What is lost where slots end: all values, all maps that have entries, and timers and jobs of names that the slot lacks to which
 * they would go.
 * @param staying the slots that go on.
 */
export function lostOf(leaving: readonly SlotState[], staying: readonly SlotState[]): LostState[] {
  const lost = new Map<string, LostState>();
  const add = (one: Omit<LostState, 'slots'>) => {
    const key = `${one.kind} ${one.name}`;
    const before = lost.get(key);
    const sum = one.entries === undefined ? {} : { entries: one.entries + (before?.entries ?? 0) };
    lost.set(key, { ...one, slots: (before?.slots ?? 0) + 1, ...sum });
  };
  for (const { index, isSilent, declared = [], passable = [] } of leaving) {
    if (isSilent === true) add({ name: `slot ${index}`, unknown: true });
    for (const { name, entries } of declared) add({ name, ...(entries === undefined ? {} : { entries }) });
    for (const one of passable) if (one.entries > 0 && !isTaken(one.name, staying)) add(one);
  }
  return [...lost.values()];
}

// All that have a name must have it: which of them takes what a slot leaves is decided when it ends.
function isTaken(name: string, staying: readonly SlotState[]): boolean {
  const having = staying.filter(({ passable = [] }) => passable.length > 0);
  return having.length > 0 && having.every(({ passable = [] }) => passable.some((one) => one.name === name));
}

/** Names it for people. */
export function whatIsLost({ name, kind, slots, entries, unknown }: LostState): string {
  if (unknown === true) return `whatever ${name} has, which did not say in time`;
  const of = slots === 1 ? 'of one slot' : `of ${slots} slots`;
  if (kind !== undefined) return `${entries} ${kind} of the name ${name} ${of}`;
  return entries === undefined ? `the state ${name} ${of}` : `${entries} entries of the map ${name} ${of}`;
}
