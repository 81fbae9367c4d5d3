import { readSync } from 'node:fs';
import type { Socket } from 'node:net';
import { descriptorOf } from '../handle.js';

const CHUNK_BYTES = 64 * 1024;

/** Reads what the kernel still has for a socket that is about to be closed, without waiting for more. */
export function readUnread(socket: Socket): Buffer[] {
  const fd = descriptorOf(socket);
  const chunks: Buffer[] = [];
  while (fd >= 0) {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let bytes = 0;
    try {
      bytes = readSync(fd, chunk);
    } catch {
      // EAGAIN, or the error with which the other side ended.
    }
    if (bytes === 0) break;
    chunks.push(chunk.subarray(0, bytes));
  }
  return chunks;
}
