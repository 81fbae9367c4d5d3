// Passes connections on, byte by byte, and tells how the service ended them: properly, or by a reset, which loses bytes.
import { once } from 'node:events';
import net from 'node:net';

const PREFACE_BYTES = 24;
const FRAME_HEAD_BYTES = 9;
const HEADERS = 1;

/** Counts the requests in what a client of HTTP/2 sends without TLS. Source: RFC 9113, sections 3.4 and 4.1. */
function counter(onRequest) {
  let skip = PREFACE_BYTES;
  let head = Buffer.alloc(0);
  return (chunk) => {
    let rest = chunk;
    while (rest.length > 0) {
      const skipped = Math.min(skip, rest.length);
      skip -= skipped;
      const taken = rest.subarray(skipped, skipped + FRAME_HEAD_BYTES - head.length);
      head = Buffer.concat([head, taken]);
      rest = rest.subarray(skipped + taken.length);
      if (head.length < FRAME_HEAD_BYTES) continue;
      if (head[3] === HEADERS) onRequest();
      skip = head.readUIntBE(0, 3);
      head = Buffer.alloc(0);
    }
  };
}

export class Relay {
  /** Requests that passed; only those without TLS can be seen. */
  requests = 0;
  /** Settles with the port at which it listens. */
  port;
  #server;

  /** @param onReset is told of each connection that did not end properly. */
  constructor(to, onReset) {
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
      const far = net.connect({ port: to, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      let hasEnded = false;
      far.on('end', () => {
        hasEnded = true;
      });
      far.on('error', (error) => {
        // After the end of all that it had to say, the service may close on what comes late.
        if (!hasEnded) onReset(error);
        near.destroy();
      });
      near.on('error', () => far.destroy());
      near.on(
        'data',
        counter(() => {
          this.requests += 1;
        }),
      );
      near.pipe(far).pipe(near);
    });
    this.#server.listen(0, '127.0.0.1');
    this.port = once(this.#server, 'listening').then(() => this.#server.address().port);
  }

  close() {
    this.#server.close();
  }
}
