import type { Commands } from './command-table.js';
import { dispatch } from './dispatch.js';
import { operatorCommands } from './operator-commands.js';

const commands: Commands = {
  run: async () => (await import('./commands/run.js')).runCommand(),
  ...operatorCommands,
  dev: async () => (await import('./commands/dev.js')).devCommandLine(),
  up: async () => (await import('./commands/up.js')).upCommand(),
  dashboard: async () => (await import('./commands/dashboard.js')).dashboardCommand(),
  fleet: async () => (await import('./fleet/fleet.js')).fleetCommand(),
  upgrade: async () => (await import('./commands/upgrade.js')).upgradeCommand(),
  config: async () => (await import('./commands/config.js')).configCommand(),
  import: async () => (await import('./commands/import.js')).importCommand(),
  completion: async () =>
    (await import('./commands/completion.js')).completionCommand(() => commands, HIDDEN),
  systemd: async () => (await import('./commands/systemd.js')).systemdCommand(),
  verify: async () => (await import('./commands/verify.js')).verifyCommand(),
  rehearse: async () => (await import('./commands/rehearse.js')).rehearseCommand(),
};
/** What `moult upgrade` starts, and nobody else. */
const HIDDEN = 'rehearse';

/** Runs the command that the command line names. */
export const main = (): Promise<void> => dispatch(commands, HIDDEN);
