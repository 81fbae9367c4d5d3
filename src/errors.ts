/*
 * Over 300 lines: the one table of all errors.
 */
/** Who answers clients at the moment an error is told. */
export type Serving = 'predecessor' | 'successor' | 'both' | 'none' | 'unchanged';

interface ErrorRow {
  /** What the code means, in one sentence. */
  readonly meaning: string;
  /** Who serves when this code is raised, unless the error says otherwise. */
  readonly serving: Serving;
  /** Whether the same call may succeed when it is simply made again. */
  readonly retry: boolean;
  /** What the reader should do. */
  readonly remedy: string;
}

/**
 * The one table of errors. `docs/reference/errors.md` is held equal to it by a test.
 * @hidden In the reference of the API, which that page is part of.
 */
export const errorTable = {
  MOULT_UNSUPPORTED_PLATFORM: {
    meaning: 'moult needs 64-bit Linux to pass sockets between processes, and this is another system.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Run the service without moult on this system.',
  },
  MOULT_BAD_OPTION: {
    meaning: 'An option or argument has a value that moult cannot use.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Correct the option. The message says what was expected and what was received.',
  },
  MOULT_CONFIG_FAILED: {
    meaning: 'The config file cannot be read, or asks for something that moult cannot do.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Correct the file. The message names it, the key, what was expected and what was received.',
  },
  MOULT_CONFIG_NEEDS_START: {
    meaning: 'The config file has a new value for an option that a running service cannot change.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Stop the service and start it again, or revert the change and restart.',
  },
  MOULT_LISTEN_FAILED: {
    meaning: 'A socket named by --listen could not be opened.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Free the address or path, or use another. The message has the reason given by the system.',
  },
  MOULT_NOT_RUNNING: {
    meaning: 'No service of that name runs under moult for this user.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Start it with `moult run`, or use a name listed by `moult status`.',
  },
  MOULT_NO_SUPERVISOR: {
    meaning: 'The supervisor of the service is gone, and the service still runs without it.',
    serving: 'unchanged',
    retry: false,
    remedy:
      'Run `moult run` with the same name, options and command as before: it adopts the running service. After that, `moult stop` can stop it.',
  },
  MOULT_RUN_FOLDER: {
    meaning: 'The folder for the sockets and the journal of the service cannot be created or used.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Set XDG_RUNTIME_DIR to a folder that this user may write to, such as a tmpfs or an emptyDir.',
  },
  MOULT_OUTPUT_FILE: {
    meaning: 'The output file of the service cannot be opened, or it has none to reopen.',
    serving: 'unchanged',
    retry: true,
    remedy:
      'Create the folder of the file, and let the user that runs moult write there. Until then, output goes to the file that was open before.',
  },
  MOULT_AMBIGUOUS_NAME: {
    meaning: 'Several services run under moult and no name was given.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Give the name of the service.',
  },
  MOULT_NAME_TAKEN: {
    meaning: 'Another supervisor already runs a service with this name.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Replace it with `moult restart`, or choose another --name.',
  },
  MOULT_RESTART_IN_PROGRESS: {
    meaning:
      'Another restart is in progress and the caller did not want to wait for it, or a restart is being undone and it is not yet known which generation will serve.',
    serving: 'unchanged',
    retry: true,
    remedy:
      'Wait for it and try again; `moult restart` without --if-busy=refuse waits by itself. If an undo does not finish, look for a process that is stopped or blocked.',
  },
  MOULT_STOPPING: {
    meaning: 'The service is being stopped and cannot be restarted.',
    serving: 'none',
    retry: false,
    remedy: 'Start it again with `moult run`.',
  },
  MOULT_NOT_SERVING: {
    meaning: 'This generation cannot be restarted: it has not taken over yet, or has already handed over.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Send the request to the generation that serves. The message names it.',
  },
  MOULT_SUCCESSOR_EXITED: {
    meaning: 'The successor exited before it took over.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Read its last output, fix the release, and restart again.',
  },
  MOULT_UPGRADE_FAILED: {
    meaning: 'The supervisor was not replaced by the moult that is installed now.',
    serving: 'unchanged',
    retry: true,
    remedy:
      'Install moult completely, with its dependencies, and run `moult upgrade` again. The message says what is missing.',
  },
  MOULT_START_FAILED: {
    meaning: 'The process of the successor could not be started.',
    serving: 'predecessor',
    retry: true,
    remedy:
      'Read the reason: a limit of the user, the container or the machine, or a command that does not exist.',
  },
  MOULT_OTHER_ADDRESS: {
    meaning:
      'The successor listens on another form of an address that its predecessor has open, so it cannot be opened.',
    serving: 'predecessor',
    retry: false,
    remedy: 'Listen on the same host as before, or stop the service and start it again.',
  },
  MOULT_READY_TIMEOUT: {
    meaning: 'The successor was not ready in time.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Find out what it is waiting for, or allow more time with --ready-timeout.',
  },
  MOULT_CHECK_FAILED: {
    meaning: 'The successor failed its health check or did not answer it.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Find out why the check fails. No client has reached this release.',
  },
  MOULT_CRITICAL_SECTION: {
    meaning: 'The service stayed in a critical section for as long as the successor waited to take over.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Restart when it is over, shorten critical sections, or wait longer with --busy-timeout.',
  },
  MOULT_BROADCAST_BEHIND: {
    meaning: 'More was broadcast than the successor could process before it took over.',
    serving: 'predecessor',
    retry: true,
    remedy:
      'Respect what send() returns, restart when less is broadcast, or wait longer with --busy-timeout.',
  },
  MOULT_COMMIT_FAILED: {
    meaning:
      'The successor did not answer the commit. It was killed, and the predecessor accepts connections again.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Check whether its event loop was blocked, then restart again.',
  },
  MOULT_SUCCESSOR_LOST: {
    meaning: 'The successor exited during its probation, and the restart was undone.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Read its last output, fix the release, and restart again.',
  },
  MOULT_PROBATION_FAILED: {
    meaning:
      'The successor hung, failed its check or answered with too many errors, and the restart was undone.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Read its output, fix the release, and restart again.',
  },
  MOULT_NOT_REACHED: {
    meaning: 'The generation cannot be reached from outside at an address where clients expect it.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Read which listener is missing and since when. Fix the release, or free the address or path.',
  },
  MOULT_NOT_WATCHED: {
    meaning:
      'Another restart or a stop ended the probation of the successor early. It serves or was replaced, and nothing failed.',
    serving: 'successor',
    retry: false,
    remedy: 'Run `moult status`. Wait for one restart to finish before you start the next.',
  },
  MOULT_ROLLED_BACK: {
    meaning: 'The operator rolled the restart back to the predecessor.',
    serving: 'predecessor',
    retry: true,
    remedy: 'You do not need to do anything.',
  },
  MOULT_NOTHING_TO_ROLL_BACK: {
    meaning: 'No earlier release has completed its probation here.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Deploy the release you want, and restart.',
  },
  MOULT_RELEASE_CHANGED: {
    meaning:
      'The files of the release that serves were changed, so another process of it would run other code.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Run `moult restart`: it replaces all processes with what the files contain now.',
  },
  MOULT_TOO_MANY_DRAINING: {
    meaning: 'Too many older generations are still draining to start another restart.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Wait until one has ended (`moult status`), raise --max-draining, or lower --drain-timeout.',
  },
  MOULT_LOW_MEMORY: {
    meaning: 'There is less free memory than a second generation may need.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Free memory, or lower --min-free-memory.',
  },
  MOULT_NOT_QUIET: {
    meaning: 'The service did not become quiet in time, and the restart was canceled.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Allow more time with --within, or proceed anyway with --at-limit=go.',
  },
  MOULT_FLEET_UNREACHABLE: {
    meaning: 'The NATS servers of the fleet, or its buckets, could not be reached.',
    serving: 'unchanged',
    retry: true,
    remedy:
      'Check the address, the credentials and that the servers run with JetStream. Services go on meanwhile, and so does a roll once the servers are back.',
  },
  MOULT_ROLL_IN_PROGRESS: {
    meaning: 'Another roll of this service has not ended yet.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Follow it with `moult fleet watch`, or end it with `moult fleet abort` or `moult fleet undo`.',
  },
  MOULT_ROLL_FAILED: {
    meaning: 'The roll was undone or stopped before all hosts had the new release.',
    serving: 'both',
    retry: true,
    remedy: 'Read which host failed and why; `moult fleet status` shows what each host runs now.',
  },
  MOULT_HANDOVER_ABORTED: {
    meaning: 'The handover was canceled before commit.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Read the reason in the message. The predecessor still serves.',
  },
  MOULT_PEER_REFUSED: {
    meaning: 'A process of another user tried to use a socket of moult.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Run the command as the user that runs the service, or allow the other user with --allow-uid.',
  },
  MOULT_NOT_EXPECTED: {
    meaning: 'A process asked to take over, but no handover to it is in progress.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Start successors with `moult restart`.',
  },
  MOULT_PROTOCOL_VERSION: {
    meaning: 'The two sides have no version of the handover protocol in common.',
    serving: 'predecessor',
    retry: false,
    remedy: 'Stop and start the service once with the new moult.',
  },
  MOULT_TOO_LARGE: {
    meaning: 'A message is too large for the older release of moult on the other side.',
    serving: 'unchanged',
    retry: false,
    remedy:
      'Run this release on both sides: `moult upgrade` for the supervisor, then stop and start the service once.',
  },
  MOULT_PROTOCOL_FRAME: {
    meaning: 'A frame was malformed, truncated or over its limits.',
    serving: 'unchanged',
    retry: false,
    remedy: 'The connection was closed. Please report this if both sides are moult.',
  },
  MOULT_PROTOCOL_ORDER: {
    meaning: 'A message arrived at a stage where it is not allowed.',
    serving: 'unchanged',
    retry: false,
    remedy: 'The connection was closed. Please report this if both sides are moult.',
  },
  MOULT_PEER_CLOSED: {
    meaning: 'The other side closed the connection before it answered.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Check whether that process is still running.',
  },
  MOULT_PEER_TIMEOUT: {
    meaning: 'The other side did not answer in time.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Check whether that process is stopped or its event loop is blocked.',
  },
  MOULT_DESCRIPTORS: {
    meaning: 'Descriptors could not be passed or were not received in full.',
    serving: 'predecessor',
    retry: true,
    remedy:
      'Raise the limit on open files: `prlimit --pid PID --nofile=N` for a process that runs, `ulimit -n` or LimitNOFILE= for those that start.',
  },
  MOULT_SAVE_FAILED: {
    meaning:
      'The data of a connection could not be saved, so the connection stays in its process and drains.',
    serving: 'unchanged',
    retry: false,
    remedy: "Fix the service's save(): it must return plain data and settle within 5 s.",
  },
  MOULT_DATA_TOO_LARGE: {
    meaning:
      'The data of a connection is too large to move with it, so the connection stays in its process and drains.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Save less, such as a key that finds the rest, or raise maxBytes up to 4 MiB.',
  },
  MOULT_RESTORE_FAILED: {
    meaning: 'The data of a connection that moved could not be restored, and the connection was closed.',
    serving: 'successor',
    retry: false,
    remedy: "Fix the service's restore(). Raise the version of the data when its meaning changes.",
  },
  MOULT_BROADCAST_INCOMPLETE: {
    meaning: 'A broadcast message did not reach every receiver. The message says why.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Fix what threw, update the older moult, or send less at once and wait for drained().',
  },
  MOULT_CONNECTION_MOVED: {
    meaning: 'The service used a connection after it had moved to another generation.',
    serving: 'successor',
    retry: false,
    remedy: 'Call busy() while something is pending on a connection: it then moves afterwards.',
  },
  MOULT_STATE_FAILED: {
    meaning: 'Part of the state could not be saved or restored, so the successor does not take over.',
    serving: 'predecessor',
    retry: true,
    remedy: "Fix the service's save() or restore(). The message names the part and the error thrown.",
  },
  MOULT_STATE_VERSION: {
    meaning: 'The successor cannot read a part of the state in the version that the predecessor has.',
    serving: 'predecessor',
    retry: false,
    remedy: 'Give the newer release an oldestVersion, with up() to read that version and down() to write it.',
  },
  MOULT_STATE_TOO_LARGE: {
    meaning: 'A part of the state is larger than its limit.',
    serving: 'predecessor',
    retry: false,
    remedy:
      'Keep less in it, raise its maxBytes, or make it a map, which is copied while the service keeps running.',
  },
  MOULT_STATE_LOST: {
    meaning: 'A slot that was to end has state, timers or jobs that no other slot takes.',
    serving: 'unchanged',
    retry: false,
    remedy:
      'Keep that in a store that all slots share, or repeat the command with --drop-state: then it is lost. The message says what it is.',
  },
  MOULT_STATE_TIMEOUT: {
    meaning: 'The rest of the state took too long to hand over while no generation accepted connections.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Keep less in values, which are handed over whole. A map hands over only what has changed.',
  },
  MOULT_TASK_FAILED: {
    meaning: 'A task or consumer could not start.',
    serving: 'predecessor',
    retry: true,
    remedy:
      'Check whether what it needs, such as its broker, can be reached. The message has the error thrown.',
  },
  MOULT_BROKER_UNREACHABLE: {
    meaning: 'The message service of a consumer did not answer in time.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Check that it runs and accepts this process, then restart again.',
  },
  MOULT_NOT_SETTLED: {
    meaning:
      'A message service did not confirm by the deadline that it took back the messages a consumer had in progress.',
    serving: 'unchanged',
    retry: true,
    remedy:
      'Check whether it answers. It delivers those messages again when it notices that the connection is gone.',
  },
  MOULT_SYSTEM_CALL: {
    meaning: 'A system call failed.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Read the message: it names the call and the reason.',
  },
} as const satisfies Record<string, ErrorRow>;

