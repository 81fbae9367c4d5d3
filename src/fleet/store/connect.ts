import { readFileSync } from 'node:fs';
import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node';
import { MoultError } from '../../errors.js';
import { type FleetSettings, shownServer } from '../settings.js';

const CONNECT_MS = 5000;
const PING_MS = 5000;

/**
 * Connects to the servers of a fleet. A connection that breaks is over: whoever had it begins anew, and knows that it has missed
 * something.
 * @throws MOULT_FLEET_UNREACHABLE; MOULT_BAD_OPTION for credentials that cannot be read, or where the packages are missing.
 */
export async function connectFleet(settings: FleetSettings): Promise<NatsConnection> {
  const { connect } = await packages();
  const options: NodeConnectionOptions = {
    servers: settings.servers.map((server) => server.replace(/^(nats|tls):\/\/([^@/]*@)?/, '')),
    name: `moult ${settings.host}`,
    reconnect: false,
    // A network that drops everything is noticed within so long.
    pingInterval: PING_MS,
    maxPingOut: 2,
    timeout: CONNECT_MS,
    inboxPrefix: settings.inbox,
    ...(await authenticatorOf(settings)),
    ...tlsOf(settings),
  };
  try {
    return await connect(options);
  } catch (error) {
    const where = settings.servers.map(shownServer).join(', ');
    const what = `no NATS server of the fleet could be reached at ${where}: ${(error as Error).message}`;
    throw new MoultError('MOULT_FLEET_UNREACHABLE', what, { cause: error });
  }
}

/** The packages that only fleets need. @throws MOULT_BAD_OPTION where they are not installed. */
export async function packages(): Promise<
  typeof import('@nats-io/transport-node') &
    typeof import('@nats-io/kv') &
    typeof import('@nats-io/jetstream')
> {
  try {
    const [transport, kv, jetstream] = await Promise.all([
      import('@nats-io/transport-node'),
      import('@nats-io/kv'),
      import('@nats-io/jetstream'),
    ]);
    return { ...transport, ...kv, ...jetstream };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    const what = `a fleet needs the packages @nats-io/transport-node, @nats-io/jetstream and @nats-io/kv, installed next to moult: ${(error as Error).message}`;
    throw new MoultError('MOULT_BAD_OPTION', what, { cause: error });
  }
}

async function authenticatorOf({
  servers,
  creds,
  nkey,
}: FleetSettings): Promise<Pick<NodeConnectionOptions, 'authenticator'>> {
  const { credsAuthenticator, nkeyAuthenticator, usernamePasswordAuthenticator, tokenAuthenticator } =
    await packages();
  if (creds !== undefined) return { authenticator: credsAuthenticator(secret(creds, 'creds')) };
  if (nkey !== undefined) return { authenticator: nkeyAuthenticator(trimmed(secret(nkey, 'nkey'))) };
  const [, named] = /\/\/([^@/]*)@/.exec(servers[0] ?? '') ?? [];
  if (named === undefined) return {};
  const [user = '', password] = named.split(':').map(decodeURIComponent);
  return {
    authenticator:
      password === undefined ? tokenAuthenticator(user) : usernamePasswordAuthenticator(user, password),
  };
}

function tlsOf({ tls, servers }: FleetSettings): Pick<NodeConnectionOptions, 'tls'> {
  if (tls === undefined) return servers.some((one) => one.startsWith('tls://')) ? { tls: {} } : {};
  const { ca, cert, key } = tls;
  return {
    tls: {
      ...(ca === undefined ? {} : { caFile: ca }),
      ...(cert === undefined ? {} : { certFile: cert }),
      ...(key === undefined ? {} : { keyFile: key }),
    },
  };
}

function secret(path: string, what: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new MoultError('MOULT_BAD_OPTION', `fleet: ${what}: ${(error as Error).message}`);
  }
}

// The file may have a comment before the seed, and a line end after it, as `nk -gen user` and editors leave them.
function trimmed(bytes: Uint8Array): Uint8Array {
  const lines = new TextDecoder().decode(bytes).split('\n');
  const seed = lines.map((line) => line.trim()).find((line) => line.startsWith('SU'));
  return new TextEncoder().encode(seed ?? '');
}
