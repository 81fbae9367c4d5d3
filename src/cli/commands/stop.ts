import { Command } from 'commander';
import { print, printJson } from '../../terminal/print.js';
import { ask, findService } from '../control.js';

/** The command `moult stop`: finishes what is in flight, then ends the service and its supervisor. */
export function stopCommand(): Command {
  return new Command('stop')
    .description('stop a service gracefully; kill it after its time-outs')
    .argument('[name]', 'the service (default: the only one that runs)')
    .option('--json', 'print the result as JSON')
    .action(async (name: string | undefined, flags: { readonly json?: true }) => {
      const folder = findService(name);
      await ask(folder, { type: 'stop' });
      if (flags.json === true) printJson({ type: 'result', ok: true });
      else print(`${folder.name} has ended`);
    });
}
