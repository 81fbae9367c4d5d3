import type { MoultError } from '../errors.js';
import { Tasks } from '../tasks/tasks.js';

/** Tasks of a process that hands nothing over: what fails is told as a warning. */
export function ownTasks(): Tasks {
  const tell = ({ message, code }: MoultError) => process.emitWarning(`${message} (${code})`, 'MoultWarning');
  return new Tasks(undefined, { failed: tell, idle: () => {} });
}
