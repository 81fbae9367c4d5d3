import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import type { Channel } from '#moult/channel/channel.js';
import { Door } from '#moult/channel/door.js';
import { isWaiting } from '#moult/connections/adopting/adopt-http1.js';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { countRequests } from '#moult/connections/http1/request-limit.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { ConnectionTracker, headDueAtMs } from '#moult/connections/tracker.js';
import { timeLeftMs } from '#moult/node/http/http1.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { sendDescriptors, streamSocketPair } from '#moult/os/sockets/descriptor-socket.js';
import { ProcessHandle } from '#moult/os/unix-sockets/peer.js';
import { encodeFrame, FrameReader } from '#moult/protocol/frame.js';
import { bareChannel, channels, socketOf } from '../channel/pair.js';
import { openDescriptors } from '../support/descriptors.js';
import { eventOf, soon, turns, until } from '../support/events.js';
import { type Fixture, fixture } from '../support/fixture.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { clientOf, connectionsOf, GET, moved, servedClient, side, twoServers } from './two-servers.js';

describe('a connection that is at rest', () => {
  tidy('moves at once, and its client never notices', async (later) => {
    const { a, b, outflow } = await twoServers(later);
    const client = await servedClient(later, a);
    outflow.start();
    await soon(outflow.settled, 'the end of moving');
    assert.equal(outflow.moved, 1);
    await until(() => a.tracker.size === 0 && b.tracker.size === 1, 'a tracked connection');
    assert.equal(await connectionsOf(a), 0);
    assert.equal(await connectionsOf(b), 1);
    for (let i = 1; i <= 3; i += 1) {
      client.socket.write(GET);
      await client.receives('second', i);
    }
    await moved(outflow, 1);
    assert.ok(
      outflow.pausesMs.every((ms) => ms >= 0 && ms < 5000),
      String(outflow.pausesMs),
    );
    client.socket.end();
    await soon(client.closed, 'its end');
    await until(() => b.tracker.size === 0, 'no tracked connection');
    assert.equal(await connectionsOf(b), 0);
  });

  tidy('moves with the request that is on its way', async (later) => {
    const { a, outflow } = await twoServers(later);
    const client = await servedClient(later, a);
    outflow.start();
    client.socket.write(GET);
    await client.receives('second');
  });

  tidy('moves when it is fresh, and is served by the successor', async (later) => {
    const { a, b, outflow } = await twoServers(later);
    const client = await clientOf(later, a);
    outflow.start();
    await moved(outflow, 1);
    assert.equal(isWaiting(b.server, b.tracker.all()[0]?.socket as Socket), true);
    client.socket.write(GET);
    await client.receives('second');
  });

  tidy('moves although it comes after the outflow began', async (later) => {
    const { a, outflow } = await twoServers(later);
    outflow.start();
    await soon(outflow.settled, 'the end of nothing');
    const client = await clientOf(later, a);
    await moved(outflow, 1);
    client.socket.write(GET);
    await client.receives('second');
  });

  tidy('moves with hundreds of others, all of them, in batches', async (later) => {
    const { a, b, outflow } = await twoServers(later);
    const clients = await Promise.all(Array.from({ length: 520 }, () => servedClient(later, a)));
    outflow.start();
    await soon(outflow.settled, 'the end of moving');
    assert.equal(outflow.moved, 520);
    await moved(outflow, 520);
    assert.equal(await connectionsOf(b), 520);
    for (const { socket } of clients) socket.write(GET);
    await Promise.all(clients.map(({ receives }) => receives('second')));
  });

  tidy('can move again, from hand to hand', async (later) => {
    const sides = [];
    for (let i = 0; i < 5; i += 1)
      sides.push(await side(later, (_request, response) => response.end(`server-${i}.`)));
    const [first] = sides;
    assert.ok(first !== undefined);
    const used = await servedClient(later, first, 'server-0.');
    const fresh = await clientOf(later, first);
    for (let i = 0; i + 1 < sides.length; i += 1) {
      const [from, to] = [sides[i], sides[i + 1]];
      assert.ok(from !== undefined && to !== undefined);
      const [near, far] = channels(later);
      const outflow = new Outflow(near, from.tracker, () => 'web');
      new Inflow(far, to.tracker, () => to.server);
      outflow.start();
      await moved(outflow, 2);
      outflow.stop();
      if (i % 2 === 0) {
        used.socket.write(GET);
        await used.receives(`server-${i + 1}.`);
      }
    }
    fresh.socket.write(GET);
    await fresh.receives('server-4.');
  });

  tidy('does not move when its server has no place to go', async (later) => {
    const { a, near } = await twoServers(later);
    const outflow = new Outflow(near, a.tracker, () => undefined);
    const client = await servedClient(later, a);
    outflow.start();
    await soon(outflow.settled, 'the end of nothing');
    assert.equal(outflow.canGo(a.tracker.all()[0]?.socket as Socket), false);
    client.socket.write(GET);
    await client.receives('first', 2);
    outflow.stop();
  });
});

