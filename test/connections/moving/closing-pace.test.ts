import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { describe, it, mock } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { WebSocket, WebSocketServer } from 'ws';
import { Drain } from '#moult/connections/drain.js';
import { trackHttp2Sessions } from '#moult/connections/http2-sessions.js';
import { Spread } from '#moult/connections/moving/closing-pace.js';
import type { ConnectionTracker, Tracked } from '#moult/connections/tracker.js';
import { watchTlsSockets } from '#moult/node/tls-sockets.js';
import { eventOf, soon, until } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';
import { trackedServer } from '../tracked-server.js';
import { GET } from '../two-servers.js';

const always = () => true;
const fixtures = new URL('../../../../test/fixtures/', import.meta.url).pathname;
const key = readFileSync(`${fixtures}key.pem`);
const cert = readFileSync(`${fixtures}cert.pem`);

async function tracked(later: Later, server: Server): Promise<{ tracker: ConnectionTracker; port: number }> {
  trackHttp2Sessions(server);
  watchTlsSockets(server);
  const { tracker } = await trackedServer(later, server);
  return { tracker, port: (server.address() as AddressInfo).port };
}

describe('a spread', () => {
  /** Ten connections, none of which is real, and how many have had their turn at each tick. */
  function ten(spreadMs: number, close: (tracked: Tracked) => boolean = always) {
    mock.timers.enable({ apis: ['setInterval'] });
    const all = Array.from({ length: 10 }, () => ({ socket: {} }) as Tracked);
    const tracker = {
      all: () => [...all],
      of: (socket: Socket) => all.find((one) => one.socket === socket),
    } as unknown as ConnectionTracker;
    let nowMs = 0;
    const closed: Tracked[] = [];
    const spread = new Spread(
      tracker,
      spreadMs,
      always,
      (one) => {
        closed.push(one);
        return close(one);
      },
      () => nowMs,
    );
    const tick = () => {
      nowMs += 100;
      mock.timers.tick(100);
      return closed.length;
    };
    return { all, spread, closed, tick };
  }

  it('closes as many in each part of its time', () => {
    try {
      const { tick } = ten(1000);
      assert.deepEqual(
        Array.from({ length: 10 }, tick),
        Array.from({ length: 10 }, (_, i) => i + 1),
      );
    } finally {
      mock.timers.reset();
    }
  });

  it('counts anew when some have ended by themselves', () => {
    try {
      const { all, tick } = ten(1000);
      assert.equal(tick(), 1);
      all.splice(5);
      // Four are left for nine tenths of the time.
      assert.deepEqual(Array.from({ length: 9 }, tick).at(-1), 5);
    } finally {
      mock.timers.reset();
    }
  });

  it('asks one that cannot be closed yet again', () => {
    try {
      let isReady = false;
      const { tick, closed, spread, all } = ten(100, () => isReady);
      tick();
      assert.equal(closed.length, 10);
      assert.ok(all.every((one) => spread.hasTurn(one)));
      tick();
      assert.equal(closed.length, 20);
      isReady = true;
      tick();
      tick();
      assert.equal(closed.length, 30);
    } finally {
      mock.timers.reset();
    }
  });
});

