import { Command } from 'commander';
import { outliveReader, print, tell } from '../terminal/print.js';
import { MOULT_VERSION } from '../version.js';
import { takeOwnEnvironment } from './environment.js';
import { reportFailure } from './failure.js';
import { historyCommand } from './history.js';
import { otherNames } from './other-names.js';
import { rehearseCommand } from './rehearse.js';
import { restartCommand } from './restart.js';
import { rollbackCommand } from './rollback.js';
import { runCommand } from './run.js';
import { scaleCommand } from './scale.js';
import { statusCommand } from './status.js';
import { stopCommand } from './stop.js';
import { systemdCommand } from './systemd.js';
import { upgradeCommand } from './upgrade.js';
import { verifyCommand } from './verify.js';

/** Runs the command that the command line names; the exit status says how it went. */
export async function main(): Promise<void> {
  takeOwnEnvironment();
  outliveReader();
  const program = new Command('moult')
    .description(
      'Hot restart: replaces a running service by its next version; connections move, none is lost.',
    )
    .version(MOULT_VERSION)
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => print(text.replace(/\n$/, '')),
      writeErr: (text) => tell(text.replace(/\n$/, '')),
    })
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
  for (const command of commands) program.addCommand(command.copyInheritedSettings(program));
  program.addCommand(rehearseCommand().copyInheritedSettings(program), { hidden: true });
  const hint = otherNames[process.argv[2] ?? ''];
  if (hint !== undefined)
    program.error(`error: moult has no command '${process.argv[2]}': ${hint}`, { exitCode: 2 });
  await program.parseAsync().catch((error: unknown) => {
    process.exitCode = reportFailure(error, process.argv.includes('--json'));
  });
}
