import { readFileSync } from 'node:fs';

/** Of kernels that nobody has told otherwise. Source: Linux Documentation/networking/ip-sysctl.rst. */
const USUAL = { first: 32_768, last: 60_999 };

/** From here on the kernel lets anybody bind, and few services do. */
const FIRST_FREE = 1024;
const LAST_PORT = 65_535;

/**
 * Some ports, at random, that the kernel gives to nobody by itself: in a flood of short connections all of its own are taken, also
 * by those that have just ended.
 */
export function portsBeside({ first, last } = localPorts(), count = 64): number[] {
  const above = LAST_PORT - last;
  const below = Math.max(0, first - FIRST_FREE);
  if (above + below <= 0) return [];
  // Services listen on low ports.
  const isHigh = above >= count || above >= below;
  const from = isHigh ? last + 1 : FIRST_FREE;
  return Array.from({ length: count }, () => from + Math.floor(Math.random() * (isHigh ? above : below)));
}

/** The ports of which the kernel picks one where a process does not name any. Source: ip(7), ip_local_port_range. */
export function localPorts(): { readonly first: number; readonly last: number } {
  try {
    const [first, last] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/);
    return { first: Number(first), last: Number(last) };
  } catch {
    // It may not be read here.
    return USUAL;
  }
}
