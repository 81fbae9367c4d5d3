#!/usr/bin/env -S node --
// The `--` keeps Node from reading our own --env-file into this process: it looks for it in all arguments.
import { Command } from 'commander';
import { MOULT_VERSION } from '../version.js';
import { reportFailure } from './failure.js';
import { historyCommand } from './history.js';
import { restartCommand } from './restart.js';
import { rollbackCommand } from './rollback.js';
import { runCommand } from './run.js';
import { scaleCommand } from './scale.js';
import { statusCommand } from './status.js';
import { stopCommand } from './stop.js';
import { systemdCommand } from './systemd.js';
import { upgradeCommand } from './upgrade.js';
import { verifyCommand } from './verify.js';

const program = new Command('moult')
  .description('Hot restart: replaces a running service by its next version; connections move, none is lost.')
  .version(MOULT_VERSION)
  .enablePositionalOptions()
  .showHelpAfterError('(moult <command> --help shows what it takes)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

const commands = [
  runCommand(),
  restartCommand(),
  rollbackCommand(),
  scaleCommand(),
  statusCommand(),
  historyCommand(),
  stopCommand(),
  upgradeCommand(),
  systemdCommand(),
  verifyCommand(),
];
for (const command of commands) {
  program.addCommand(command.copyInheritedSettings(program));
}

program.parseAsync().catch((error: unknown) => {
  process.exitCode = reportFailure(error, process.argv.includes('--json'));
});
