import type { Line } from '../channel/line.js';

/** What a generation that comes back says of itself. */
export interface Standing {
  readonly accepting: boolean;
  readonly epoch: number;
  readonly state: string;
  readonly successor: number | null;
}

/** Who starts generations, keeps their listeners and is told of their handovers: a supervisor, or the service itself. */
export interface Overseer {
  readonly lifeline: Line;
  /** The private folder in which generations have their sockets. */
  readonly folder: string;
  /** Lets the service's output go where it must go while nobody oversees it. */
  releaseOutput(): void;
  /**
   * Waits for the next overseer after this one was lost, without keeping the process alive.
   * @param standing is asked at the moment of introduction.
   */
  next(generation: number, standing: () => Standing): Promise<Overseer>;
}
