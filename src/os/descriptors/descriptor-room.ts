import { readdirSync, readFileSync } from 'node:fs';

/** How many descriptors a process may open, and how many of those numbers are free. */
export interface DescriptorRoom {
  readonly limit: number;
  readonly free: number;
}

/**
 * The room for descriptors that another process has; undefined where it can't be told: it has ended, or is another user's.
 * Only numbers below the limit count: one that was lowered under what is open leaves those open. Source: getrlimit(2), RLIMIT_NOFILE.
 */
export function descriptorRoom(pid: number): DescriptorRoom | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1];
    if (soft === undefined) return undefined;
    const limit = Number(soft);
    const taken = readdirSync(`/proc/${pid}/fd`).filter((fd) => Number(fd) < limit).length;
    return { limit, free: limit - taken };
  } catch {
    return undefined;
  }
}
