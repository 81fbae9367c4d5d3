import Table from 'cli-table3';
import { Command } from 'commander';
import pc from 'picocolors';
import { ask, findService } from './control.js';
import { showMs } from './option-types.js';
import { plainTable } from './table.js';

/** The command `moult history`: past restarts of a running service, with result, reason, stages and times. */
export function historyCommand(): Command {
  return new Command('history')
    .description('show past restarts')
    .argument('[name]', 'the service (default: the only one that runs)')
    .option('--json', 'print them as a list of JSON')
    .action(async (name: string | undefined, flags: { readonly json?: true }) => {
      const { restarts } = await ask(findService(name), { type: 'history' });
      const all = restarts as Record<string, unknown>[];
      process.stdout.write(flags.json === true ? `${JSON.stringify(all)}\n` : `${historyText(all)}\n`);
    });
}

/** Past restarts for people. */
export function historyText(restarts: readonly Record<string, unknown>[]): string {
  if (restarts.length === 0) return 'no restart so far';
  const hasSlots = restarts.some(({ slot }) => slot !== undefined);
  const head = ['when', ...(hasSlots ? ['slot'] : []), 'generation', 'result', 'took', 'moved', 'why'];
  const table = new Table({ ...plainTable, head });
  for (const one of restarts) {
    const result = String(one.result);
    const colour = result === 'confirmed' || result === 'took over' ? pc.green : pc.red;
    table.push([
      new Date(Number(one.at)).toISOString().slice(0, 19).replace('T', ' '),
      ...(hasSlots ? [String(one.slot ?? '')] : []),
      String(one.generation),
      colour(result),
      one.tookMs === undefined ? '' : showMs(Number(one.tookMs)),
      one.moved === undefined ? '' : String(one.moved),
      one.message === undefined ? '' : `${String(one.message)} (${String(one.code)})`,
    ]);
  }
  return table.toString();
}
