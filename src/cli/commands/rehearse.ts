import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Script } from 'node:vm';
import type { Command } from 'commander';
import { ConfigSource, givenBy } from '../../config/config-source.js';
import { MoultError } from '../../errors.js';
import { libc } from '../../os/libc.js';
import { startTicks } from '../../os/processes/process.js';
import { Journal } from '../../supervisor/journal/journal.js';
import { JournalFile } from '../../supervisor/journal/journal-file.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import { livingGenerations } from '../../supervisor/process/journal-replay.js';
import { loadedBy, ServiceFilesFinder } from '../../supervisor/process/service-files.js';
import { defaultName, resolveRelease } from '../../supervisor/releases/release.js';
import { CARRIED_FORMAT, type CarriedOver, takeCarried } from '../../supervisor/upgrade/next-program.js';
import type { Rehearsed } from '../../supervisor/upgrade/rehearsal.js';
import { printJson } from '../../terminal/print.js';
import { MOULT_VERSION } from '../../version.js';
import { runShape } from './run.js';

/**
 * The command that `moult upgrade` starts before it replaces a supervisor's program, with the arguments of `moult run`:
 * it says on standard output whether this program could take over, and changes nothing.
 */
export function rehearseCommand(): Command {
  return runShape()
    .name('rehearse')
    .action(async (_words: string[], _flags: object, command: Command) => {
      const carried = takeCarried(process.env);
      if (carried === undefined)
        throw new MoultError(
          'MOULT_BAD_OPTION',
          'expected to be started by moult upgrade, which says what it leaves',
        );
      assertLoads();
      await assertKnows(carried, command);
      const answer: Rehearsed = { type: 'rehearsed', version: MOULT_VERSION, format: CARRIED_FORMAT };
      printJson({ ...answer });
    });
}

// What the supervisor, and the services that it starts, load later than at their start.
function assertLoads(): void {
  libc();
  const files = new ServiceFilesFinder('/nowhere', (what) => {
    throw new MoultError('MOULT_BAD_OPTION', what);
  });
  const { preload } = files.find();
  for (const name of loadedBy(dirname(preload), basename(preload))) {
    const filename = join(dirname(preload), name);
    const text = readFileSync(filename, 'utf8');
    try {
      new Script(`(function (exports, require, module, __filename, __dirname) {${text}\n})`, { filename });
    } catch (cause) {
      const what = `${filename} is not whole: ${(cause as Error).message}`;
      throw new MoultError('MOULT_BAD_OPTION', what, { cause });
    }
  }
  files.close();
}

async function assertKnows(
  { format = 0, cwd, living = [], config }: CarriedOver,
  command: Command,
): Promise<void> {
  if (format > CARRIED_FORMAT) {
    const what = `expected what is left in format ${CARRIED_FORMAT} or an older one, received ${format}`;
    throw new MoultError('MOULT_PROTOCOL_VERSION', what);
  }
  const { service, flags } = await new ConfigSource(givenBy(command, cwd)).first(config ?? null);
  // Without its command the next program could not begin.
  resolveRelease(service);
  const folder = new RunFolder(flags.name ?? defaultName(service));
  const journal = new Journal(new JournalFile(folder.journal, () => {}));
  const told = livingGenerations(journal.read()).living.filter(({ pid, ticks }) => startTicks(pid) === ticks);
  const isTold = (number: number) => told.some(({ generation }) => generation === number);
  const missing = living.filter(
    // One that drains may have ended since it was counted.
    ({ generation, pid, ticks }) => !isTold(generation) && ticks !== undefined && startTicks(pid) === ticks,
  );
  if (missing.length === 0) return;
  const what = `generation ${missing.map(({ generation }) => generation).join(', ')} lives, and this version does not find it in the journal`;
  throw new MoultError('MOULT_PROTOCOL_VERSION', what);
}
