import { readdirSync, readlinkSync } from 'node:fs';

/**
 * What the threads of Node open for a moment: the certificates that Node 26 reads, and what glibc asks before it gives memory
 * of a thread back. Source: glibc sysdeps/unix/sysv/linux/malloc-sysdep.h, check_may_shrink_heap; getsysstats.c, __get_nprocs.
 */
const OF_THREADS = [
  /\.crt$/,
  /^\/proc\/sys\/vm\/overcommit_memory$/,
  /^\/sys\/devices\/system\/cpu\/online$/,
];

/** What a process has open, as `number → what`, sorted by number; without what its runtime opens for a moment. */
export function openDescriptors(pid: number | 'self' = 'self'): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder)
    .map(Number)
    .sort((a, b) => a - b)
    .flatMap((fd) => {
      try {
        const what = readlinkSync(`${folder}/${fd}`);
        // The descriptor of this very listing.
        const isPassing = what.endsWith('/fd') || OF_THREADS.some((one) => one.test(what));
        return isPassing ? [] : [`${fd} → ${what}`];
      } catch {
        return [];
      }
    });
}
