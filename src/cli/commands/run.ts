import { join } from 'node:path';
import { Command, Option } from 'commander';
import type { Logger } from 'pino';
import { ConfigSource, givenBy } from '../../config/config-source.js';
import { commandOptions } from '../../config/options/command-options.js';
import { size } from '../../config/options/values.js';
import { asMoultError, MoultError } from '../../errors.js';
import type { AgentProcess } from '../../fleet/agent/agent-process.js';
import { forgetOldOutput, KeptOutput, keptName } from '../../logs/kept-output.js';
import { reserve } from '../../os/descriptors/descriptor-reserve.js';
import { outOfDescriptors } from '../../os/descriptors/shortage.js';
import { FileLock } from '../../os/files/file-lock.js';
import { namedWorkingDirectory } from '../../os/files/working-directory.js';
import { isSupportedPlatform } from '../../os/libc.js';
import { trustUids } from '../../os/unix-sockets/peer.js';
import { type ServiceManager, takeServiceManager } from '../../service-manager/environment.js';
import { takePassed } from '../../service-manager/passed.js';
import { ServiceManagerLink } from '../../service-manager/service-manager.js';
import { heedHangUps } from '../../supervisor/hang-ups.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import { LastResort } from '../../supervisor/last-resort.js';
import { holdPassed } from '../../supervisor/listeners/inherited-listeners.js';
import { copyLog, supervisorLog } from '../../supervisor/log.js';
import { OutputFile } from '../../supervisor/output/output-file.js';
import { leftText } from '../../supervisor/output/output-reopening.js';
import { flushLines } from '../../supervisor/output/whole-lines.js';
import { boundOutput } from '../../supervisor/output-bound.js';
import { defaultName } from '../../supervisor/releases/release.js';
import { ServiceSettings } from '../../supervisor/service-settings.js';
import { Supervisor } from '../../supervisor/supervisor.js';
import { Giver } from '../../supervisor/takeover/incoming-takeover.js';
import type { NextProgram } from '../../supervisor/upgrade/in-place-upgrade.js';
import {
  becomeNewProgram,
  CARRIED_FORMAT,
  type CarriedOver,
  takeCarried,
} from '../../supervisor/upgrade/next-program.js';
import { rehearse } from '../../supervisor/upgrade/rehearsal.js';
import { visibleLine } from '../../terminal/visible.js';
import { passEarlyOn } from '../early-signals.js';
import { observe } from '../observers.js';
import { optionsAfter } from '../options/options-after.js';

/** Signals that mean something to the service, and would end the supervisor or mean nothing to it. */
const PASSED_ON = ['SIGUSR2', 'SIGWINCH'] as const;

/** As many as it takes to start a process and to let it in: pipes, their other ends, and a channel. */
const RESERVED_DESCRIPTORS = 12;

/** The command `moult run`: the service in the foreground, under a supervisor. Exit status: that of the service when it fails to start, 0 after a stop. */
export function runCommand(): Command {
  return runShape().action(async (_words: string[], _flags: object, command: Command) => {
    try {
      process.exitCode = await run(command);
    } catch (error) {
      throw outOfDescriptors(error) ?? error;
    }
  });
}

/** The options and arguments of `moult run`, for whoever writes them down for later. */
export function runShape(): Command {
  const shape = new Command('run')
    .description('start a service in the foreground, so that it can be restarted without losing a request')
    .usage('[options] [--] [script.js | command …]')
    .argument(
      '[command...]',
      'a script for Node, or a command with its arguments (default: that of the config file)',
    )
    .passThroughOptions()
    .option('--config <file>', 'the config file (default: the nearest moult.config.{ts,mts,js,mjs,json})')
    .option('--no-config', 'read no config file')
    .option('--service <key>', 'which service of a config file that has several');
  for (const option of commandOptions()) shape.addOption(option);
  // Of use to moult up alone, whose file is the output.
  shape.addOption(new Option('--output-bound <size>').argParser(size).hideHelp());
  return shape;
}

async function run(command: Command): Promise<number> {
  if (!isSupportedPlatform()) {
    throw new MoultError(
      'MOULT_UNSUPPORTED_PLATFORM',
      `moult run needs 64-bit Linux, this is ${process.platform} on ${process.arch}`,
    );
  }
  const carried = takeCarried(process.env);
  const cwd = carried?.cwd ?? namedWorkingDirectory();
  const source = new ConfigSource(givenBy(command, cwd));
  // What an earlier program has read holds on: a file that is broken by now is no reason to leave what lives alone.
  const first = await source.first(carried === undefined ? undefined : (carried.config ?? null));
  const { service, flags } = first;
  const settings = new ServiceSettings(first, () => source.again());
  trustUids(flags.allowUid ?? []);
  reserve.keep(RESERVED_DESCRIPTORS, true);
  const folder = new RunFolder(flags.name ?? defaultName(service));
  const output = outputFile(flags.output, service.cwd, carried === undefined);
  try {
    const log = settings.follows(supervisorLog(folder.name, flags.log));
    output?.onFull((error) =>
      log.error(`${flags.output} cannot be written, so what comes through moult waits: ${error.message}`),
    );
    return await supervise(command, { carried, cwd, first, settings, folder, log, output });
  } catch (error) {
    output?.giveBack();
    throw error;
  }
}

