import type { ListenerItem } from '../protocol/messages.js';
import { Listener, type OnClosedByService } from './listener.js';

/** By what the name of a file begins, so that it is never that of a socket. */
const PREFIX = 'file:';

/** The name under which a file of this name of the service's travels. */
export function fileName(name: string): string {
  return `${PREFIX}${name}`;
}

/** A descriptor of the service's own that its successor gets, too: a log, a lock, a pipe. Nothing waits on it. */
export class File extends Listener {
  constructor(
    name: string,
    fd: number,
    state: 'gated' | 'open',
    isInherited: boolean,
    closed: OnClosedByService,
  ) {
    super({ name, family: 'file', path: null }, fd, state, isInherited, closed);
  }

  address(): null {
    return null;
  }

  item(): ListenerItem {
    return { name: this.identity.name, family: 'file', backlog: 0, path: null };
  }

  // Both generations may use it at any time: what that means is the service's affair.
  protected openNow(): void {}
  protected pauseNow(): void {}
  protected resumeNow(): void {}
  protected closeEverywhere(): void {}
}
