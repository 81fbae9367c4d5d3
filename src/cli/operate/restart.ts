import { Command } from 'commander';
import { asMoultError, MoultError } from '../../errors.js';
import type { RestartSummary, StageEvent } from '../../lifecycle/restart-record.js';
import type { RunFolder } from '../../supervisor/journal/run-folder.js';
import { paint } from '../../terminal/paint.js';
import { print, printJson } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { oneOf, positiveNumber, timeOption, wholeNumber } from '../options/option-types.js';
import { ask } from '../services/control.js';
import { meantServices } from '../services/meant-services.js';
import { showFor } from '../show/show-stages.js';

interface Flags {
  readonly json?: true;
  readonly wait: boolean | 'taken-over' | 'confirmed' | 'drained';
  readonly whenQuiet?: number | true;
  readonly within: number;
  readonly atLimit: 'go' | 'give-up';
  readonly ifBusy: 'wait' | 'refuse';
  readonly allowFewerListeners?: true;
  readonly surge: number;
  readonly onFailure: 'undo' | 'keep';
  readonly force?: true;
}

/** The command `moult restart`. Exit status: 0 when the successor serves, 1 when the predecessor still does. */
export function restartCommand(): Command {
  return new Command('restart')
    .description('replace the running service with the version that is at its path now')
    .argument('[name]', 'the service (default: those of the config file, else the only one that runs)')
    .option(
      '--wait <until>',
      'when to return: after the successor has taken over, after its probation (confirmed), or when the predecessor has no connection left (drained)',
      oneOf('taken-over', 'confirmed', 'drained'),
      'taken-over',
    )
    .option('--no-wait', 'return immediately')
    .option(
      '--when-quiet [requests]',
      'wait until at most this many requests are in flight (0 if omitted)',
      wholeNumber,
    )
    .addOption(timeOption('--within <time>', 'how long --when-quiet waits', 120_000))
    .option(
      '--at-limit <what>',
      'what to do if it did not become quiet in time: go ahead (go) or give up (give-up)',
      oneOf('go', 'give-up'),
      'go',
    )
    .option(
      '--if-busy <what>',
      'what to do during another restart: wait or refuse',
      oneOf('wait', 'refuse'),
      'wait',
    )
    .option('--allow-fewer-listeners', 'consider the new release ready even if it listens on fewer addresses')
    .option(
      '--surge <n>',
      'with slots: how many to replace at the same time, after the first',
      positiveNumber,
      1,
    )
    .option(
      '--on-failure <what>',
      'with slots: if one fails, undo or keep those already replaced',
      oneOf('undo', 'keep'),
      'undo',
    )
    .option(
      '--force',
      'replace a service that does not respond; this cuts its connections and their requests',
    )
    .option('--json', 'print events and the result as lines of JSON')
    .action(async (name: string | undefined, flags: Flags) => {
      const { folders, missing } = await meantServices(name);
      const [only, ...more] = folders;
      if (more.length === 0 && missing.length === 0 && only !== undefined) await restartOne(only, flags);
      else await restartAll(folders, missing, flags);
    });
}

/** One after another, in the order in which they start: the first that fails ends it. */
async function restartAll(
  folders: readonly RunFolder[],
  missing: readonly string[],
  flags: Flags,
): Promise<void> {
  const done: string[] = [];
  for (const folder of folders) {
    if (flags.json !== true) print(paint.bold(visibleLine(folder.name)));
    try {
      await restartOne(folder, flags);
    } catch (cause) {
      const error = asMoultError(cause, 'MOULT_HANDOVER_ABORTED');
      const after = folders.slice(done.length + 1).map(({ name }) => name);
      const words = [
        ...(done.length === 0
          ? []
          : [`${done.join(', ')} ${done.length === 1 ? 'runs' : 'run'} the new release`]),
        ...(after.length === 0
          ? []
          : [`${after.join(', ')} ${after.length === 1 ? 'was' : 'were'} not touched`]),
      ];
      const what = [`${folder.name}: ${error.message}`, ...words].join('; ');
      throw new MoultError(error.code, what, {
        serving: error.serving,
        details: { ...error.details, service: folder.name, restarted: done, untouched: after },
        cause,
        ...(error.stage === undefined ? {} : { stage: error.stage }),
      });
    }
    done.push(folder.name);
  }
  if (flags.json === true) printJson({ type: 'result', ok: true, restarted: done, missing });
  else {
    print(`${paint.green('✓')} ${visibleLine(done.join(', '))}: restarted`);
    if (missing.length > 0)
      print(visibleLine(`${missing.join(', ')}: not running; moult up starts what is missing`));
  }
}

async function restartOne(folder: RunFolder, flags: Flags): Promise<void> {
  const show = showFor(flags.json === true, folder.name);
  const { wait } = flags;
  try {
    const value = await ask(
      folder,
      {
        type: 'restart',
        wait: wait !== false,
        ifBusy: flags.ifBusy,
        allowFewerListeners: flags.allowFewerListeners ?? false,
        untilConfirmed: wait === 'confirmed',
        untilDrained: wait === 'drained',
        surge: flags.surge,
        onFailure: flags.onFailure,
        ...(flags.force ? { force: true } : {}),
        whenQuiet:
          flags.whenQuiet === undefined
            ? null
            : {
                below: flags.whenQuiet === true ? 0 : flags.whenQuiet,
                withinMs: flags.within,
                atLimit: flags.atLimit,
              },
      },
      (event) => show.stage(event as unknown as StageEvent),
    );
    if (wait !== false) show.done(value as unknown as RestartSummary);
    else if (flags.json === true) printJson({ type: 'result', ok: true, started: true });
    else print(`restart of ${folder.name} has begun; moult status shows its progress`);
  } catch (error) {
    show.failed();
    throw error;
  }
}
