import type { GenerationState } from '../protocol/messages.js';
import type { GenerationProcess } from './process/generation-process.js';
import type { CrashWait } from './restart/crash-recovery.js';
import type { HeldOption } from './service-settings.js';
import type { Recycled } from './slots/recycler.js';

/** How long a generation may take to say how it is. */
const STATE_TIMEOUT_MS = 1000;

/**
 * What the supervisor is doing; `verifying` is looking from outside whether clients reach who accepts, `waiting` the pause
 * before a crashed service starts again.
 */
export type SupervisorState =
  | 'starting'
  | 'verifying'
  | 'serving'
  | 'restarting'
  | 'waiting'
  | 'stopping'
  | 'stopped';

/** What the supervisor tells of itself and of its generations. */
export interface ServiceStatus {
  readonly name: string;
  readonly pid: number;
  /** The version of moult that the supervisor runs. */
  readonly version: string;
  readonly state: SupervisorState;
  readonly command: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly restarts: number;
  readonly crashes: number;
  /** How many processes share the service; absent where it was not started with slots. */
  readonly slots?: number;
  /** Where nobody serves: why, and when it is tried again. One for each slot. */
  readonly waits?: readonly (CrashWait & { readonly slot?: number })[];
  /** The last recycling that succeeded, where there was one. */
  readonly recycled?: Recycled;
  readonly generations: readonly GenerationStatus[];
  /** The options that hold, where they were asked for. */
  readonly config?: HeldConfig;
}

/** The options that hold for a service. */
export interface HeldConfig {
  /** The config file; null where there is none. */
  readonly file: string | null;
  readonly options: readonly HeldOption[];
}

/** What is known of one generation; all that it says itself, when it answers. */
export type GenerationStatus = Partial<GenerationState> & {
  generation: number;
  pid: number;
  state: string;
  slot?: number;
  /** What a program that knows nothing of moult said of itself last, by the notify protocol. */
  says?: string;
  /** Until when it is watched: should it fail before, its predecessor resumes. Milliseconds since 1970. */
  watchedUntil?: number;
  /** What clients find in its place, while a look from outside does not find it. */
  notReached?: string;
};

/** Whether it accepts, and no look from outside has found it so far: it is not said to serve. */
export function isUnfound(one: GenerationProcess): boolean {
  return one.isOurs && one.servingSince !== undefined && !one.found.isThere;
}

/** How one slot does, apart from its generations. */
export interface SlotFacts {
  /** Undefined where the service has none. */
  readonly slot: number | undefined;
  /** The number of the generation that is watched just now. */
  readonly inProbation: number | undefined;
  /** When a crashed service starts again, in milliseconds since 1970; undefined when no start is due. */
  readonly nextStartAt: number | undefined;
}

/** Asks a generation how it is; `silent` when it does not answer, `verifying` while it is not known that clients reach it. @param measure whether it is to measure. */
export async function generationStatus(one: GenerationProcess, measure = false): Promise<GenerationStatus> {
  const known = { generation: one.number, pid: one.servicePid, startedAt: one.startedAt };
  const said = await one.state(STATE_TIMEOUT_MS, measure).catch(() => undefined);
  const isStarting = one.servingSince === undefined;
  if (said === undefined) return { ...known, state: isStarting ? 'starting' : 'silent' };
  if (isStarting) return { ...said, state: 'starting' };
  if (said.state !== 'serving' || !isUnfound(one)) return said;
  const { instead } = one.found;
  return { ...said, state: 'verifying', ...(instead === undefined ? {} : { notReached: instead }) };
}
