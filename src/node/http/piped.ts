import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { handleOf } from '../handle.js';

/*
 * Two sockets that a service has piped into each other, as a proxy does with a connection that has changed its protocol:
 * all that either side sends goes to the other, and the service looks at none of it.
 */

/** Where a readable stream is piped to. Source: node lib/internal/streams/readable.js, Readable.prototype.pipe. */
interface Piped {
  readonly _readableState: {
    readonly pipes?: readonly unknown[];
    readonly decoder?: unknown;
    readonly encoding?: unknown;
  };
}

/**
 * The other end of a connection that is passed on as it is; undefined where there is none, or where anything else of the
 * service sees what is passed on, such as a listener of its own or a stream in between.
 */
export function otherEndOf(socket: Socket): Socket | undefined {
  const [end, ...more] = pipesOf(socket);
  if (!(end instanceof Socket) || more.length > 0 || !isPassedOn(socket) || !isPassedOn(end))
    return undefined;
  const back = pipesOf(end);
  return back.length === 1 && back[0] === socket ? end : undefined;
}

/** Whether what it sends is passed on to any stream. */
export function isPiped(socket: Socket): boolean {
  return pipesOf(socket).length > 0;
}

function pipesOf(socket: Socket): readonly unknown[] {
  return (socket as unknown as Piped)._readableState.pipes ?? [];
}

// A pipe listens for data by itself.
function isPassedOn(socket: Socket): boolean {
  const { decoder, encoding } = (socket as unknown as Piped)._readableState;
  return (
    handleOf(socket) !== undefined &&
    !(socket instanceof TLSSocket) &&
    socket.listenerCount('data') === 1 &&
    socket.listenerCount('readable') === 0 &&
    !decoder &&
    !encoding
  );
}
