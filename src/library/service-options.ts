import { MoultError } from '../errors.js';
import { DEFAULT_TIMES } from '../lifecycle/default-times.js';
import { namedWorkingDirectory } from '../os/files/working-directory.js';
import type { StandaloneOptions } from '../standalone/standalone-options.js';

/** How a service wants to be treated. Under `moult run` its operator's options hold for what both can set. */
export interface ServiceOptions {
  /** Signals that restart the service; default none under `moult run`, whose supervisor has its own, else `SIGHUP`. */
  readonly restartOn?: NodeJS.Signals | readonly NodeJS.Signals[];
  /** Signals that end the service after what it has is finished, a second one at once; default `SIGTERM` and `SIGINT`. Not used under `moult run`. */
  readonly stopOn?: NodeJS.Signals | readonly NodeJS.Signals[];
  /** Where the number of the process that serves is written; default nowhere. Not used under `moult run`. */
  readonly pidFile?: string;
  /** Milliseconds that a successor may take to be ready; default 30,000. Not used under `moult run`. */
  readonly readyTimeoutMs?: number;
  /** Milliseconds that connections which cannot move may take to end; default 30,000. Not used under `moult run`. */
  readonly drainTimeoutMs?: number;
  /** Milliseconds over which connections that must be closed are closed, evenly; no longer than `drainTimeoutMs`, default 0: each when it comes to a point for it. Not used under `moult run`. */
  readonly drainSpreadMs?: number;
  /** Milliseconds after commit in which this generation can resume when its successor fails; default 10,000. Not used under `moult run`. */
  readonly probationMs?: number;
  /** Milliseconds that a commit waits for critical sections; default 30,000. Not used under `moult run`. */
  readonly busyTimeoutMs?: number;
  /** Milliseconds that the process may take to end once it was told to; default 10,000. Not used under `moult run`. */
  readonly stopTimeoutMs?: number;
  /**
   * The path of a Unix socket at which another process, whoever started it, may take over from this one; default
   * none. It always leads to the generation that serves. Not used under `moult run`, which has `--take-over`.
   */
  readonly door?: string;
  /** The path at which this process takes over, where one that serves has it as its `door`; default the own `door`. Where nobody is, this process begins as the first. Not used under `moult run`. */
  readonly takeOver?: string;
  /** Users whose processes may take over or hand over, besides the same user and root; default none. Not used under `moult run`, which has `--allow-uid`. */
  readonly allowUids?: readonly number[];
  /** What starts the next generation; default the program, arguments and working directory of this one. Not used under `moult run`. */
  readonly command?: {
    /** A program, by its path or looked up in `PATH`. */
    readonly command: string;
    /** Default none. */
    readonly args?: readonly string[];
    /** Default the working directory of this one, by its name: links in it are followed anew. */
    readonly cwd?: string;
  };
  /** Whether the service may restart itself where no supervisor started it; default true. Without it, it is a plain server there. */
  readonly standalone?: boolean;
}

const LONGEST_MS = 2 ** 31 - 1;
const STOP_SIGNAL = 'SIGTERM';

/** @throws MOULT_BAD_OPTION for a value that cannot be used. */
export function standaloneOptions(options: ServiceOptions): StandaloneOptions {
  const { pidFile, command, door, takeOver, allowUids } = options;
  const time = (name: keyof typeof DEFAULT_TIMES) => checkTime(name, options[name] ?? DEFAULT_TIMES[name]);
  return {
    readyTimeoutMs: time('readyTimeoutMs'),
    drainTimeoutMs: time('drainTimeoutMs'),
    drainSpreadMs: time('drainSpreadMs'),
    probationMs: time('probationMs'),
    busyTimeoutMs: time('busyTimeoutMs'),
    stopTimeoutMs: time('stopTimeoutMs'),
    stopSignal: STOP_SIGNAL,
    pidFile: pidFile ?? null,
    variables: {},
    door: door ?? null,
    takeOver: takeOver ?? door ?? null,
    allowUids: checkUids(allowUids ?? []),
    command: {
      command: command?.command ?? process.execPath,
      args: command === undefined ? [...process.execArgv, ...process.argv.slice(1)] : (command.args ?? []),
      cwd: command?.cwd ?? namedWorkingDirectory(),
    },
  };
}

/** @throws MOULT_BAD_OPTION */
export function signals(
  option: 'restartOn' | 'stopOn',
  value: ServiceOptions['restartOn'],
  fallback: readonly NodeJS.Signals[],
): readonly NodeJS.Signals[] {
  const names = value === undefined ? fallback : typeof value === 'string' ? [value] : value;
  for (const name of names) {
    if (!/^SIG[A-Z0-9]+$/.test(name) || name === 'SIGKILL' || name === 'SIGSTOP') {
      throw new MoultError(
        'MOULT_BAD_OPTION',
        `${option}: expected signals that can be handled, such as SIGHUP, received ${JSON.stringify(name)}`,
      );
    }
  }
  return names;
}

function checkUids(uids: readonly number[]): readonly number[] {
  if (uids.every((uid) => Number.isInteger(uid) && uid >= 0)) return uids;
  throw new MoultError(
    'MOULT_BAD_OPTION',
    `allowUids: expected numbers of users, received ${JSON.stringify(uids)}`,
  );
}

function checkTime(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 0 && value <= LONGEST_MS) return value;
  throw new MoultError(
    'MOULT_BAD_OPTION',
    `${name}: expected milliseconds from 0 to ${LONGEST_MS}, received ${String(value)}`,
  );
}
