#!/usr/bin/env -S node --
// The `--` keeps Node from reading our own --env-file into this process: it looks for it in all arguments.
// An older Node may not even be able to read the rest: nothing else is loaded before this.
import { keepCompiled } from './compile-cache.js';
import { isNextProgram, rehearseNextProgram, runNextProgram } from './next-program.js';
import { requireHere } from './require-here.js';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const name = process.argv[2] ?? '';
/** What only asks a supervisor is in a file for each, which loads faster: scripts/build.mjs makes them. */
const OPERATOR_COMMANDS = ['restart', 'rollback', 'scale', 'status', 'history', 'logs', 'metrics', 'stop'];

if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`moult needs Node 20.19 or later, and this is Node ${process.versions.node}\n`);
  process.exitCode = 1;
} else if (name === '--version' || name === '-V') {
  const { version } = requireHere<{ version: string }>('../../package.json');
  process.stdout.on('error', () => {}).write(`${version}\n`);
} else if (OPERATOR_COMMANDS.includes(name)) {
  keepCompiled();
  const { main } = requireHere<{ main(): Promise<void> }>(`./operate/${name}.cjs`);
  await main();
  // Nothing goes on: what was written goes out, and what is wrong with it is told, but Node need not take all of itself apart.
  const { stdout, stderr } = process;
  stdout.write('', () => stderr.write('', () => setImmediate(() => process.exit())));
} else if (isNextProgram()) await runNextProgram();
else {
  if (name === 'rehearse') await rehearseNextProgram();
  const { main } = await import('./program.js');
  await main();
}