/** The literal codes of {@link MoultError}: the keys of `errorTable`. */
export type ErrorCode = keyof typeof errorTable;

/** What an error carries besides its code and sentence. */
export interface ErrorFacts {
  /** Who serves now; default: the row of the table. */
  readonly serving?: Serving;
  /** The stage of the handover in which it happened. */
  readonly stage?: string;
  /** Facts for programs, such as `{ expected, received }`; never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** What it was caused by, in this process. */
  readonly cause?: unknown;
}

/** An error in the form in which it travels between processes. */
export interface ErrorReport {
  /** Its key in the table. */
  readonly code: ErrorCode;
  /** One sentence: what was expected and what came. */
  readonly message: string;
  /** Who serves now. */
  readonly serving: Serving;
  /** The stage of the handover in which it happened. */
  readonly stage?: string | undefined;
  /** Whether the same call may succeed when it is made again. */
  readonly retry: boolean;
  /** What is to be done. */
  readonly remedy: string;
  /** Facts for programs. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** The longest message and name of a stage that travel, in UTF-16 units. Source: docs/protocol.md, error-report. */
const MAX_MESSAGE = 16_384;
const MAX_STAGE = 32;

/** By it every copy of this package in a process knows the errors of the others. */
const BRAND = Symbol.for('moult.error.1');

/**
 * Every error that moult raises: a literal `code`, who is serving now, whether a retry helps, what to do. `instanceof`
 * also works for an error made by another copy of this package, such as the one that `moult run` comes from.
 */
export class MoultError extends Error {
  /** Whether a value is an error of moult's. */
  static override [Symbol.hasInstance](value: unknown): value is MoultError {
    return typeof value === 'object' && value !== null && BRAND in value;
  }

