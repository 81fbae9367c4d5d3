import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { bindAddress } from '#moult/os/sockets/bind-address.js';
import { localPorts, portsBeside } from '#moult/os/sockets/local-ports.js';
import { ProbeConnection } from '#moult/os/sockets/probe-connection.js';
import { eventOf } from '../../support/events.js';
import { tidy } from '../../support/tidy.js';

/** As where short connections have taken all ports of the kernel's own. */
const withoutLocalPorts: typeof bindAddress = (transport, host, port) =>
  port === 0 ? 'EADDRINUSE' : bindAddress(transport, host, port);

describe('a probe', () => {
  tidy('comes from a port beside those of the kernel, where it has none left', async (later) => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    later(() => server.close());
    await eventOf(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const accepted = eventOf<[Socket]>(server, 'connection');
    const probe = ProbeConnection.to({ host: '127.0.0.1', port }, withoutLocalPorts);
    later(() => probe.close());
    probe.start();
    const [socket] = await accepted;
    later(() => socket.destroy());
    assert.equal(String(socket.remotePort), probe.from);
    const { first, last } = localPorts();
    assert.ok(Number(probe.from) < first || Number(probe.from) > last);
  });

  tidy('says so where there is no port at all', async () => {
    assert.throws(
      () => ProbeConnection.to({ host: '127.0.0.1', port: 1 }, () => 'EADDRINUSE'),
      (error) => error instanceof MoultError && error.code === 'MOULT_SYSTEM_CALL',
    );
  });

  tidy('takes ports above those of the kernel, or else below', async () => {
    for (const port of portsBeside({ first: 32_768, last: 60_999 }))
      assert.ok(port > 60_999 && port <= 65_535);
    for (const port of portsBeside({ first: 20_000, last: 65_535 })) assert.ok(port >= 1024 && port < 20_000);
    assert.deepEqual(portsBeside({ first: 1024, last: 65_535 }), []);
  });
});
