import { readFileSync } from 'node:fs';

/** Source: proc(5), /proc/pid/stat, fields 14 and 15; Linux include/asm-generic/param.h, USER_HZ, the same on all 64-bit machines. */
const TICKS_PER_SECOND = 100;

/** Seconds of processor time that a process has taken, by itself and in the kernel; undefined when it has ended. */
export function cpuSeconds(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program may have spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return undefined;
  }
}
