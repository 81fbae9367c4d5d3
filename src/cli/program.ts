import { Command } from 'commander';
import { outliveReader, print, tell } from '../terminal/print.js';
import { MOULT_VERSION } from '../version.js';
import { takeOwnEnvironment } from './environment.js';
import { reportFailure } from './failure.js';
import { otherNames } from './other-names.js';

/** Each command is a file of its own; what only another one needs is not loaded. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./commands/run.js')).runCommand(),
  restart: async () => (await import('./commands/restart.js')).restartCommand(),
  rollback: async () => (await import('./commands/rollback.js')).rollbackCommand(),
  scale: async () => (await import('./commands/scale.js')).scaleCommand(),
  status: async () => (await import('./commands/status.js')).statusCommand(),
  history: async () => (await import('./commands/history.js')).historyCommand(),
  metrics: async () => (await import('./commands/metrics.js')).metricsCommand(),
  stop: async () => (await import('./commands/stop.js')).stopCommand(),
  fleet: async () => (await import('./fleet/fleet.js')).fleetCommand(),
  upgrade: async () => (await import('./commands/upgrade.js')).upgradeCommand(),
  config: async () => (await import('./commands/config.js')).configCommand(),
  systemd: async () => (await import('./commands/systemd.js')).systemdCommand(),
  verify: async () => (await import('./commands/verify.js')).verifyCommand(),
  rehearse: async () => (await import('./commands/rehearse.js')).rehearseCommand(),
};
/** What `moult upgrade` starts, and nobody else. */
const HIDDEN = 'rehearse';

/** Runs the command that the command line names; the exit status says how it went. */
export async function main(): Promise<void> {
  try {
    takeOwnEnvironment();
  } catch (error) {
    process.exitCode = reportFailure(error, process.argv.includes('--json'));
    return;
  }
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
  const name = process.argv[2] ?? '';
  for (const one of Object.hasOwn(commands, name) ? [name] : Object.keys(commands)) {
    const command = await commands[one]?.();
    if (command !== undefined)
      program.addCommand(command.copyInheritedSettings(program), { hidden: one === HIDDEN });
  }
  const hint = otherNames[name];
  if (hint !== undefined) program.error(`error: moult has no command '${name}': ${hint}`, { exitCode: 2 });
  await program.parseAsync().catch((error: unknown) => {
    process.exitCode = reportFailure(error, process.argv.includes('--json'));
  });
}
