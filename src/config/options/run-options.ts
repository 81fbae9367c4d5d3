/*
 * Over 200 lines: the options of a service are one table, and read as one list.
 *
 * To add an option: a row here, and what it does in src/config/options/supervisor-options.ts. The command line, the config file,
 * its types, its JSON schema, `moult config` and docs/reference/config.md come from the row; docs/reference/cli.md says
 * more of it, and a test holds that page.
 */
import { defaultOptions } from '../../supervisor/options.js';
import {
  address,
  bytes,
  check,
  count,
  counts,
  type OptionKind,
  onOff,
  positive,
  programs,
  ratio,
  schedule,
  settings,
  signal,
  slots,
  statuses,
  sticky,
  text,
  texts,
  time,
  urlPath,
  variable,
  word,
} from './option-kinds.js';
import { showMs } from './values.js';

/**
 * When a change in the file holds: `restart` at the next one; `start` when the service is stopped and started again;
 * `switch` at the next restart, but what is off cannot be switched on, nor off what is on.
 */
export type Applies = 'restart' | 'start' | 'switch';

/** One option of a service. */
export interface OptionRow<Value = unknown, Written = unknown, HasDefault extends boolean = boolean> {
  /** As commander takes it: `--ready-timeout <time>`. */
  readonly flags: string;
  /** For `--help`, the schema and the reference. */
  readonly text: string;
  readonly kind: OptionKind<Value, Written>;
  readonly default: HasDefault extends true ? Value : undefined;
  /** The default as a person writes it, where the value itself is not that. */
  readonly shown?: string;
  readonly applies: Applies;
  /** What the `--no-…` form of a switch says. */
  readonly negation?: string;
}

interface More<Value> {
  readonly default?: Value;
  readonly shown?: string;
  readonly applies?: Applies;
  readonly negation?: string;
}

function row<Value, Written>(
  flags: string,
  says: string,
  kind: OptionKind<Value, Written>,
  more: More<Value> & { readonly default: Value },
): OptionRow<Value, Written, true>;
function row<Value, Written>(
  flags: string,
  says: string,
  kind: OptionKind<Value, Written>,
  more?: Omit<More<Value>, 'default'>,
): OptionRow<Value, Written, false>;
function row(flags: string, says: string, kind: OptionKind, more: More<unknown> = {}): OptionRow {
  return { flags, text: says, kind, default: undefined, applies: 'restart', ...more };
}

const timeRow = (flags: string, says: string, defaultMs: number) =>
  row(flags, says, time, { default: defaultMs, shown: defaultMs === 0 ? '0' : showMs(defaultMs) });

const d = defaultOptions;

