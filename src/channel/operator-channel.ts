import { MoultError } from '../errors.js';
import { descriptorOf } from '../node/handle.js';
import { connectToOwner, type SocketOwner } from '../os/unix-sockets/held-socket.js';
import { isTrusted, peerCredentials, trusted } from '../os/unix-sockets/peer.js';
import { parseToOperator } from '../protocol/operator-messages.js';
import { commonVersion } from '../protocol/version.js';
import { MOULT_VERSION } from '../version.js';
import { Channel } from './channel.js';

/** An operator is sent no descriptors: the end of the record socket that comes with the greeting is not received. */
const NO_RECORDS = -1;

/**
 * Opens a channel to a supervisor as an operator.
 * @param path of its control socket.
 * @param owners the users whose processes may answer root, besides root's own and those that are trusted.
 * @param timeoutMs for its greeting.
 * @throws MOULT_SYSTEM_CALL when nobody listens there; MOULT_PEER_REFUSED before anything is connected; MOULT_PEER_TIMEOUT;
 *   MOULT_PEER_CLOSED; MOULT_PROTOCOL_VERSION; MOULT_PROTOCOL_FRAME; what the other side refused with.
 */
export async function openOperator(
  path: string,
  owners: readonly number[],
  timeoutMs: number,
): Promise<Channel> {
  const { socket, owner } = await connectToOwner(path, (found) => assertMayAnswer(path, found, owners));
  const channel = new Channel(socket, NO_RECORDS, { pid: 0, ...owner }, parseToOperator);
  try {
    const greeting = await channel.next(['greeting', 'refused'], timeoutMs).catch((error: unknown) => {
      const isLate = error instanceof MoultError && error.code === 'MOULT_PEER_TIMEOUT';
      if (!isLate) throw error;
      const { pid } = peerCredentials(descriptorOf(socket));
      throw new MoultError('MOULT_PEER_TIMEOUT', `process ${pid} did not greet within ${timeoutMs} ms`);
    });
    if (greeting.type === 'refused') throw MoultError.from(greeting.error);
    const protocol = commonVersion(greeting.protocol);
    channel.takesParts = greeting.parts === true;
    channel.send({
      type: 'hello',
      role: 'operator',
      protocol,
      moult: MOULT_VERSION,
      pid: process.pid,
      parts: true,
    });
    return channel;
  } catch (error) {
    channel.close();
    throw error;
  }
}

// Root may meet the service of any user; nobody else is answered by another user's process.
function assertMayAnswer(path: string, { uid }: SocketOwner, owners: readonly number[]): void {
  const ours = process.geteuid?.() ?? -1;
  if (isTrusted(uid) || (ours === 0 && owners.includes(uid))) return;
  const users = [...new Set([ours, ...trusted()])].join(' or ');
  throw new MoultError(
    'MOULT_PEER_REFUSED',
    `expected ${path} to be a socket of user ${users}, found one of user ${uid}`,
  );
}
