import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import { describe, it } from 'node:test';
import { isHandled, onceHandled } from '#moult/node/http/handled.js';

describe('whether a service handles the connections of a server', () => {
  it('is known by the handlers that answer clients, of each kind of server', () => {
    const nothing = () => {};
    assert.equal(isHandled(net.createServer()), false);
    assert.equal(isHandled(net.createServer(nothing)), true);
    assert.equal(isHandled(http.createServer()), false);
    assert.equal(isHandled(http.createServer(nothing)), true);
    assert.equal(isHandled(http.createServer().on('upgrade', nothing)), true);
    assert.equal(isHandled(http.createServer().on('connect', nothing)), true);
    assert.equal(isHandled(http.createServer().on('clientError', nothing)), false);
    assert.equal(isHandled(https.createServer()), false);
    assert.equal(isHandled(https.createServer(nothing)), true);
    assert.equal(isHandled(http2.createServer()), false);
    assert.equal(isHandled(http2.createServer(nothing)), true);
    assert.equal(isHandled(http2.createSecureServer().on('stream', nothing)), true);
  });

  it('is taken for granted where the server has its own way of telling of them', () => {
    class OwnServer extends http.Server {
      override emit(): boolean {
        return true;
      }
    }
    assert.equal(isHandled(new OwnServer()), true);
    const server = http.createServer();
    server.emit = () => true;
    assert.equal(isHandled(server), true);
  });

  it('does not follow from what telemetry wraps around all servers', () => {
    const { prototype } = http.Server;
    Object.defineProperty(prototype, 'emit', { configurable: true, writable: true, value: prototype.emit });
    try {
      assert.equal(isHandled(http.createServer()), false);
    } finally {
      Reflect.deleteProperty(prototype, 'emit');
    }
  });

  it('is told of once it has come to be so', async () => {
    const server = http.createServer();
    const told = new Promise<void>((resolve) => onceHandled(server, resolve));
    server.on('close', () => {});
    server.on('request', () => {});
    await told;
    assert.equal(isHandled(server), true);
    assert.equal(server.listenerCount('newListener'), 0);
  });
});
