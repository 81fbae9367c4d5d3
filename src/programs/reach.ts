import { randomInt } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { descriptorOf } from '../node/handle.js';
import { socketsOf, treeOf } from '../os/processes/proc-tree.js';
import { tcpPeerInode, unixPeerInode } from '../os/sockets/socket-diag.js';
import { type SocketName, socketIdentity } from '../os/sockets/socket-identity.js';
import type { GroupSocket, ReuseportGroup } from './reuseport-group.js';

/** How long a connection may wait for somebody to accept it before more are tried, */
const WAIT_MS = 200;
/** and so often it is looked whether somebody has. */
const LOOK_MS = 5;
/** How many connections are open at once at most: each beside the one that is wanted goes to another process. */
const MAX_AT_ONCE = 8;
const PAUSE_MS = 50;
const GROUP_LOOK_MS = 15;
/** Ports that nobody is told to reserve. Source: RFC 6335, section 6. */
const FIRST_PORT = 49_152;
const LAST_PORT = 65_536;

/** Who took a connection: the tree that was meant, somebody else, or nobody so far. */
type Taker = 'them' | 'others' | 'nobody';

/**
 * A connection that was accepted from a socket of a group, to which no client may come yet.
 * @param untilMs of performance.now().
 * @param isOver whether nobody wants it any more.
 * @returns undefined when there was none in time.
 */
export async function reachInGroup(
  group: ReuseportGroup,
  ours: GroupSocket,
  untilMs: number,
  isOver: () => boolean,
): Promise<Socket | undefined> {
  while (performance.now() < untilMs && !isOver()) {
    const localPort = randomInt(FIRST_PORT, LAST_PORT);
    group.except(localPort, ours);
    const socket = await open(ours.fd, localPort);
    group.except(localPort, undefined);
    // The port may be somebody's just now: another one then.
    if (socket === undefined) await pause(PAUSE_MS);
    else if (await isAccepted(socket, untilMs, isOver)) return socket;
  }
  return undefined;
}

async function isAccepted(socket: Socket, untilMs: number, isOver: () => boolean): Promise<boolean> {
  while (performance.now() < untilMs && !isOver() && !socket.destroyed) {
    const inode = peerInode(socket);
    if (inode === undefined) break;
    if (inode !== 0) return true;
    await pause(GROUP_LOOK_MS);
  }
  socket.destroy();
  return false;
}

/**
 * A connection that a process of this tree has accepted. Who else listens on the socket gets some too; they are
 * closed without a byte.
 * @param listener a listening stream socket.
 * @param untilMs of performance.now().
 * @param isOver whether nobody wants it any more.
 * @returns undefined when there was none in time.
 */
export async function reachShared(
  leader: number,
  listener: number,
  untilMs: number,
  isOver: () => boolean,
): Promise<Socket | undefined> {
  for (let atOnce = 1; performance.now() < untilMs && !isOver(); atOnce = Math.min(MAX_AT_ONCE, atOnce * 2)) {
    const tries = Array.from({ length: atOnce }, () => tryOnce(leader, listener, untilMs));
    const reached = (await Promise.all(tries)).filter((one) => one !== undefined);
    const [first, ...surplus] = reached;
    for (const socket of surplus) socket.destroy();
    if (first !== undefined) return first;
    await pause(PAUSE_MS);
  }
  return undefined;
}

async function tryOnce(leader: number, listener: number, untilMs: number): Promise<Socket | undefined> {
  const socket = await open(listener);
  if (socket === undefined) return undefined;
  const limitMs = Math.min(untilMs, performance.now() + WAIT_MS);
  let taker = takerOf(socket, leader);
  while (taker === 'nobody' && performance.now() < limitMs && !socket.destroyed) {
    await pause(LOOK_MS);
    taker = takerOf(socket, leader);
  }
  if (taker === 'them' && !socket.destroyed) return socket;
  socket.destroy();
  return undefined;
}

function open(listener: number, localPort?: number): Promise<Socket | undefined> {
  const identity = socketIdentity(listener);
  if (identity?.type !== 'stream' || identity.address.family === 'other') return Promise.resolve(undefined);
  const socket = connect({ ...whereTo(identity.address), ...(localPort === undefined ? {} : { localPort }) });
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(socket));
    socket.once('close', () => resolve(undefined));
    socket.on('error', () => {});
  });
}

function whereTo(
  address: Exclude<SocketName, { family: 'other' }>,
): { path: string } | { host: string; port: number } {
  if (address.family === 'unix') return { path: address.path };
  const { host, port } = address;
  const loopback: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { host: loopback[host] ?? host, port };
}

function takerOf(socket: Socket, leader: number): Taker {
  const inode = peerInode(socket);
  if (inode === undefined) return 'others';
  if (inode === 0) return 'nobody';
  // Most servers accept in the process that was started: the whole tree is looked at only for the others.
  const has = (pid: number) => socketsOf(pid).has(inode);
  return has(leader) || treeOf(leader).some(has) ? 'them' : 'others';
}

function peerInode(socket: Socket): number | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (localAddress === undefined || localPort === undefined) {
    const fd = descriptorOf(socket);
    return fd < 0 ? undefined : unixPeerInode(Number(fstatSync(fd, { bigint: true }).ino));
  }
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  return tcpPeerInode({ host: localAddress, port: localPort }, { host: remoteAddress, port: remotePort });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
