import { exportedFunction } from './libc.js';

/**
 * Gives memory back to the system that libc keeps although nobody uses it. To compile a large file takes several megabytes for
 * a moment, which a service would have for as long as it lives.
 * Source: malloc_trim(3). Only glibc has it.
 */
export function giveBackSpareMemory(): void {
  try {
    exportedFunction('int malloc_trim(size_t pad)')(0);
  } catch {
    // Another libc keeps less.
  }
}
