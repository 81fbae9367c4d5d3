import type { ProcessHandle } from '../os/unix-sockets/peer.js';

/** How long after a channel has closed the next look follows whether the process at its other end is gone. */
const LOOK_MS = 20;
/** How long one is waited for whose number is not known here. */
const STRANGER_MS = 2000;

/**
 * Waits until the process at the other end of a closed channel can do nothing any more, and lets go of it.
 * @param keepsAlive whether this process is not to end of itself meanwhile.
 */
export async function untilEnded(other: ProcessHandle, keepsAlive: () => boolean): Promise<void> {
  for (let waited = 0; !other.hasEnded(); waited += LOOK_MS) {
    if (!other.isKnown && waited >= STRANGER_MS) break;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, LOOK_MS);
      if (!keepsAlive()) timer.unref();
    });
  }
  other.close();
}
