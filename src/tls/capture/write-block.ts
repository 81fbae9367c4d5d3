import type { Socket } from 'node:net';
import { handleOf } from '../../node/handle.js';

/** All by which Node has a handle write or say that it is over. Source: node src/stream_base.cc, AddMethods. */
const WRITES = [
  'writeBuffer',
  'writev',
  'writeUtf8String',
  'writeLatin1String',
  'writeAsciiString',
  'writeUcs2String',
  'shutdown',
] as const;
/** What libuv says where something is not permitted now. */
const UV_EPERM = -1;

/**
 * From now on no byte can be written on a socket, whoever asks its handle, until the function that it returns is called.
 * Destroying the socket writes nothing either.
 */
export function blockWrites(socket: Socket): () => void {
  const handle = handleOf(socket);
  if (handle === undefined) return () => {};
  for (const name of WRITES)
    Object.defineProperty(handle, name, { configurable: true, writable: true, value: () => UV_EPERM });
  return () => {
    for (const name of WRITES) Reflect.deleteProperty(handle, name);
  };
}
