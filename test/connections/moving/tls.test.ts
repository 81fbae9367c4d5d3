import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { Socket } from 'node:net';
import { before, describe } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { descriptorOf, handleOf } from '#moult/node/handle.js';
import { tlsSocketOf } from '#moult/node/tls-sockets.js';
import { isGivenToUs } from '#moult/os/sockets/connection-owner.js';
import { tlsMoves } from '#moult/tls/self-test.js';
import { eventOf, soon, turns, until } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';
import { between, GET, type SecureSide, secureSide, WireClient } from '../https-servers.js';
import { CIPHERS, onlyTlsSocket } from '../tracked-server.js';
import { connectionsOf } from '../two-servers.js';

const UPGRADE = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n';

async function threeSides(later: Later): Promise<[SecureSide, SecureSide, SecureSide]> {
  return [
    await secureSide(later, (_request, response) => response.end('first')),
    await secureSide(later, (_request, response) => response.end('second')),
    await secureSide(later, (_request, response) => response.end('third')),
  ];
}

async function twoSides(later: Later) {
  const [a, b] = await threeSides(later);
  return { a, b, ...between(later, a, b) };
}

describe('a TLS connection at rest', () => {
  before(async () => assert.equal(await tlsMoves(), 'yes'));

  tidy('moves, moves again, and its client never notices, with each cipher', async (later) => {
    const [a, b, c] = await threeSides(later);
    for (const ciphers of CIPHERS) {
      const client = await WireClient.served(later, a, 'first', { ciphers, minVersion: 'TLSv1.3' });
      const first = between(later, a, b);
      first.outflow.start();
      await until(() => first.outflow.moved === 1 && b.tracker.size === 1, 'the first move');
      await client.asks('second');
      await client.asks('second');
      first.outflow.stop();
      const second = between(later, b, c);
      second.outflow.start();
      await until(() => second.outflow.moved === 1 && c.tracker.size === 1, 'the second move');
      for (let i = 0; i < 3; i += 1) await client.asks('third');
      second.outflow.stop();
      assert.deepEqual(await Promise.all([a, b, c].map((side) => connectionsOf(side))), [0, 0, 1]);
      assert.equal(client.tls.getCipher().standardName, ciphers);
      client.tls.end();
      await until(() => c.tracker.size === 0, 'its end');
      assert.equal(await connectionsOf(c), 0);
    }
  });

  tidy('moves with the request that is on its way, and fresh, without any', async (later) => {
    const { a, b, outflow } = await twoSides(later);
    const fresh = await WireClient.of(later, a);
    const asking = await WireClient.served(later, a);
    await until(() => a.tracker.all().every(({ socket }) => tlsSocketOf(socket)), 'both handshakes');
    outflow.start();
    await Promise.all([asking.asks('second'), fresh.asks('second')]);
    assert.equal(b.tracker.size, 2);
  });

  tidy('moves when its response has gone, also one to a client that pipelines', async (later) => {
    const waiting: ServerResponse[] = [];
    const a = await secureSide(later, (_request, response) => waiting.push(response));
    const b = await secureSide(later, (_request, response) => response.end('second'));
    const { outflow } = between(later, a, b);
    const client = await WireClient.of(later, a);
    client.tls.write(GET);
    await until(() => waiting.length === 1, 'a request');
    outflow.start();
    await turns();
    // The next one: it stays in the kernel, and is the successor's.
    client.tls.write(GET);
    await turns();
    assert.equal(outflow.moved, 0);
    waiting[0]?.end('first');
    await until(() => client.text.includes('second'), 'both answers');
    assert.equal(waiting.length, 1);
    assert.ok(client.text.indexOf('first') < client.text.indexOf('second'));
  });

  tidy('whose handshake is under way is waited for, and moves then', async (later) => {
    const { a, outflow } = await twoSides(later);
    const client = await WireClient.connected(later, a);
    const release = client.hold();
    await eventOf(client.raw, 'connect');
    await until(() => a.tracker.size === 1, 'the connection');
    await turns();
    outflow.start();
    await turns(10);
    assert.equal(outflow.moved, 0);
    assert.equal(outflow.canGo(a.tracker.all()[0]?.socket as Socket), true);
    client.raw.write(release());
    await until(() => outflow.moved === 1, 'the move');
    await client.asks('second');
  });

  tidy('stays where it speaks TLS 1.2, and says why', async (later) => {
    const { a, outflow } = await twoSides(later);
    const client = await WireClient.served(later, a, 'first', { maxVersion: 'TLSv1.2' });
    outflow.start();
    await turns(5);
    const [tracked] = a.tracker.all();
    assert.ok(tracked !== undefined);
    assert.equal(outflow.canGo(onlyTlsSocket(a)), false);
    assert.match(outflow.whyStays(tracked) ?? '', /TLSv1\.2: only TLS 1\.3 moves/);
    await client.asks('first');
    assert.equal(outflow.moved, 0);
  });
});

