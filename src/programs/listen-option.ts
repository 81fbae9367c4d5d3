import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { MoultError } from '../errors.js';
import { listenerName } from '../listeners/name.js';
import { MAX_SOCKET_PATH_BYTES } from '../os/unix-sockets/unix-socket.js';

/** A socket that the supervisor is to open, as `--listen` names it. */
export type ListenOption = {
  /** What the program is told as its name; null for none. */
  readonly tag: string | null;
  /** The name of the listener within moult. */
  readonly listener: string;
} & (
  | { readonly family: 'tcp' | 'udp'; readonly host: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: string }
);

/** What systemd allows, without the characters that other protocols need. */
const TAG = /^[A-Za-z][A-Za-z0-9._-]{0,254}$/;
const EXPECTED =
  'expected 8080, 127.0.0.1:8080, [::1]:8080, unix:/path or udp:127.0.0.1:8080, each optionally with name= before it';

/**
 * Reads one `--listen`: `8080`, `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/x.sock`, `udp:127.0.0.1:5353`, with a
 * name before it as in `http=8080`. A port alone is that port of every address, IPv4 and IPv6.
 * @param cwd to which a relative path belongs.
 * @throws MOULT_BAD_OPTION
 */
export function parseListen(value: string, cwd: string): ListenOption {
  const [, tag, rest = ''] = /^(?:([^=:/[\]]*)=)?(.*)$/s.exec(value) ?? [];
  if (tag !== undefined && !TAG.test(tag))
    throw wrong(value, 'a name may have letters, digits, dots, dashes and underscores');
  const named = { tag: tag ?? null };
  if (rest.startsWith('unix:')) return { ...named, ...unix(rest.slice('unix:'.length), value, cwd) };
  const isDatagram = rest.startsWith('udp:');
  const address = addressOf(isDatagram ? rest.slice('udp:'.length) : rest);
  if (address === undefined) throw wrong(value);
  const { host, port } = address;
  const written = host.includes(':') ? `[${host}]` : host;
  if (isDatagram) return { ...named, family: 'udp', host, port, listener: `udp://${written}:${port}` };
  const listener = listenerName({ address: host === '::' ? null : host, port, fd: undefined, flags: 0 });
  return { ...named, family: 'tcp', host, port, listener };
}

/** @throws MOULT_BAD_OPTION when two of them name the same. */
export function assertDifferent(options: readonly ListenOption[]): void {
  const seen = new Set<string>();
  for (const { listener } of options) {
    if (seen.has(listener)) throw wrong(listener, 'it is given twice');
    // Port 0 is another one each time, but then nobody could tell them apart later.
    seen.add(listener);
  }
}

function unix(
  written: string,
  value: string,
  cwd: string,
): { family: 'unix'; path: string; listener: string } {
  if (written === '' || written.startsWith('@')) throw wrong(value, 'a path in the file system is needed');
  const path = resolve(cwd, written);
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES)
    throw wrong(value, `the path has more than ${MAX_SOCKET_PATH_BYTES} bytes`);
  return { family: 'unix', path, listener: `unix:${path}` };
}

function addressOf(text: string): { host: string; port: number } | undefined {
  const match = /^(?:(\[[^\]]+\]|[^:[\]]*):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) return undefined;
  const host = match[1]?.replace(/^\[|\]$/g, '') || '::';
  return isIP(host) === 0 ? undefined : { host, port };
}

function wrong(value: string, why = ''): MoultError {
  return new MoultError(
    'MOULT_BAD_OPTION',
    `--listen ${value}: ${why === '' ? EXPECTED : `${why}; ${EXPECTED}`}`,
  );
}
