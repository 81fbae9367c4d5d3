import type { Channel } from '../channel/channel.js';
import { launchBeside } from '../os/processes/launch.js';
import type { Exit } from '../os/processes/process.js';
import type { StandaloneOptions } from './standalone-options.js';
import { successorVariables } from './variables.js';

/** The process of a successor. */
export interface SuccessorProcess {
  /** 0 or -1 where it has no number here. */
  readonly pid: number;
  /** Whether this process has started it, as a part of the same unit. */
  readonly isOwn: boolean;
  /** Settles when it has ended, as far as that is known here. */
  readonly exited: Promise<Exit>;
  kill(): void;
  /** Lets this process end before it. */
  unref(): void;
}

/**
 * Starts one by fork and exec. Never by fork alone: the child would have this process's memory, but of its
 * threads only the one that forked.
 */
export function startSuccessor(
  { command: { command, args, cwd }, variables }: Pick<StandaloneOptions, 'command' | 'variables'>,
  door: string,
  generation: number,
): SuccessorProcess {
  const env = { ...process.env, ...variables, ...successorVariables(door, generation) };
  const { pid, exited, kill, unref } = launchBeside({ command, args, cwd, env });
  return { pid, isOwn: true, exited, kill, unref };
}

/** One that somebody else has started: it ends itself when it is told that it has failed. */
export function strangeSuccessor(channel: Channel): SuccessorProcess {
  const exited = channel.closed.then((): Exit => ({ code: null, signal: 'SIGKILL' }));
  return { pid: channel.peer.pid, isOwn: false, exited, kill: () => {}, unref: () => {} };
}
