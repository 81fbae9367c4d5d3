/** A part of a piece of state, to be sent on its own; what is not ready yet is promised. */
export type Part = unknown;

/** The parts of a piece. Each time the next one is asked for, it is told how many bytes the last one had. */
export type Parts = Generator<Part | Promise<Part>, void, number>;

/** A named piece of what a service has in memory, as it changes hands. */
export interface StateEntry {
  readonly name: string;
  /** The version of the parts that it gives. */
  readonly version: number;
  /** The oldest version that it can take, and give to those who know no later one. */
  readonly oldestVersion: number;
  /** The most bytes that all parts of one copy may have together. */
  readonly maxBytes: number;
  /** How many entries it has; undefined for a value. */
  readonly size?: number;
  /** Whether all of it is one part: a part like the one before it need not be sent. */
  readonly isOnePart: boolean;
  /** Whether it wants to know what became of it on the other side after it was taken. */
  readonly wantsLate: boolean;
  /** Whether it belongs to a task: the other side learns at once of each change, whoever of the two serves. */
  readonly isOfTask: boolean;
  /**
   * As one other side has it. Each other side has one of its own: what was told to one is still to be told to another.
   * @param pid of the process at the other side; 0 where it has no number here.
   * @param hold holds another process, of which that one tells.
   */
  link(pid: number, hold: HoldProcess): EntryLink;
  /** Of timers and jobs: of which kind and name they are. */
  readonly task?: { readonly kind: 'timers' | 'jobs'; readonly name: string };
  /** Whether what the other side has not read when it ends is done here. */
  readonly keepsUnread?: boolean;
  /** What was taken is not whole, and never will be. */
  drop(): void;
}

/** A process that is held, so that its number means no other. */
export interface HeldProcess {
  readonly pid: number;
  /** Whether it has ended. */
  hasEnded(): boolean;
  /** Lets go of it. */
  close(): void;
}

/** Holds a process; undefined where processes cannot be held. */
export type HoldProcess = (pid: number) => HeldProcess | undefined;

/**
 * A piece and one other side: what is given there, and taken from there. A part is anything that can be cloned
 * structurally. The parts of one piece are taken in the order in which they were given.
 */
export interface EntryLink {
  /** All of it; from now on it notes what changes. */
  copy(version: number): Parts;
  /** How many changes it has noted that the other side was not told of. */
  readonly changes: number;
  /** What has changed since the last call of this or of `copy`; all of it where it cannot know. */
  rest(version: number): Parts;
  /** Notes from now on what changes here. @param onChange told at once of each change. */
  note(onChange?: () => void): void;
  /** Notes no more. */
  forget(): void;
  /** What one that gave it away has to tell of changes since, if anything; the next call tells of what came after. */
  late(version: number): Parts;
  /**
   * Takes a part. What has changed here, and the other side did not know when it sent this, outlasts what comes from there.
   * @throws what the service throws, to say that it cannot read it.
   */
  take(part: Part, version: number): void | Promise<void>;
  /**
   * Goes on for another link of the same piece, whose other side is gone: this side is told what that one has not read, and
   * what changes from now on.
   */
  goOn(former: EntryLink): void;
  /** The keys of which the other side has not read what they are here; where it is gone it never will. Of a value, one or none. */
  readonly unread?: ReadonlySet<unknown>;
  /** The part that was given last is on its way: the other side has it when it has read so many bytes in all. */
  sent?(upTo: number): void;
  /** The other side has read so many bytes in all. */
  read?(upTo: number): void;
}

/** A piece as the side that wants it tells of it. */
export interface Want {
  readonly name: string;
  /** The oldest and the newest version that it can take. */
  readonly min: number;
  readonly max: number;
  readonly late?: boolean | undefined;
}

/** The version in which a piece is given to one that can take these; undefined when there is none. */
export function versionFor(piece: StateEntry, { min, max }: Want): number | undefined {
  const version = Math.min(piece.version, max);
  return version >= min && version >= piece.oldestVersion ? version : undefined;
}
