// Sockets of clients that write their bytes in pieces; over TLS its records are cut, too.
import { once } from 'node:events';
import { connect } from 'node:net';
import { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import tls from 'node:tls';

const LONGEST_PAUSE_MS = 25;

/** A socket, and what settles when it may be written on. */
export function dial(where, isSecure) {
  const raw = connect(where);
  if (!isSecure) return { socket: raw, opened: once(raw, 'connect') };
  const socket = tls.connect({ socket: cutting(raw), rejectUnauthorized: false, minVersion: 'TLSv1.3' });
  return { socket, opened: once(socket, 'secureConnect') };
}

/** What is written goes out in two parts with a rest between them: a record comes in halves. */
function cutting(raw) {
  const wire = new Duplex({
    read: () => raw.resume(),
    async write(chunk, _encoding, done) {
      const cut = Math.floor(Math.random() * (chunk.length + 1));
      raw.write(chunk.subarray(0, cut));
      await pause(Math.random() * LONGEST_PAUSE_MS);
      raw.write(chunk.subarray(cut));
      done();
    },
    destroy(error, done) {
      raw.destroy();
      done(error);
    },
  });
  raw.on('data', (chunk) => {
    if (!wire.push(chunk)) raw.pause();
  });
  raw.on('end', () => wire.push(null));
  raw.on('close', () => wire.destroy());
  raw.on('error', (error) => wire.destroy(error));
  return wire;
}
