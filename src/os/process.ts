import { type ChildProcess, spawn } from 'node:child_process';

/** How a process is to be started. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Starts a process by fork and exec, in a session and process group of its own: a Ctrl-C at the terminal
 * reaches only the supervisor, and the whole tree can be ended at once. No other descriptor is passed.
 */
export function launch({ command, args, cwd, env }: Launch): ChildProcess {
  return spawn(command, args, { cwd, env: { ...env }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Signals a process, or with a negative number its group. @returns false when it is gone. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}
