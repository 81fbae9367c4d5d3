/** Under this name threads find what {@link JoinMark} says, as environment data. */
export const MARK = 'moult';

/** The name of the broadcast channel on which a thread asks its main thread for a door. */
export const ASKING = 'moult.threads.1';

/** What every thread of a process that may be the service knows: memory in which all see whether they may accept. */
export type JoinMark = SharedArrayBuffer;

/** What a thread asks on that channel. */
export interface DoorQuestion {
  readonly thread: number;
}

/** The answer: the path of the main thread's socket for threads, or null where this process is not the service. */
export interface DoorAnswer {
  readonly to: number;
  readonly door: string | null;
  /** Why there is none although it is the service. */
  readonly error?: string;
}
