import { readdirSync, readFileSync } from 'node:fs';
import { reap } from './process.js';

/**
 * Collects the ends of processes that are children of this one only because whoever started them has ended, as they
 * become those of process 1. Each that is not collected keeps its number for ever.
 * @param isOurs whether it was started by this process, which hears of its end in another way.
 * @returns how many it was.
 */
export function reapOrphans(isOurs: (pid: number) => boolean): number {
  let reaped = 0;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || !isEndedChild(pid) || isOurs(pid)) continue;
    const exit = reap(pid);
    if (exit !== undefined && exit !== 'living') reaped += 1;
  }
  return reaped;
}

/** Whether it has ended, and its end is this process's to collect. Source: proc(5), /proc/pid/stat. */
function isEndedChild(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' && Number(parent) === process.pid;
  } catch {
    return false;
  }
}
