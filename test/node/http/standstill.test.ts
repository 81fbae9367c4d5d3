import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { readAgain, stopReading } from '#moult/node/http/standstill.js';
import { root, until } from '../../integration/supervised.js';

describe('a connection that stands still', () => {
  it('does so until whoever has stopped it lets it go, also of two copies of the package', async () => {
    const file = pathToFileURL(path.join(root, 'dist/node/http/standstill.js')).href;
    const other = (await import(`${file}?another-copy`)) as { stopReading: typeof stopReading } & {
      readAgain: typeof readAgain;
    };
    assert.notEqual(other.stopReading, stopReading);
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [socket] = (await once(server, 'connection')) as [Socket];
    try {
      socket.resume();
      stopReading(socket);
      other.stopReading(socket);
      client.write('hello');
      await until('all is sent', () => client.bytesWritten === 5 && client.writableLength === 0);
      other.readAgain(socket);
      // The kernel has it: it would be read in the next turn of the event loop.
      for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(socket.bytesRead, 0, 'the other still holds it');
      readAgain(socket);
      await until('it is read', () => socket.bytesRead === 5);
    } finally {
      client.destroy();
      socket.destroy();
      server.close();
    }
  });
});
