import { Command } from 'commander';
import { pastRolls } from '../../fleet/roster.js';
import { paint } from '../../terminal/paint.js';
import { print, printJson } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { table } from '../../terminal/table.js';
import { withFleet, withStore } from './open.js';

/** The command `moult fleet history`: rolls that have ended, the last first. */
export function historyCommand(): Command {
  return withFleet(new Command('history'))
    .description('show past rolls')
    .argument('[name]', 'the service (default: all)')
    .option('--json', 'print a JSON array, oldest first')
    .action(async (name: string | undefined, { fleet, json }: { fleet?: string; json?: true }) => {
      const rolls = await withStore(fleet, (store) => pastRolls(store, name));
      if (json === true) {
        printJson(rolls);
        return;
      }
      if (rolls.length === 0) {
        print(name === undefined ? 'no roll has ended yet' : `no roll of ${name} has ended yet`);
        return;
      }
      const rows = rolls.reverse().map((roll) => {
        const states = Object.values(roll.hosts);
        const confirmed = states.filter(
          ({ state }) => state === 'confirmed' || state === 'undo-failed',
        ).length;
        return {
          cells: [
            roll.service,
            roll.serial,
            new Date(roll.startedAt).toISOString().slice(0, 16).replace('T', ' '),
            roll.phase,
            `${confirmed} of ${states.length}`,
            roll.release ?? '–',
            roll.by,
          ],
          paint: { 3: roll.phase === 'done' ? paint.green : paint.yellow },
          ...(roll.reason === undefined ? {} : { below: [roll.reason] }),
        };
      });
      const head = ['SERVICE', 'ROLL', 'BEGAN (UTC)', 'RESULT', 'NEW', 'RELEASE', 'BY'];
      print(table(head, rows, screenOf(process.stdout).columns).join('\n'));
    });
}
