import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { MAX_SOCKET_PATH_BYTES } from '../os/unix-sockets/unix-socket.js';

/** Where something of moult's own listens for HTTP. */
export type EndpointAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Reads `127.0.0.1:9464`, `[::1]:9464`, `localhost:9464`, a port alone, which is that of 127.0.0.1, or `unix:/run/x.sock`.
 * @param cwd to which a relative path belongs.
 * @returns undefined for anything else.
 */
export function parseEndpoint(value: string, cwd: string): EndpointAddress | undefined {
  if (value.startsWith('unix:')) {
    const path = resolve(cwd, value.slice('unix:'.length));
    const isPath = value.length > 'unix:'.length && Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;
    return isPath ? { path } : undefined;
  }
  const match = /^(?:(\[[^\]]+\]|[^:[\]]+):)?(\d{1,5})$/.exec(value);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) return undefined;
  const host = match[1]?.replace(/^\[|\]$/g, '') ?? '127.0.0.1';
  return host === 'localhost' || isIP(host) !== 0 ? { host, port } : undefined;
}

/** Whether only processes of this machine reach it. */
export function isLocal(address: EndpointAddress): boolean {
  if ('path' in address) return true;
  return address.host === 'localhost' || address.host === '::1' || address.host.startsWith('127.');
}

/** It as people write it. */
export function endpointText(address: EndpointAddress): string {
  if ('path' in address) return `unix:${address.path}`;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}