  /** The class, as text. */
  override readonly name = 'MoultError';
  /** Its key in the table. */
  readonly code: ErrorCode;
  /** Who serves now. */
  readonly serving: Serving;
  /** The stage of the handover in which it happened, where it happened in one. */
  readonly stage: string | undefined;
  /** Whether the same call may succeed when it is made again. */
  readonly retry: boolean;
  /** What is to be done. */
  readonly remedy: string;
  /** Facts for programs, such as `{ expected, received }`; never secrets. */
  readonly details: Readonly<Record<string, unknown>> | undefined;

  /**
   * Makes one; what `facts` do not say is as the row of the table has it.
   * @param message one sentence: what was expected and what came.
   */
  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    Object.defineProperty(this, BRAND, { value: true });
    const row = errorTable[code];
    this.code = code;
    this.serving = facts.serving ?? row.serving;
    this.stage = facts.stage;
    this.retry = row.retry;
    this.remedy = row.remedy;
    this.details = facts.details;
  }

  /** The error as plain data, to be sent to another process. */
  report(): ErrorReport {
    const { code, serving, stage, retry, remedy, details } = this;
    // The protocol has no room for longer ones.
    const message =
      this.message.length > MAX_MESSAGE ? `${this.message.slice(0, MAX_MESSAGE - 1)}…` : this.message;
    return { code, message, serving, stage: stage?.slice(0, MAX_STAGE), retry, remedy, details };
  }

  /** The error that another process reported. An unknown code becomes `MOULT_HANDOVER_ABORTED`. */
  static from(report: {
    code: string;
    message: string;
    serving?: string | undefined;
    stage?: string | undefined;
    details?: Readonly<Record<string, unknown>> | undefined;
  }): MoultError {
    const code = Object.hasOwn(errorTable, report.code)
      ? (report.code as ErrorCode)
      : 'MOULT_HANDOVER_ABORTED';
    return new MoultError(code, report.message, {
      ...(report.serving === undefined ? {} : { serving: report.serving as Serving }),
      ...(report.stage === undefined ? {} : { stage: report.stage }),
      ...(report.details === undefined ? {} : { details: report.details }),
    });
  }
}

/** Any thrown value as a {@link MoultError}; one that is none already gets `fallback` as its code. */
export function asMoultError(value: unknown, fallback: ErrorCode): MoultError {
  if (value instanceof MoultError) return value;
  const message = value instanceof Error ? value.message : String(value);
  return new MoultError(fallback, message, { cause: value });
}