describe('a TLS connection whose service looks at each client first', () => {
  tidy('waits until it is let in, and nothing that came meanwhile is lost', async (later) => {
    const { a, b, outflow } = await twoSides(later);
    const waiting: (() => void)[] = [];
    const [own] = b.server.listeners('secureConnection') as ((socket: Socket) => void)[];
    b.server.off('secureConnection', own as () => void);
    b.server.on('secureConnection', (socket: Socket) => {
      socket.pause();
      waiting.push(() => {
        own?.call(b.server, socket);
        socket.resume();
      });
    });
    const client = await WireClient.served(later, a);
    outflow.start();
    await until(() => outflow.moved === 1 && b.tracker.size === 1, 'the move');
    const answer = client.answer('second');
    client.tls.write(GET);
    await until(() => waiting.length === 1, 'a look at the client');
    await turns();
    client.tls.write(GET);
    waiting[0]?.();
    await answer;
    await until(() => client.text.split('second').length === 3, 'the other answer');
  });
});

describe('a TLS connection that its service gives to a server of HTTP/2', () => {
  tidy('stays, also where its client has sent nothing yet', async (later) => {
    const options = { ALPNProtocols: ['h2', 'http/1.1'] };
    const [a, b] = await Promise.all(
      ['first', 'second'].map((name) =>
        secureSide(later, (_request, response) => response.end(name), options),
      ),
    );
    assert.ok(a !== undefined && b !== undefined);
    const http2 = createHttp2Server();
    const [own] = a.server.listeners('secureConnection') as ((socket: Socket) => void)[];
    a.server.off('secureConnection', own as () => void);
    a.server.on('secureConnection', (socket: TLSSocket) => {
      if (socket.alpnProtocol === 'h2') http2.emit('connection', socket);
      else own?.call(a.server, socket);
    });
    const { outflow } = between(later, a, b);
    const other = await WireClient.of(later, a, { ALPNProtocols: ['h2'] });
    assert.equal(other.tls.alpnProtocol, 'h2');
    const client = await WireClient.of(later, a, { ALPNProtocols: ['http/1.1'] });
    await until(() => a.tracker.all().every(({ socket }) => tlsSocketOf(socket)), 'both handshakes');
    outflow.start();
    await client.asks('second');
    assert.equal(outflow.moved, 1);
    assert.equal(outflow.canGo(onlyTlsSocket(a)), false);
  });
});

describe('a TLS connection that was upgraded', () => {
  tidy('ends with its client where it had moved before, as Node ends it', async (later) => {
    const { a, b, outflow } = await twoSides(later);
    // It hears of an end only by 'close'.
    for (const side of [a, b])
      side.server.on('upgrade', (_request, socket) => {
        socket.write('HTTP/1.1 101 Go\r\n\r\n');
        socket.on('error', () => {}).resume();
      });
    const stays = await WireClient.served(later, a);
    const upgraded = stays.answer('101 Go');
    stays.tls.write(UPGRADE);
    await upgraded;
    const moves = await WireClient.served(later, a);
    outflow.start();
    await until(() => outflow.moved === 1 && b.tracker.size === 1, 'the move');
    const answer = moves.answer('101 Go');
    moves.tls.write(UPGRADE);
    await answer;
    for (const [client, side] of [
      [stays, a],
      [moves, b],
    ] as const) {
      client.tls.end();
      await until(() => side.tracker.size === 0, 'its end');
      await soon(client.closed, 'its end at the client');
    }
  });

  tidy('stays, also where it had moved before', async (later) => {
    const [a, b, c] = await threeSides(later);
    for (const side of [a, b])
      side.server.on('upgrade', (_request, socket) => {
        socket.write('HTTP/1.1 101 Go\r\n\r\n');
        socket
          .on('error', () => {})
          .on('end', () => socket.end())
          .resume();
      });
    const first = between(later, a, b);
    const upgrade = async (client: WireClient) => {
      const answer = client.answer('101 Go');
      client.tls.write(UPGRADE);
      await answer;
    };
    await upgrade(await WireClient.served(later, a));
    const moving = await WireClient.served(later, a);
    first.outflow.start();
    await until(() => first.outflow.moved === 1, 'the other one');
    assert.equal(a.tracker.size, 1);
    assert.equal(first.outflow.canGo(onlyTlsSocket(a)), false);
    await moving.asks('second');
    await upgrade(moving);
    const second = between(later, b, c);
    second.outflow.start();
    await turns(5);
    assert.equal(second.outflow.canGo(onlyTlsSocket(b)), false);
    assert.equal(second.outflow.moved, 0);
  });
});