describe('a connection that is busy', () => {
  tidy('moves when its response is done, with the request that came meanwhile', async (later) => {
    const waiting: ServerResponse[] = [];
    const { a, outflow } = await twoServers(later, (_request, response) => {
      waiting.push(response);
    });
    const client = await clientOf(later, a);
    client.socket.write(GET);
    await until(() => waiting.length === 1, 'a request');
    outflow.start();
    await turns(5);
    assert.equal(outflow.moved, 0);
    client.socket.write(GET);
    await turns(5);
    waiting[0]?.end('first');
    await client.receives('second');
    assert.ok(client.text().indexOf('first') < client.text().indexOf('second'));
    assert.equal(waiting.length, 1, 'the predecessor got a request that was not its own');
  });

  tidy('that has sent part of a request is served by the predecessor, and moves after it', async (later) => {
    const { a, outflow } = await twoServers(later);
    const client = await clientOf(later, a);
    const [socket] = a.tracker.all().map((one) => one.socket);
    const half = GET.length - 5;
    client.socket.write(GET.slice(0, half));
    await until(() => socket?.bytesRead === half, 'half a request');
    outflow.start();
    await turns(10);
    assert.equal(outflow.moved, 0);
    client.socket.write(GET.slice(half));
    await client.receives('first');
    await moved(outflow, 1);
    client.socket.write(GET);
    await client.receives('second');
  });

  tidy('answered before its body has come moves when the body has', async (later) => {
    const bodies: number[] = [];
    const waiting: ServerResponse[] = [];
    const { a, outflow } = await twoServers(later, (request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      request.on('end', () => bodies.push(bytes));
      waiting.push(response);
    });
    const client = await clientOf(later, a);
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345');
    await until(() => waiting.length === 1, 'a request');
    outflow.start();
    await turns(3);
    waiting[0]?.end('early');
    await client.receives('early');
    await turns(10);
    assert.equal(outflow.moved, 0);
    client.socket.write('67890');
    await moved(outflow, 1);
    assert.deepEqual(bodies, [10]);
    client.socket.write(GET);
    await client.receives('second');
  });

  tidy(
    'answered before its body has come, and before it was to move, moves when the body has',
    async (later) => {
      const bodies: number[] = [];
      const { a, outflow } = await twoServers(later, (request, response) => {
        let bytes = 0;
        request.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        request.on('end', () => bodies.push(bytes));
        response.end('early');
      });
      const client = await clientOf(later, a);
      client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345');
      await client.receives('early');
      outflow.start();
      await turns(10);
      assert.equal(outflow.moved, 0);
      client.socket.write('67890');
      await moved(outflow, 1, 1500);
      assert.deepEqual(bodies, [10]);
      client.socket.write(GET);
      await client.receives('second');
    },
  );

  tidy('with a long answer that the client takes slowly moves when it has all of it', async (later) => {
    const size = 16 * 1024 * 1024;
    const { a, outflow } = await twoServers(later, (_request, response) => {
      response.setHeader('Content-Length', size);
      response.end(Buffer.alloc(size, 'x'));
    });
    const client = await clientOf(later, a);
    client.socket.pause();
    client.socket.write(GET);
    const [inside] = a.tracker.all().map(({ socket }) => socket);
    await until(() => (inside?.bytesRead ?? 0) > 0, 'the request');
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    client.socket.resume();
    await until(() => client.socket.bytesRead > size, 'the answer');
    await moved(outflow, 1);
    client.socket.write(GET);
    await client.receives('second');
    assert.equal(
      client
        .text()
        .split('\r\n\r\n')[1]
        ?.replace(/HTTP.*/s, '').length,
      size,
    );
  });

  tidy('that pipelines without end moves, and no answer is lost, doubled or out of order', async (later) => {
    const answer = (who: string) => (request: { url?: string | undefined }, response: ServerResponse) => {
      setImmediate(() => response.end(`<${who}${request.url}>`));
    };
    const { a, outflow } = await twoServers(later, answer('first'), answer('second'));
    const client = await clientOf(later, a);
    let sent = 0;
    const request = () => `GET /${++sent} HTTP/1.1\r\nHost: a\r\n\r\n`;
    const answers = () => client.text().match(/<(first|second)\/\d+>/g) ?? [];
    // Always ten under way.
    client.socket.write(Array.from({ length: 10 }, request).join(''));
    client.socket.on('data', () => {
      if (answers().length > sent - 10 && answers().length < 300) client.socket.write(request());
    });
    await client.receives('<first/20>');
    outflow.start();
    await until(() => answers().some((one) => one.startsWith('<second')), 'an answer of the successor');
    await until(() => answers().length >= sent, 'all answers');
    assert.deepEqual(
      answers().map((one) => Number(/\d+/.exec(one)?.[0])),
      Array.from({ length: sent }, (_, i) => i + 1),
    );
    const owners = answers().map((one) => /first|second/.exec(one)?.[0]);
    assert.equal(owners.lastIndexOf('first') < owners.indexOf('second'), true, 'they answered in turns');
  });

  tidy('stays where it may go no more when its turn comes', async (later) => {
    const a = await side(later, (_request, response) => response.end('first'));
    const b = await side(later, (_request, response) => response.end('second'));
    const clients: Awaited<ReturnType<typeof servedClient>>[] = [];
    for (let i = 0; i < 200; i += 1) clients.push(await servedClient(later, a));
    const [near, far] = channels(later);
    // As where it belongs to another slot since one more has come.
    let mayGo = true;
    const outflow = new Outflow(near, a.tracker, () => (mayGo ? 'web' : undefined));
    later(() => outflow.stop());
    new Inflow(far, b.tracker, (name) => (name === 'web' ? b.server : undefined));
    outflow.start('some');
    await until(() => outflow.moved > 0, 'the first batch');
    mayGo = false;
    await soon(outflow.settled, 'the end of moving');
    await until(() => outflow.isIdle && a.tracker.size + b.tracker.size === 200, 'nothing under way');
    assert.ok(outflow.moved < 200, 'some were still to go');
    // What each answers ends so; the first was answered by the first.
    for (const { socket, receives } of clients) {
      socket.write(GET);
      await receives('HTTP/1.1 200 OK', 2);
    }
  });
});

