import { Command } from 'commander';
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
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
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
