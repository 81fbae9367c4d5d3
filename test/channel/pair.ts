import { type Socket as NetSocket, Socket } from 'node:net';
import { Channel } from '#moult/channel/channel.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { descriptorSocketPair, streamSocketPair } from '#moult/os/sockets/descriptor-socket.js';
import { parseMessage } from '#moult/protocol/messages.js';
import { isOpen } from '../support/descriptors.js';
import type { Later } from '../support/tidy.js';

const SELF = { pid: process.pid, uid: 0, gid: 0 };

/** Two channels that speak to each other within this process. */
export function channels(later: Later): [Channel, Channel] {
  const [near, far] = streamSocketPair();
  const [nearRecords, farRecords] = descriptorSocketPair();
  const one = new Channel(socketOf(near), nearRecords, SELF, parseMessage);
  const other = new Channel(socketOf(far), farRecords, SELF, parseMessage);
  for (const each of [one, other]) each.takesParts = true;
  later(() => one.close());
  later(() => other.close());
  return [one, other];
}

/** A channel, and the bare ends of its two sockets for a peer that keeps no rules. */
export function bareChannel(later: Later): { channel: Channel; peer: NetSocket; records: number } {
  const [near, far] = streamSocketPair();
  const [nearRecords, records] = descriptorSocketPair();
  const channel = new Channel(socketOf(near), nearRecords, SELF, parseMessage);
  const peer = socketOf(far);
  peer.on('error', () => {});
  later(() => isOpen(records) && closeDescriptor(records));
  later(() => peer.destroy());
  later(() => channel.close());
  return { channel, peer, records };
}

export function socketOf(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: true });
}
