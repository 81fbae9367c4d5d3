import type { Channel } from '../../channel/channel.js';
import type { Visitor } from '../../channel/door.js';
import type { Line } from '../../channel/line.js';
import type { MoultError } from '../../errors.js';
import type { RestartSummary } from '../../lifecycle/restart-record.js';
import type { Settings } from '../../protocol/messages.js';

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
  /** Whether it decides what follows when another process of the service has left its listeners; not so where it leaves it out. */
  readonly hearsLeft?: boolean;
  /** Whether that folder is this service's alone, and that of all its generations. */
  readonly isFolderOfService: boolean;
  /**
   * Replaces this generation by a new one.
   * @returns when the successor has taken over and all that can move has moved.
   * @throws any code of a handover.
   */
  restart(): Promise<RestartSummary>;
  /** As restart, asked for by a signal; one that came to a generation that has handed over is passed on. */
  restartBySignal(name: NodeJS.Signals): Promise<RestartSummary | undefined>;
  /** This generation ends without a successor. @returns whether its listeners live on somewhere, and must not be shut down. */
  retires(): boolean;
  /** Stops the successor that serves in place of this generation, which ends after it. @returns false where there is none to be told from here. */
  passOnStop(): boolean;
  /** What must be over before this process ends, such as a service manager's hearing of its successor. */
  readonly mayEnd: Promise<void>;
  /** This generation accepts, for the first time or again; told before the service hears of it. */
  accepts(): void;
  /** Has strangers that come to this overseer visit the generation. */
  receive(visit: Visitor): void;
  /**
   * A successor has come that nobody here started.
   * @returns the number that it is given, and the settings of the handover.
   * @throws what it is refused with.
   */
  admit(stranger: Channel): { readonly number: number; readonly settings: Settings };
  /** The channel to the predecessor is closed. */
  predecessorEnded(): void;
  /** The handover was called off before commit: this process must end. */
  aborted(error: MoultError): void;
  /** Lets the service's output go where it must go while nobody oversees it. */
  releaseOutput(): void;
  /**
   * A supervisor has come to this generation, which may not be able to go there itself.
   * @returns false where none is waited for; by default none ever is.
   */
  meet?(supervisor: Channel): boolean;
  /**
   * Waits for the next overseer after this one was lost, without keeping the process alive.
   * @param standing is asked at the moment of introduction.
   * @param follow is called once, with the next overseer.
   */
  next(generation: number, standing: () => Standing, follow: (overseer: Overseer) => void): void;
}
