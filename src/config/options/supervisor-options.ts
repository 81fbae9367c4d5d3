import { isAbsolute, normalize } from 'node:path';
import { MoultError } from '../../errors.js';
import { assertDifferent, type ListenOption, parseListen } from '../../programs/listen-option.js';
import type { SupervisorOptions } from '../../supervisor/options.js';
import { isNodeCommand, type ServiceCommand } from '../../supervisor/releases/release.js';
import type { RunFlags } from './run-options.js';

/**
 * The options of a service as its supervisor takes them.
 * @throws MOULT_BAD_OPTION for those that do not go together
 */
export function supervisorOptions(flags: RunFlags, service: ServiceCommand): SupervisorOptions {
  assertTogether(flags);
  const listen = listenOptions(flags.listen ?? [], service.cwd);
  const isProgram = flags.program ?? (listen.length > 0 && !isNodeCommand(service));
  if (isProgram) assertForProgram(flags);
  return {
    listen,
    isProgram,
    readyAfterMs: flags.readyAfter ?? null,
    measures: flags.metrics !== undefined || flags.dashboard !== undefined,
    readyTimeoutMs: flags.readyTimeout,
    drainTimeoutMs: flags.drainTimeout,
    drainSpreadMs: flags.drainSpread,
    tls: flags.tls,
    probationMs: flags.probation,
    busyTimeoutMs: flags.busyTimeout,
    stopTimeoutMs: flags.stopTimeout,
    stopSignal: flags.stopSignal,
    stopDelayMs: flags.stopDelay,
    stopDelaySignal: flags.stopDelaySignal ?? null,
    unreadyPath: flags.unreadyPath ?? null,
    keepAliveMs: flags.keepAlive ?? null,
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
    maxMemoryBytes: flags.maxMemory ?? null,
    maxAgeMs: flags.maxAge ?? null,
    recycleAt: flags.recycle ?? null,
    restart: flags.restart,
    allowUids: flags.allowUid ?? [],
    slots: flags.slots ?? null,
    instanceVar: flags.instanceVar ?? null,
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

function assertTogether(flags: RunFlags): void {
  if (flags.slots !== undefined && flags.takeOver !== undefined) {
    throw new MoultError(
      'MOULT_BAD_OPTION',
      '--slots and --take-over cannot be combined: a service in slots cannot be taken over',
    );
  }
  if (flags.sticky !== undefined && flags.slots === undefined) {
    const what = '--sticky needs --slots: without slots one process serves all clients';
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  if (flags.changeover === 'exclusive') assertAlone(flags);
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
  const why = 'it runs two generations at once, which exclusive is meant to prevent';
  throw new MoultError('MOULT_BAD_OPTION', `--changeover exclusive and ${other} cannot be combined: ${why}`);
}

/** @throws MOULT_BAD_OPTION for what only a service can do that knows of moult. */
function assertForProgram(flags: RunFlags): void {
  const why = 'is for services that use moult, but this command is a program (--listen or --program)';
  if (flags.takeOver !== undefined) throw new MoultError('MOULT_BAD_OPTION', `--take-over ${why}`);
  if (flags.maxErrorRate !== undefined) throw new MoultError('MOULT_BAD_OPTION', `--max-error-rate ${why}`);
  if (flags.slots !== undefined) throw new MoultError('MOULT_BAD_OPTION', `--slots ${why}`);
}

/** @throws MOULT_BAD_OPTION for a path that leaves the folder. */
function sharedPath(value: string): string {
  const path = normalize(value).replace(/\/$/, '');
  if (path !== '.' && path !== '..' && !path.startsWith('../') && !isAbsolute(path)) return path;
  const what = `--shared-path: expected a path below the folder of the release, received "${value}"`;
  throw new MoultError('MOULT_BAD_OPTION', what);
}
