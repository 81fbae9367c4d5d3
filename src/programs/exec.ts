/*
 * Started by the supervisor as the process of a program, and replaced by that program: only from within can
 * LISTEN_PID be told, and the number stays over an exec. The command and its arguments are this one's.
 */

import { asMoultError } from '../errors.js';
import { keepOverExec } from '../os/descriptors/descriptor.js';
import { executeByName } from '../os/processes/execute.js';
import { tell } from '../terminal/print.js';
import { visibleLine } from '../terminal/visible.js';
import { FIRST_DESCRIPTOR } from './passing.js';
import { programEnvironment } from './start.js';

const [command = '', ...args] = process.argv.slice(2);
try {
  const env = programEnvironment(process.env, process.pid);
  // Node has made what it inherited close-on-exec.
  for (let i = 0; i < Number(env.LISTEN_FDS ?? 0); i += 1) keepOverExec(FIRST_DESCRIPTOR + i);
  executeByName(command, args, env);
} catch (error) {
  const { reason } = asMoultError(error, 'MOULT_SYSTEM_CALL').details ?? {};
  tell(`moult: ${visibleLine(command)} cannot be started: ${String(reason ?? error)}`);
  // As a shell: found but not executable, or not found.
  process.exitCode = reason === 'ENOENT' ? 127 : 126;
}
