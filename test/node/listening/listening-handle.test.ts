import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { describe } from 'node:test';
import { descriptorOf, handleOf, setHandle, symbolOf } from '#moult/node/handle.js';
import { type Listen2, markInternal, throughHook } from '#moult/node/listening/listen-hook.js';
import {
  behindGate,
  closeHandle,
  inheritOwner,
  listeningHandle,
  onHandleClose,
  openGate,
  shutGate,
} from '#moult/node/listening/listening-handle.js';
import { closeDescriptor, duplicate } from '#moult/os/descriptors/descriptor.js';
import { isCloseOnExec, whatIs } from '../../support/descriptors.js';
import { eventOf } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';

async function listening(later: Later): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => {}).end('hello')).listen(0, '127.0.0.1');
  later(() => new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve())));
  await eventOf(server, 'listening');
  return server;
}

describe("Node's listening handle", () => {
  tidy('made on a descriptor has a copy of its own, which closes on exec', async (later) => {
    const server = await listening(later);
    const handle = listeningHandle(descriptorOf(server));
    assert.notEqual(handle.fd, descriptorOf(server));
    assert.equal(whatIs(handle.fd), whatIs(descriptorOf(server)));
    assert.ok(isCloseOnExec(handle.fd));
    closeHandle(handle);
  });

  tidy('cannot be made on what is no socket, and then leaves nothing open', () => {
    const file = openSync('/dev/null', 'r');
    assert.throws(() => listeningHandle(file));
    assert.throws(() => listeningHandle(99_999));
    closeSync(file);
  });

  tidy('behind a gate takes a listen() without listening, until the gate opens', async (later) => {
    const server = await listening(later);
    const handle = listeningHandle(descriptorOf(server));
    shutGate(handle);
    assert.equal(handle.listen(5), 0);
    assert.ok(Object.hasOwn(handle, 'listen'));
    assert.equal(openGate(handle, 5), 0);
    assert.equal(Object.hasOwn(handle, 'listen'), false);
    closeHandle(handle);
  });

  tidy('calls back once when somebody closes it, before it is closed, and not when we do', async (later) => {
    const server = await listening(later);
    const made = () => listeningHandle(descriptorOf(server));
    let calls = 0;
    const first = made();
    onHandleClose(first, () => {
      calls += 1;
      assert.ok(first.fd >= 0, 'it is closed already');
    });
    await new Promise<void>((resolve) => first.close(resolve));
    first.close();
    assert.equal(calls, 1);
    const second = made();
    onHandleClose(second, () => {
      calls += 1;
    });
    closeHandle(second);
    assert.equal(calls, 1);
  });

  tidy('takes over who is told of connections', async (later) => {
    const server = await listening(later);
    const old = handleOf(server);
    assert.ok(old !== undefined);
    const copy = duplicate(old.fd);
    const handle = listeningHandle(copy);
    closeDescriptor(copy);
    inheritOwner(old, handle);
    assert.equal(handle.onconnection, old.onconnection);
    const owner = symbolOf(old, 'owner_symbol');
    assert.ok(owner !== undefined);
    assert.equal((handle as unknown as Record<symbol, unknown>)[owner], server);
    closeHandle(old);
    setHandle(server, handle);
    assert.equal(handle.listen(5), 0);
  });

  tidy(
    'is bound but does not listen when its bind ran behind the gate; afterwards binds are as they were',
    async (later) => {
      const server = createServer();
      later(() => server.close());
      behindGate(() => server.listen({ port: 0, host: '127.0.0.1' }));
      // The look-up of a host is over only in a later turn; by then the gate is gone.
      await eventOf(server, 'listening');
      const prototype = Object.getPrototypeOf(handleOf(server) ?? {}) as { listen: { name: string } };
      assert.throws(
        () =>
          behindGate(() => {
            throw new RangeError('in the middle');
          }),
        RangeError,
      );
      const another = await listening(later);
      assert.equal(Object.hasOwn(handleOf(another) ?? {}, 'listen'), false);
      assert.equal(typeof prototype.listen, 'function');
      assert.ok((another.address() as AddressInfo).port > 0);
    },
  );
});

describe('the hook of listen()', () => {
  tidy('is the step of Node at which every form of listen() arrives', () => {
    const { _listen2 } = createServer() as unknown as { _listen2: Listen2 };
    assert.equal(typeof _listen2, 'function');
  });

  tidy('lets servers of moult itself through', () => {
    const server = createServer();
    const calls: string[] = [];
    const original: Listen2 = () => {
      calls.push('node');
    };
    throughHook(() => calls.push('hook'), server, original, [null, 0, 4, 0]);
    throughHook((_request, proceed) => proceed(), server, original, [null, 0, 4, 0]);
    markInternal(server);
    throughHook(() => calls.push('hook'), server, original, [null, 0, 4, 0]);
    assert.deepEqual(calls, ['hook', 'node', 'node']);
  });
});
