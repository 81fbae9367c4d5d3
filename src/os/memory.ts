import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';

/** Bytes that a new process may still use: what the machine has free, or what the control group leaves, whichever is less. Source: Linux Documentation/admin-guide/cgroup-v2.rst, memory.max and memory.current. */
export function freeMemoryBytes(): number {
  const limit = number('/sys/fs/cgroup/memory.max') ?? number('/sys/fs/cgroup/memory/memory.limit_in_bytes');
  const used =
    number('/sys/fs/cgroup/memory.current') ?? number('/sys/fs/cgroup/memory/memory.usage_in_bytes');
  const free = availableBytes() ?? freemem();
  return limit === undefined || used === undefined ? free : Math.min(free, Math.max(0, limit - used));
}

function number(path: string): number | undefined {
  try {
    const value = Number(readFileSync(path, 'utf8').trim());
    return Number.isFinite(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function availableBytes(): number | undefined {
  try {
    const kilobytes = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}
