import type { BindRequest } from '../node/bind-hook.js';
import type { ListenRequest } from '../node/listen-hook.js';

const IPV6_ONLY = 1;

/**
 * The name by which a successor claims a listener: what its service asked for, so that the same code asks
 * for the same name. `tcp://*:3000`, `tcp://127.0.0.1:0`, `tcp://[::1]:80`, `unix:/run/app.sock`, `fd:3`.
 * A handle of the caller's own has no name of its own, and gets `handle:`.
 */
export function listenerName(request: ListenRequest): string {
  const { address, port, fd, flags } = request;
  if (fd !== undefined) return `fd:${fd}`;
  if (port >= 0) {
    const host = address === null ? '*' : address.includes(':') ? `[${address}]` : address;
    return `tcp://${host}:${port}${(flags & IPV6_ONLY) !== 0 ? '?ipv6only' : ''}`;
  }
  if (address !== null) return `unix:${address.replace('\0', '@')}`;
  return 'handle:';
}

/** The same for a datagram socket: `udp://0.0.0.0:5353`, `udp://[::]:53?ipv6only`, `udp:fd:3`. */
export function datagramName({ address, port, fd, flags }: BindRequest): string {
  if (fd !== undefined || address === null) return `udp:fd:${fd}`;
  const host = address.includes(':') ? `[${address}]` : address;
  return `udp://${host}:${port}${(flags & IPV6_ONLY) !== 0 ? '?ipv6only' : ''}`;
}

/** The name, or with `#2`, `#3`, … where a listener of this name is there already, such as a second port 0. */
export function freeName(name: string, isTaken: (name: string) => boolean): string {
  if (!isTaken(name)) return name;
  for (let n = 2; ; n += 1) if (!isTaken(`${name}#${n}`)) return `${name}#${n}`;
}
