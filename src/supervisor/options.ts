import { DEFAULT_TIMES } from '../lifecycle/default-times.js';
import type { ListenOption } from '../programs/listen-option.js';
import type { Settings } from '../protocol/messages.js';

/** What is asked of a successor before it may take over. */
export type Check =
  | { readonly kind: 'http'; readonly path: string }
  | { readonly kind: 'tcp' }
  | { readonly kind: 'exec'; readonly command: string };

/** How a check is made. Times in milliseconds. */
export interface CheckOptions {
  readonly check: Check;
  readonly timeoutMs: number;
  /** Tries after the first. */
  readonly retries: number;
  readonly intervalMs: number;
  /** The lowest and the highest status that is right, for HTTP. */
  readonly status: readonly [number, number];
}

/** How releases are kept. */
export interface KeepOptions {
  /** Copies of so many are there at most. */
  readonly count: number;
  /** How much one of them may take, in bytes, besides what it shares with the one before. */
  readonly maxBytes: number;
  /** Paths in the folder of a release that its service writes, and that all releases share. */
  readonly shared: readonly string[];
}

/** By what a client is known: a cookie of this name, and its address where there is no such cookie. */
export interface Sticky {
  readonly cookie?: string;
}

/** How a supervisor treats its service. Times in milliseconds. */
export interface SupervisorOptions {
  readonly readyTimeoutMs: number;
  readonly drainTimeoutMs: number;
  /** Over how long of that what must be closed is closed, evenly. */
  readonly drainSpreadMs: number;
  /** Whether live TLS 1.3 connections move, or drain. */
  readonly tls: 'move' | 'drain';
  /** How long after commit the predecessor stays able to resume. */
  readonly probationMs: number;
  /** How long a commit waits for critical sections of the service. */
  readonly busyTimeoutMs: number;
  /** How long a generation that got its stop signal may take to end. */
  readonly stopTimeoutMs: number;
  readonly stopSignal: NodeJS.Signals;
  /** How long the service goes on serving after a stop was asked for, before it drains. */
  readonly stopDelayMs: number;
  /** The signal that tells it that; null for none. */
  readonly stopDelaySignal: NodeJS.Signals | null;
  /** The path whose answers have status 503 meanwhile; null for none. */
  readonly unreadyPath: string | null;
  /** How long HTTP servers keep idle connections that leave that to Node; null for what Node does. */
  readonly keepAliveMs: number | null;
  readonly waitReady: boolean;
  /** How a successor is checked before commit, and again within probation; null for not at all. */
  readonly check: CheckOptions | null;
  /** A successor whose event loop does not answer for so long within probation has failed. */
  readonly hangTimeoutMs: number;
  /** A successor whose share of 5xx responses is higher than its predecessor's by more than this (0 to 1) has failed; null for any. */
  readonly maxErrorRate: number | null;
  /** A restart waits while so many older generations drain. */
  readonly maxDraining: number;
  /** A restart is refused with less free memory, in bytes. */
  readonly minFreeMemoryBytes: number;
  /** A generation with more resident memory, in bytes, is recycled; null for any. */
  readonly maxMemoryBytes: number | null;
  /** A generation that is older is recycled; null for any. */
  readonly maxAgeMs: number | null;
  /** A pattern of cron by which generations are recycled; null for none. */
  readonly recycleAt: string | null;
  /** What to do when the service ends by itself: `on-failure` lets one that exits with 0 be over. */
  readonly restart: 'always' | 'on-failure' | 'never';
  /** Users whose processes may take over from this service, or hand over to it, besides the same user and root. */
  readonly allowUids: readonly number[];
  /** How many processes share the service; null for one that has the listeners to itself. */
  readonly slots: number | null;
  /** A variable in which each process finds the number of its slot, besides `MOULT_SLOT`; null for none. */
  readonly instanceVar: string | null;
  /** By what connections are brought to the slot to which their client belongs; null where any slot may have them. */
  readonly sticky: Sticky | null;
  /** Whether a successor runs beside its predecessor until it has proved itself, or begins when that one has ended. */
  readonly changeover: 'overlap' | 'exclusive';
  /** How releases are kept; null for not at all. */
  readonly keep: KeepOptions | null;
  /** The sockets that the supervisor opens itself. */
  readonly listen: readonly ListenOption[];
  /** Whether the command is a program that knows nothing of moult. */
  readonly isProgram: boolean;
  /**
   * A program, or a service that shows no listener, is ready so long after its start, unless it says so before; null for
   * not by time of a program with sockets, else 3 s, or half of the ready time-out where that is less.
   */
  readonly readyAfterMs: number | null;
  /** Whether each generation measures its requests and its event loop from its start. */
  readonly measures: boolean;
}

/** The defaults, as `moult run --help` shows them. */
export const defaultOptions: SupervisorOptions = {
  ...DEFAULT_TIMES,
  tls: 'drain',
  stopSignal: 'SIGTERM',
  stopDelayMs: 0,
  stopDelaySignal: null,
  unreadyPath: null,
  keepAliveMs: null,
  waitReady: false,
  check: null,
  hangTimeoutMs: 5000,
  maxErrorRate: null,
  maxDraining: 3,
  minFreeMemoryBytes: 0,
  maxMemoryBytes: null,
  maxAgeMs: null,
  recycleAt: null,
  restart: 'on-failure',
  allowUids: [],
  slots: null,
  instanceVar: null,
  sticky: null,
  changeover: 'overlap',
  keep: null,
  listen: [],
  isProgram: false,
  readyAfterMs: null,
  measures: false,
};

/** On what a generation is to listen. */
export interface Expectations {
  /** The names of its listeners; all that it inherits where they are not given. */
  readonly expects?: readonly string[] | undefined;
  /** How long it is waited for those that are missing, where it may serve without them; milliseconds, default 1000. */
  readonly fewerAfterMs?: number | undefined;
}

/** What a generation is told of them. */
export function settingsOf(
  options: SupervisorOptions,
  allowFewerListeners: boolean,
  waitReady: boolean,
  { expects, fewerAfterMs }: Expectations = {},
): Settings {
  const { readyTimeoutMs, drainTimeoutMs, drainSpreadMs, probationMs, busyTimeoutMs, stopSignal } = options;
  return {
    readyTimeoutMs,
    drainTimeoutMs,
    drainSpreadMs,
    probationMs,
    busyTimeoutMs,
    stopSignal,
    waitReady,
    allowFewerListeners,
    ...(expects === undefined ? {} : { expects: [...expects] }),
    ...(fewerAfterMs === undefined ? {} : { fewerAfterMs }),
    checked: options.check !== null,
    countErrors: options.maxErrorRate !== null,
    looked: true,
    // Where nothing is started again, what a process leaves is closed.
    ...(options.restart === 'never' ? {} : { hearsLeft: true }),
    ...(options.tls === 'move' ? { tls: options.tls } : {}),
    ...(options.allowUids.length > 0 ? { allowUids: [...options.allowUids] } : {}),
    ...(options.slots === null ? {} : { sharesListeners: true }),
    ...(options.measures ? { measures: true } : {}),
    ...(options.keepAliveMs === null ? {} : { keepAliveMs: options.keepAliveMs }),
    ...(options.stopDelayMs === 0 ? {} : { stopDelayMs: options.stopDelayMs }),
  };
}
