import { socketIdentity } from '../os/sockets/socket-identity.js';

/*
 * How a program is told of the sockets that it was started with. All that are widely understood are told at once:
 * a program looks for the one that it knows.
 */

/** The number of the first one. Source: sd_listen_fds(3), SD_LISTEN_FDS_START. */
export const FIRST_DESCRIPTOR = 3;
/** What a socket without a name is called. Source: sd_listen_fds_with_names(3). */
const UNNAMED = 'unknown';

/** One socket for a program. */
export interface PassedSocket {
  /** Our copy. */
  readonly fd: number;
  /** What the program is told as its name. */
  readonly tag: string | null;
}

/**
 * The variables for a program that finds these sockets at 3, 4, 5, …
 *
 * - systemd's LISTEN_FDS and LISTEN_FDNAMES; LISTEN_PID is known only in the process itself. Source: sd_listen_fds(3).
 * - Server::Starter's SERVER_STARTER_PORT and SERVER_STARTER_GENERATION. Source: Server::Starter(3pm).
 * - einhorn's EINHORN_FD_COUNT, EINHORN_FD_0, … and EINHORN_MASTER_PID. There is no socket to acknowledge at, so
 *   `ack` says that it did nothing. Source: einhorn's README, "Einhorn::Worker".
 * @param starter the process that starts it.
 */
export function passingVariables(
  sockets: readonly PassedSocket[],
  generation: number,
  starter: number,
): Record<string, string> {
  if (sockets.length === 0) return {};
  const places = sockets.map((_, i) => FIRST_DESCRIPTOR + i);
  const starterPort = sockets.flatMap(({ fd }, i) => {
    const bound = boundAt(fd);
    return bound === undefined ? [] : [`${bound}=${places[i]}`];
  });
  return {
    LISTEN_FDS: String(sockets.length),
    LISTEN_FDNAMES: sockets.map(({ tag }) => tag ?? UNNAMED).join(':'),
    ...(starterPort.length === 0 ? {} : { SERVER_STARTER_PORT: starterPort.join(';') }),
    SERVER_STARTER_GENERATION: String(generation),
    EINHORN_FD_COUNT: String(sockets.length),
    ...Object.fromEntries(places.map((place, i) => [`EINHORN_FD_${i}`, String(place)])),
    EINHORN_MASTER_PID: String(starter),
  };
}

/** Every variable that another starter may have left in our own environment, and that would mislead a program. */
export function misleading(env: NodeJS.ProcessEnv): string[] {
  return Object.keys(env).filter((name) =>
    /^(LISTEN_(PID|PIDFDID|FDS|FDNAMES)|SERVER_STARTER_(PORT|GENERATION)|EINHORN_(FDS|FD_\w+|MASTER_PID|SOCK_\w+)|NOTIFY_SOCKET)$/.test(
      name,
    ),
  );
}

// `=` and `;` part the list: a path with one cannot be told of in it. Of UDP it knows nothing.
function boundAt(fd: number): string | undefined {
  const identity = socketIdentity(fd);
  if (identity?.type !== 'stream' || identity.address.family === 'other') return undefined;
  const { address } = identity;
  if (address.family === 'unix') return /[=;\0]/.test(address.path) ? undefined : address.path;
  if (address.host === '::') return String(address.port);
  return `${address.family === 'ipv6' ? `[${address.host}]` : address.host}:${address.port}`;
}