describe('a drain with a spread', () => {
  tidy('closes an idle connection of TLS at its turn, and leaves one alone before it', async (later) => {
    const server = createHttpsServer({ key, cert, keepAliveTimeout: 60_000 }, (_request, response) =>
      response.end('ok'),
    );
    const { tracker, port } = await tracked(later, server);
    const clients = await Promise.all(Array.from({ length: 4 }, () => tlsClient(later, port)));
    // They are not fresh: each has been answered, and has stayed a while.
    for (const one of tracker.all()) (one as { openedAtMs: number }).openedAtMs -= 2000;
    const drain = new Drain(tracker, [server], { timeoutMs: 60_000, spreadMs: 2000 }, always, always);
    later(() => drain.stop());
    const before = clients.at(-1);
    before?.socket.write(GET);
    await until(() => before?.text().split('ok').length === 3, 'an answer before its turn');
    assert.doesNotMatch(before?.text() ?? '', /Connection: close/i);
    await Promise.all(clients.map(({ closed }) => soon(closed, 'an end')));
    await soon(drain.finished, 'the end');
    assert.deepEqual(drain.cut, []);
    assert.equal(drain.drained, 4);
  });

  tidy('closes one whose request was under way at its turn when that is answered', async (later) => {
    const waiting: (() => void)[] = [];
    const server = createHttpsServer({ key, cert, keepAliveTimeout: 60_000 }, (request, response) => {
      if (request.url === '/') response.end('ok');
      else waiting.push(() => response.end('late'));
    });
    const { tracker, port } = await tracked(later, server);
    const client = await tlsClient(later, port);
    for (const one of tracker.all()) (one as { openedAtMs: number }).openedAtMs -= 2000;
    client.socket.write(GET.replace('/ ', '/late '));
    await until(() => waiting.length === 1, 'a request');
    const other = await tlsClient(later, port);
    for (const one of tracker.all()) (one as { openedAtMs: number }).openedAtMs -= 2000;
    const drain = new Drain(tracker, [server], { timeoutMs: 60_000, spreadMs: 10 }, always, always);
    later(() => drain.stop());
    await soon(other.closed, 'the end of one that is idle');
    await until(() => tracker.size === 1, 'its close');
    waiting[0]?.();
    await soon(client.closed, 'an end');
    assert.match(client.text(), /late$/);
    assert.deepEqual(drain.cut, []);
  });

  for (const [name, make] of [
    ['plain', () => createHttpServer()],
    ['TLS', () => createHttpsServer({ key, cert })],
  ] as const) {
    tidy(`tells a WebSocket over ${name} that nobody declared 1012 at its turn`, async (later) => {
      const server = make();
      const wss = new WebSocketServer({ server });
      later(() => wss.close());
      const { tracker, port } = await tracked(later, server);
      const scheme = name === 'plain' ? 'ws' : 'wss';
      const ws = new WebSocket(`${scheme}://127.0.0.1:${port}`, { rejectUnauthorized: false });
      await eventOf(ws, 'open');
      const closed = eventOf<[number]>(ws, 'close');
      const drain = new Drain(tracker, [server], { timeoutMs: 60_000, spreadMs: 10 }, always, always);
      later(() => drain.stop());
      assert.equal((await soon(closed, 'its end'))[0], 1012);
      await soon(drain.finished, 'the end');
      assert.deepEqual(drain.cut, []);
    });
  }

  tidy('tells an HTTP/2 session to go at its turn', async (later) => {
    const server = createHttp2Server((_request, response) => response.end('ok'));
    const { tracker, port } = await tracked(later, server);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    later(() => session.destroy());
    await eventOf(session, 'remoteSettings');
    const drain = new Drain(tracker, [server], { timeoutMs: 60_000, spreadMs: 10 }, always, always);
    later(() => drain.stop());
    await soon(eventOf(session, 'goaway'), 'a GOAWAY');
    await soon(drain.finished, 'the end');
  });
});

describe('a drain at its deadline', () => {
  tidy('tells a WebSocket that nobody declared 1012, and names it', async (later) => {
    const server = createHttpServer();
    const wss = new WebSocketServer({ server });
    later(() => wss.close());
    const { tracker, port } = await tracked(later, server);
    const ws = new WebSocket(`ws://127.0.0.1:${port}`);
    await eventOf(ws, 'open');
    const closed = eventOf<[number]>(ws, 'close');
    const drain = new Drain(tracker, [server], { timeoutMs: 10, spreadMs: 0 }, always, always);
    later(() => drain.stop());
    assert.equal((await soon(closed, 'its end'))[0], 1012);
    await soon(drain.finished, 'the end');
    assert.match(drain.cut[0]?.reason ?? '', /^WebSocket: /);
  });

  tidy('says how many streams of an HTTP/2 session were left', async (later) => {
    const server = createHttp2Server();
    server.on('stream', (stream) => stream.respond());
    const { tracker, port } = await tracked(later, server);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on('error', () => {});
    later(() => session.destroy());
    for (let i = 0; i < 2; i += 1) {
      const stream = session.request({ ':path': '/' });
      stream.on('error', () => {});
      await eventOf(stream, 'response');
    }
    const drain = new Drain(tracker, [server], { timeoutMs: 10, spreadMs: 0 }, always, always);
    later(() => drain.stop());
    await soon(drain.finished, 'the end');
    assert.deepEqual(
      drain.cut.map(({ reason }) => reason),
      ['HTTP/2: 2 streams were not finished'],
    );
  });
});

interface TlsClient {
  readonly socket: TLSSocket;
  readonly text: () => string;
  readonly closed: Promise<unknown>;
}

/** A client of TLS that has been answered once. */
async function tlsClient(later: Later, port: number): Promise<TlsClient> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => {});
  const closed = eventOf(socket, 'close');
  later(() => {
    socket.destroy();
    return closed;
  });
  socket.write(GET);
  await until(() => text.includes('ok'), 'an answer');
  return { socket, text: () => text, closed };
}