describe('what a moved connection brings along', () => {
  tidy('is what was left of its keep-alive time', async (later) => {
    const { a, b, outflow } = await twoServers(later, undefined, undefined, { keepAliveTimeout: 20_000 });
    await servedClient(later, a);
    const [before] = a.tracker.all();
    await until(() => timeLeftMs(before?.socket as Socket) !== null, 'a time-out');
    before?.socket.setTimeout(7000);
    outflow.start();
    await moved(outflow, 1);
    const left = timeLeftMs(b.tracker.all()[0]?.socket as Socket) ?? 0;
    assert.ok(left > 5000 && left <= 7000, `${left} ms`);
  });

  tidy('ends when its keep-alive time is over, as it would have before', async (later) => {
    const { a, outflow } = await twoServers(later, undefined, undefined, { keepAliveTimeout: 20_000 });
    const client = await servedClient(later, a);
    const [before] = a.tracker.all();
    await until(() => timeLeftMs(before?.socket as Socket) !== null, 'a time-out');
    before?.socket.setTimeout(150);
    const fromMs = performance.now();
    outflow.start();
    await moved(outflow, 1);
    await soon(client.closed, 'its end');
    const tookMs = performance.now() - fromMs;
    assert.ok(tookMs >= 100 && tookMs < 15_000, `${tookMs} ms`);
  });

  tidy('has the keep-alive time of its new server after its next response', async (later) => {
    const { a, b, outflow } = await twoServers(later, undefined, undefined, { keepAliveTimeout: 20_000 });
    const client = await servedClient(later, a);
    const [before] = a.tracker.all();
    await until(() => timeLeftMs(before?.socket as Socket) !== null, 'a time-out');
    before?.socket.setTimeout(3000);
    outflow.start();
    await moved(outflow, 1);
    client.socket.write(GET);
    await client.receives('second');
    const [after] = b.tracker.all();
    await until(() => (timeLeftMs(after?.socket as Socket) ?? 0) > 15_000, 'the new time-out');
  });

  for (const listens of [false, true]) {
    tidy(
      `is the time to send a head: late, it gets what Node itself answers${listens ? ', or what the service makes of it' : ''}`,
      async (later) => {
        const options = { headersTimeout: 1300, requestTimeout: 60_000, connectionsCheckingInterval: 20 };
        const { a, b, outflow } = await twoServers(later, undefined, undefined, options);
        const plain = await side(later, () => {}, options);
        const codes: unknown[] = [];
        const own = (error: NodeJS.ErrnoException, socket: { end(text: string): void }) => {
          codes.push(error.code);
          socket.end('HTTP/1.1 400 Mine\r\n\r\n');
        };
        if (listens) for (const { server } of [b, plain]) server.on('clientError', own);
        const fromMs = performance.now();
        const client = await clientOf(later, a);
        const other = await clientOf(later, plain);
        outflow.start();
        await moved(outflow, 1);
        const [adopted] = b.tracker.all();
        assert.ok(adopted !== undefined);
        assert.ok((headDueAtMs(adopted) ?? 0) - performance.now() < 1300);
        // What never sends a byte is late too.
        await soon(client.closed, 'the end of the moved one');
        const tookMs = performance.now() - fromMs;
        assert.ok(tookMs >= 1200 && tookMs < 15_000, `${tookMs} ms`);
        await soon(other.closed, 'the end of the other');
        assert.equal(client.text(), other.text());
        assert.match(client.text(), listens ? /^HTTP\/1.1 400 Mine/ : /^HTTP\/1.1 408 Request Timeout/);
        if (listens) assert.deepEqual(codes, ['ERR_HTTP_REQUEST_TIMEOUT', 'ERR_HTTP_REQUEST_TIMEOUT']);
      },
    );
  }

  tidy(
    'is safe from a late client that resets when the service answers it: somebody listens for errors, as in Node',
    async (later) => {
      const { a, b, outflow } = await twoServers(later, undefined, undefined, {
        headersTimeout: 1200,
        connectionsCheckingInterval: 20,
      });
      await clientOf(later, a);
      outflow.start();
      await moved(outflow, 1);
      const late = new Promise<Socket>((resolve) => {
        b.server.on('clientError', (_error, socket) => setImmediate(() => resolve(socket as Socket)));
      });
      const socket = await soon(late, 'a late client');
      // Without a listener the reset of this client is an uncaught exception, and ends the service.
      const listeners = socket.listenerCount('error');
      socket.destroy();
      assert.ok(listeners > 0);
    },
  );

  tidy('stays where it is when its time to send a head is nearly over', async (later) => {
    const { a, outflow } = await twoServers(later, undefined, undefined, {
      headersTimeout: 900,
      requestTimeout: 60_000,
      connectionsCheckingInterval: 20,
    });
    const client = await clientOf(later, a);
    outflow.start();
    await soon(outflow.settled, 'the end of nothing');
    assert.equal(outflow.moved, 0);
    client.socket.write(GET);
    await client.receives('first');
    await moved(outflow, 1);
  });
});

