import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { describe } from 'node:test';
import { connect, createServer, type SecureVersion, type Server, type TlsOptions } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { offerTickets, resumeTickets } from '#moult/node/tls-tickets.js';
import { eventOf, soon } from '../support/events.js';
import { type Later, tidy } from '../support/tidy.js';

const fixtures = fileURLToPath(new URL('../../../test/fixtures/', import.meta.url));
const key = readFileSync(`${fixtures}key.pem`);
const cert = readFileSync(`${fixtures}cert.pem`);

async function secure(later: Later, options: TlsOptions = {}): Promise<Server> {
  const server = createServer({ key, cert, ...options }, (socket) =>
    socket.on('error', () => {}).end('hello'),
  );
  server.listen(0, '127.0.0.1');
  later(() => new Promise<void>((resolve) => server.close(() => resolve())));
  await eventOf(server, 'listening');
  return server;
}

/** Visits a server, and returns the session to resume with, and whether this visit resumed one. */
async function visit(
  server: Server,
  maxVersion: SecureVersion,
  session?: Buffer,
): Promise<{ session: Buffer | undefined; resumed: boolean }> {
  const socket = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    maxVersion,
    ...(session === undefined ? {} : { session }),
  });
  let last: Buffer | undefined;
  socket.on('session', (next: Buffer) => {
    last = next;
  });
  socket.resume();
  await soon(eventOf(socket, 'secureConnect'), 'a handshake');
  const resumed = socket.isSessionReused();
  await eventOf(socket, 'close');
  return { session: last, resumed };
}

describe('TLS session tickets', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    tidy(
      `of ${version} let a client resume with the successor, also when its command line differs`,
      async (later) => {
        // The default context is a hash of the command line: two releases have different ones.
        const first = await secure(later, { sessionIdContext: 'first release' });
        const second = await secure(later, { sessionIdContext: 'second release' });
        const { session } = await visit(first, version);
        assert.ok(session !== undefined);
        assert.equal((await visit(first, version, session)).resumed, true);
        const facts = JSON.parse(JSON.stringify(offerTickets(first)));
        resumeTickets(second, facts);
        assert.equal((await visit(second, version, session)).resumed, true);
        // And it hands them on in its turn.
        const third = await secure(later, { sessionIdContext: 'third release' });
        resumeTickets(third, offerTickets(second));
        assert.equal((await visit(third, version, session)).resumed, true);
      },
    );

    tidy(`of ${version} do not resume without being handed over`, async (later) => {
      const first = await secure(later, { sessionIdContext: 'same' });
      const second = await secure(later, { sessionIdContext: 'same' });
      const { session } = await visit(first, version);
      assert.equal((await visit(second, version, session)).resumed, false);
    });
  }

  tidy('with the default context resume as well', async (later) => {
    const first = await secure(later);
    const second = await secure(later, { sessionIdContext: 'another command line' });
    const { session } = await visit(first, 'TLSv1.3');
    resumeTickets(second, offerTickets(first));
    assert.equal((await visit(second, 'TLSv1.3', session)).resumed, true);
  });

  tidy('have the keys that the service gives its server, whatever its predecessor had', async (later) => {
    const first = await secure(later, { sessionIdContext: 'first release' });
    const ticketKeys = Buffer.alloc(48, 1);
    const second = await secure(later, { sessionIdContext: 'second release', ticketKeys });
    resumeTickets(second, offerTickets(first));
    assert.ok(second.getTicketKeys().equals(ticketKeys));
    // Another release with the same keys: what clients have still holds.
    const third = await secure(later, { sessionIdContext: 'third release', ticketKeys });
    resumeTickets(third, offerTickets(second));
    const { session } = await visit(second, 'TLSv1.3');
    assert.equal((await visit(third, 'TLSv1.3', session)).resumed, true);
  });

  tidy('are no affair of a server without TLS, and keys of another length are not taken', async (later) => {
    const plain = createNetServer();
    assert.deepEqual(offerTickets(plain), {});
    resumeTickets(plain, { ticketKeys: 'AAAA' });
    const server = await secure(later);
    const before = server.getTicketKeys();
    resumeTickets(server, { ticketKeys: 'AAAA' });
    resumeTickets(server, {});
    assert.ok(server.getTicketKeys().equals(before));
  });
});
