import { calledNode } from '../os/processes/invocation.js';
import {
  type Launch,
  type Launched,
  launchWithDescriptors,
  launchWithPipes,
} from '../os/processes/launch.js';
import { misleading, type PassedSocket, passingVariables } from './passing.js';

/** Where NODE_OPTIONS waits for the program: it is not meant for the process that becomes it. */
const NODE_OPTIONS_OF_PROGRAM = 'MOULT_NODE_OPTIONS_WAS';

/** How a program is to be started. */
export interface ProgramStart {
  readonly launch: Launch;
  /** The file that becomes the program. */
  readonly exec: string;
  readonly sockets: readonly PassedSocket[];
  readonly generation: number;
  /** Where it may say how it does; undefined for nowhere. */
  readonly notifySocket: string | undefined;
  /** Whether its output comes through this process. */
  readonly isPiped: boolean;
}

/** Starts a program with its sockets. The process that is started becomes the program. */
export function startProgram(start: ProgramStart): Launched {
  const { launch, exec, sockets, generation, notifySocket, isPiped } = start;
  const env: Record<string, string | undefined> = { ...launch.env };
  for (const name of misleading(env)) delete env[name];
  Object.assign(env, passingVariables(sockets, generation, process.pid), {
    MOULT_GENERATION: String(generation),
    ...(notifySocket === undefined ? {} : { NOTIFY_SOCKET: notifySocket }),
    ...(env.NODE_OPTIONS === undefined ? {} : { [NODE_OPTIONS_OF_PROGRAM]: env.NODE_OPTIONS }),
  });
  delete env.NODE_OPTIONS;
  const { command, args, cwd } = launch;
  return (isPiped ? launchWithPipes : launchWithDescriptors)(
    { command: calledNode(), args: ['--', exec, command, ...args], cwd, env },
    sockets.map(({ fd }) => fd),
  );
}

/** The environment of the program, as the process that becomes it makes it from its own. */
export function programEnvironment(
  { [NODE_OPTIONS_OF_PROGRAM]: nodeOptions, ...env }: NodeJS.ProcessEnv,
  pid: number,
): NodeJS.ProcessEnv {
  return {
    ...env,
    ...(nodeOptions === undefined ? {} : { NODE_OPTIONS: nodeOptions }),
    ...(env.LISTEN_FDS === undefined ? {} : { LISTEN_PID: String(pid) }),
  };
}
