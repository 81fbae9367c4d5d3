import type { Socket } from 'node:net';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { receiveBytesWithDescriptors } from '#moult/os/sockets/descriptor-socket.js';
import { connectUnix, waitReadable } from '#moult/os/unix-sockets/unix-socket.js';
import { decodeHeader, type Frame, FrameReader, HEADER_BYTES } from '#moult/protocol/frame.js';
import { isOpen } from '../support/descriptors.js';
import { until } from '../support/events.js';
import type { Later } from '../support/tidy.js';
import { socketOf } from './pair.js';

/** A peer of a door that keeps no rules: it was greeted, and does with its two sockets what it likes. */
export interface RawPeer {
  readonly socket: Socket;
  /** Its end of the record socket. */
  readonly records: number;
  readonly greeting: Frame;
  /** What the door sends. */
  readonly frames: Frame[];
  readonly closed: Promise<void>;
}

/** Enters a door of this process, whose event loop must turn meanwhile. */
export async function rawPeer(later: Later, path: string): Promise<RawPeer> {
  const fd = connectUnix(path);
  await until(() => isReadable(fd), 'a greeting');
  const first = receiveBytesWithDescriptors(fd, HEADER_BYTES);
  const [records = -1] = first?.descriptors ?? [];
  later(() => isOpen(records) && closeDescriptor(records));
  const reader = new FrameReader();
  reader.push(first?.bytes ?? Buffer.alloc(0));
  const { jsonBytes } = decodeHeader(first?.bytes ?? Buffer.alloc(HEADER_BYTES));
  const [greeting] = reader.push(receiveBytesWithDescriptors(fd, jsonBytes)?.bytes ?? Buffer.alloc(0));
  if (greeting === undefined) throw new Error('no greeting');
  const socket = socketOf(fd);
  const frames: Frame[] = [];
  socket.on('data', (chunk: Buffer) => frames.push(...reader.push(chunk)));
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  later(() => {
    socket.destroy();
    return closed;
  });
  return { socket, records, greeting, frames, closed };
}

function isReadable(fd: number): boolean {
  try {
    waitReadable(fd, performance.now() + 0.5);
    return true;
  } catch {
    return false;
  }
}
