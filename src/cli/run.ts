import { Command } from 'commander';
import { MoultError } from '../errors.js';
import { isSupportedPlatform } from '../os/libc.js';
import { supervisorLog } from '../supervisor/log.js';
import { defaultOptions, type SupervisorOptions } from '../supervisor/options.js';
import { defaultName, namedWorkingDirectory } from '../supervisor/release.js';
import { RunFolder } from '../supervisor/run-folder.js';
import { Supervisor } from '../supervisor/supervisor.js';
import { collect, duration, oneOf, showMs, signalName } from './option-types.js';

interface Flags {
  readonly name?: string;
  readonly envFile: readonly string[];
  readonly readyTimeout: number;
  readonly drainTimeout: number;
  readonly probation: number;
  readonly stopTimeout: number;
  readonly stopSignal: NodeJS.Signals;
  readonly waitReady?: true;
  readonly restart: SupervisorOptions['restart'];
  readonly log: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

/** The command `moult run`: the service in the foreground, under a supervisor. Exit status: that of the service when it fails to start, 0 after a stop. */
export function runCommand(): Command {
  const d = defaultOptions;
  return new Command('run')
    .description('start a service in the foreground, ready to be restarted without loss')
    .usage('[options] [--] <script.js | command …>')
    .argument('<command...>', 'a script for Node, or a command with its arguments')
    .passThroughOptions()
    .option(
      '--name <name>',
      "its name for the other commands (default: the nearest package.json's, else the script's)",
    )
    .option(
      '--env-file <file>',
      'environment variables for the service, read at each start; may be given again',
      collect,
      [],
    )
    .option(
      '--ready-timeout <time>',
      `how long a successor may take to be ready (default: ${showMs(d.readyTimeoutMs)})`,
      duration,
      d.readyTimeoutMs,
    )
    .option(
      '--drain-timeout <time>',
      `how long connections that cannot move may last (default: ${showMs(d.drainTimeoutMs)})`,
      duration,
      d.drainTimeoutMs,
    )
    .option(
      '--probation <time>',
      `how long the predecessor stays able to resume (default: ${showMs(d.probationMs)})`,
      duration,
      d.probationMs,
    )
    .option(
      '--stop-timeout <time>',
      `how long it may take to end after its stop signal (default: ${showMs(d.stopTimeoutMs)})`,
      duration,
      d.stopTimeoutMs,
    )
    .option('--stop-signal <signal>', 'the signal that ends a generation', signalName, d.stopSignal)
    .option('--wait-ready', "wait for process.send('ready') rather than for the listeners")
    .option(
      '--restart <when>',
      'when it ends by itself: always, on-failure or never',
      oneOf('always', 'on-failure', 'never'),
      d.restart,
    )
    .option(
      '--log <level>',
      'how much moult itself says: debug, info, warn, error or silent',
      oneOf('debug', 'info', 'warn', 'error', 'silent'),
      'info',
    )
    .action(async (words: string[], flags: Flags) => {
      process.exitCode = await run(words, flags);
    });
}

async function run(words: readonly string[], flags: Flags): Promise<number> {
  if (!isSupportedPlatform()) {
    throw new MoultError(
      'MOULT_UNSUPPORTED_PLATFORM',
      `moult run needs 64-bit Linux, this is ${process.platform} on ${process.arch}`,
    );
  }
  const service = { words, cwd: namedWorkingDirectory(), envFiles: flags.envFile };
  const folder = new RunFolder(flags.name ?? defaultName(service));
  const log = supervisorLog(folder.name, flags.log);
  const lock = folder.claim();
  const supervisor = new Supervisor(
    folder,
    service,
    {
      readyTimeoutMs: flags.readyTimeout,
      drainTimeoutMs: flags.drainTimeout,
      probationMs: flags.probation,
      stopTimeoutMs: flags.stopTimeout,
      stopSignal: flags.stopSignal,
      waitReady: flags.waitReady ?? false,
      restart: flags.restart,
    },
    log,
    { stdout: process.stdout, stderr: process.stderr },
  );
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const stop = () => void supervisor.stop();
  process.on('SIGTERM', stop).on('SIGINT', stop);
  // The log tells how it went; who sent a signal has nobody to answer to.
  process.on(
    'SIGHUP',
    () => void supervisor.restart({ ifBusy: 'wait', allowFewerListeners: false }).catch(() => {}),
  );
  try {
    await supervisor.start();
    return await supervisor.ended;
  } finally {
    folder.remove();
    lock.release();
    process.off('SIGTERM', stop).off('SIGINT', stop).removeAllListeners('SIGHUP');
  }
}
