import { readFileSync } from 'node:fs';

/** Of kernels that nobody has told otherwise. Source: Linux Documentation/networking/ip-sysctl.rst. */
const USUAL = { first: 32_768, last: 60_999 };

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
