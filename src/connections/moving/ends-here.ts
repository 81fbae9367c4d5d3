import type { Socket } from 'node:net';

/** What moves connections to other processes or threads. */
interface Moving {
  canGo(socket: Socket): boolean;
  isHeldUp(socket: Socket): boolean;
}

/**
 * Tells which connections end in this process: those that cannot move, and in the second half of a drain those that the
 * other side has not taken. Without that, one that is in use would be cut at the deadline in the middle of a request.
 * @param outflow undefined where nothing moves.
 */
export function endsHere(outflow: Moving | undefined, drainTimeoutMs: number): (socket: Socket) => boolean {
  const lateAtMs = performance.now() + drainTimeoutMs / 2;
  return (socket) => {
    if (outflow === undefined || !outflow.canGo(socket)) return true;
    return performance.now() > lateAtMs && outflow.isHeldUp(socket);
  };
}
