import assert from 'node:assert/strict';
import { readFileSync, readlinkSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { descriptorSocketPair, streamSocketPair } from '#moult/os/sockets/descriptor-socket.js';
import { openDescriptors } from './open-descriptors.js';

export { openDescriptors };

// Kept, so that a test may stop the clock of what it tests.
const { setTimeout } = globalThis;

const O_CLOEXEC = 0o2000000;

/** Whether a descriptor of this process is closed when the process executes another program. */
export function isCloseOnExec(fd: number): boolean {
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
  return (Number.parseInt(flags, 8) & O_CLOEXEC) !== 0;
}

/** What a descriptor of this process refers to, such as `socket:[1234]`. */
export function whatIs(fd: number): string {
  return readlinkSync(`/proc/self/fd/${fd}`);
}

/** Whether a number is an open descriptor of this process. */
export function isOpen(fd: number): boolean {
  try {
    readlinkSync(`/proc/self/fd/${fd}`);
    return true;
  } catch {
    return false;
  }
}

/** Fails unless this process comes to have open what it had before. Node closes some in a later turn. */
export async function comesBackTo(before: readonly string[], withinMs = 5000): Promise<void> {
  const giveUpAtMs = performance.now() + withinMs;
  let now = openDescriptors();
  while (now.join() !== before.join() && performance.now() < giveUpAtMs) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    now = openDescriptors();
  }
  assert.deepEqual(now, before, 'descriptors were left open, or closed that were not ours');
}

/** Opens once what Node and libc open lazily and keep, so that it is not taken for a leak. */
export async function warmUp(): Promise<void> {
  for (const fd of descriptorSocketPair()) closeDescriptor(fd);
  const [near, far] = streamSocketPair();
  const sockets = [near, far].map((fd) => new Socket({ fd, readable: true, writable: true }));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await new Promise((resolve) => server.close(resolve));
  await Promise.all(
    sockets.map((socket) => new Promise((resolve) => socket.destroy().once('close', resolve))),
  );
}
