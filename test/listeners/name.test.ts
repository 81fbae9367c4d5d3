import assert from 'node:assert/strict';
import { createServer, type ListenOptions, Server } from 'node:net';
import { describe, it } from 'node:test';
import { freeName, listenerName } from '#moult/listeners/name.js';
import { type Listen2, throughHook } from '#moult/node/listening/listen-hook.js';
import fc from '../support/fast-check.js';

/** The name that Node's own reading of the arguments of listen() leads to; nothing is bound. */
function nameOf(
  ...args: [ListenOptions] | [number] | [string] | [number, string] | [undefined]
): Promise<string> {
  const prototype = Server.prototype as unknown as { _listen2: Listen2 };
  const original = prototype._listen2;
  return new Promise<string>((resolve, reject) => {
    prototype._listen2 = function (this: Server, ...rest: Parameters<Listen2>) {
      throughHook((request) => resolve(listenerName(request)), this, original, rest);
    };
    const server = createServer();
    server.once('error', reject);
    (server.listen as (...all: unknown[]) => void)(...args);
  }).finally(() => {
    prototype._listen2 = original;
  });
}

describe('the name of a listener', () => {
  it('is what the service asked for', async () => {
    assert.equal(await nameOf(3000), 'tcp://*:3000');
    assert.equal(await nameOf({ port: 3000 }), 'tcp://*:3000');
    assert.equal(await nameOf(0), 'tcp://*:0');
    assert.equal(await nameOf(undefined), 'tcp://*:0');
    assert.equal(await nameOf(3000, '127.0.0.1'), 'tcp://127.0.0.1:3000');
    assert.equal(
      await nameOf({ port: 3000, host: '0.0.0.0', backlog: 5, exclusive: true }),
      'tcp://0.0.0.0:3000',
    );
    assert.equal(await nameOf({ port: 80, host: '::1' }), 'tcp://[::1]:80');
    assert.equal(await nameOf({ port: 80, host: '::', ipv6Only: true }), 'tcp://[::]:80?ipv6only');
    assert.equal(await nameOf('/tmp/a.sock'), 'unix:/tmp/a.sock');
    assert.equal(await nameOf({ path: '/tmp/a.sock', readableAll: true }), 'unix:/tmp/a.sock');
    assert.equal(await nameOf('\0abstract'), 'unix:@abstract');
  });

  it('differs wherever the sockets would', () => {
    const request = fc.oneof(
      fc.record({
        port: fc.nat(65_535),
        address: fc.constantFrom(null, '0.0.0.0', '127.0.0.1', '::', '::1'),
        flags: fc.nat(1),
      }),
      fc.record({ address: fc.constantFrom('/a', '/a#2', '/b', '@a') }),
      fc.record({ fd: fc.nat(10) }),
    );
    const full = (part: object) => ({
      server: createServer(),
      address: null,
      port: -1,
      addressType: 4,
      backlog: 0,
      fd: undefined,
      flags: 0,
      ...part,
    });
    fc.assert(
      fc.property(request, request, (a, b) => {
        assert.equal(
          listenerName(full(a)) === listenerName(full(b)),
          JSON.stringify(full(a)) === JSON.stringify(full(b)),
        );
      }),
    );
  });

  it('is numbered where it is taken, with the first number that is free', () => {
    const taken = new Set(['a', 'a#2', 'a#4']);
    assert.equal(
      freeName('a', (name) => taken.has(name)),
      'a#3',
    );
    assert.equal(
      freeName('b', (name) => taken.has(name)),
      'b',
    );
  });
});
