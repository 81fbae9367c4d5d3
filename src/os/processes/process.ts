import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { reserve } from '../descriptors/descriptor-reserve.js';
import { libc, WNOHANG } from '../libc.js';

/**
 * Signals a process, or with a negative number its group. Numbers that mean no one process are refused: 0 is this
 * process's own group, -1 is every process that it may signal. Source: kill(2).
 * @returns false when it is gone.
 */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  if (!Number.isSafeInteger(pid) || pid === 0 || pid === -1) return false;
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
  /** Why it could not be started at all. */
  readonly notStarted?: string;
}

/** How a process ended, as a person says it. */
export function describeExit({ code, signal, notStarted }: Exit): string {
  if (notStarted !== undefined) return `could not be started (${notStarted})`;
  return signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
}

/**
 * When a process was started, in clock ticks since boot: with its number it names one process for ever.
 * Source: proc(5), /proc/pid/stat, field 22.
 * @returns undefined when there is no such process, or it has ended and is not reaped.
 */
export function startTicks(pid: number): number | undefined {
  try {
    return ticksIn(reserve.use(() => readFileSync(`/proc/${pid}/stat`, 'utf8')));
  } catch {
    return undefined;
  }
}

/**
 * Whether a process is the one that was started then.
 * @throws when that cannot be seen: with no descriptor left, say. What lives must not be taken for gone then.
 */
export function isProcess(pid: number, ticks: number): boolean {
  try {
    const stat = reserve.use(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
    return ticksIn(stat) === ticks;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'ESRCH'].includes(code)) return false;
    throw error;
  }
}

/** Whether a process that was started then has ended. While that cannot be seen it has not. */
export function hasEnded(pid: number, ticks: number): boolean {
  try {
    return !isProcess(pid, ticks);
  } catch {
    return false;
  }
}

function ticksIn(stat: string): number | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
}

/**
 * Collects the end of a child that Node does not know, such as one of the program before an exec.
 * @returns how it ended; `living` while one of its threads runs; undefined when it is no child of this process.
 */
export function reap(pid: number): Exit | 'living' | undefined {
  // To the kernel these are all children, or those of a group.
  if (pid <= 0) return undefined;
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
