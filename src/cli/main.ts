#!/usr/bin/env -S node --
// The `--` keeps Node from reading our own --env-file into this process: it looks for it in all arguments.
// An older Node may not even be able to read the rest: nothing else is loaded before this.
import { isNextProgram, rehearseNextProgram, runNextProgram } from './next-program.js';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`moult needs Node 20.19 or later, and this is Node ${process.versions.node}\n`);
  process.exitCode = 1;
} else {
  // What only asks a supervisor is in one file, which loads faster: src/cli/operator-commands.ts.
  const OPERATOR_COMMANDS = ['restart', 'rollback', 'scale', 'status', 'history', 'logs', 'metrics', 'stop'];
  const isOperatorCommand = OPERATOR_COMMANDS.includes(process.argv[2] ?? '');
  if (isOperatorCommand) {
    const { keepCompiled } = await import('./compile-cache.js');
    keepCompiled();
  }
  if (isNextProgram()) await runNextProgram();
  else {
    if (process.argv[2] === 'rehearse') await rehearseNextProgram();
    const { main } = isOperatorCommand ? await import('./operator-program.js') : await import('./program.js');
    await main();
  }
}
