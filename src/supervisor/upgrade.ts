import { closeOnExec } from '../os/descriptor.js';
import { execute } from '../os/execute.js';
import { withoutNodeOptions } from '../os/node-options.js';
import type { ServiceManager } from '../starter/environment.js';
import type { KeptListener } from './held-listeners.js';

/*
 * `moult upgrade`: the supervisor executes its own command line again. Its number, its terminal, its parent
 * and its children stay; the lock and the copies of the listeners stay open; the generations see their
 * connection close and come back to the new program as they would after a crash.
 */

const VARIABLE = 'MOULT_UPGRADE';

/** What passes from one program of a supervisor to the next. */
export interface Carried {
  /** The descriptor of the lock of the run folder. */
  readonly lock: number;
  /** The working directory as it was named at the first start. */
  readonly cwd: string;
  readonly held: readonly KeptListener[];
  readonly manager: ServiceManager | null;
  /** When there were errors that nothing expected: milliseconds since 1970. */
  readonly unexpected?: readonly number[];
}

/** Executes the program that this process's path holds now. @throws MOULT_SYSTEM_CALL; this program goes on then. */
export function becomeNewProgram(carried: Carried): never {
  const [, ...words] = process.argv;
  const env = { ...withoutNodeOptions(process.env), [VARIABLE]: JSON.stringify(carried) };
  try {
    return execute(process.execPath, [...process.execArgv, '--', ...words], env);
  } catch (error) {
    // No process that this program starts may inherit them.
    for (const fd of [carried.lock, ...carried.held.map((one) => one.fd)]) closeOnExec(fd);
    throw error;
  }
}

/** What the program before left, and removes it from the environment. */
export function takeCarried(env: NodeJS.ProcessEnv): Carried | undefined {
  const text = env[VARIABLE];
  delete env[VARIABLE];
  return text === undefined ? undefined : (JSON.parse(text) as Carried);
}