describe('the successor of moved connections', () => {
  tidy('counts them towards maxConnections', async (later) => {
    const { a, b, outflow } = await twoServers(later);
    b.server.maxConnections = 2;
    await servedClient(later, a);
    await servedClient(later, a);
    outflow.start();
    await moved(outflow, 2);
    assert.equal(await connectionsOf(b), 2);
    const dropped = eventOf(b.server, 'drop');
    const { connect } = await import('node:net');
    const third = connect((b.server.address() as { port: number }).port, '127.0.0.1').on('error', () => {});
    await dropped;
    await eventOf(third, 'close');
  });

  for (const how of ['close', 'closeIdleConnections', 'closeAllConnections'] as const) {
    tidy(`ends those at rest by ${how}(), as its own`, async (later) => {
      const { a, b, outflow } = await twoServers(later);
      const idle = await servedClient(later, a);
      const fresh = await clientOf(later, a);
      outflow.start();
      await moved(outflow, 2);
      const isClosed = eventOf(b.server, 'close');
      b.server[how]();
      await soon(idle.closed, 'the end of the idle one');
      if (how !== 'close') b.server.close();
      // What Node does with fresh connections differs between its versions.
      fresh.socket.end();
      await soon(fresh.closed, 'the end of the fresh one');
      await isClosed;
      assert.equal(await connectionsOf(b).catch(() => 0), 0);
    });
  }

  tidy('finishes what is in flight before it says close', async (later) => {
    const waiting: ServerResponse[] = [];
    const { a, b, outflow } = await twoServers(later, undefined, (_request, response) => {
      waiting.push(response);
    });
    const client = await servedClient(later, a);
    outflow.start();
    await moved(outflow, 1);
    client.socket.write(GET);
    await until(() => waiting.length === 1, 'a request');
    let isClosed = false;
    b.server.close(() => {
      isClosed = true;
    });
    await turns(5);
    assert.equal(isClosed, false);
    waiting[0]?.end('second');
    await client.receives('second');
    // Node itself lets it wait for its keep-alive time now.
    client.socket.end();
    await until(() => isClosed, 'the close');
  });

  tidy('gets connections of a listener that it has closed no more: they end', async (later) => {
    const a = await side(later, (_request, response) => response.end('first'));
    const [near, far] = channels(later);
    const tracker = new ConnectionTracker(() => false);
    new Inflow(far, tracker, () => undefined);
    const outflow = new Outflow(near, a.tracker, () => 'web');
    const client = await servedClient(later, a);
    outflow.start();
    await soon(client.closed, 'its end');
    assert.equal(tracker.size, 0);
    outflow.stop();
  });

  tidy('has it once when it came twice, by two channels of one process that has ended', async (later) => {
    const a = await side(later, (_request, response) => response.end('first'));
    const b = await side(later, (_request, response) => response.end('second'));
    const [near, far] = channels(later);
    const [nearAgain, farAgain] = channels(later);
    // Its answer comes too late: the first outflow has stopped by then, and never hears it.
    const send = far.send.bind(far);
    far.send = (message, ...beside) => {
      if (message.type !== 'connections-received') send(message, ...beside);
    };
    const inflow = new Inflow(far, b.tracker, () => b.server);
    new Inflow(farAgain, b.tracker, () => b.server);
    const client = await servedClient(later, a);
    const outflow = new Outflow(near, a.tracker, () => 'web');
    outflow.start();
    outflow.stop();
    const again = new Outflow(nearAgain, a.tracker, () => 'web');
    again.start();
    await moved(again, 1);
    const { hasEnded } = ProcessHandle.prototype;
    later(() => Object.assign(ProcessHandle.prototype, { hasEnded }));
    ProcessHandle.prototype.hasEnded = () => true;
    near.close();
    await soon(inflow.over, 'the end of the first channel');
    assert.equal(b.tracker.size, 1);
    assert.equal(await connectionsOf(b), 1);
    client.socket.write(GET);
    await client.receives('second');
    again.stop();
  });

  tidy('serves what had come when it gave the listener up', async (later) => {
    const a = await side(later, (_request, response) => response.end('first'));
    const b = await side(later, (_request, response) => response.end('second'));
    const [near, far] = channels(later);
    let hasCome = false;
    const send = far.send.bind(far);
    far.send = (message, ...beside) => {
      hasCome ||= message.type === 'connections-received';
      send(message, ...beside);
    };
    new Inflow(far, b.tracker, () => (hasCome ? undefined : b.server));
    const outflow = new Outflow(near, a.tracker, () => 'web');
    const client = await servedClient(later, a);
    outflow.start();
    await moved(outflow, 1);
    client.socket.write(GET);
    await client.receives('second');
    outflow.stop();
  });

  tidy('sees the end of a client that ended before it was moved', async (later) => {
    const { a, b, outflow } = await twoServers(later);
    const idle = await servedClient(later, a);
    const last = await servedClient(later, a);
    outflow.start();
    // On their way while the connections are frozen: an end, and a request with an end.
    idle.socket.end();
    last.socket.write(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    last.socket.end();
    await soon(idle.closed, 'the end of the idle one');
    await soon(last.closed, 'the end of the last one');
    assert.match(last.text(), /second/);
    await until(() => b.tracker.size === 0, 'no connection');
    assert.equal(await connectionsOf(b), 0);
  });

  tidy('loses a client that resets while it is moved, and nothing else', async (later) => {
    const { a, b, outflow } = await twoServers(later);
    const clients = await Promise.all(Array.from({ length: 20 }, () => servedClient(later, a)));
    outflow.start();
    for (const { socket } of clients.slice(0, 10)) socket.resetAndDestroy();
    await until(() => a.tracker.size === 0 && b.tracker.size === 10, 'ten connections');
    for (const { socket, receives } of clients.slice(10)) {
      socket.write(GET);
      await receives('second');
    }
    assert.equal(await connectionsOf(a), 0);
    assert.equal(await connectionsOf(b), 10);
  });
});

/** The sending side, with a peer that acknowledges as the test wants. */
async function sending(later: Later, options: Record<string, unknown> = {}) {
  const a = await side(later, (_request, response) => response.end('first'), options);
  const { channel, peer, records } = bareChannel(later);
  const outflow = new Outflow(channel, a.tracker, () => 'web');
  channel.closed.then(() => outflow.stop());
  later(() => outflow.stop());
  const reader = new FrameReader();
  const messages: Record<string, unknown>[] = [];
  peer.on('data', (chunk: Buffer) => messages.push(...reader.push(chunk).map(({ message }) => message)));
  return { a, channel, peer, records, outflow, messages };
}

describe('the predecessor of connections that do not get through', () => {
  tidy('serves them on when the channel closes before they were acknowledged', async (later) => {
    const { a, channel, peer, outflow, messages } = await sending(later, { keepAliveTimeout: 20_000 });
    const idle = await servedClient(later, a);
    const fresh = await clientOf(later, a);
    await until(() => timeLeftMs(a.tracker.all()[0]?.socket as Socket) !== null, 'a time-out');
    outflow.start();
    await until(() => messages.length > 0, 'a batch');
    assert.ok(Array.isArray(messages[0]?.items) && messages[0].items.length === 2);
    // Already on its way to the one that will never read it.
    idle.socket.write(GET);
    await turns(5);
    assert.equal(idle.text().split('first').length, 2, 'it was served by both');
    peer.destroy();
    await channel.closed;
    await idle.receives('first', 2);
    fresh.socket.write(GET);
    await fresh.receives('first');
    assert.equal(outflow.moved, 0);
    for (const { socket } of a.tracker.all())
      await until(() => (timeLeftMs(socket) ?? 0) > 10_000, 'its keep-alive time');
  });

  tidy('keeps those that the other side had no room for, and offers them again', async (later) => {
    const { a, peer, outflow, messages } = await sending(later);
    const clients = [
      await servedClient(later, a),
      await servedClient(later, a),
      await servedClient(later, a),
    ];
    outflow.start();
    await until(() => messages.length > 0, 'a batch');
    peer.write(encodeFrame({ type: 'connections-received', batch: 1, count: 0 }));
    for (const { socket, receives } of clients) {
      socket.write(GET);
      await receives('first', 2);
    }
    assert.equal(outflow.moved, 0);
    await until(() => messages.filter(({ type }) => type === 'connections').length >= 2, 'another batch');
  });

  tidy('serves them while the other side does not answer, and offers them when it does', async (later) => {
    const { a, peer, outflow, messages } = await sending(later);
    const client = await servedClient(later, a);
    outflow.start();
    await until(() => messages.some(({ type }) => type === 'connections-kept'), 'that it stays', 20_000);
    await outflow.settled;
    client.socket.write(GET);
    await client.receives('first', 2);
    await turns(20);
    assert.equal(messages.filter(({ type }) => type === 'connections').length, 1, 'nothing more was sent');
    // Its loop runs again: it reads the first batch, and that this has stayed.
    peer.write(encodeFrame({ type: 'connections-received', batch: 1, count: 1 }));
    await until(() => messages.filter(({ type }) => type === 'connections').length === 2, 'another batch');
    peer.write(encodeFrame({ type: 'connections-received', batch: 2, count: 1 }));
    await until(() => messages.some(({ type }) => type === 'connections-begin'), 'the begin');
    assert.deepEqual(
      messages.filter(({ type }) => type === 'connections-begin').map(({ batch }) => batch),
      [2],
    );
    assert.equal(outflow.moved, 1);
  });

  for (const lost of ['connections', 'connections-received']) {
    tidy(`moves them all the same where the message \`${lost}\` was lost`, async (later) => {
      const { a, near, far, outflow } = await twoServers(later);
      let isLost = false;
      for (const channel of [near, far]) {
        const send = channel.send.bind(channel);
        channel.send = (message, ...beside) => {
          if (isLost || message.type !== lost) send(message, ...beside);
          else isLost = true;
        };
      }
      const client = await servedClient(later, a);
      outflow.start();
      await moved(outflow, 1, 20_000);
      assert.ok(isLost);
      client.socket.write(GET);
      await client.receives('second');
    });
  }

  tidy('ends its own side of those that were acknowledged before it lets the other begin', async (later) => {
    const { a, peer, outflow, messages } = await sending(later);
    const client = await servedClient(later, a);
    outflow.start();
    await until(() => messages.length > 0, 'a batch');
    const [inside] = a.tracker.all().map(({ socket }) => socket);
    peer.write(encodeFrame({ type: 'connections-received', batch: 1, count: 1 }));
    await until(() => messages.some(({ type }) => type === 'connections-begin'), 'the begin');
    assert.equal(inside?.destroyed, true);
    assert.equal(outflow.moved, 1);
    await turns(5);
    // Nobody has a copy but the record that was not taken: the client still has its connection.
    assert.equal(client.socket.destroyed, false);
  });

  tidy('has no more than two batches under way', async (later) => {
    const { a, peer, outflow, messages } = await sending(later);
    await Promise.all(Array.from({ length: 140 }, () => servedClient(later, a)));
    outflow.start();
    await turns(20);
    await until(() => messages.length === 2, 'two batches');
    await turns(20);
    assert.deepEqual(
      messages.map(({ items }) => (items as unknown[]).length),
      [64, 64],
    );
    peer.write(encodeFrame({ type: 'connections-received', batch: 1, count: 64 }));
    await until(() => messages.filter(({ type }) => type === 'connections').length === 3, 'the third');
  });

  tidy('ignores an acknowledgement of a batch that it never sent', async (later) => {
    const { a, channel, peer, outflow } = await sending(later);
    const client = await servedClient(later, a);
    peer.write(encodeFrame({ type: 'connections-received', batch: 99, count: 5 }));
    peer.write(encodeFrame({ type: 'connections-adopted', batch: 99, pausesMs: [] }));
    await turns(5);
    assert.equal(channel.isClosed, false);
    assert.equal(outflow.moved, 0);
    client.socket.write(GET);
    await client.receives('first', 2);
  });

  tidy('lets a service whose response takes long read again after a second', async (later) => {
    const waiting: ServerResponse[] = [];
    const { a, outflow } = await twoServers(later, (_request, response) => {
      waiting.push(response);
    });
    const client = await clientOf(later, a);
    client.socket.write(GET);
    await until(() => waiting.length === 1, 'a request');
    outflow.start();
    const ended = new Promise<void>((resolve) => waiting[0]?.once('close', resolve));
    // The client leaves; the service learns it although reads were held back.
    client.socket.resetAndDestroy();
    await soon(ended, 'the end of the response', 4000);
  });
});

/** The receiving side, with a peer that sends as the test wants. */
async function receiving(later: Later) {
  const b = await side(later, (_request, response) => response.end('second'));
  const { channel, peer, records } = bareChannel(later);
  new Inflow(channel, b.tracker, () => b.server);
  const reader = new FrameReader();
  const messages: Record<string, unknown>[] = [];
  peer.on('data', (chunk: Buffer) => messages.push(...reader.push(chunk).map(({ message }) => message)));
  let tag = 0;
  const send = (batch: number, descriptors: readonly number[], items = descriptors.length) => {
    const item = {
      listener: 'web',
      kind: 'http1',
      idleLeftMs: null,
      headLeftMs: null,
      requests: 0,
      frozenAtMs: 0,
    };
    if (descriptors.length > 0) sendDescriptors(records, ++tag, descriptors);
    peer.write(
      encodeFrame({
        type: 'connections',
        batch,
        items: Array(items).fill(item),
        descriptors: descriptors.length,
      }),
    );
  };
  /** A connection that tells when its last copy is closed. */
  const connection = () => {
    const [fd, other] = streamSocketPair();
    const client = socketOf(other);
    client.on('error', () => {});
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    later(() => client.destroy());
    client.resume();
    return { fd, client, closed };
  };
  return { b, channel, peer, messages, send, connection };
}

describe('the successor of a predecessor that does not go on', () => {
  for (const how of ['given', 'taken back'] as const) {
    const what = how === 'given' ? 'goes on with' : 'closes, since it might have been read,';
    tidy(`${what} what had arrived and was ${how} when its predecessor was killed`, async (later) => {
      const b = await side(later, (_request, response) => response.end('successor'));
      const path = join(temporaryFolder(later), 'door.sock');
      const entered = new Promise<Channel>((resolve, reject) => {
        try {
          const door = Door.open(path, 'predecessor', resolve);
          later(() => door.close());
        } catch (error) {
          reject(error);
        }
      });
      const giver = fixture(later, 'give-connections.mjs', [path, how]);
      const channel = await soon(entered, 'the predecessor');
      later(() => channel.close());
      const { port } = await giver.says<{ port: number }>();
      const socket = connect({ port, host: '127.0.0.1' });
      later(() => socket.destroy());
      let text = '';
      socket
        .on('error', () => {})
        .on('data', (chunk: Buffer) => {
          text += chunk.toString('latin1');
        });
      const end = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      socket.write(GET);
      await until(() => text.includes('predecessor'), 'its first answer');
      const arrived = new Promise<void>((resolve) => {
        const send = channel.send.bind(channel);
        channel.send = (message, ...rest) => {
          send(message, ...rest);
          if (message.type === 'connections-received') resolve();
        };
      });
      new Inflow(channel, b.tracker, () => b.server);
      // It stops itself once it has sent the connection, and never hears that it arrived.
      channel.send({ type: 'confirm' });
      await soon(arrived, 'the connection');
      const isStopped = () => / T \d+ /.test(readFileSync(`/proc/${giver.pid}/stat`, 'utf8'));
      await until(isStopped, 'the stop of the predecessor');
      giver.process.kill('SIGKILL');
      if (how === 'given') {
        socket.write(GET);
        await until(() => text.includes('successor'), 'the answer of the successor');
        socket.destroy();
        await until(() => b.tracker.size === 0, 'no connection');
      } else await soon(end, 'its end');
      assert.equal(b.tracker.size, 0);
    });
  }

  tidy('reads nothing of a connection before it may begin', async (later) => {
    const { send, connection, messages, peer } = await receiving(later);
    const { fd, client } = connection();
    send(1, [fd]);
    closeDescriptor(fd);
    client.write(GET);
    await until(() => messages.length === 1, 'an acknowledgement');
    assert.deepEqual(messages[0], { type: 'connections-received', batch: 1, count: 1 });
    await turns(10);
    assert.equal(client.bytesRead, 0);
    peer.write(encodeFrame({ type: 'connections-begin', batch: 1 }));
    await until(() => client.bytesRead > 0, 'an answer');
  });

  tidy('closes what it may not begin when the channel closes, unread', async (later) => {
    const { send, connection, messages, peer, b } = await receiving(later);
    const ones = [connection(), connection()];
    send(
      1,
      ones.map(({ fd }) => fd),
    );
    for (const { fd } of ones) closeDescriptor(fd);
    await until(() => messages.length === 1, 'an acknowledgement');
    peer.destroy();
    for (const { closed } of ones) await soon(closed, 'the end of a copy');
    assert.equal(b.tracker.size, 0);
  });

  tidy('ignores a begin of what never came', async (later) => {
    const { channel, peer } = await receiving(later);
    peer.write(encodeFrame({ type: 'connections-begin', batch: 7 }));
    await turns(5);
    assert.equal(channel.isClosed, false);
  });

  tidy('closes descriptors for which there is no connection', async (later) => {
    const { send, connection, messages, peer } = await receiving(later);
    const ones = [connection(), connection(), connection()];
    send(
      1,
      ones.map(({ fd }) => fd),
      2,
    );
    for (const { fd } of ones) closeDescriptor(fd);
    await until(() => messages.length === 1, 'an acknowledgement');
    assert.equal(messages[0]?.count, 2);
    peer.write(encodeFrame({ type: 'connections-begin', batch: 1 }));
    await soon(ones[2]?.closed ?? Promise.reject(), 'the end of the third');
  });

  tidy('closes what came under a number that comes twice', async (later) => {
    const { send, connection, messages, peer } = await receiving(later);
    const before = openDescriptors();
    const ones = [connection(), connection()];
    for (const { fd } of ones) {
      send(1, [fd]);
      closeDescriptor(fd);
    }
    await Promise.race([until(() => messages.length === 2, 'two acknowledgements'), eventOf(peer, 'close')]);
    peer.destroy();
    for (const { closed } of ones) await soon(closed, 'the end of a copy', 500);
    void before;
  });

  tidy('keeps nothing when one of them is no socket: the others are served, or closed', async (later) => {
    const { send, connection, messages, peer } = await receiving(later);
    const one = connection();
    const file = openSync('/dev/null', 'r');
    send(1, [file, one.fd]);
    closeSync(file);
    closeDescriptor(one.fd);
    await until(() => messages.length === 1, 'an acknowledgement');
    one.client.write(GET);
    peer.write(encodeFrame({ type: 'connections-begin', batch: 1 }));
    await Promise.race([until(() => one.client.bytesRead > 0, 'an answer', 1500), one.closed]);
  });
});

/** Another process as the successor. */
async function successorProcess(
  later: Later,
  options: object,
  room: number | undefined,
  maxDescriptors?: number,
): Promise<{ child: Fixture; channel: Channel }> {
  const path = join(temporaryFolder(later), 'a.sock');
  let enter: (channel: Channel) => void;
  const entered = new Promise<Channel>((resolve) => {
    enter = resolve;
  });
  const door = Door.open(path, 'predecessor', (channel) => enter(channel));
  later(() => door.close());
  const args = [path, JSON.stringify(options), ...(room === undefined ? [] : [String(room)])];
  const child = fixture(
    later,
    'receive-connections.mjs',
    args,
    maxDescriptors === undefined ? {} : { maxDescriptors },
  );
  const channel = await soon(entered, 'the successor');
  later(() => channel.close());
  await child.says();
  return { child, channel };
}

describe('a successor that is another process', () => {
  tidy(
    'that may open few descriptors takes what it has room for, and leaves the rest where it is',
    async (later) => {
      const a = await side(later, (_request, response) => response.end('predecessor'));
      const { child, channel } = await successorProcess(later, {}, 10, 100);
      const clients = await Promise.all(
        Array.from({ length: 50 }, () => servedClient(later, a, 'predecessor')),
      );
      const outflow = new Outflow(channel, a.tracker, () => 'web');
      later(() => outflow.stop());
      outflow.start();
      await until(() => outflow.moved > 0, 'a moved connection');
      await until(() => outflow.moved === 10, 'as many as there is room for');
      assert.equal(channel.isClosed, false);
      for (const { socket } of clients) socket.write(GET);
      await Promise.all(
        clients.map(({ text }) => until(() => text().split('HTTP/1.1 200').length === 3, 'an answer')),
      );
      assert.equal(clients.filter(({ text }) => text().includes('successor')).length, 10);
      // With room for all, all go.
      channel.send({ type: 'release', name: 'room' });
      await until(() => outflow.moved === 50, 'all of them');
      child.tell('state');
      const told = await child.says();
      assert.equal(told.connections, 50);
      assert.equal(told.tracked, 50);
    },
  );

  tidy('ends a connection when both sides together have served maxRequestsPerSocket', async (later) => {
    const a = await side(later, (_request, response) => response.end('predecessor'), {
      maxRequestsPerSocket: 5,
    });
    countRequests(a.server, a.tracker);
    const { channel } = await successorProcess(later, { maxRequestsPerSocket: 5 }, undefined);
    const client = await clientOf(later, a);
    for (let i = 1; i <= 3; i += 1) {
      client.socket.write(GET);
      await client.receives('predecessor', i);
    }
    const outflow = new Outflow(channel, a.tracker, () => 'web');
    later(() => outflow.stop());
    outflow.start();
    await moved(outflow, 1);
    client.socket.write(GET);
    await client.receives('successor', 1);
    assert.doesNotMatch(client.text(), /Connection: close/i);
    client.socket.write(GET);
    await client.receives('successor', 2);
    assert.match(client.text(), /Connection: close/i);
    await soon(client.closed, 'its end');
  });

  tidy('whose death is seen: what it had not acknowledged goes on here', async (later) => {
    const a = await side(later, (_request, response) => response.end('predecessor'));
    const { child, channel } = await successorProcess(later, {}, undefined);
    const client = await servedClient(later, a, 'predecessor');
    const outflow = new Outflow(channel, a.tracker, () => 'web');
    channel.closed.then(() => outflow.stop());
    process.kill(child.pid, 'SIGSTOP');
    outflow.start();
    await turns(5);
    client.socket.write(GET);
    await turns(5);
    assert.equal(client.text().split('predecessor').length, 2);
    child.process.kill('SIGKILL');
    await channel.closed;
    await client.receives('predecessor', 2);
  });
});
