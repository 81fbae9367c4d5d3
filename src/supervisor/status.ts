import type { GenerationState } from '../protocol/messages.js';

/** What the supervisor is doing; `waiting` is the pause before a crashed service starts again. */
export type SupervisorState = 'starting' | 'serving' | 'restarting' | 'waiting' | 'stopping' | 'stopped';

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
  readonly generations: readonly (Partial<GenerationState> & {
    generation: number;
    pid: number;
    state: string;
  })[];
}
