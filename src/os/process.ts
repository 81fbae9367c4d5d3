import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { libc, WNOHANG } from './libc.js';

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
  return known(
    spawn(command, args, { cwd, env: { ...env }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] }),
  );
}

/**
 * The same, with this process's own output for its output, and copies of these descriptors from 3 on, in their order.
 */
export function launchWithDescriptors(
  { command, args, cwd, env }: Launch,
  descriptors: readonly number[],
): ChildProcess {
  return known(
    spawn(command, args, {
      cwd,
      env: { ...env },
      detached: true,
      stdio: ['ignore', 1, 2, ...descriptors],
    }),
  );
}

const launched = new Set<number>();

/** Whether this process has launched it, and has not heard of its end yet: then that is Node's to collect. */
export function isLaunched(pid: number): boolean {
  return launched.has(pid);
}

function known(child: ChildProcess): ChildProcess {
  const { pid } = child;
  if (pid === undefined) return child;
  launched.add(pid);
  child.once('exit', () => launched.delete(pid));
  return child;
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

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How a process ended, as a person says it. */
export function describeExit({ code, signal }: Exit): string {
  return signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
}

/**
 * When a process was started, in clock ticks since boot: with its number it names one process for ever.
 * Source: proc(5), /proc/pid/stat, field 22.
 * @returns undefined when there is no such process, or it has ended and is not reaped.
 */
export function startTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

/**
 * Collects the end of a child that Node does not know, such as one of the program before an exec.
 * @returns how it ended; `living` while one of its threads runs; undefined when it is no child of this process.
 */
export function reap(pid: number): Exit | 'living' | undefined {
  const status = new Int32Array(1);
  const collected = libc().waitpid(pid, status, WNOHANG);
  if (collected !== pid) return collected === 0 ? 'living' : undefined;
  const [value = 0] = status;
  const number = value & 0x7f;
  if (number === 0) return { code: (value >> 8) & 0xff, signal: null };
  const name = Object.entries(constants.signals).find(([, each]) => each === number)?.[0];
  return { code: null, signal: (name ?? 'SIGKILL') as NodeJS.Signals };
}

/** Whether a process of this number exists; one that has ended and is not reaped still does. */
export function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
