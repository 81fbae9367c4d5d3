import { Command } from 'commander';
import { agentCommand } from './agent.js';
import { forgetCommand } from './forget.js';
import { historyCommand } from './history.js';
import { leadCommand } from './lead.js';
import { restartCommand } from './restart.js';
import { statusCommand } from './status.js';
import { steerCommands } from './steer.js';
import { watchCommand } from './watch.js';

/** The command `moult fleet`: the same service on many machines. */
export function fleetCommand(): Command {
  const fleet = new Command('fleet')
    .description('restart a service on many machines, in waves')
    .enablePositionalOptions();
  const shown = [
    statusCommand(),
    restartCommand(),
    watchCommand(),
    ...steerCommands(),
    historyCommand(),
    forgetCommand(),
    leadCommand(),
  ];
  for (const command of shown) fleet.addCommand(command);
  // `moult run --fleet` starts it.
  fleet.addCommand(agentCommand(), { hidden: true });
  return fleet;
}