/** Every option of `moult run`, by its key in a config file. */
export const RUN_OPTIONS = {
  name: row(
    '--name <name>',
    'the name other commands use (default: the name in the nearest package.json, else of the script)',
    text,
    { applies: 'start' },
  ),
  envFile: row(
    '--env-file <file>',
    'read environment variables from this file at each start (repeatable)',
    texts,
  ),
  readyTimeout: timeRow(
    '--ready-timeout <time>',
    'how long a successor may take to become ready',
    d.readyTimeoutMs,
  ),
  drainTimeout: timeRow(
    '--drain-timeout <time>',
    'how long connections that cannot move may stay open',
    d.drainTimeoutMs,
  ),
  drainSpread: timeRow(
    '--drain-spread <time>',
    'spread the closing of connections that must be closed over this time',
    d.drainSpreadMs,
  ),
  tls: row(
    '--tls <how>',
    'move: live TLS 1.3 connections of HTTPS servers move to the successor; drain: they are closed after their next response',
    word('move', 'drain'),
    { default: d.tls },
  ),
  probation: timeRow(
    '--probation <time>',
    'how long the predecessor can still take over again',
    d.probationMs,
  ),
  busyTimeout: timeRow(
    '--busy-timeout <time>',
    'how long to wait for critical sections of the service to end',
    d.busyTimeoutMs,
  ),
  stopTimeout: timeRow(
    '--stop-timeout <time>',
    'how long a process may take to exit after its stop signal',
    d.stopTimeoutMs,
  ),
  stopSignal: row('--stop-signal <signal>', 'the signal that stops a generation', signal, {
    default: d.stopSignal,
  }),
  stopDelay: timeRow(
    '--stop-delay <time>',
    'how long the service keeps accepting and serving after a stop is requested, before it drains',
    d.stopDelayMs,
  ),
  stopDelaySignal: row(
    '--stop-delay-signal <signal>',
    'the signal that tells the service at the start of --stop-delay that a stop was requested',
    signal,
  ),
  unreadyPath: row(
    '--unready-path <path>',
    'answer HTTP/1.1 requests for this path, such as /readyz, with status 503 during --stop-delay',
    urlPath,
  ),
  keepAlive: row(
    '--keep-alive <time>',
    "how long HTTP servers keep an idle connection open that leave keepAliveTimeout at Node's default",
    time,
  ),
  check: row(
    '--check <what>',
    'check a successor before it takes over: a path such as /healthz, tcp, or exec:COMMAND',
    check,
  ),
  checkStatus: row('--check-status <range>', 'the HTTP statuses that pass', statuses, {
    default: [200, 399],
    shown: '200-399',
  }),
  checkTimeout: timeRow('--check-timeout <time>', 'how long one check may take', 5000),
  checkRetries: row('--check-retries <n>', 'how often to retry a failed check', count, { default: 3 }),
  checkInterval: timeRow('--check-interval <time>', 'time between two attempts', 500),
  hangTimeout: timeRow(
    '--hang-timeout <time>',
    'how long a successor in probation may go without responding',
    d.hangTimeoutMs,
  ),
  maxErrorRate: row(
    '--max-error-rate <share>',
    'how much higher the share of 5xx responses may be than that of the predecessor',
    ratio,
  ),
  maxDraining: row('--max-draining <n>', 'how many older generations may drain at the same time', positive, {
    default: d.maxDraining,
  }),
  minFreeMemory: row('--min-free-memory <size>', 'how much free memory a restart requires', bytes, {
    default: 0,
  }),
  maxMemory: row(
    '--max-memory <size>',
    'recycle a generation that uses more resident memory: a hot restart of the same release',
    bytes,
  ),
  maxAge: row('--max-age <time>', 'recycle a generation after this time, or up to a tenth earlier', time),
  recycle: row(
    '--recycle <cron>',
    "recycle all slots on this schedule, one after another: '0 4 * * *'",
    schedule,
  ),
  waitReady: row('--wait-ready', "wait for process.send('ready') instead of for the listeners", onOff),
  restart: row(
    '--restart <when>',
    'when to start the service again after it exits by itself: always, on-failure or never',
    word('always', 'on-failure', 'never'),
    { default: d.restart },
  ),
  slots: row(
    '--slots <n>',
    'run this many processes that share the listeners, or max for one per core',
    slots,
    { applies: 'switch' },
  ),
  instanceVar: row(
    '--instance-var <name>',
    'also pass the slot number in this variable, such as NODE_APP_INSTANCE',
    variable,
  ),
  sticky: row(
    '--sticky <how>',
    'keep all connections of a client in one slot: by its address, or by a cookie (cookie:NAME)',
    sticky,
  ),
  changeover: row(
    '--changeover <how>',
    'overlap: the successor runs alongside its predecessor through probation; exclusive: it starts after the predecessor has exited',
    word('overlap', 'exclusive'),
    { default: d.changeover, applies: 'start' },
  ),
  keepReleases: row(
    '--keep-releases <n>',
    'keep copies of this many releases next to their folder, to roll back to one that was overwritten',
    positive,
    { applies: 'switch' },
  ),
  keepSize: row('--keep-size <size>', 'the maximum size of one copy', bytes, {
    default: 2 ** 30,
    shown: '1G',
  }),
  sharedPath: row(
    '--shared-path <path>',
    'a path in the release folder that the service writes to and all releases share (repeatable)',
    texts,
  ),
  listen: row(
    '--listen <address>',
    'open this socket for the service: 8080, 127.0.0.1:8080, unix:/path or udp:127.0.0.1:5353, optionally as name=… (repeatable)',
    texts,
    { applies: 'start' },
  ),
  program: row('--program', 'the command is a program in any language that does not use moult', onOff, {
    applies: 'start',
    negation: 'the command starts a Node service, even with --listen',
  }),
  readyAfter: row(
    '--ready-after <time>',
    'consider a program, or a service without a listener, ready this long after its start',
    time,
  ),
  takeOver: row(
    '--take-over <path>',
    'take over from the supervisor with this control.sock or run folder; if there is none, start normally',
    text,
    { applies: 'start' },
  ),
  allowUid: row(
    '--allow-uid <uid>',
    'also allow processes of this user to take over or hand over (repeatable)',
    counts,
    { applies: 'start' },
  ),
  metrics: row(
    '--metrics <address>',
    'serve Prometheus metrics at this address: 127.0.0.1:9464, a port, or unix:/path',
    address,
    { applies: 'start' },
  ),
  dashboard: row(
    '--dashboard <address>',
    'serve the dashboard of this service at this address: 127.0.0.1:9465, a port, or unix:/path',
    address,
    { applies: 'start' },
  ),
  onEvent: row(
    '--on-event <what>',
    'pass each event as a line of JSON to a program: exec:COMMAND (repeatable)',
    programs,
    { applies: 'start' },
  ),
  fleet: row(
    '--fleet <servers>',
    'join the fleet at these NATS servers: nats://10.0.0.5:4222, or a file with settings',
    settings,
    { applies: 'start' },
  ),
  output: row(
    '--output <file>',
    'append all output, including the log of moult, to this file; moult logs --reopen and SIGUSR1 reopen it',
    text,
    { applies: 'start' },
  ),
  log: row(
    '--log <level>',
    'the log level of moult itself: debug, info, warn, error or silent',
    word('debug', 'info', 'warn', 'error', 'silent'),
    { default: 'info' },
  ),
} as const;

type Table = typeof RUN_OPTIONS;
/** The key of an option in a config file. */
export type OptionKey = keyof Table;
type ValueOf<Row> = Row extends OptionRow<infer Value, infer _, boolean> ? Value : never;
type WrittenOf<Row> = Row extends OptionRow<infer _, infer Written, boolean> ? Written : never;
type WithDefault = {
  [K in OptionKey]: Table[K] extends OptionRow<infer _, infer _, true> ? K : never;
}[OptionKey];

/** The options of `moult run` once they are read. Times in milliseconds, sizes in bytes. */
export type RunFlags = {
  readonly [K in WithDefault]: ValueOf<Table[K]>;
} & {
  readonly [K in Exclude<OptionKey, WithDefault>]?: ValueOf<Table[K]>;
};

/** The same options as a config file has them. */
export type WrittenOptions = { [K in OptionKey]?: WrittenOf<Table[K]> };

/** The rows of the table, in its order. */
export const optionRows = Object.entries(RUN_OPTIONS) as readonly (readonly [OptionKey, OptionRow])[];
