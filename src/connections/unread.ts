import { isReadable } from '../os/unix-sockets/unix-socket.js';

/** Whether bytes of a client may wait to be read. Where Node loads no addons the kernel cannot be asked: then they may. */
export function mayBeUnread(fd: number): boolean {
  try {
    return isReadable(fd);
  } catch {
    return true;
  }
}
