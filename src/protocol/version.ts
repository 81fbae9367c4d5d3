import { MoultError } from '../errors.js';

/** The versions of the protocol that this moult speaks. */
export const PROTOCOL = { min: 1, max: 1 } as const;

/** A range of protocol versions, as a greeting carries it. */
export interface VersionRange {
  readonly min: number;
  readonly max: number;
}

/**
 * The highest version that both sides speak.
 * @throws MOULT_PROTOCOL_VERSION when there is none; the message names both ranges.
 */
export function commonVersion(theirs: VersionRange, ours: VersionRange = PROTOCOL): number {
  const highest = Math.min(theirs.max, ours.max);
  if (highest < Math.max(theirs.min, ours.min)) {
    throw new MoultError(
      'MOULT_PROTOCOL_VERSION',
      `expected a peer that speaks protocol ${show(ours)}, met one that speaks ${show(theirs)}`,
      { details: { ours, theirs } },
    );
  }
  return highest;
}

function show(range: VersionRange): string {
  return range.min === range.max ? String(range.min) : `${range.min} to ${range.max}`;
}
