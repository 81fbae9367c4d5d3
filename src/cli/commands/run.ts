/*
 * Over 300 lines: the options of one command, and what each says of itself, are read as one list.
 */
import { isAbsolute, normalize } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Logger } from 'pino';
import type { EndpointAddress } from '../../endpoint/address.js';
import { asMoultError, MoultError } from '../../errors.js';
import type { AgentProcess } from '../../fleet/agent/agent-process.js';
import { reserve } from '../../os/descriptors/descriptor-reserve.js';
import { FileLock } from '../../os/files/file-lock.js';
import { namedWorkingDirectory } from '../../os/files/working-directory.js';
import { isSupportedPlatform } from '../../os/libc.js';
import { trustUids } from '../../os/unix-sockets/peer.js';
import { assertDifferent, type ListenOption, parseListen } from '../../programs/listen-option.js';
import { type ServiceManager, takeServiceManager } from '../../service-manager/environment.js';
import { takePassed } from '../../service-manager/passed.js';
import { ServiceManagerLink } from '../../service-manager/service-manager.js';
import { heedHangUps } from '../../supervisor/hang-ups.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import { LastResort } from '../../supervisor/last-resort.js';
import { holdPassed } from '../../supervisor/listeners/inherited-listeners.js';
import { supervisorLog } from '../../supervisor/log.js';
import { type Check, defaultOptions, type Sticky, type SupervisorOptions } from '../../supervisor/options.js';
import { rehearse } from '../../supervisor/rehearsal.js';
import { defaultName, isNodeCommand, type ServiceCommand } from '../../supervisor/releases/release.js';
import { parseCheck } from '../../supervisor/restart/health-check.js';
import { type NextProgram, Supervisor } from '../../supervisor/supervisor.js';
import { Giver } from '../../supervisor/takeover/incoming-takeover.js';
import { becomeNewProgram, CARRIED_FORMAT, takeCarried } from '../../supervisor/upgrade.js';
import { passEarlyOn } from '../early-signals.js';
import { observe } from '../observers.js';
import {
  collect,
  collectNumbers,
  duration,
  endpoint,
  oneOf,
  positiveNumber,
  share,
  signalName,
  size,
  slotNumber,
  statusRange,
  timeOption,
  wholeNumber,
} from '../option-types.js';
import { optionsAfter } from '../options-after.js';

/** Signals that mean something to the service, and would end the supervisor or mean nothing to it. */
const PASSED_ON = ['SIGUSR2', 'SIGWINCH'] as const;

/** As many as it takes to start a process and to let it in: pipes, their other ends, and a channel. */
const RESERVED_DESCRIPTORS = 12;

