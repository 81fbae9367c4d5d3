import { constants } from 'node:os';
import { closeOnExec, keepOverExec } from '../descriptors/descriptor.js';
import { keepAlive, libc, systemCallError } from '../libc.js';

/** Node makes them close-on-exec at its start. Source: node src/node.cc, uv_disable_stdio_inheritance. */
const STANDARD = [0, 1, 2];
/** An exec leaves ignored signals ignored. Source: node src/node.cc, PlatformInit. */
const IGNORED_BY_NODE = [constants.signals.SIGPIPE, constants.signals.SIGXFSZ];

/**
 * Replaces this process's program by another: same number, same parent, same children; every descriptor that
 * is not close-on-exec stays open, and so do standard input, output and error. Returns only by throwing. Source: execve(2).
 * @throws MOULT_SYSTEM_CALL; the process goes on as it was.
 */
export function execute(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): never {
  return replaceProgram('execve', path, args, env);
}

/**
 * The same for a command as a shell finds it, in the folders of this process's PATH; a script without an
 * interpreter line is run by sh. Signals that Node ignores have their defaults in the new program. Source: exec(3), execvpe.
 * @throws MOULT_SYSTEM_CALL, with `details.reason` such as ENOENT or EACCES.
 */
export function executeByName(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): never {
  for (const number of IGNORED_BY_NODE) libc().signalToDefault(number);
  return replaceProgram('execvpe', command, args, env);
}

function replaceProgram(
  call: 'execve' | 'execvpe',
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): never {
  const variables = Object.entries(env).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
  const words = [path, ...args];
  const strings = [...words, ...variables].map((word) => Buffer.from(`${word}\0`, 'utf8'));
  const pointers = (from: number, count: number) => {
    const table = Buffer.alloc((count + 1) * 8);
    for (let i = 0; i < count; i += 1) {
      const string = strings[from + i];
      if (string !== undefined) table.writeBigUInt64LE(libc().address(string), i * 8);
    }
    return table;
  };
  for (const fd of STANDARD) keepOverExec(fd);
  libc()[call](
    Buffer.from(`${path}\0`, 'utf8'),
    pointers(0, words.length),
    pointers(words.length, variables.length),
  );
  const error = systemCallError(call, path);
  // The arrays hold only their addresses.
  keepAlive(...strings);
  for (const fd of STANDARD) closeOnExec(fd);
  throw error;
}
