import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket as NetSocket, type Server } from 'node:net';
import { describe } from 'node:test';
import { handleOf, type StreamHandle } from '#moult/node/handle.js';
import { onceReadable } from '#moult/node/http/readable.js';
import { acceptOn, peerAddress, steerAccepted } from '#moult/node/listening/accepted.js';
import { duplicate } from '#moult/os/descriptors/descriptor.js';
import { peek } from '#moult/os/sockets/peek.js';
import { openDescriptors } from '../../support/descriptors.js';
import { eventOf, soon, turns, until } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';

/** A server that answers with its name and what it got. */
async function named(
  later: Later,
  name: string,
): Promise<{ server: Server; handle: StreamHandle; seen: NetSocket[] }> {
  const seen: NetSocket[] = [];
  const server = createServer((socket) => {
    seen.push(socket);
    socket.on('data', (chunk) => socket.end(`${name}: ${chunk}`));
  }).listen(0, '127.0.0.1');
  later(() => new Promise<void>((resolve) => server.close(() => resolve())));
  await eventOf(server, 'listening');
  const handle = handleOf(server);
  assert.ok(handle);
  return { server, handle, seen };
}

function talk(server: Server, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1', () => client.write(text));
    let answer = '';
    client.on('data', (chunk) => {
      answer += chunk;
    });
    client.on('end', () => resolve(answer));
    client.on('error', reject);
  });
}

describe('a connection that was just accepted', () => {
  tidy('can be served later, and nobody has seen or read it until then', async (later) => {
    const { server, handle, seen } = await named(later, 'one');
    const held: { accepted: StreamHandle; serve: () => void }[] = [];
    steerAccepted(handle, (accepted, serve) => held.push({ accepted, serve }) > 0);
    const answer = talk(server, 'hello');
    await until(() => held.length === 1, 'the connection');
    const [one] = held;
    assert.ok(one);
    assert.equal(peerAddress(one.accepted), '127.0.0.1');
    await soon(new Promise<void>((resolve) => onceReadable(one.accepted.fd, resolve)), 'something to read');
    await turns(5);
    assert.equal(seen.length, 0);
    assert.equal(peek(one.accepted.fd, 3).toString(), 'hel');
    assert.equal(peek(one.accepted.fd, 100).toString(), 'hello');
    one.serve();
    assert.equal(await soon(answer, 'the answer'), 'one: hello');
    assert.equal(seen.length, 1);
  });

  tidy(
    'can be given to another server, as if that had accepted it, also one that listens no more',
    async (later) => {
      const one = await named(later, 'one');
      const other = await named(later, 'other');
      steerAccepted(other.handle, () => assert.fail('it is not asked for what is given to it'));
      steerAccepted(one.handle, (accepted) => {
        const fd = duplicate(accepted.fd);
        accepted.close();
        acceptOn(other.handle, fd);
        return true;
      });
      assert.equal(await soon(talk(one.server, 'a'), 'the answer'), 'other: a');
      other.handle.close();
      assert.equal(await soon(talk(one.server, 'b'), 'the answer'), 'other: b');
      assert.equal(one.seen.length, 0);
    },
  );

  tidy('goes to its server where it is not taken', async (later) => {
    const { server, handle } = await named(later, 'one');
    steerAccepted(handle, () => false);
    assert.equal(await soon(talk(server, 'a'), 'the answer'), 'one: a');
  });

  tidy('is watched by a copy of its descriptor, which is closed, for its end too', async (later) => {
    const { server, handle } = await named(later, 'one');
    const held: { accepted: StreamHandle; serve: () => void }[] = [];
    steerAccepted(handle, (accepted, serve) => held.push({ accepted, serve }) > 0);
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await until(() => held.length === 1, 'the connection');
    const [one] = held;
    assert.ok(one);
    const before = openDescriptors().length;
    const stop = onceReadable(one.accepted.fd, () => assert.fail('it was stopped'));
    stop();
    const ended = new Promise<void>((resolve) => onceReadable(one.accepted.fd, resolve));
    client.end();
    await soon(ended, 'its end');
    assert.equal(peek(one.accepted.fd, 10).length, 0);
    await turns();
    assert.equal(openDescriptors().length, before);
    one.serve();
    client.destroy();
  });
});
