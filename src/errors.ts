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
    meaning: 'moult passes descriptors on 64-bit Linux only, and this is another system.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Run the service there without moult.',
  },
  MOULT_BAD_OPTION: {
    meaning: 'An option or argument has a value that moult cannot use.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Correct the option; the message names what was expected and what came.',
  },
  MOULT_LISTEN_FAILED: {
    meaning: 'A socket that --listen names could not be opened.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Free the address or path, or name another; the message has the reason that the system gave.',
  },
  MOULT_NOT_RUNNING: {
    meaning: 'No service of that name runs under moult for this user.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Start it with `moult run`, or give the name that `moult status` lists.',
  },
  MOULT_NO_SUPERVISOR: {
    meaning: 'The supervisor of the service is gone, and the service lives on without it.',
    serving: 'unchanged',
    retry: false,
    remedy:
      'Say `moult run` with the same name, options and command as before: it adopts the service as it is. Then `moult stop` can end it.',
  },
  MOULT_RUN_FOLDER: {
    meaning: 'The folder for the sockets and the journal of the service cannot be made or used.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Set XDG_RUNTIME_DIR to a folder that this user may write to, such as a tmpfs or an emptyDir.',
  },
  MOULT_AMBIGUOUS_NAME: {
    meaning: 'Several services run under moult and no name was given.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Name the service.',
  },
  MOULT_NAME_TAKEN: {
    meaning: 'A living supervisor already runs a service of this name.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Use `moult restart` to replace it, or give another --name.',
  },
  MOULT_RESTART_IN_PROGRESS: {
    meaning:
      'A handover is under way, and the caller asked not to wait for it; or one is being undone, and it is not known yet who serves then.',
    serving: 'unchanged',
    retry: true,
    remedy:
      'Wait for it, or leave out --if-busy=refuse; where an undo does not end, look for a process that is stopped or blocked.',
  },
  MOULT_STOPPING: {
    meaning: 'The service is being stopped and cannot be restarted.',
    serving: 'none',
    retry: false,
    remedy: 'Start it anew with `moult run`.',
  },
  MOULT_NOT_SERVING: {
    meaning: 'This generation cannot be restarted: it has not taken over yet, or has handed over already.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Ask the generation that serves; the message names it.',
  },
  MOULT_SUCCESSOR_EXITED: {
    meaning: 'The successor ended before it had taken over.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Read its last output, mend the release, restart again.',
  },
  MOULT_UPGRADE_FAILED: {
    meaning: 'The program of the supervisor was not replaced by the moult that is installed now.',
    serving: 'unchanged',
    retry: true,
    remedy:
      'Install moult whole, with its packages, and say `moult upgrade` again; the message says what is missing.',
  },
  MOULT_START_FAILED: {
    meaning: 'No process could be started for the successor.',
    serving: 'predecessor',
    retry: true,
    remedy:
      'See the reason: what the user, the container or the machine allows, or a command that is not there.',
  },
  MOULT_OTHER_ADDRESS: {
    meaning:
      'The successor listens on another form of an address of its predecessor, which keeps it from being opened.',
    serving: 'predecessor',
    retry: false,
    remedy: 'Listen on the same host as before, or stop the service and start it again.',
  },
  MOULT_READY_TIMEOUT: {
    meaning: 'The successor was not ready in time.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Look at what it waits for, or give it longer with --ready-timeout.',
  },
  MOULT_CHECK_FAILED: {
    meaning: 'The successor answered its health check wrongly or not at all.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Ask the release why its check fails; no client has reached it.',
  },
  MOULT_CRITICAL_SECTION: {
    meaning: 'The service was in a critical section all the time in which the successor waited to take over.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Restart when it is over, make critical sections shorter, or wait longer with --busy-timeout.',
  },
  MOULT_COMMIT_FAILED: {
    meaning: 'The successor did not answer the commit, so it was ended and the predecessor accepts again.',
    serving: 'predecessor',
    retry: true,
    remedy: 'See whether its event loop was blocked, then restart again.',
  },
  MOULT_SUCCESSOR_LOST: {
    meaning: 'The successor ended within its probation, and the handover was undone.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Read its last output, mend the release, restart again.',
  },
  MOULT_PROBATION_FAILED: {
    meaning:
      'The successor hung, failed its check or answered with too many errors, and the handover was undone.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Read its output, mend the release, restart again.',
  },
  MOULT_NOT_REACHED: {
    meaning: 'Looked at from outside, the generation is not found where its clients look for it.',
    serving: 'predecessor',
    retry: true,
    remedy:
      'Read which listener is missing, and since when; mend the release, or free the address or the path.',
  },
  MOULT_NOT_WATCHED: {
    meaning:
      'Another restart or a stop confirmed the successor before it had been watched for its probation time: it serves or was replaced, and nothing failed.',
    serving: 'successor',
    retry: false,
    remedy: 'See moult status; wait for one restart before you ask for the next.',
  },
  MOULT_ROLLED_BACK: {
    meaning: 'The operator asked for the predecessor back.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Nothing is to be done.',
  },
  MOULT_NOTHING_TO_ROLL_BACK: {
    meaning: 'There is no release before this one that has proved itself.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Deploy the release that is wanted and restart.',
  },
  MOULT_TOO_MANY_DRAINING: {
    meaning: 'So many older generations still drain that another restart would pile up one more.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Wait for one to end (moult status), raise --max-draining, or shorten --drain-timeout.',
  },
  MOULT_LOW_MEMORY: {
    meaning: 'There is less free memory than a second generation may need.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Free memory, or lower --min-free-memory.',
  },
  MOULT_NOT_QUIET: {
    meaning: 'The service did not come to rest within the time, and the restart was given up.',
    serving: 'unchanged',
    retry: true,
    remedy: 'Give it longer with --within, or let it go ahead with --at-limit=go.',
  },
  MOULT_HANDOVER_ABORTED: {
    meaning: 'The handover was ended before commit.',
    serving: 'predecessor',
    retry: true,
    remedy: 'The reason is in the message; the predecessor serves on.',
  },
  MOULT_PEER_REFUSED: {
    meaning: 'A process of another user tried to speak to a socket of moult.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Run the command as the user that runs the service, or let the other user in with --allow-uid.',
  },
  MOULT_NOT_EXPECTED: {
    meaning: 'A process asked to take over although no handover with it is under way.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Start successors with `moult restart`.',
  },
  MOULT_PROTOCOL_VERSION: {
    meaning: 'The two sides speak no common version of the handover protocol.',
    serving: 'predecessor',
    retry: false,
    remedy: 'Stop and start the service once with the new moult.',
  },
  MOULT_TOO_LARGE: {
    meaning: 'A message is larger than the older release of moult at the other side can take.',
    serving: 'unchanged',
    retry: false,
    remedy:
      'Have both sides run this release: `moult upgrade` for the supervisor, then stop and start the service once.',
  },
  MOULT_PROTOCOL_FRAME: {
    meaning: 'A frame was malformed, truncated or over its limits.',
    serving: 'unchanged',
    retry: false,
    remedy: 'The connection was closed; report it if both sides are moult.',
  },
  MOULT_PROTOCOL_ORDER: {
    meaning: 'A message came at a stage in which it has no meaning.',
    serving: 'unchanged',
    retry: false,
    remedy: 'The connection was closed; report it if both sides are moult.',
  },
  MOULT_PEER_CLOSED: {
    meaning: 'The other side closed the connection before it answered.',
    serving: 'unchanged',
    retry: true,
    remedy: 'See whether that process still runs.',
  },
  MOULT_PEER_TIMEOUT: {
    meaning: 'The other side did not answer in time.',
    serving: 'unchanged',
    retry: true,
    remedy: 'See whether that process is stopped or its event loop blocked.',
  },
  MOULT_DESCRIPTORS: {
    meaning: 'Descriptors could not be passed or were not received in full.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Raise the limit of open files (ulimit -n) of both processes.',
  },
  MOULT_SAVE_FAILED: {
    meaning: 'What belongs to a connection could not be saved, so the connection stays and is drained.',
    serving: 'unchanged',
    retry: false,
    remedy: "Mend the service's save(); it must return plain data, and settle within 5 s.",
  },
  MOULT_DATA_TOO_LARGE: {
    meaning: 'What belongs to a connection is more than may go along with it, so it stays and is drained.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Save less, such as a key under which the rest is found, or raise maxBytes up to 4 MiB.',
  },
  MOULT_RESTORE_FAILED: {
    meaning: 'A connection that has moved could not be restored with its data, and was closed.',
    serving: 'successor',
    retry: false,
    remedy: "Mend the service's restore(); raise the version of the data when its meaning changes.",
  },
  MOULT_BROADCAST_INCOMPLETE: {
    meaning: 'A broadcast message did not reach somebody, for the reason that the message gives.',
    serving: 'unchanged',
    retry: false,
    remedy: 'Mend what threw; update the older moult; send less at once, and wait for drained().',
  },
  MOULT_CONNECTION_MOVED: {
    meaning: 'The service used a connection that had moved to another generation.',
    serving: 'successor',
    retry: false,
    remedy: 'Say with busy() that something is pending on a connection, and it moves afterwards.',
  },
  MOULT_STATE_FAILED: {
    meaning: 'A piece of state could not be saved or restored, so the successor does not take over.',
    serving: 'predecessor',
    retry: true,
    remedy: "Mend the service's save() or restore(); the message names the piece and what was thrown.",
  },
  MOULT_STATE_VERSION: {
    meaning: 'The successor cannot read the version of a piece of state that the predecessor has.',
    serving: 'predecessor',
    retry: false,
    remedy: 'Give the newer release an oldestVersion, with up() to read it and down() to write it.',
  },
  MOULT_STATE_TOO_LARGE: {
    meaning: 'A piece of state has more bytes than it may have.',
    serving: 'predecessor',
    retry: false,
    remedy:
      'Keep less in it, raise its maxBytes, or make it a map, which is copied while the service goes on.',
  },
  MOULT_STATE_TIMEOUT: {
    meaning: 'What was left to hand over of the state took too long while nobody accepted.',
    serving: 'predecessor',
    retry: true,
    remedy: 'Keep less in pieces that are given whole; a map hands over only what has changed.',
  },
  MOULT_TASK_FAILED: {
    meaning: 'A task or consumer could not begin.',
    serving: 'predecessor',
    retry: true,
    remedy:
      'See whether what it needs, such as its broker, can be reached; the message says what was thrown.',
  },
  MOULT_BROKER_UNREACHABLE: {
    meaning: 'A message service that a consumer takes its work from did not answer in time.',
    serving: 'predecessor',
    retry: true,
    remedy: 'See whether it runs and lets this process in, then restart again.',
  },
  MOULT_NOT_SETTLED: {
    meaning:
      'A message service did not confirm at the deadline that it has back what a consumer had in hand.',
    serving: 'unchanged',
    retry: true,
    remedy: 'See whether it answers; it gives that work out again when it sees the connection gone.',
  },
  MOULT_SYSTEM_CALL: {
    meaning: 'A system call failed.',
    serving: 'unchanged',
    retry: false,
    remedy: 'The message names the call and the reason.',
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
 * holds also for one that another copy of this package has made, such as that of `moult run` in a service with its own.
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
