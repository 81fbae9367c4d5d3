import { Command } from 'commander';
import type { StageEvent } from '../../lifecycle/restart-record.js';
import { paint } from '../../terminal/paint.js';
import { print, printJson } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { ask, findService } from '../services/control.js';
import { showFor } from '../show/show-stages.js';

/** The result for programs has more. */
const SHOWN_FILES = 10;

/** The command `moult rollback`: back to the release before, at once within probation, else by starting it again. */
export function rollbackCommand(): Command {
  return new Command('rollback')
    .description('return to the previous release')
    .argument('[name]', 'the service (default: the only one that runs)')
    .option(
      '--allow-fewer-listeners',
      'succeed although a release that is started again listens on less than it did before',
    )
    .option('--json', 'print events and the result as lines of JSON')
    .action(
      async (
        name: string | undefined,
        flags: { readonly json?: true; readonly allowFewerListeners?: true },
      ) => {
        const folder = await findService(name);
        const show = showFor(flags.json === true, folder.name);
        try {
          const request = {
            type: 'rollback',
            ...(flags.allowFewerListeners && { allowFewerListeners: true }),
          } as const;
          const value = await ask(folder, request, (event) => show.stage(event as unknown as StageEvent));
          show.failed();
          const how =
            value.how === 'resumed' ? 'the predecessor serves again' : 'the release before was started again';
          const changed = Array.isArray(value.changedFiles) ? value.changedFiles.map(String) : [];
          const whole = `${how} (generation ${visibleLine(String(value.generation))})`;
          if (flags.json === true) printJson({ type: 'result', ok: true, ...value });
          else if (changed.length === 0) print(`${paint.green('✓')} ${whole}`);
          else
            print([`${paint.yellow('!')} ${whole}, but not all of it:`, ...changedLines(changed)].join('\n'));
        } catch (error) {
          show.failed();
          throw error;
        }
      },
    );
}

/** Files of the release that stay as another one has them. */
function changedLines(files: readonly string[]): string[] {
  const more = files.length - SHOWN_FILES;
  return [
    '  these files were changed since that release started, and moult cannot',
    '  restore them. The release reads them as they are now:',
    ...files.slice(0, SHOWN_FILES).map((file) => `    ${visibleLine(file)}`),
    ...(more > 0 ? [`    and ${more} more`] : []),
    '  If they are data of the service, all is well. If they belong to a release:',
    '  write them back, and restart. moult run --keep-releases keeps copies.',
  ];
}
