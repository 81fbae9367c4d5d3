import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { describe } from 'node:test';
import { datagramHandleOf, stopReceiving } from '#moult/node/listening/datagram-handle.js';
import { eventOf, soon, turns } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';

async function bound(later: Later): Promise<Socket> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await eventOf(socket, 'listening');
  later(() => socket.close());
  return socket;
}

async function send(later: Later, to: Socket, words: readonly string[]): Promise<void> {
  const client = createSocket('udp4');
  later(() => client.close());
  for (const word of words) {
    await new Promise<void>((resolve, reject) =>
      client.send(word, to.address().port, '127.0.0.1', (error) => (error ? reject(error) : resolve())),
    );
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i));

describe("Node's datagram handle", () => {
  tidy('is found on a socket, and has the descriptor', async (later) => {
    const socket = await bound(later);
    assert.ok((datagramHandleOf(socket)?.fd ?? -1) > 2);
    const other = createSocket('udp4');
    assert.equal(datagramHandleOf(other)?.fd, -9);
    other.close();
    assert.equal(datagramHandleOf(other), undefined);
  });

  // If this fails on a new Node, it reads many datagrams in one call, and those after the stop are lost.
  for (const at of [1, 5, 31, 32, 33]) {
    tidy(`stopped in the handler of datagram ${at} has read no more; the rest waits`, async (later) => {
      const socket = await bound(later);
      const handle = datagramHandleOf(socket);
      assert.ok(handle !== undefined);
      const start = stopReceiving(handle);
      await send(later, socket, numbers(64));
      const got: string[] = [];
      let restart: (() => void) | undefined;
      const all = new Promise<void>((resolve) => {
        socket.on('message', (message) => {
          got.push(String(message));
          if (got.length === at) restart = stopReceiving(handle);
          if (got.length === 64) resolve();
        });
      });
      start();
      handle.recvStart();
      while (restart === undefined) await turns(1);
      handle.recvStart();
      await turns(10);
      assert.equal(got.length, at, 'a recvStart() of anybody does nothing');
      restart();
      handle.recvStart();
      await soon(all, 'the rest');
      assert.deepEqual(got, numbers(64));
    });
  }
});
