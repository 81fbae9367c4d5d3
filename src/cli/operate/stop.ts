import { Command } from 'commander';
import { print, printJson } from '../../terminal/print.js';
import { ask } from '../services/control.js';
import { meantServices } from '../services/meant-services.js';

/** The command `moult stop`: finishes what is in flight, then ends the service and its supervisor. */
export function stopCommand(): Command {
  return new Command('stop')
    .description('stop a service gracefully; kill it after its time-outs')
    .argument('[name]', 'the service (default: those of the config file, else the only one that runs)')
    .option('--json', 'print the result as JSON')
    .action(async (name: string | undefined, flags: { readonly json?: true }) => {
      const { folders } = await meantServices(name, true);
      // Those that come after others end before them.
      for (const folder of [...folders].reverse()) {
        await ask(folder, { type: 'stop' });
        if (flags.json !== true) print(`${folder.name} has ended`);
      }
      if (flags.json === true) printJson({ type: 'result', ok: true });
    });
}
