import { closeOnExec } from '../../os/descriptors/descriptor.js';
import { execute } from '../../os/processes/execute.js';
import { calledNode, calledScript } from '../../os/processes/invocation.js';
import { withoutNodeOptions } from '../../os/processes/node-options.js';
import type { ServiceManager } from '../../service-manager/environment.js';
import type { KeptListener } from '../listeners/held-listeners.js';

/*
 * `moult upgrade`: the supervisor executes its own command line again. Its number, its terminal, its parent
 * and its children stay; the lock and the copies of the listeners stay open; the generations see their
 * connection close and come back to the new program as they would after a crash.
 */

/** The variable in which the one program tells the next what it leaves. */
const VARIABLE = 'MOULT_UPGRADE';
/** Which {@link CarriedOver} this program gives and takes: another number for what an older one would misread. */
export const CARRIED_FORMAT = 1;
/** The kernel takes none of more than 128 KiB, with its name. Source: execve(2), MAX_ARG_STRLEN. */
const MAX_VARIABLE = 120_000;
const NOT_ASCII = /[^ -~]/g;

/** A generation that lives, and by what its process is known: one that ends meanwhile is not missed. */
export interface LivingGeneration {
  readonly generation: number;
  readonly pid: number;
  readonly ticks: number | undefined;
}

/** What passes from one program of a supervisor to the next. */
export interface CarriedOver {
  /** Which format it is; none for that of programs before there was a number. */
  readonly format?: number;
  /** The descriptor of the lock of the run folder. */
  readonly lock: number;
  /** That of the socket at which it is reached: who connects within the exec waits there. */
  readonly control?: number;
  /** The generations that live, to see whether the journal tells of them. */
  readonly living?: readonly LivingGeneration[];
  /** The working directory as it was named at the first start. */
  readonly cwd: string;
  /** The config file and what it held when it was read last; none where there was none, or from an older release. */
  readonly config?: { readonly file: string; readonly content: unknown };
  readonly held: readonly KeptListener[];
  readonly manager: ServiceManager | null;
  /** Whether that was told that the start is complete; where it is not known, it is told once more. */
  readonly isReady?: boolean;
  /** Whether a restart was asked for by a signal, in the moment before the exec. */
  readonly restarts?: boolean;
  /** When there were errors that nothing expected: milliseconds since 1970. */
  readonly unexpected?: readonly number[];
}

/**
 * The command line of this program, as the paths by which it was called lead now.
 * @param word in the place of the command `run`.
 */
export function programCommand(word?: string): {
  readonly command: string;
  readonly args: readonly string[];
} {
  const [, , run = 'run', ...words] = process.argv;
  return {
    command: calledNode(),
    args: [...process.execArgv, '--', calledScript(), word ?? run, ...words],
  };
}

/** Executes the program that this process's path holds now. @throws MOULT_SYSTEM_CALL; this program goes on then. */
export function becomeNewProgram(carried: CarriedOver): never {
  const { command, args } = programCommand();
  const env = { ...withoutNodeOptions(process.env), ...variablesOf(carried) };
  try {
    return execute(command, args, env);
  } catch (error) {
    // No process that this program starts may inherit them.
    for (const fd of [carried.lock, ...carried.held.map((one) => one.fd)]) closeOnExec(fd);
    throw error;
  }
}

/** What the program before left, and removes it from the environment. */
export function takeCarried(env: NodeJS.ProcessEnv): CarriedOver | undefined {
  let text = env[VARIABLE];
  delete env[VARIABLE];
  for (let more = 1; ; more += 1) {
    const name = `${VARIABLE}_${more}`;
    if (text === undefined || env[name] === undefined) break;
    text += env[name];
    delete env[name];
  }
  return text === undefined ? undefined : (JSON.parse(text) as CarriedOver);
}

/**
 * What this program leaves, as variables of the environment: one where that is long enough, as older releases know it, else as
 * many as are needed, cut between any two characters.
 */
export function variablesOf(carried: CarriedOver): Record<string, string> {
  const text = JSON.stringify(carried).replace(
    NOT_ASCII,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const variables: Record<string, string> = {};
  for (let [from, more] = [0, 0]; from < text.length; from += MAX_VARIABLE, more += 1) {
    variables[more === 0 ? VARIABLE : `${VARIABLE}_${more}`] = text.slice(from, from + MAX_VARIABLE);
  }
  return variables;
}