describe('every cut of a record', () => {
  before(async () => assert.equal(await tlsMoves(), 'yes'));

  tidy('is answered, whichever side had read it when the others moved', async (later) => {
    const [a, b, c] = await threeSides(later);
    const probe = await WireClient.served(later, a);
    const take = probe.hold();
    probe.tls.write(GET);
    const { length } = take();
    probe.raw.destroy();
    await until(() => a.tracker.size === 0, 'the end of the probe');
    const cuts = Array.from({ length: length + 1 }, (_, cut) => cut);
    const clients = await Promise.all(cuts.map(() => WireClient.served(later, a)));
    // What is cut is with the server before anything moves.
    const rests = await cutAll(clients, cuts, a);
    const first = between(later, a, b);
    first.outflow.start();
    // Those of which nothing or all has come move; of the others the server is reading.
    await until(() => first.outflow.moved >= 2, 'those at rest');
    await turns(20);
    await answerAll(clients, rests, /first|second/);
    await until(() => first.outflow.moved === clients.length, 'all of them');
    first.outflow.stop();
    // Where they moved before, part of a record goes along.
    const again = await cutAll(clients, cuts, b);
    const second = between(later, b, c);
    second.outflow.start();
    await until(() => second.outflow.moved >= clients.length - 1, 'nearly all, with parts of records');
    await answerAll(clients, again, /second|third/);
  });
});

/** Each client sends the beginning of a record up to its cut; returns the rests once the server has read them. */
async function cutAll(clients: WireClient[], cuts: number[], side: SecureSide): Promise<Buffer[]> {
  const readBy = () =>
    side.tracker.all().reduce((sum, { socket }) => sum + (handleOf(socket)?.bytesRead ?? 0), 0);
  await turns();
  const before = readBy();
  const rests = clients.map((client, index) => {
    const take = client.hold();
    client.tls.write(GET);
    const record = take();
    const cut = cuts[index] ?? 0;
    client.text = '';
    if (cut > 0) client.raw.write(record.subarray(0, cut));
    return record.subarray(cut);
  });
  const wanted = before + cuts.reduce((sum, cut) => sum + cut, 0);
  await until(() => readBy() >= wanted, `the beginnings of all records: ${readBy()} of ${wanted}`);
  return rests;
}

async function answerAll(clients: WireClient[], rests: Buffer[], by: RegExp): Promise<void> {
  for (const [index, client] of clients.entries()) {
    const rest = rests[index];
    if (rest !== undefined && rest.length > 0) client.raw.write(rest);
  }
  for (const [index, client] of clients.entries())
    await until(() => by.test(client.text), `an answer to the record that was cut at ${index}`);
}

describe('a capture that is undone', () => {
  before(async () => assert.equal(await tlsMoves(), 'yes'));

  tidy('leaves a connection as it was, however often', async (later) => {
    const { a, b } = await twoSides(later);
    const clients = await Promise.all(Array.from({ length: 8 }, () => WireClient.served(later, a)));
    for (let round = 0; round < 20; round += 1) {
      const { far, outflow } = between(later, a, b);
      const send = far.send.bind(far);
      const acknowledged = new Promise<void>((resolve) => {
        far.send = (message, ...rest) => {
          if (message.type === 'connections-received') resolve();
          else send(message, ...rest);
        };
      });
      outflow.start();
      const asked = clients.map((client) => client.asks('first'));
      await soon(acknowledged, 'a batch that is never acknowledged');
      outflow.stop();
      await Promise.all(asked);
    }
    assert.equal(b.tracker.size, 0);
    assert.ok(
      a.tracker.all().every(({ socket }) => isGivenToUs(descriptorOf(socket)) || descriptorOf(socket) > 0),
    );
    const last = between(later, a, b);
    last.outflow.start();
    await Promise.all(clients.map((client) => client.asks('second')));
  });

  for (const how of ['native', 'moved before'] as const) {
    tidy(`sends what the service wrote meanwhile here, in order: ${how}`, async (later) => {
      const [a, b, c] = await threeSides(later);
      const client = await WireClient.served(later, a);
      let [from, to] = [a, b];
      if (how === 'moved before') {
        const { outflow } = between(later, a, b);
        outflow.start();
        await client.asks('second');
        outflow.stop();
        [from, to] = [b, c];
      }
      const { near, outflow } = between(later, from, to);
      const send = near.send.bind(near);
      const socket = onlyTlsSocket(from);
      // Within the turn in which it was captured, and later.
      near.send = (message, ...rest) => {
        send(message, ...rest);
        if (message.type === 'connections') socket.write('one ');
      };
      await turns();
      outflow.start();
      socket.write('two ');
      await until(() => client.text.includes('two '), 'what was written');
      assert.match(client.text, /(one two|two one) $/);
      near.send = send;
      // It has nothing more to say: it goes.
      await until(() => outflow.moved === 1, 'its move');
      await client.asks(to === b ? 'second' : 'third');
    });
  }

  tidy('and its end says so to the client: close_notify comes from here', async (later) => {
    const { a, b, near, outflow } = await twoSides(later);
    const client = await WireClient.served(later, a);
    const socket = onlyTlsSocket(a);
    const send = near.send.bind(near);
    near.send = (message, ...rest) => {
      send(message, ...rest);
      if (message.type === 'connections') socket.end('bye');
    };
    await turns();
    outflow.start();
    await soon(new Promise((resolve) => client.tls.once('end', resolve)), 'the end');
    assert.match(client.text, /bye$/);
    assert.equal(b.tracker.size, 0);
  });
});
