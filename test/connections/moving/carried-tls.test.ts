import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { before, describe } from 'node:test';
import { createServer, type TlsOptions } from 'node:tls';
import { movableClaims } from '#moult/handover/generation-context.js';
import { outflowTo } from '#moult/handover/peer-slots.js';
import { type Movable, movable } from '#moult/library/movable/movable.js';
import type { ListenerRegistry } from '#moult/listeners/registry.js';
import { handleOf } from '#moult/node/handle.js';
import { watchTlsSockets } from '#moult/node/tls-sockets.js';
import type { Message } from '#moult/protocol/messages.js';
import { selfSigned } from '#moult/tls/search/self-signed.js';
import { tlsMoves } from '#moult/tls/self-test.js';
import { channels } from '../../channel/pair.js';
import { eventOf, soon, turns, until } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';
import { WireClient } from '../https-servers.js';
import { LineService, type LineState } from '../line-service.js';
import { flow, type RawSide } from '../raw-servers.js';
import { CIPHERS, onlyTlsSocket, trackedServer } from '../tracked-server.js';

const certificate = selfSigned();

interface LinesSide extends RawSide {
  readonly service: LineService;
}

/** A line service over TLS. */
async function lines(
  later: Later,
  name: string,
  more: Partial<Movable<LineState>> = {},
  options: TlsOptions = {},
): Promise<LinesSide> {
  const server = createServer({ ...certificate, ...options });
  watchTlsSockets(server);
  const service = new LineService(server, name, more);
  return { ...(await trackedServer(later, server)), service };
}

/** Sends the end of a line, and waits for its answer. */
async function says(client: WireClient, text: string, answer: string): Promise<void> {
  const answered = client.answer(answer);
  client.tls.write(`${text}\n`);
  await answered;
}

/** How many bytes a side has read of all its connections, as they came over the wire. */
function readBy({ tracker }: RawSide): number {
  return tracker.all().reduce((sum, { socket }) => sum + (handleOf(socket)?.bytesRead ?? 0), 0);
}

