import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { describe } from 'node:test';
import { descriptorOf, handleOf } from '#moult/node/handle.js';
import { fixedBytes } from '#moult/os/libcrypto.js';
import { sendNow } from '#moult/os/sockets/send-now.js';
import { until } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';

describe('bytes that are sent at once', () => {
  tidy('are counted, until the kernel is full', async (later) => {
    const { client, accepted } = await pair(later);
    const memory = fixedBytes(100_003);
    const { bytes } = memory;
    for (let at = 0; at < bytes.length; at += 1) bytes[at] = at % 251;
    const sent: Buffer[] = [];
    for (;;) {
      const count = sendNow(descriptorOf(accepted), memory, bytes.length);
      assert.ok(typeof count === 'number', String(count));
      if (count === 0) break;
      sent.push(Buffer.from(bytes.subarray(0, count)));
    }
    assert.throws(() => sendNow(descriptorOf(accepted), memory, bytes.length + 1), RangeError);
    const read: Buffer[] = [];
    client.on('data', (data) => read.push(data));
    client.resume();
    accepted.end();
    await once(client, 'end');
    assert.ok(Buffer.concat(read).equals(Buffer.concat(sent)));
  });

  tidy('fail as a write of Node when the client has gone', async (later) => {
    const { client, accepted } = await pair(later);
    handleOf(accepted)?.readStop();
    client.resetAndDestroy();
    let result: number | Error = 0;
    await until(() => {
      result = sendNow(descriptorOf(accepted), fixedBytes(1), 1);
      return typeof result !== 'number';
    }, 'the reset');
    const { code, errno, syscall, message } = result as unknown as NodeJS.ErrnoException;
    assert.match(code ?? '', /^(ECONNRESET|EPIPE)$/);
    assert.deepEqual([syscall, message, Number(errno) < 0], ['write', `write ${code}`, true]);
  });
});

async function pair(later: Later): Promise<{ client: Socket; accepted: Socket }> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const client = connect((listener.address() as AddressInfo).port, '127.0.0.1');
  const [accepted] = (await once(listener, 'connection')) as [Socket];
  client.pause();
  later(() => {
    client.destroy();
    accepted.destroy();
    listener.close();
  });
  await once(client, 'connect');
  return { client, accepted };
}
