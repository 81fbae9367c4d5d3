import { exportedFunction } from './libc.js';

/**
 * In a process that has more than this a few megabytes do not count. And it may have very many free pieces, of which each
 * takes time: 4,000 of 64 KB took 1.5 s of processor time on a busy virtual machine.
 */
const SMALL_BYTES = 96 * 1024 * 1024;

/**
 * Gives memory back to the system that libc keeps although nobody uses it, in a small process. To compile a large file takes
 * several megabytes for a moment, which a service would have for as long as it lives.
 * Source: malloc_trim(3). Only glibc has it.
 */
export function giveBackSpareMemory(): void {
  try {
    if (process.memoryUsage.rss() > SMALL_BYTES) return;
    exportedFunction('int malloc_trim(size_t pad)')(0);
  } catch {
    // Another libc keeps less; where no file can be opened, it is not known how much there is.
  }
}
