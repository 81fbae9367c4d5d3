import { Command } from 'commander';
import { leftText, type Reopened } from '../../supervisor/output/output-reopening.js';
import { paint } from '../../terminal/paint.js';
import { print, printJson, tell } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { ask } from '../services/control.js';
import { meantServices } from '../services/meant-services.js';

interface Flags {
  readonly reopen?: true;
  readonly json?: true;
}

/** The command `moult logs`. */
export function logsCommand(): Command {
  return new Command('logs')
    .description('open the output file of a service anew')
    .argument('[name]', 'the service (default: those of the config file, else the only one that runs)')
    .option('--reopen', 'open the file of --output anew, after it was moved aside')
    .option('--json', 'print the result as JSON')
    .action(async (name: string | undefined, flags: Flags) => {
      const { folders } = await meantServices(name, true);
      for (const folder of folders) {
        const value = (await ask(folder, { type: 'reopen-output' })) as unknown as Reopened;
        if (flags.json === true) printJson({ type: 'result', ok: true, ...value });
        else {
          print(
            `${paint.green('✓')} ${visibleLine(folder.name)}: ${visibleLine(value.file)} was opened anew`,
          );
          if (value.left.length > 0) tell(leftText(value.left));
        }
      }
    });
}