describe('a connection over TLS that its service has declared movable', () => {
  before(async () => assert.equal(await tlsMoves(), 'yes'));

  tidy('moves, moves again and back, in the middle of a line, with each cipher', async (later) => {
    const [a, b] = [await lines(later, 'a'), await lines(later, 'b')];
    for (const ciphers of CIPHERS) {
      const client = await WireClient.of(later, a, { ciphers, minVersion: 'TLSv1.3' });
      await says(client, 'x', 'a:1:x');
      let count = 1;
      for (const [from, to] of [
        [a, b],
        [b, a],
        [a, b],
      ] as const) {
        const { outflow } = flow(later, from, to);
        const read = readBy(from);
        client.tls.write('ha');
        await until(() => readBy(from) > read, 'half a line');
        outflow.start();
        await until(() => outflow.moved === 1 && to.tracker.size === 1, 'the move');
        assert.equal(from.tracker.size, 0);
        count += 1;
        await says(client, 'lf', `${to.service.name}:${count}:half`);
        outflow.stop();
      }
      assert.equal(onlyTlsSocket(b).getCipher().standardName, ciphers);
      assert.deepEqual([...a.service.events, ...b.service.events], []);
      client.tls.end();
      await until(() => b.tracker.size === 0, 'its end');
      b.service.events.length = 0;
    }
  });

  tidy(
    'takes along what was read and not taken, and what the service wrote meanwhile, in order',
    async (later) => {
      const sides = [await lines(later, 'a'), await lines(later, 'b'), await lines(later, 'c')] as const;
      const client = await WireClient.of(later, sides[0]);
      await says(client, 'x', 'a:1:x');
      let count = 1;
      for (const [from, to] of [
        [sides[0], sides[1]],
        [sides[1], sides[2]],
      ] as const) {
        const socket = onlyTlsSocket(from);
        socket.pause();
        client.tls.write('unread\n');
        // A socket of ours that is paused leaves them in the kernel.
        if (from === sides[0]) await until(() => socket.readableLength === 7, 'unread bytes');
        const { near, outflow } = flow(later, from, to);
        const send = near.send.bind(near);
        near.send = (message, ...rest) => {
          send(message, ...rest);
          if (message.type === 'connections') socket.write('one two ');
        };
        outflow.start();
        socket.write('zero ');
        await until(() => outflow.moved === 1, 'the move');
        count += 1;
        await until(
          () => client.text.includes(`${to.service.name}:${count}:unread`),
          'the answer to what was unread',
        );
        assert.match(client.text, new RegExp(`one two zero ${to.service.name}:${count}:unread\n$`));
        outflow.stop();
      }
    },
  );

  tidy('is answered whichever side had read its record, at every cut', async (later) => {
    const sides = [await lines(later, 'a'), await lines(later, 'b'), await lines(later, 'c')] as const;
    const probe = await WireClient.of(later, sides[0]);
    await says(probe, 'x', 'a:1:x');
    const take = probe.hold();
    probe.tls.write('line\n');
    const { length } = take();
    probe.raw.destroy();
    await until(() => sides[0].tracker.size === 0, 'the end of the probe');
    const clients = await Promise.all(
      Array.from({ length: length + 1 }, () => WireClient.of(later, sides[0])),
    );
    await Promise.all(clients.map((client) => says(client, 'x', 'a:1:x')));
    for (const [from, to, movesWithParts] of [
      [sides[0], sides[1], false],
      [sides[1], sides[2], true],
    ] as const) {
      const read = readBy(from);
      const rests = clients.map((client, cut) => {
        const held = client.hold();
        client.tls.write('line\n');
        const record = held();
        client.text = '';
        if (cut > 0) client.raw.write(record.subarray(0, cut));
        return record.subarray(cut);
      });
      const wanted = read + (length * (length + 1)) / 2;
      await until(() => readBy(from) === wanted, 'the beginnings of all records');
      const { outflow } = flow(later, from, to);
      outflow.start();
      await until(() => outflow.moved >= (movesWithParts ? length : 2), 'those at rest');
      await turns(20);
      if (!movesWithParts) assert.equal(outflow.moved, 2, 'of the others this side reads on');
      for (const [cut, rest] of rests.entries()) if (rest.length > 0) clients[cut]?.raw.write(rest);
      for (const [cut, client] of clients.entries())
        await until(() => client.text.includes(':line'), `an answer to the record that was cut at ${cut}`);
      await until(() => outflow.moved === clients.length, 'all of them');
      outflow.stop();
    }
  });

  tidy('whose handshake is under way is waited for, and moves then', async (later) => {
    const [a, b] = [await lines(later, 'a'), await lines(later, 'b')];
    const { outflow } = flow(later, a, b);
    const client = await WireClient.connected(later, a);
    const release = client.hold();
    await eventOf(client.raw, 'connect');
    await until(() => a.tracker.size === 1, 'the connection');
    outflow.start();
    await turns(10);
    assert.equal(outflow.moved, 0);
    assert.equal(outflow.canGo(a.tracker.all()[0]?.socket as Socket), true);
    client.raw.write(release());
    await until(() => outflow.moved === 1, 'the move');
    await says(client, 'x', 'b:1:x');
  });

  tidy('stays where it speaks TLS 1.2, or its service gives too much, and says why', async (later) => {
    const told: string[] = [];
    const more = {
      save: () => 'x'.repeat(3000),
      maxBytes: 1000,
      stayed: (_: Socket, { code }: { code: string }) => told.push(code),
    };
    const [a, b] = [await lines(later, 'a', more as object), await lines(later, 'b', more as object)];
    const old = await WireClient.of(later, a, { maxVersion: 'TLSv1.2' });
    await says(old, 'x', 'a:1:x');
    const [first] = a.tracker.all();
    const large = await WireClient.of(later, a);
    await says(large, 'x', 'a:1:x');
    const { outflow } = flow(later, a, b);
    outflow.start();
    await until(() => told.length === 1, 'what its service is told');
    assert.deepEqual(told, ['MOULT_DATA_TOO_LARGE']);
    assert.ok(first !== undefined);
    assert.equal(outflow.canGo(first.socket), false);
    assert.match(outflow.whyStays(first) ?? '', /TLSv1\.2: only TLS 1\.3 moves/);
    for (const client of [old, large]) await says(client, 'y', 'a:2:y');
    assert.equal(outflow.moved, 0);
  });

  tidy('is closed unread, and counted, where its state is none that can be gone on with', async (later) => {
    const [a, b] = [await lines(later, 'a'), await lines(later, 'b')];
    const client = await WireClient.of(later, a);
    await says(client, 'x', 'a:1:x');
    const { near, outflow } = flow(later, a, b);
    const send = near.send.bind(near);
    near.send = (message, descriptors, attachment) => {
      const at = attachment?.indexOf('readSequence') ?? -1;
      // The state without a field that it needs.
      if (message.type === 'connections-data' && at > 0) attachment?.write('x', at, 'latin1');
      send(message, descriptors, attachment);
    };
    outflow.start();
    await soon(client.closed, 'its end');
    await until(() => outflow.failed === 1, 'what the other side tells');
    assert.equal(b.tracker.size, 0);
    assert.equal(await new Promise((resolve) => b.server.getConnections((_, count) => resolve(count))), 0);
  });

  tidy('is secret on its way: nothing of it is left in what was sent', async (later) => {
    const [a, b] = [await lines(later, 'a'), await lines(later, 'b')];
    const client = await WireClient.of(later, a);
    await says(client, 'x', 'a:1:x');
    const { near, outflow } = flow(later, a, b);
    const send = near.send.bind(near);
    let sent: Buffer | undefined;
    let wasSecret = false;
    near.send = (message, descriptors, attachment) => {
      if (message.type === 'connections-data') {
        sent = attachment;
        wasSecret = attachment?.includes('clientSecret') === true;
      }
      send(message, descriptors, attachment);
    };
    outflow.start();
    await says(client, 'y', 'b:2:y');
    assert.ok(wasSecret);
    assert.ok(sent?.every((byte) => byte === 0));
  });
});

