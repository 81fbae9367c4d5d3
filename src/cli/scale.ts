import { Command } from 'commander';
import pc from 'picocolors';
import { ask, findService } from './control.js';
import { slotNumber } from './option-types.js';

/** The command `moult scale`: more or fewer processes of a service that runs in slots. Exit status: 0 when they serve. */
export function scaleCommand(): Command {
  return new Command('scale')
    .description('change how many processes share a service that was started with --slots')
    .argument('<slots>', 'how many from now on, or max for as many as there are cores', slotNumber)
    .argument('[name]', 'the service (default: the only one that runs)')
    .option('--json', 'print the result as a line of JSON')
    .action(async (slots: number, name: string | undefined, flags: { readonly json?: true }) => {
      const value = await ask(findService(name), { type: 'scale', slots });
      process.stdout.write(
        flags.json === true
          ? `${JSON.stringify({ type: 'result', ok: true, ...value })}\n`
          : `${pc.green('✓')} ${String(value.slots)} slots serve (${String(value.were)} did before)\n`,
      );
    });
}
