import { EPOLL_CTL_DEL, libc } from '../libc.js';

/** A process makes its event loops at its start, when few files are open. */
const HIGHEST = 1023;

/**
 * Has the event loops of this process wait no longer for the file that a descriptor means, before it means another.
 * Without it, a file that somebody else holds too would wake them for ever, for they could no longer name it. Asks
 * every descriptor that may be an event loop, since to list them would need one more; the kernel refuses the others.
 * Source: epoll(7), Q6; libuv keeps a file for which it waits no longer until it next hears of it.
 */
export function leaveEventLoops(fd: number): void {
  for (let epoll = 0; epoll <= HIGHEST; epoll += 1) libc().epoll_ctl(epoll, EPOLL_CTL_DEL, fd, null);
}