/** The options of `moult run`, as they were given. Times in milliseconds. */
export interface RunFlags {
  readonly name?: string;
  readonly envFile?: readonly string[];
  readonly readyTimeout: number;
  readonly drainTimeout: number;
  readonly drainSpread: number;
  readonly probation: number;
  readonly busyTimeout: number;
  readonly stopTimeout: number;
  readonly stopSignal: NodeJS.Signals;
  readonly waitReady?: true;
  readonly check?: Check;
  readonly checkStatus: readonly [number, number];
  readonly checkTimeout: number;
  readonly checkRetries: number;
  readonly checkInterval: number;
  readonly hangTimeout: number;
  readonly maxErrorRate?: number;
  readonly maxDraining: number;
  readonly minFreeMemory: number;
  readonly restart: SupervisorOptions['restart'];
  readonly takeOver?: string;
  readonly allowUid?: readonly number[];
  readonly slots?: number;
  readonly sticky?: Sticky;
  readonly changeover: SupervisorOptions['changeover'];
  readonly keepReleases?: number;
  readonly keepSize: number;
  readonly sharedPath?: readonly string[];
  readonly listen?: readonly string[];
  readonly fleet?: string;
  readonly program?: boolean;
  readonly readyAfter?: number;
  readonly metrics?: EndpointAddress;
  readonly log: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

/** The command `moult run`: the service in the foreground, under a supervisor. Exit status: that of the service when it fails to start, 0 after a stop. */
export function runCommand(): Command {
  return runShape().action(async (words: string[], flags: RunFlags) => {
    process.exitCode = await run(words, flags);
  });
}

/** The options and arguments of `moult run`, for whoever writes them down for later. */
export function runShape(): Command {
  const d = defaultOptions;
  return new Command('run')
    .description('start a service in the foreground, so that it can be restarted without losing a request')
    .usage('[options] [--] <script.js | command …>')
    .argument('<command...>', 'a script for Node, or a command with its arguments')
    .passThroughOptions()
    .option(
      '--name <name>',
      'the name other commands use (default: the name in the nearest package.json, else of the script)',
    )
    .option(
      '--env-file <file>',
      'read environment variables from this file at each start (repeatable)',
      collect,
    )
    .addOption(
      timeOption('--ready-timeout <time>', 'how long a successor may take to become ready', d.readyTimeoutMs),
    )
    .addOption(
      timeOption(
        '--drain-timeout <time>',
        'how long connections that cannot move may stay open',
        d.drainTimeoutMs,
      ),
    )
    .addOption(
      timeOption(
        '--drain-spread <time>',
        'spread the closing of connections that must be closed over this time',
        d.drainSpreadMs,
      ),
    )
    .addOption(
      timeOption('--probation <time>', 'how long the predecessor can still take over again', d.probationMs),
    )
    .addOption(
      timeOption(
        '--busy-timeout <time>',
        'how long to wait for critical sections of the service to end',
        d.busyTimeoutMs,
      ),
    )
    .addOption(
      timeOption(
        '--stop-timeout <time>',
        'how long a process may take to exit after its stop signal',
        d.stopTimeoutMs,
      ),
    )
    .option('--stop-signal <signal>', 'the signal that stops a generation', signalName, d.stopSignal)
    .option(
      '--check <what>',
      'check a successor before it takes over: a path such as /healthz, tcp, or exec:COMMAND',
      check,
    )
    .addOption(
      new Option('--check-status <range>', 'the HTTP statuses that pass')
        .argParser(statusRange)
        .default([200, 399], '200-399'),
    )
    .addOption(timeOption('--check-timeout <time>', 'how long one check may take', 5000))
    .option('--check-retries <n>', 'how often to retry a failed check', wholeNumber, 3)
    .addOption(timeOption('--check-interval <time>', 'time between two attempts', 500))
    .addOption(
      timeOption(
        '--hang-timeout <time>',
        'how long a successor in probation may not respond',
        d.hangTimeoutMs,
      ),
    )
    .option(
      '--max-error-rate <share>',
      'how much higher the share of 5xx responses may be than that of the predecessor',
      share,
    )
    .option(
      '--max-draining <n>',
      'how many older generations may drain at the same time',
      positiveNumber,
      d.maxDraining,
    )
    .option('--min-free-memory <size>', 'how much free memory a restart requires', size, 0)
    .option('--wait-ready', "wait for process.send('ready') instead of for the listeners")
    .option(
      '--restart <when>',
      'when to start a service again that exits by itself: always, on-failure or never',
      oneOf('always', 'on-failure', 'never'),
      d.restart,
    )
    .option(
      '--slots <n>',
      'run this many processes that share the listeners, or max for one per core',
      slotNumber,
    )
    .option(
      '--sticky <how>',
      'keep all connections of a client in one slot: by its address, or by a cookie (cookie:NAME)',
      sticky,
    )
    .option(
      '--changeover <how>',
      'overlap: the successor runs beside its predecessor through probation; exclusive: it starts after the predecessor has exited',
      oneOf('overlap', 'exclusive'),
      d.changeover,
    )
    .option(
      '--keep-releases <n>',
      'keep copies of this many releases beside their folder, to roll back to one that was overwritten',
      positiveNumber,
    )
    .addOption(
      new Option('--keep-size <size>', 'the maximum size of one copy').argParser(size).default(2 ** 30, '1G'),
    )
    .option(
      '--shared-path <path>',
      'a path in the release folder that the service writes to and all releases share (repeatable)',
      collect,
    )
    .option(
      '--listen <address>',
      'open this socket for the service: 8080, 127.0.0.1:8080, unix:/path or udp:127.0.0.1:5353, optionally as name=… (repeatable)',
      collect,
    )
    .option(
      '--fleet <servers>',
      'join the fleet of these NATS servers: nats://10.0.0.5:4222, or a file with settings',
    )
    .option('--program', 'the command is a program in any language that does not use moult')
    .option('--no-program', 'the command starts a Node service, even with --listen')
    .addOption(
      new Option(
        '--ready-after <time>',
        'consider a program, or a service without a listener, ready this long after its start',
      ).argParser(duration),
    )
    .option(
      '--take-over <path>',
      'take over from the supervisor with this control.sock or run folder; if there is none, start normally',
    )
    .option(
      '--allow-uid <uid>',
      'allow processes of this user to take over or hand over, too (repeatable)',
      collectNumbers,
    )
    .option(
      '--metrics <address>',
      'serve metrics for Prometheus there: 127.0.0.1:9464, a port, or unix:/path',
      endpoint,
    )
    .option(
      '--log <level>',
      'the log level of moult itself: debug, info, warn, error or silent',
      oneOf('debug', 'info', 'warn', 'error', 'silent'),
      'info',
    );
}

async function run(words: readonly string[], flags: RunFlags): Promise<number> {
  if (!isSupportedPlatform()) {
    throw new MoultError(
      'MOULT_UNSUPPORTED_PLATFORM',
      `moult run needs 64-bit Linux, this is ${process.platform} on ${process.arch}`,
    );
  }
  if (flags.slots !== undefined && flags.takeOver !== undefined) {
    throw new MoultError(
      'MOULT_BAD_OPTION',
      '--slots and --take-over cannot be given together: a service in slots is not taken over',
    );
  }
  if (flags.sticky !== undefined && flags.slots === undefined) {
    const what = '--sticky needs --slots: without slots there is one process, and all clients are its own';
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  if (flags.changeover === 'exclusive') assertAlone(flags);
  const carried = takeCarried(process.env);
  const service = { words, cwd: carried?.cwd ?? namedWorkingDirectory(), envFiles: flags.envFile ?? [] };
  trustUids(flags.allowUid ?? []);
  reserve.keep(RESERVED_DESCRIPTORS, true);
  const options = optionsOf(flags, service);
  const folder = new RunFolder(flags.name ?? defaultName(service));
  const log = supervisorLog(folder.name, flags.log);
  const longOptions = runShape().options.flatMap(({ long }) => long ?? []);
  const misplaced = optionsAfter(service, process.argv.slice(3), longOptions);
  if (misplaced !== undefined && carried === undefined) log.warn(misplaced);
  const passed = takePassed(process.env);
  const started = carried?.manager ?? takeServiceManager(process.env);
  const manager = new ServiceManagerLink(started, log, carried?.isReady);
  const giver =
    carried === undefined && flags.takeOver !== undefined ? new Giver(flags.takeOver, folder) : undefined;
  // The lock may be another one later: one that was removed is made anew.
  folder.lock = carried === undefined ? claim(folder, giver) : FileLock.inherited(carried.lock);
  const agent = await agentOf(flags.fleet, folder.name, service.cwd, log, carried !== undefined);
  const next = nextProgram(folder, service, started ?? null, manager, () => lastResort.times, agent);
  const outputs = { stdout: process.stdout, stderr: process.stderr };
  const supervisor = new Supervisor(folder, service, options, log, outputs, next, manager);
  const goOn = () => supervisor.goOnAsNewProgram();
  const lastResort = new LastResort({ before: carried?.unexpected ?? [], goOn, log });
  if (carried !== undefined) {
    if (carried.control === undefined) folder.clear();
    supervisor.held.takeOver(carried.held);
  }
  holdPassed(passed, supervisor.held, manager, log);
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const stop = () => void supervisor.stop();
  // As process 1 of a container what has no handler is not even heard; SIGQUIT is the stop signal of some images.
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGQUIT', stop);
  passEarlyOn(['SIGTERM', 'SIGINT', 'SIGQUIT']);
  // The log tells how it went; who sent a signal has nobody to answer to.
  const request = {
    ifBusy: 'wait',
    allowFewerListeners: false,
    untilConfirmed: false,
    whenQuiet: null,
  } as const;
  const forgetHangUps = heedHangUps(log, () => supervisor.restartUnasked(request));
  const endObservers = observe(supervisor, folder.name, flags, log);
  const pass = (name: NodeJS.Signals) => supervisor.pass(name);
  for (const name of PASSED_ON) process.on(name, pass);
  try {
    // Where an earlier program of it has left generations, there is something to lose.
    if (carried !== undefined) lastResort.begin();
    supervisor.openListeners();
    await supervisor.start(giver, carried);
  } catch (error) {
    manager.tell(`the start failed: ${asMoultError(error, 'MOULT_SYSTEM_CALL').message}`);
    supervisor.abandon();
    endObservers();
    // A take-over that failed leaves nothing of its own.
    if (giver?.sharesFolder === false && supervisor.isEmpty) folder.remove();
    folder.release();
    throw error;
  }
  lastResort.begin();
  agent?.start();
  if (carried?.restarts) supervisor.restartUnasked(request);
  passEarlyOn(['SIGHUP', 'SIGUSR2']);
  const code = await supervisor.ended;
  endObservers();
  lastResort.end();
  if (supervisor.leavesFolder) agent?.endNow();
  else await agent?.leave();
  const left = supervisor.leavesFolder ? undefined : folder.remove();
  if (left !== undefined) log.warn(`the run folder could not be removed: ${left.message}`);
  folder.release();
  for (const name of PASSED_ON) process.off(name, pass);
  forgetHangUps();
  // Who asks for the end now has it: the listeners to those signals stay, or one of them would be its exit status.
  return code;
}

/** What speaks for the service in its fleet. @throws MOULT_BAD_OPTION at the first start; what runs is not ended for it later. */
async function agentOf(
  fleet: string | undefined,
  name: string,
  cwd: string,
  log: Logger,
  isUpgrade: boolean,
): Promise<AgentProcess | undefined> {
  if (fleet === undefined) return undefined;
  const { fleetSettings } = await import('../../fleet/settings.js');
  const { AgentProcess } = await import('../../fleet/agent/agent-process.js');
  try {
    await fleetSettings(fleet, cwd);
  } catch (error) {
    if (!isUpgrade) throw error;
    log.error(`${String(error)}: the service goes on`);
  }
  return new AgentProcess([name, '--fleet', fleet], cwd, { warn: (what) => log.warn(what) });
}

/** @param unexpected when there were errors that nothing expected. */
function nextProgram(
  folder: RunFolder,
  { cwd }: ServiceCommand,
  manager: ServiceManager | null,
  link: ServiceManagerLink,
  unexpected: () => readonly number[],
  agent: AgentProcess | undefined,
): NextProgram {
  const known = { format: CARRIED_FORMAT, cwd, manager };
  return {
    rehearse: (held, living) => rehearse({ ...known, lock: -1, held, living }),
    become: (held, leaves) => {
      const { isReady } = link;
      const lock = folder.lock?.keepOverExec() ?? -1;
      agent?.endNow();
      try {
        return becomeNewProgram({ ...known, lock, held, isReady, ...leaves, unexpected: unexpected() });
      } catch (error) {
        agent?.start();
        throw error;
      }
    },
  };
}

/** @throws MOULT_NAME_TAKEN when a living supervisor has the name, and this one is not to take over from it. */
function claim(folder: RunFolder, giver: Giver | undefined): FileLock {
  const shared = giver?.sharesFolder ? giver.ask()?.lock : undefined;
  if (shared === undefined) return folder.claim();
  folder.standBeside();
  return shared;
}

function optionsOf(flags: RunFlags, service: ServiceCommand): SupervisorOptions {
  const listen = listenOptions(flags.listen ?? [], service.cwd);
  const isProgram = flags.program ?? (listen.length > 0 && !isNodeCommand(service));
  if (isProgram) assertForProgram(flags);
  return {
    listen,
    isProgram,
    readyAfterMs: flags.readyAfter ?? null,
    measures: flags.metrics !== undefined,
    readyTimeoutMs: flags.readyTimeout,
    drainTimeoutMs: flags.drainTimeout,
    drainSpreadMs: flags.drainSpread,
    probationMs: flags.probation,
    busyTimeoutMs: flags.busyTimeout,
    stopTimeoutMs: flags.stopTimeout,
    stopSignal: flags.stopSignal,
    waitReady: flags.waitReady ?? false,
    check:
      flags.check === undefined
        ? null
        : {
            check: flags.check,
            status: flags.checkStatus,
            timeoutMs: flags.checkTimeout,
            retries: flags.checkRetries,
            intervalMs: flags.checkInterval,
          },
    hangTimeoutMs: flags.hangTimeout,
    maxErrorRate: flags.maxErrorRate ?? null,
    maxDraining: flags.maxDraining,
    minFreeMemoryBytes: flags.minFreeMemory,
    restart: flags.restart,
    allowUids: flags.allowUid ?? [],
    slots: flags.slots ?? null,
    sticky: flags.sticky ?? null,
    changeover: flags.changeover,
    keep:
      flags.keepReleases === undefined
        ? null
        : {
            count: flags.keepReleases,
            maxBytes: flags.keepSize,
            shared: (flags.sharedPath ?? []).map(sharedPath),
          },
  };
}

function listenOptions(values: readonly string[], cwd: string): ListenOption[] {
  const options = values.map((value) => parseListen(value, cwd));
  assertDifferent(options);
  return options;
}

/** @throws MOULT_BAD_OPTION for what a service cannot have of which only one generation may run. */
function assertAlone({ takeOver, listen }: RunFlags): void {
  const other = takeOver !== undefined ? '--take-over' : listen !== undefined ? '--listen' : undefined;
  if (other === undefined) return;
  const why = 'with it two generations run for a while, and exclusive is for services that must not';
  throw new MoultError(
    'MOULT_BAD_OPTION',
    `--changeover exclusive and ${other} cannot be given together: ${why}`,
  );
}

/** @throws MOULT_BAD_OPTION for what only a service can do that knows of moult. */
function assertForProgram(flags: RunFlags): void {
  const why = 'is for services that know of moult, and this command is a program (--listen or --program)';
  if (flags.takeOver !== undefined) throw new MoultError('MOULT_BAD_OPTION', `--take-over ${why}`);
  if (flags.maxErrorRate !== undefined) throw new MoultError('MOULT_BAD_OPTION', `--max-error-rate ${why}`);
  if (flags.slots !== undefined) throw new MoultError('MOULT_BAD_OPTION', `--slots ${why}`);
}

/** `address` or `cookie:NAME`. Source: RFC 6265, 4.1.1: the name is a token. */
function sticky(value: string): Sticky {
  if (value === 'address') return {};
  const cookie = /^cookie:([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256})$/.exec(value)?.[1];
  if (cookie === undefined)
    throw new InvalidArgumentError(`Expected address, or cookie: and its name, received "${value}".`);
  return { cookie };
}

/** @throws MOULT_BAD_OPTION for a path that leaves the folder. */
function sharedPath(value: string): string {
  const path = normalize(value).replace(/\/$/, '');
  if (path !== '.' && path !== '..' && !path.startsWith('../') && !isAbsolute(path)) return path;
  const what = `--shared-path: expected a path below the folder of the release, received "${value}"`;
  throw new MoultError('MOULT_BAD_OPTION', what);
}

function check(value: string): Check {
  const parsed = parseCheck(value);
  if (parsed === undefined) {
    throw new InvalidArgumentError(
      `Expected a path such as /healthz, tcp, or exec:COMMAND, received "${value}".`,
    );
  }
  return parsed;
}