/** What there is before anything of the service is opened. */
interface Beginning {
  readonly carried: ReturnType<typeof takeCarried>;
  readonly cwd: string;
  readonly first: Awaited<ReturnType<ConfigSource['first']>>;
  readonly settings: ServiceSettings;
  readonly folder: RunFolder;
  readonly log: Logger;
  readonly output: OutputFile | undefined;
}

async function supervise(command: Command, beginning: Beginning): Promise<number> {
  const { carried, cwd, first, settings, folder, log, output } = beginning;
  const { service, flags } = first;
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
  const carries = () => {
    const { config } = settings.now;
    return { cwd, ...(config === undefined ? {} : { config }) };
  };
  const agent = await agentOf(flags.fleet, folder.name, cwd, log, carried !== undefined);
  const next = nextProgram(folder, carries, started ?? null, manager, () => lastResort.times, agent);
  const ownLog = new KeptOutput(join(folder.path, keptName('moult')));
  copyLog((line) => ownLog.add('moult', line));
  const keep = (generation: number) => {
    forgetOldOutput(folder.path, new Set(supervisor.generations()));
    return new KeptOutput(join(folder.path, keptName(generation)));
  };
  const outputs =
    output === undefined
      ? { stdout: process.stdout, stderr: process.stderr, keep }
      : { stdout: output.stream, stderr: output.stream, isExchanged: true, keep };
  const supervisor = new Supervisor(folder, settings, log, outputs, next, manager, output);
  const goOn = () => supervisor.goOnAsNewProgram();
  const lastResort = new LastResort({ before: carried?.unexpected ?? [], goOn, log });
  if (carried !== undefined) {
    if (carried.control === undefined) folder.clear();
    supervisor.held.takeOver(carried.held);
  }
  const { outputBound } = command.opts<{ outputBound?: number }>();
  // The file of the user is kept whole.
  if (outputBound !== undefined && output === undefined) boundOutput(outputBound);
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
  const endObservers = observe(supervisor, folder, flags, log);
  const pass = (name: NodeJS.Signals) => supervisor.pass(name);
  for (const name of PASSED_ON) process.on(name, pass);
  const reopen = () => reopenUnasked(supervisor, log);
  process.on('SIGUSR1', reopen);
  try {
    // Where an earlier program of it has left generations, there is something to lose.
    if (carried !== undefined) lastResort.begin();
    supervisor.openListeners();
    await supervisor.start(giver, carried);
  } catch (error) {
    manager.tell(`the start failed: ${asMoultError(error, 'MOULT_SYSTEM_CALL').message}`);
    supervisor.abandon();
    await endObservers();
    // A take-over that failed leaves nothing of its own.
    if (giver?.sharesFolder === false && supervisor.isEmpty) folder.remove();
    folder.release();
    throw error;
  }
  output?.keep();
  lastResort.begin();
  agent?.start();
  if (carried?.restarts) supervisor.restartUnasked(request);
  passEarlyOn(['SIGHUP', 'SIGUSR1', 'SIGUSR2']);
  const code = await supervisor.ended;
  await Promise.all([endObservers(), supervisor.leavesFolder ? agent?.endNow() : agent?.leave()]);
  lastResort.end();
  const left = supervisor.leavesFolder ? undefined : folder.remove();
  if (left !== undefined) log.warn(`the run folder could not be removed: ${left.message}`);
  folder.release();
  for (const name of PASSED_ON) process.off(name, pass);
  forgetHangUps();
  // Who asks for the end now has it: the listeners to those signals stay, or one of them would be its exit status.
  return code;
}

/** @param isFirst whether this process was just started by somebody, who may wait for its output. */
function outputFile(path: string | undefined, cwd: string, isFirst: boolean): OutputFile | undefined {
  if (path === undefined) return undefined;
  const file = OutputFile.begin(path, cwd);
  if (isFirst) file.tellBefore(`moult: all output goes to ${visibleLine(file.path)}\n`);
  return file;
}

/** As a signal asks for it: the log tells how it went. */
function reopenUnasked(supervisor: Supervisor, log: Logger): void {
  supervisor.reopenOutput().then(
    ({ file, left }) => {
      log.info(`${file} was reopened`);
      if (left.length > 0) log.warn(leftText(left));
    },
    (error: unknown) => log.error(asMoultError(error, 'MOULT_OUTPUT_FILE').message),
  );
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
    log.error(`${String(error)}: the service keeps running`);
  }
  return new AgentProcess(name, fleet, cwd, { warn: (what) => log.warn(what) });
}

/** @param unexpected when there were errors that nothing expected. */
function nextProgram(
  folder: RunFolder,
  carries: () => Pick<CarriedOver, 'cwd' | 'config'>,
  manager: ServiceManager | null,
  link: ServiceManagerLink,
  unexpected: () => readonly number[],
  agent: AgentProcess | undefined,
): NextProgram {
  const known = { format: CARRIED_FORMAT, manager };
  return {
    rehearse: (held, living) => rehearse({ ...known, ...carries(), lock: -1, held, living }),
    become: (held, leaves) => {
      flushLines();
      const { isReady } = link;
      const lock = folder.lock?.keepOverExec() ?? -1;
      const left = { ...known, ...carries(), lock, held, isReady, ...leaves, unexpected: unexpected() };
      agent?.endNow();
      try {
        return becomeNewProgram(left);
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
