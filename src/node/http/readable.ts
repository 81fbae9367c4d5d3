import { Socket } from 'node:net';
import { closeDescriptor, duplicate } from '../../os/descriptors/descriptor.js';
import { setHandleOf, type WatchingHandle } from '../handle.js';

/**
 * Calls back once when a connection has bytes to be read, or has ended, without reading any. A copy of the descriptor
 * is watched, with no room for what comes: libuv tells so, and leaves it in the kernel.
 * Source: libuv src/unix/stream.c, uv__read: a buffer of no length is UV_ENOBUFS; node src/stream_base.cc, UseUserBuffer.
 * @returns ends the watch.
 * @throws MOULT_SYSTEM_CALL when there is no room for another descriptor.
 */
export function onceReadable(fd: number, callback: () => void): () => void {
  const own = duplicate(fd);
  let handle: WatchingHandle | undefined;
  try {
    const vehicle = new Socket({ fd: own, manualStart: true, readable: false, writable: false } as object);
    handle = setHandleOf(vehicle, null) as WatchingHandle | undefined;
  } catch (error) {
    closeDescriptor(own);
    throw error;
  }
  if (handle === undefined) throw new TypeError('a socket made from a descriptor has no handle');
  const watching = handle;
  let isOver = false;
  const stop = () => {
    if (isOver) return;
    isOver = true;
    watching.readStop();
    watching.close();
  };
  watching.useUserBuffer(new Uint8Array(0));
  watching.onread = () => {
    if (isOver) return;
    stop();
    callback();
  };
  watching.unref();
  watching.readStart();
  return stop;
}
