import { dispatch } from './dispatch.js';
import { operatorCommands } from './operator-commands.js';

/** Runs the command that the command line names, one of those that only ask a supervisor. */
export const main = (): Promise<void> => dispatch(operatorCommands);