describe('what generations say of their movable connections over TLS', () => {
  /** What a side claims, and what gives its connections to one that claims so. */
  function meets(later: Later, from: RawSide, claims: Message<'ready'>['claims'], tls?: string) {
    const [channel] = channels(later);
    const context = { ...movables(from), moves: { http1: 'yes', ...(tls === undefined ? {} : { tls }) } };
    const outflow = outflowTo([{ channel, claims }], context);
    later(() => outflow.stop());
    return outflow;
  }

  function movables({ server, tracker }: RawSide) {
    const listener = { identity: { name: 'web' } };
    const listeners = { lasting: () => [listener], serverOf: () => server, of: () => listener };
    return { listeners: listeners as unknown as ListenerRegistry, connections: tracker };
  }

  tidy('is another list than that of others: an older release takes it for nothing', async (later) => {
    const [a, b] = [await lines(later, 'a'), await lines(later, 'b')];
    const client = await WireClient.of(later, a);
    await says(client, 'x', 'a:1:x');
    const can = (claims: Message<'ready'>['claims'], tls?: string) =>
      meets(later, a, claims, tls).canGo(onlyTlsSocket(a));
    const claims = movableClaims({ ...movables(b), moves: { http1: 'yes', tls: 'yes' } });
    const raw = { name: 'raw', min: 1, max: 1 };
    assert.deepEqual(claims, [{ name: 'web', accepts: [], tlsMovers: [raw] }]);
    assert.equal(can(claims, 'yes'), true);
    // Where one of the two does not run with --tls move, or its self-test failed.
    assert.equal(can(claims), false);
    assert.equal(can(claims, 'the secrets were found in 0 places'), false);
    assert.deepEqual(movableClaims({ ...movables(b), moves: { http1: 'yes' } }), [
      { name: 'web', accepts: [] },
    ]);
    assert.equal(can([{ name: 'web', accepts: [], movers: [raw], tls: true }], 'yes'), false);
  });

  tidy('movable() refuses servers of HTTP and HTTP/2', async () => {
    const { createServer: createHttps } = await import('node:https');
    const { createSecureServer } = await import('node:http2');
    for (const server of [createHttps(certificate), createSecureServer(certificate)])
      assert.throws(() => movable(server, { save: () => 0, restore: () => {} }), {
        code: 'MOULT_BAD_OPTION',
      });
  });
});
