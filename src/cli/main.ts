#!/usr/bin/env node
import { Command } from 'commander';
import { MOULT_VERSION } from '../version.js';
import { reportFailure } from './failure.js';
import { restartCommand } from './restart.js';
import { runCommand } from './run.js';
import { statusCommand } from './status.js';
import { stopCommand } from './stop.js';
import { verifyCommand } from './verify.js';

const program = new Command('moult')
  .description('Hot restart: replaces a running service by its next version; connections move, none is lost.')
  .version(MOULT_VERSION)
  .enablePositionalOptions()
  .showHelpAfterError('(moult <command> --help shows what it takes)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

for (const command of [runCommand(), restartCommand(), statusCommand(), stopCommand(), verifyCommand()]) {
  program.addCommand(command);
}

program.parseAsync().catch((error: unknown) => {
  process.exitCode = reportFailure(error, process.argv.includes('--json'));
});
