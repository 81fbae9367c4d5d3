import net from 'node:net';
import tls from 'node:tls';

/** Where a service listens: an address and port, or the path of a Unix socket. */
export type Target = { readonly host: string; readonly port: number } | { readonly socketPath: string };

/** How to speak TLS; the certificate is checked unless `rejectUnauthorized` is false. */
export interface TlsChoice {
  /** Certificate authorities in PEM to trust instead of the system's. */
  readonly ca?: string;
  /** Default: true. */
  readonly rejectUnauthorized?: boolean;
  /** The name to ask for; default: the host, unless it is an address. */
  readonly servername?: string;
}

/** Opens one socket to the target; `onOpen` is called when bytes can be sent. Never tries twice. */
export function dial(target: Target, tlsChoice: TlsChoice | undefined, onOpen: () => void): net.Socket {
  if (tlsChoice === undefined) {
    const socket =
      'socketPath' in target
        ? net.connect({ path: target.socketPath })
        : net.connect({ host: target.host, port: target.port, noDelay: true });
    return socket.once('connect', onOpen);
  }
  const servername = tlsChoice.servername ?? ('host' in target ? nameOf(target.host) : 'localhost');
  const socket = tls.connect({
    ...('socketPath' in target ? { path: target.socketPath } : { host: target.host, port: target.port }),
    ...(tlsChoice.ca === undefined ? {} : { ca: tlsChoice.ca }),
    ...(servername === undefined ? {} : { servername }),
    rejectUnauthorized: tlsChoice.rejectUnauthorized ?? true,
    ALPNProtocols: ['http/1.1'],
  });
  socket.setNoDelay(true);
  return socket.once('secureConnect', onOpen);
}

/** The value of the `Host` header for a target. */
export function hostHeader(target: Target): string {
  if ('socketPath' in target) return 'localhost';
  return net.isIPv6(target.host) ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`;
}

/** A target as a person would write it. */
export function describeTarget(target: Target): string {
  return 'socketPath' in target ? `unix:${target.socketPath}` : hostHeader(target);
}

function nameOf(host: string): string | undefined {
  return net.isIP(host) === 0 ? host : undefined;
}
