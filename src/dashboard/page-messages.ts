/*
 * What the dashboard's server tells its page, and what the page asks. Plain types: both sides are compiled by themselves.
 */

/** A connection that still ends with a generation that has been replaced. */
export interface DrainingConnection {
  readonly peer: string;
  readonly ageMs: number;
  readonly kind: string;
  /** Why it could not move. */
  readonly reason: string;
}

/** One look at a generation. */
export interface GenerationView {
  readonly generation: number;
  readonly slot?: number;
  readonly pid: number;
  readonly state: string;
  /** Milliseconds since 1970. */
  readonly startedAt?: number;
  readonly connections?: number;
  readonly inFlight?: number;
  readonly memoryBytes?: number;
  readonly draining?:
    | {
        /** Milliseconds until what is left is cut. */
        readonly cutInMs: number;
        /** The first of its connections. */
        readonly connections?: readonly DrainingConnection[] | undefined;
      }
    | undefined;
}

/** Figures of one generation at one moment, for the charts. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly generation: number;
  readonly slot?: number;
  readonly state: string;
  readonly connections?: number;
  readonly memoryBytes?: number;
  /** A second, since the look before. */
  readonly requests?: number;
  readonly errors?: number;
  /** Milliseconds: the mean of the requests since the look before, and the bound below which 99 of 100 were. */
  readonly meanMs?: number;
  readonly p99Ms?: number;
  readonly loopDelayMs?: number;
}

/** One line of the journal, as the supervisor writes it. */
export interface Fact {
  readonly at: number;
  readonly event: string;
  readonly generation?: number;
  readonly slot?: number;
  readonly [name: string]: unknown;
}

/** A service at one moment. */
export interface ServiceView {
  readonly name: string;
  readonly state: string;
  readonly command: string;
  /** The process of its supervisor. */
  readonly pid: number;
  readonly version: string;
  readonly startedAt: number;
  readonly restarts: number;
  readonly crashes: number;
  readonly slots?: number;
  /** Why nothing newer is known. */
  readonly silent?: string;
  readonly generations: readonly GenerationView[];
}

/** One host of a fleet, as `moult fleet status` shows it. */
export interface FleetHostView {
  readonly host: string;
  readonly zone: string;
  readonly state: string;
  readonly release: string;
  /** What is not as it should be, or is on its way; empty for nothing. */
  readonly note: string;
  readonly generation?: number;
  readonly connections?: number;
}

/** A service on the hosts of a fleet. */
export interface FleetServiceView {
  readonly service: string;
  /** All of a few; of many those that are not as they should be. */
  readonly hosts: readonly FleetHostView[];
  /** So many hosts are not among them. */
  readonly unshown: number;
  /** What its roll does, or how it ended; empty where there was none. */
  readonly roll: string;
}

/** A fleet at one moment. */
export interface FleetView {
  readonly name: string;
  readonly services: readonly FleetServiceView[];
  /** Why nothing newer is known. */
  readonly silent?: string;
}

/** All that a page needs at its start. */
export interface Whole {
  readonly type: 'whole';
  readonly now: number;
  readonly services: readonly ServiceHistory[];
  readonly fleet?: FleetView;
}

/** A service with its past. */
export interface ServiceHistory {
  readonly view: ServiceView;
  readonly samples: readonly Sample[];
  readonly facts: readonly Fact[];
  readonly restarts: readonly Fact[];
}

/** What the server sends to its pages. */
export type PageMessage =
  | Whole
  | {
      readonly type: 'look';
      readonly now: number;
      readonly view: ServiceView;
      readonly samples: readonly Sample[];
    }
  | { readonly type: 'fact'; readonly service: string; readonly fact: Fact }
  | { readonly type: 'history'; readonly service: string; readonly restarts: readonly Fact[] }
  | { readonly type: 'gone'; readonly service: string }
  | { readonly type: 'fleet'; readonly fleet: FleetView };

/** What a page may ask for. */
export type PageAction =
  | { readonly action: 'restart' | 'rollback'; readonly service: string }
  | { readonly action: 'scale'; readonly service: string; readonly slots: number };

/** What became of it. */
export interface ActionResult {
  readonly ok: boolean;
  readonly message: string;
}
