import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { dirname, join } from 'node:path';

/** Reads a file of the kernel; undefined where it is not there. */
type Read = (path: string) => string | undefined;

/** The two ways in which control groups tell of memory. Source: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. */
const VERSIONS = [
  {
    entry: /^0::(.*)$/m,
    mounts: ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'],
    limit: 'memory.max',
    used: 'memory.current',
    inactive: /^inactive_file (\d+)$/m,
  },
  {
    entry: /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m,
    mounts: ['/sys/fs/cgroup/memory'],
    limit: 'memory.limit_in_bytes',
    used: 'memory.usage_in_bytes',
    inactive: /^total_inactive_file (\d+)$/m,
  },
] as const;

/** Bytes of memory that this process has resident; 0 where no file can be opened, for which Node throws. */
export function ownResidentBytes(): number {
  try {
    return process.memoryUsage.rss();
  } catch {
    return 0;
  }
}

/** Bytes that a new process may still use: what the machine has available, or what the control groups leave, whichever is less. */
export function freeMemoryBytes(): number {
  return Math.min(availableBytes() ?? freemem(), controlGroupHeadroomBytes(read));
}

/**
 * What the limits of this process's control group, and of those above it, leave: of version 1 and of version 2, also
 * where a container sees its own group as the root. Files in the page cache that nobody has used lately do not count as used.
 * @returns Infinity where there is no limit.
 */
export function controlGroupHeadroomBytes(read: Read): number {
  const groups = read('/proc/self/cgroup') ?? '';
  let least = Number.POSITIVE_INFINITY;
  for (const { entry, mounts, limit, used, inactive } of VERSIONS) {
    const own = entry.exec(groups)?.[1];
    if (own === undefined) continue;
    for (const mount of mounts) {
      for (const folder of foldersOf(mount, own)) {
        const most = numberIn(read(join(folder, limit)));
        const now = numberIn(read(join(folder, used)));
        if (most === undefined || now === undefined) continue;
        const cached = numberIn(inactive.exec(read(join(folder, 'memory.stat')) ?? '')?.[1]) ?? 0;
        least = Math.min(least, Math.max(0, most - Math.max(0, now - cached)));
      }
    }
  }
  return least;
}

// From the own group up to the mount. A path that is not of this namespace begins with `/..`, or is not there.
function foldersOf(mount: string, own: string): string[] {
  const folders = [];
  for (let at = own.startsWith('/..') ? '/' : own; at !== '/'; at = dirname(at))
    folders.push(join(mount, at));
  return [...folders, mount];
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

// `max` is no number: no limit.
function numberIn(text: string | undefined): number | undefined {
  const value = Number(text?.trim() || Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}

function availableBytes(): number | undefined {
  const kilobytes = /^MemAvailable:\s+(\d+) kB/m.exec(read('/proc/meminfo') ?? '')?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
