import { Command } from 'commander';
import { MoultError } from '../errors.js';
import { outliveReader, print, tell } from '../terminal/print.js';
import { MOULT_VERSION } from '../version.js';
import type { Commands } from './command-table.js';
import { takeOwnEnvironment } from './environment.js';
import { reportFailure } from './failure.js';
import { otherNames } from './other-names.js';

/** Runs the command that the command line names; the exit status says how it went. @param commands those there are. @param hidden one that help does not show. */
export async function dispatch(commands: Commands, hidden?: string): Promise<void> {
  try {
    takeOwnEnvironment();
  } catch (error) {
    process.exitCode = reportFailure(error, process.argv.includes('--json'));
    return;
  }
  outliveReader();
  const program = new Command('moult')
    .description('Hot restart: replaces a running service with its next version and moves its connections.')
    .version(MOULT_VERSION)
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => print(text.replace(/\n$/, '')),
      writeErr: (text) => tell(text.replace(/\n$/, '')),
    })
    .showHelpAfterError('(moult <command> --help lists its options)')
    .exitOverride((error) => {
      if (error.exitCode === 0) process.exit(0);
      // What is wrong is on stderr; a program reads standard output.
      const message = error.message.replace(/^error: /, '');
      if (process.argv.includes('--json')) reportFailure(new MoultError('MOULT_BAD_OPTION', message), true);
      process.exit(2);
    });
  const name = process.argv[2] ?? '';
  for (const one of neededOf(commands, name)) {
    const command = await commands[one]?.();
    if (command !== undefined)
      program.addCommand(command.copyInheritedSettings(program), { hidden: one === hidden });
  }
  const hint = otherNames[name];
  if (hint !== undefined) program.error(`error: moult has no command '${name}': ${hint}`, { exitCode: 2 });
  await program.parseAsync().catch((error: unknown) => {
    process.exitCode = reportFailure(error, process.argv.includes('--json'));
  });
}

function neededOf(commands: Commands, name: string): string[] {
  if (name === '--version' || name === '-V') return [];
  return Object.hasOwn(commands, name) ? [name] : Object.keys(commands);
}
