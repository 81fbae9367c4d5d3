/*
 * Executes the program of this process anew; scripts/build.mjs makes one CommonJS file of it, dist/cli/begin-again.cjs.
 * docs/decisions/0035-what-starts-is-bundled.md
 */
import { libc } from '../os/libc.js';
import { execute } from '../os/processes/execute.js';
import { programCommand } from '../supervisor/upgrade/next-program.js';

/** Loads what it needs of the system. @throws Error where that cannot be done now. */
export function prepare(): void {
  libc();
}

/** Has this process begin anew with this environment; what is open over an exec stays so. @throws MOULT_SYSTEM_CALL */
export function beginAgain(env: Readonly<Record<string, string | undefined>>): never {
  const { command, args } = programCommand();
  return execute(command, args, env);
}
