import { Command } from 'commander';
import type { StageEvent } from '../../lifecycle/restart-record.js';
import { paint } from '../../terminal/paint.js';
import { print, printJson } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { ask, findService } from '../services/control.js';
import { showFor } from '../show/show-stages.js';

/** The command `moult rollback`: back to the release before, at once within probation, else by starting it again. */
export function rollbackCommand(): Command {
  return new Command('rollback')
    .description('return to the previous release')
    .argument('[name]', 'the service (default: the only one that runs)')
    .option('--json', 'print events and the result as lines of JSON')
    .action(async (name: string | undefined, flags: { readonly json?: true }) => {
      const folder = await findService(name);
      const show = showFor(flags.json === true, folder.name);
      try {
        const value = await ask(folder, { type: 'rollback' }, (event) =>
          show.stage(event as unknown as StageEvent),
        );
        show.failed();
        const how =
          value.how === 'resumed' ? 'the predecessor serves again' : 'the release before was started again';
        if (flags.json === true) printJson({ type: 'result', ok: true, ...value });
        else print(`${paint.green('✓')} ${how} (generation ${visibleLine(String(value.generation))})`);
      } catch (error) {
        show.failed();
        throw error;
      }
    });
}
