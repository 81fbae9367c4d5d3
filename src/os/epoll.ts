import { readdirSync, readlinkSync } from 'node:fs';
import { EPOLL_CTL_DEL, libc } from './libc.js';

/**
 * Has the event loops of this process wait no longer for the file that a descriptor means, before it means another.
 * Without it, a file that somebody else holds too would wake them for ever, for they could no longer name it.
 * Source: epoll(7), Q6; libuv keeps a file for which it waits no longer until it next hears of it.
 */
export function leaveEventLoops(fd: number): void {
  for (const name of readdirSync('/proc/self/fd')) {
    if (isEventLoop(name)) libc().epoll_ctl(Number(name), EPOLL_CTL_DEL, fd, null);
  }
}

function isEventLoop(name: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${name}`) === 'anon_inode:[eventpoll]';
  } catch {
    // It was closed since the folder was read.
    return false;
  }
}
