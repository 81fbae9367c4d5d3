import { realpathSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { basename, dirname, join, resolve } from 'node:path';
import type { BindRequest } from '../node/listening/bind-hook.js';
import type { ListenRequest } from '../node/listening/listen-hook.js';
import { type SocketName, socketIdentity } from '../os/sockets/socket-identity.js';

/** Source: libuv include/uv.h, uv_tcp_flags, UV_TCP_IPV6ONLY. */
export const IPV6_ONLY = 1;
/** Source: libuv include/uv.h, uv_tcp_flags and uv_udp_flags. Node before 22.12 has no such option. */
export const UV_TCP_REUSEPORT = 2;
export const UV_UDP_REUSEPORT = 64;

type InternetName = Extract<SocketName, { port: number }>;

/**
 * The name by which a successor claims a listener: what its service asked for, so that the same code asks
 * for the same name. `tcp://*:3000`, `tcp://127.0.0.1:0`, `tcp://[::1]:80`, `unix:/run/app.sock`, `fd:3`.
 * A handle of the caller's own has no name of its own, and gets `handle:`.
 */
export function listenerName(request: Pick<ListenRequest, 'address' | 'port' | 'fd' | 'flags'>): string {
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
export function datagramName({
  address,
  port,
  fd,
  flags,
}: Pick<BindRequest, 'address' | 'port' | 'fd' | 'flags'>): string {
  if (fd !== undefined || address === null) return `udp:fd:${fd}`;
  const host = address.includes(':') ? `[${address}]` : address;
  return `udp://${host}:${port}${(flags & IPV6_ONLY) !== 0 ? '?ipv6only' : ''}`;
}

/** The name, or with `#2`, `#3`, … where a listener of this name is there already, such as a second port 0. */
export function freeName(name: string, isTaken: (name: string) => boolean): string {
  if (!isTaken(name)) return name;
  for (let n = 2; ; n += 1) if (!isTaken(`${name}#${n}`)) return `${name}#${n}`;
}

/** The name of a listener that stays with the generation that opened it: no other one asks for it. */
export function momentaryName(name: string, port: number): string {
  return `${name}@${port}`;
}

/** The name that a service asks for when it listens where a socket is bound. */
export function boundName(address: Exclude<SocketName, { family: 'other' }>): string {
  if (address.family === 'unix') return `unix:${address.path.replace('\0', '@')}`;
  const { family, host, port, ipv6Only } = address;
  if (family === 'ipv6' && host === '::' && !ipv6Only) return `tcp://*:${port}`;
  return `tcp://${hostAndPort(address)}`;
}

/** The same for a datagram socket. */
export function boundDatagramName(address: InternetName): string {
  return `udp://${hostAndPort(address)}`;
}

function hostAndPort({ family, host, port, ipv6Only }: InternetName): string {
  // Of an address other than :: nobody says so, for it goes without saying.
  const only = ipv6Only && host === '::' ? '?ipv6only' : '';
  return `${family === 'ipv6' ? `[${host}]` : host}:${port}${only}`;
}

/**
 * Other names of a socket that would do for a request, where whoever bound the socket did not know how the
 * service would ask: every address of a port is every address, and a path is what it leads to.
 */
export function otherNames({ address, port, fd, flags }: ListenRequest): string[] {
  if (fd !== undefined || (flags & IPV6_ONLY) !== 0) return [];
  if (port > 0 && (address === null || address === '::' || address === '0.0.0.0'))
    return [`tcp://*:${port}`, `tcp://[::]:${port}`, `tcp://0.0.0.0:${port}`];
  if (port < 0 && address !== null && !address.startsWith('\0')) {
    const path = resolve(address);
    return [`unix:${path}`, `unix:${realFolder(path)}`];
  }
  return [];
}

function realFolder(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path;
  }
}

/** Whether a socket is bound where another one cannot be, because both would have the same port of some address. */
export function overlaps(
  asked: { readonly host: string; readonly port: number; readonly ipv6Only: boolean },
  bound: number,
): boolean {
  const address = socketIdentity(bound)?.address;
  if (address === undefined || !('port' in address) || address.port !== asked.port) return false;
  if (asked.host === address.host) return true;
  const [one, other] = [reach(asked.host, asked.ipv6Only), reach(address.host, address.ipv6Only)];
  return one.families.some((family) => other.families.includes(family)) && (one.isAny || other.isAny);
}

function reach(host: string, ipv6Only: boolean): { families: number[]; isAny: boolean } {
  if (host === '0.0.0.0') return { families: [4], isAny: true };
  if (host === '::') return { families: ipv6Only ? [6] : [4, 6], isAny: true };
  return { families: [isIPv6(host) ? 6 : 4], isAny: false };
}
