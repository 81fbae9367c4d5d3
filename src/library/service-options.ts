import { MoultError } from '../errors.js';
import { DEFAULT_TIMES } from '../lifecycle/default-times.js';
import { namedWorkingDirectory } from '../os/files/working-directory.js';
import type { StandaloneOptions } from '../standalone/standalone-options.js';

/** Options of a service. Under `moult run`, its command-line options override those that both can set. */
export interface ServiceOptions {
  /** Signals that restart the service; default `SIGHUP`, or none under `moult run`, which handles SIGHUP itself. */
  readonly restartOn?: NodeJS.Signals | readonly NodeJS.Signals[];
  /**
   * Signals that stop the service gracefully; a second one stops it at once. Default `SIGTERM` and `SIGINT`.
   * Not used under `moult run`.
   */
  readonly stopOn?: NodeJS.Signals | readonly NodeJS.Signals[];
  /**
   * The file to which moult writes the process number of the serving generation; default none. Not used under
   * `moult run`.
   */
  readonly pidFile?: string;
  /** How many milliseconds a successor may take to become ready; default 30,000. Not used under `moult run`. */
  readonly readyTimeoutMs?: number;
  /** How many milliseconds connections that cannot move may stay open; default 30,000. Not used under `moult run`. */
  readonly drainTimeoutMs?: number;
  /**
   * Spreads the closing of connections that must be closed evenly over this many milliseconds, at most
   * `drainTimeoutMs`. Default 0: each is closed as soon as it can be. Not used under `moult run`.
   */
  readonly drainSpreadMs?: number;
  /**
   * How many milliseconds after commit this generation can resume if its successor fails; default 10,000. Not
   * used under `moult run`.
   */
  readonly probationMs?: number;
  /** How many milliseconds a commit waits for critical sections; default 30,000. Not used under `moult run`. */
  readonly busyTimeoutMs?: number;
  /**
   * How many milliseconds the process may take to exit after its stop signal; default 10,000. Not used under
   * `moult run`.
   */
  readonly stopTimeoutMs?: number;
  /**
   * The path of a Unix socket through which another process, no matter who started it, can take over from
   * this one; default none. It always leads to the serving generation. Not used under `moult run`, which has
   * `--take-over`.
   */
  readonly door?: string;
  /**
   * Take over from the service that has this path as its `door`; default: this service's own `door`. If there
   * is none, this process starts as the first generation. Not used under `moult run`.
   */
  readonly takeOver?: string;
  /**
   * Users whose processes may also take over or hand over, besides the same user and root; default none. Not
   * used under `moult run`, which has `--allow-uid`.
   */
  readonly allowUids?: readonly number[];
  /**
   * The command that starts the next generation; default: program, arguments and working directory of this
   * one. Not used under `moult run`.
   */
  readonly command?: {
    /** A program: a path, or a name that is looked up in `PATH`. */
    readonly command: string;
    /** Default none. */
    readonly args?: readonly string[];
    /** Default: the working directory of this one; its links are resolved again. */
    readonly cwd?: string;
  };
  /**
   * Whether the service may restart itself if no supervisor started it; default true. If false, it is then a
   * plain server.
   */
  readonly standalone?: boolean;
}

const LONGEST_MS = 2 ** 31 - 1;
const STOP_SIGNAL = 'SIGTERM';

/** @throws MOULT_BAD_OPTION for an invalid value. */
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
