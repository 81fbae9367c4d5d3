import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe } from 'node:test';
import { connect as connectTls, createSecureContext, TLSSocket } from 'node:tls';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';
import { makeAuthority } from '../authority.js';
import { connectKnown, listenKnown, moveHere } from '../move-here.js';

/** Asks a server to be connected, by a connection that has moved to it. @param take gets the connection when its client knows. */
async function connected(later: Later, take: (socket: Socket) => void) {
  const authority = makeAuthority(temporaryFolder(later));
  const { client, ...known } = await connectKnown(later, await listenKnown(later, authority.server));
  const server = new HttpsServer(authority.server);
  const accepted = once(server, 'connect') as Promise<[unknown, Socket]>;
  const moved = moveHere({ client, ...known });
  server.emit('secureConnection', moved);
  moved.begin();
  later(() => moved.destroy());
  client.write('CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n');
  const [, socket] = await accepted;
  socket.write('HTTP/1.1 200 OK\r\n\r\n');
  assert.match(String((await once(client, 'data'))[0]), /^HTTP\/1.1 200 OK/);
  take(socket);
  return client;
}

describe('a TLS connection that moved and is given on by its server', () => {
  tidy('is served by a server of HTTP/1.1 within', async (later) => {
    const inner: HttpServer = createServer((request, response) => {
      request.resume().on('end', () => response.end(`within ${request.url}`));
    });
    const client = await connected(later, (socket) => inner.emit('connection', socket));
    for (const path of ['/one', '/two']) {
      client.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody`);
      assert.match(
        String((await once(client, 'data'))[0]),
        new RegExp(`^HTTP/1.1 200 OK[^]*within ${path}$`),
      );
    }
  });

  tidy('is wrapped in TLS of its own behind a Duplex', async (later) => {
    const { server } = makeAuthority(temporaryFolder(later));
    const secureContext = createSecureContext(server);
    const client = await connected(later, (socket) => {
      const duplex = Duplex.from({ readable: socket, writable: socket });
      new TLSSocket(duplex, { isServer: true, secureContext }).on('data', function (this: TLSSocket, data) {
        this.end(`within ${data}`);
      });
    });
    const inner = connectTls({ socket: client, rejectUnauthorized: false });
    inner.write('TLS');
    let text = '';
    for await (const chunk of inner.setEncoding('utf8')) text += chunk;
    assert.equal(text, 'within TLS');
  });
});
