/*
 * The waves of a roll. Hosts are taken in the order of their names, so that the same plan comes out wherever it is made.
 */

/** A number of hosts, or a share of all of them. */
export type Amount = { readonly hosts: number } | { readonly share: number };

/** A host that may take part. */
export interface Candidate {
  readonly host: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it is heard of. */
  readonly isHeard: boolean;
}

/** Which hosts are the canaries: so many, all with these labels, or one for each value of a label. */
export type Canaries =
  | Amount
  | { readonly labels: Readonly<Record<string, string>> }
  | { readonly each: string }
  | 'none';

/** How the rest is divided. */
export interface Division {
  readonly canaries: Canaries;
  /** How many hosts one wave has. */
  readonly wave: Amount;
  /** A label: hosts with one value of it are done before those with the next. */
  readonly by?: string | undefined;
}

/** The waves: the canaries first, where there are any. Silent hosts come last. Pure. */
export function planWaves(
  candidates: readonly Candidate[],
  { canaries, wave, by }: Division,
): { readonly waves: string[][]; readonly hasCanaries: boolean } {
  const sorted = [...candidates].sort((a, b) => (a.host < b.host ? -1 : 1));
  const heard = sorted.filter(({ isHeard }) => isHeard);
  const first = canariesOf(heard, canaries, by, sorted.length);
  const rest = heard.filter((one) => !first.includes(one));
  const size = amountOf(wave, sorted.length);
  const groups = by === undefined ? [rest] : [...grouped(rest, by).values()];
  const silent = sorted.filter(({ isHeard }) => !isHeard);
  const waves = [first, ...groups.flatMap((group) => chunks(group, size)), ...chunks(silent, size)];
  return {
    waves: waves.filter(({ length }) => length > 0).map((all) => all.map(({ host }) => host)),
    hasCanaries: first.length > 0,
  };
}

/** So many of all; of a share at least one. */
export function amountOf(amount: Amount, all: number): number {
  return 'hosts' in amount ? amount.hosts : Math.max(1, Math.floor(amount.share * all));
}

function canariesOf(
  heard: readonly Candidate[],
  canaries: Canaries,
  by: string | undefined,
  all: number,
): readonly Candidate[] {
  if (canaries === 'none') return [];
  if ('labels' in canaries) {
    const wanted = Object.entries(canaries.labels);
    return heard.filter(({ labels }) => wanted.every(([name, value]) => labels[name] === value));
  }
  if ('each' in canaries) return [...grouped(heard, canaries.each).values()].flatMap(([one]) => one ?? []);
  return spread(heard, by ?? 'zone').slice(0, amountOf(canaries, all));
}

// One of each value in turn: two canaries are in two zones.
function spread(heard: readonly Candidate[], label: string): Candidate[] {
  const groups = [...grouped(heard, label).values()];
  const longest = Math.max(0, ...groups.map(({ length }) => length));
  return Array.from({ length: longest }, (_, n) => groups.flatMap((group) => group[n] ?? [])).flat();
}

function grouped(all: readonly Candidate[], label: string): Map<string, Candidate[]> {
  const groups = new Map<string, Candidate[]>();
  for (const one of all) {
    const value = one.labels[label] ?? '';
    groups.set(value, [...(groups.get(value) ?? []), one]);
  }
  return new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function chunks<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.slice(n * size, (n + 1) * size));
}
