import assert from 'node:assert/strict';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { type PerMessageDeflateOptions, WebSocket, WebSocketServer } from 'ws';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { Drain } from '#moult/connections/drain.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import type { MoultError } from '#moult/errors.js';
import { busy, hasMoved, moveWebSockets } from '#moult/library/ws.js';
import { channels } from '../channel/pair.js';
import { carriedTo } from '../connections/raw-servers.js';
import { eventOf, soon, turns, until } from '../support/events.js';
import { tidy } from '../support/tidy.js';
import {
  client,
  flow,
  frame,
  generations,
  moved,
  rawClient,
  thereAndBack,
  type WebSocketSide,
  webSocketSide,
} from './ws-generations.js';

function first({ wss }: WebSocketSide): WebSocket {
  const [ws] = wss.clients;
  assert.ok(ws !== undefined);
  return ws;
}

function bytesRead({ tracker }: WebSocketSide): number {
  return tracker.all().reduce((sum, { socket }) => sum + socket.bytesRead, 0);
}

describe('a WebSocket', () => {
  tidy('moves with its data, and nobody hears of an end or a beginning', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { ws, receives, events } = await client(later, a);
    ws.send('x');
    await receives('a:1:x');
    const before = first(a);
    outflow.start();
    await moved(outflow, b, 1);
    ws.send('y');
    await receives('b:2:y');
    assert.deepEqual(events, []);
    assert.deepEqual(a.events, ['connection']);
    assert.deepEqual(b.events, []);
    assert.equal(a.wss.clients.size, 0);
    assert.equal(a.states.size, 0);
    const after = first(b);
    assert.ok(after instanceof (b.wss.options.WebSocket ?? Object));
    assert.equal(hasMoved(before), false);
    assert.equal(hasMoved(after), true);
    assert.equal(after.readyState, after.OPEN);
    assert.equal(before.readyState, before.CLOSED);
    ws.close(4001, 'enough');
    await until(() => b.events.includes('close'), 'the end in the successor');
    assert.deepEqual(a.events, ['connection']);
    await until(() => b.wss.clients.size === 0, 'no client');
  });

  tidy('brings its request, subprotocol and binaryType along', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { ws } = await client(later, a, { headers: { 'x-user': 'me', cookie: 'a=1' } }, ['one', 'two']);
    first(a).binaryType = 'fragments';
    outflow.start();
    await moved(outflow, b, 1);
    const [request] = b.requests;
    assert.equal(request?.url, '/some/path?x=1');
    assert.equal(request?.method, 'GET');
    assert.equal(request?.headers['x-user'], 'me');
    assert.equal(request?.headers.cookie, 'a=1');
    assert.equal(
      request?.socket.remotePort,
      first(b) && (ws as unknown as { _socket: Socket })._socket.localPort,
    );
    assert.equal(first(b).protocol, 'one');
    assert.equal(first(b).binaryType, 'fragments');
  });

  tidy('comes with a connection event where the service has no restore of its own', async (later) => {
    const a = await webSocketSide(later, 'a');
    const b = await webSocketSide(later, 'b', {
      movable: { name: '', restore: undefined, save: undefined } as never,
    });
    const { ws, receives } = await client(later, a);
    const outflow = flow(later, a, b);
    outflow.start();
    await moved(outflow, b, 1);
    assert.deepEqual(b.events, ['connection']);
    ws.send('x');
    await receives('b:1:x');
  });

  tidy('goes there and back as often as one likes', async (later) => {
    const { a, b } = await generations(later);
    const { ws, received, events } = await client(later, a);
    for (let i = 0; i < 5; i += 1) {
      ws.send(String(i));
      await thereAndBack(later, a, b);
    }
    await until(() => received.length === 5, 'all answers');
    assert.deepEqual(
      received.map((text) => text.slice(2)),
      ['1:0', '2:1', '3:2', '4:3', '5:4'],
    );
    assert.deepEqual(events, []);
    assert.deepEqual([a.events, b.events], [['connection'], []]);
  });

  tidy('that is paused moves with what was not read of it, and stays paused', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { ws, receives, received } = await client(later, a);
    first(a).pause();
    const socket = (first(a) as unknown as { _socket: Socket })._socket;
    for (let i = 0; i < 10; i += 1) ws.send(`${i}`);
    await until(() => socket.readableLength > 0, 'unread bytes');
    outflow.start();
    await moved(outflow, b, 1);
    await turns(10);
    assert.equal(first(b).isPaused, true);
    assert.deepEqual(received, []);
    first(b).resume();
    await receives('b:10:9');
    assert.equal(received.length, 10);
  });
});

describe('what a client has sent in part', () => {
  const kinds: [string, Buffer, string][] = [
    ['a short frame', frame(1, 'hello'), 'hello'],
    ['a frame with a length of 16 bits', frame(1, 'h'.repeat(300)), 'h'.repeat(300)],
    ['a frame with a length of 64 bits', frame(2, 'h'.repeat(70_000)), 'h'.repeat(70_000)],
    ['a frame without a mask to speak of', frame(1, 'hello', { mask: 0 }), 'hello'],
  ];
  for (const [what, bytes, text] of kinds) {
    tidy(`moves with ${what}, cut at every byte of its header and a little further`, async (later) => {
      const { a, b, outflow } = await generations(later);
      const cuts = Array.from({ length: Math.min(bytes.length, 18) }, (_, i) => i);
      const clients = await Promise.all(cuts.map(() => rawClient(later, a)));
      const before = bytesRead(a);
      clients.forEach(({ socket }, i) => void (i > 0 && socket.write(bytes.subarray(0, i))));
      await until(() => bytesRead(a) - before === cuts.reduce((sum, cut) => sum + cut, 0), 'all parts');
      outflow.start();
      await moved(outflow, b, cuts.length);
      clients.forEach(({ socket }, i) => void socket.write(bytes.subarray(i)));
      for (const { receives } of clients) await receives(`b:1:${text}`);
      // And the next one is a frame again.
      for (const { socket, receives } of clients) {
        socket.write(frame(1, 'next'));
        await receives('b:2:next');
      }
      assert.deepEqual(b.events, []);
    });
  }

  tidy('moves in the middle of a message of 1 MiB', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { socket, receives } = await rawClient(later, a);
    const text = 'm'.repeat(1024 * 1024);
    const bytes = frame(2, text);
    const before = bytesRead(a);
    socket.write(bytes.subarray(0, 600_000));
    await until(() => bytesRead(a) - before === 600_000, 'half of it');
    outflow.start();
    await moved(outflow, b, 1);
    socket.write(bytes.subarray(600_000));
    await receives(`b:1:${text}`);
  });

  tidy('moves when it is whole, when it is more than may go along', async (later) => {
    const { a, b, outflow } = await generations(later, { movable: { maxBytes: 10_000, stayed: () => {} } });
    const small = await rawClient(later, a);
    const large = await rawClient(later, a);
    large.socket.write(frame(2, 'm'.repeat(50_000)).subarray(0, 30_000));
    await until(() => bytesRead(a) > 30_000, 'half of it');
    outflow.start();
    await until(() => outflow.moved === 1 && b.tracker.size === 1, 'the small one');
    small.socket.write(frame(1, 'x'));
    await small.receives('b:1:x');
    large.socket.write(frame(2, 'm'.repeat(50_000)).subarray(30_000));
    await large.receives(`a:1:${'m'.repeat(50_000)}`);
    await moved(outflow, b, 2);
  });

  tidy('moves between the fragments of a message, and in each of them', async (later) => {
    const { a, b, outflow } = await generations(later);
    const parts = [frame(1, 'one ', { fin: false }), frame(0, 'two ', { fin: false }), frame(0, 'three')];
    const bytes = Buffer.concat(parts);
    const cuts = Array.from({ length: bytes.length }, (_, i) => i);
    const clients = await Promise.all(cuts.map(() => rawClient(later, a)));
    const before = bytesRead(a);
    clients.forEach(({ socket }, i) => void (i > 0 && socket.write(bytes.subarray(0, i))));
    await until(() => bytesRead(a) - before === cuts.reduce((sum, cut) => sum + cut, 0), 'all parts');
    outflow.start();
    await moved(outflow, b, cuts.length);
    clients.forEach(({ socket }, i) => void socket.write(bytes.subarray(i)));
    for (const { receives } of clients) await receives('b:1:one two three');
  });

  tidy('moves with a ping between two fragments, and with half a ping', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { socket, frames, receives } = await rawClient(later, a);
    const ping = frame(9, 'p');
    socket.write(Buffer.concat([frame(1, 'one ', { fin: false }), ping, ping.subarray(0, 3)]));
    await until(() => frames().some(([opcode]) => opcode === 10), 'a pong');
    outflow.start();
    await moved(outflow, b, 1);
    socket.write(Buffer.concat([ping.subarray(3), frame(0, 'two')]));
    await receives('b:1:one two');
    assert.equal(frames().filter(([opcode]) => opcode === 10).length, 2);
    assert.deepEqual(b.events, ['ping']);
  });

  tidy('moves with a ping of the server in flight: the successor gets the pong', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { socket, frames } = await rawClient(later, a);
    first(a).ping('are you there');
    await until(() => frames().some(([opcode]) => opcode === 9), 'the ping');
    outflow.start();
    await moved(outflow, b, 1);
    socket.write(frame(10, 'are you there'));
    await until(() => b.events.includes('pong'), 'the pong');
    assert.deepEqual(a.events, ['connection']);
  });

  for (const cut of [1, 2, 4, 6, 7]) {
    tidy(`moves with ${cut} bytes of a close frame: the successor answers it`, async (later) => {
      const { a, b, outflow } = await generations(later);
      const { socket, frames } = await rawClient(later, a);
      const bytes = frame(8, Buffer.from([0x0f, 0xa1]));
      const before = bytesRead(a);
      socket.write(bytes.subarray(0, cut));
      await until(() => bytesRead(a) - before === cut, 'a part');
      outflow.start();
      await moved(outflow, b, 1);
      socket.write(bytes.subarray(cut));
      await until(() => b.events.includes('close'), 'the end');
      assert.deepEqual(frames(), [[8, Buffer.from([0x0f, 0xa1])]]);
      assert.deepEqual(a.events, ['connection']);
    });
  }

  tidy('stays when the server has begun to close it, and ends here', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { socket, frames } = await rawClient(later, a);
    first(a).close(4000, 'bye');
    outflow.start();
    await until(() => frames().some(([opcode]) => opcode === 8), 'the close frame');
    await turns(20);
    assert.equal(outflow.moved, 0);
    socket.write(frame(8, Buffer.from([0x0f, 0xa0])));
    await until(() => a.events.includes('close'), 'the end');
    assert.equal(b.tracker.size, 0);
  });
});

describe('what the service sends', () => {
  tidy('waits for a client that is slow to take it, and then the WebSocket moves', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { socket, frames, receives } = await rawClient(later, a);
    socket.pause();
    const text = 'q'.repeat(4 * 1024 * 1024);
    for (let i = 0; i < 4; i += 1) first(a).send(text);
    await turns(10);
    assert.ok(first(a).bufferedAmount > 0);
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    first(a).send('last');
    socket.resume();
    await moved(outflow, b, 1);
    socket.write(frame(1, 'x'));
    await receives('b:1:x');
    assert.deepEqual(
      frames().map(([, payload]) => payload.length),
      [text.length, text.length, text.length, text.length, 4, 5],
    );
  });

  for (const deflate of [false, true]) {
    tidy(
      `while it is on its way arrives once and in order${deflate ? ', compressed' : ''}`,
      async (later) => {
        const perMessageDeflate = deflate ? { threshold: 0 } : false;
        const { a, b, outflow } = await generations(later, { server: { perMessageDeflate } });
        const { ws, receives, received, events } = await client(later, a, { perMessageDeflate: deflate });
        const inside = first(a);
        const told: unknown[] = [];
        if (deflate) for (let i = 0; i < 20; i += 1) inside.send(`before ${i}`);
        outflow.start();
        for (let i = 0; i < 20; i += 1) inside.send(`late ${i}`, (error) => told.push(error));
        inside.ping('late');
        inside.send('part one, ', { fin: false });
        inside.send('part two', { fin: true });
        ws.send('y');
        await receives('b:1:y');
        await moved(outflow, b, 1);
        const expected = [
          ...(deflate ? Array.from({ length: 20 }, (_, i) => `before ${i}`) : []),
          ...Array.from({ length: 20 }, (_, i) => `late ${i}`),
          'part one, part two',
          'b:1:y',
        ];
        assert.deepEqual(received, expected);
        await until(() => events.includes('ping'), 'the ping');
        await until(() => told.length === 20, 'the callbacks');
        assert.ok(told.every((error) => !error));
      },
    );
  }

  tidy('as a Blob while it is on its way is sent here, and then the WebSocket moves', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { received } = await client(later, a);
    outflow.start();
    first(a).send(new Blob(['late']) as unknown as Buffer);
    first(a).send('after');
    await moved(outflow, b, 1);
    await until(() => received.length === 2, 'both');
    assert.deepEqual(received, ['late', 'after']);
  });

  tidy('by a timer is counted in the data: what goes along is what is true when it leaves', async (later) => {
    const push = (side: WebSocketSide) => {
      for (const [ws, state] of side.states) ws.send(`push ${state.count++}`);
    };
    const { a, b, outflow } = await generations(later);
    const { received } = await client(later, a);
    outflow.start();
    for (let i = 0; i < 1000 && outflow.moved === 0; i += 1) {
      push(a);
      await turns(1);
    }
    await moved(outflow, b, 1);
    push(b);
    const count = [...b.states.values()][0]?.count ?? 0;
    await until(() => received.length === count, 'all pushes');
    assert.deepEqual(
      received,
      Array.from({ length: count }, (_, i) => `push ${i}`),
    );
  });

  tidy('in fragments goes on where it was', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { receives } = await client(later, a);
    first(a).send('one, ', { fin: false });
    outflow.start();
    await moved(outflow, b, 1);
    first(b).send('two', { fin: true });
    await receives('one, two');
  });

  tidy('late, with close, ends it here', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { ws, received } = await client(later, a);
    const closed = eventOf<[number]>(ws, 'close');
    outflow.start();
    first(a).send('goodbye');
    first(a).close(4002);
    const [code] = await closed;
    assert.equal(code, 4002);
    assert.deepEqual(received, ['goodbye']);
    assert.equal(b.tracker.size, 0);
    await until(() => a.events.includes('close'), 'the end here');
  });

  tidy('after it has moved is an error for the callback', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { received } = await client(later, a);
    const inside = first(a);
    outflow.start();
    await moved(outflow, b, 1);
    const error = await new Promise<MoultError>((resolve) =>
      inside.send('x', (e) => resolve(e as MoultError)),
    );
    assert.equal(error.code, 'MOULT_CONNECTION_MOVED');
    inside.close();
    inside.terminate();
    await turns(5);
    assert.deepEqual(received, []);
    assert.equal(b.wss.clients.size, 1);
  });
});

describe('a WebSocket whose handler computes its answer', () => {
  tidy('moves when the answer is sent, for a handler that returns a promise', async (later) => {
    const { a, b, outflow } = await generations(later);
    const answers: (() => void)[] = [];
    a.answer = (ws, text) =>
      new Promise<void>((resolve) => {
        answers.push(() => {
          ws.send(text);
          resolve();
        });
      });
    const { ws, receives, received } = await client(later, a);
    ws.send('x');
    await until(() => answers.length === 1, 'a message');
    outflow.start();
    ws.send('y');
    await turns(20);
    assert.equal(outflow.moved, 0);
    assert.equal(answers.length, 1, 'it received more');
    answers[0]?.();
    await receives('b:2:y');
    assert.deepEqual(received, ['a:1:x', 'b:2:y']);
    assert.equal(b.events.length, 0);
  });

  tidy('moves when the service says that it is no longer busy', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { ws, receives, received } = await client(later, a);
    const done = busy(first(a));
    const alsoDone = busy(first(a));
    outflow.start();
    ws.send('x');
    done();
    done();
    await turns(20);
    assert.equal(outflow.moved, 0);
    alsoDone();
    await moved(outflow, b, 1);
    await receives('b:1:x');
    assert.equal(received.length, 1);
  });

  tidy('is called as an emitter would call it', async (later) => {
    const { a } = await generations(later);
    const { ws } = await client(later, a);
    const inside = first(a);
    const calls: string[] = [];
    inside.once('message', function (this: unknown) {
      calls.push(this === inside ? 'once' : 'another this');
    });
    inside.prependListener('message', () => calls.push('first'));
    ws.send('x');
    ws.send('y');
    await until(() => calls.length === 3, 'all calls');
    assert.deepEqual(calls, ['first', 'once', 'first']);
    assert.equal(inside.listenerCount('message'), 1 + 1);
  });
});

describe('permessage-deflate', () => {
  const modes: [string, PerMessageDeflateOptions, boolean][] = [
    ['with context takeover on both sides', {}, true],
    ['without context takeover', { serverNoContextTakeover: true, clientNoContextTakeover: true }, false],
    ['with takeover of the client only', { serverNoContextTakeover: true }, true],
    ['with a small window', { clientMaxWindowBits: 9, serverMaxWindowBits: 9 }, true],
  ];
  for (const [what, options] of modes) {
    tidy(`goes on ${what}, over several moves`, async (later) => {
      const perMessageDeflate = { threshold: 0, ...options };
      const { a, b } = await generations(later, { server: { perMessageDeflate } });
      const { ws, received, events } = await client(later, a, {
        perMessageDeflate: {
          threshold: 0,
          ...(options.clientMaxWindowBits ? { clientMaxWindowBits: 9 } : {}),
        },
      });
      // Each message repeats what came before, from near and from far.
      const words = Array.from({ length: 3000 }, (_, i) => `word${(i * 7919) % 1000}`).join(' ');
      const sent: string[] = [];
      for (let i = 0; i < 30; i += 1) {
        const text = `${i}:${words.slice(i * 100, i * 100 + 20_000)}${sent.at(-1)?.slice(0, 500) ?? ''}`;
        sent.push(text);
        ws.send(text);
        if (i % 6 === 5) await thereAndBack(later, a, b);
      }
      await until(() => received.length === 30 || events.length > 0, 'all answers');
      assert.deepEqual(events, []);
      assert.deepEqual(
        received.map((text) => text.replace(/^[ab]:\d+:/, '')),
        sent,
      );
    });
  }

  tidy('moves when what was read is inflated, however long that takes and whatever comes', async (later) => {
    const { a, b, outflow } = await generations(later, { server: { perMessageDeflate: true } });
    const { ws, received, events } = await client(later, a, { perMessageDeflate: { threshold: 0 } });
    type Inflate = (data: Buffer, fin: boolean, callback: () => void) => void;
    const extensions = first(a) as unknown as { _extensions: Record<string, { decompress: Inflate }> };
    const deflate = extensions._extensions['permessage-deflate'];
    assert.ok(deflate !== undefined);
    const own = deflate.decompress;
    deflate.decompress = (...args) => void setTimeout(() => own.apply(deflate, args), 150);
    let sent = 0;
    const timer = setInterval(() => ws.send(String(sent++)), 50);
    later(() => clearInterval(timer));
    // More than it can inflate in the time for which reads are held back for a service.
    await until(() => sent === 30, 'a backlog');
    outflow.start();
    await moved(outflow, b, 1);
    clearInterval(timer);
    await until(() => received.length === sent, 'all answers');
    assert.deepEqual(
      received.map((text) => text.split(':')[2]),
      Array.from({ length: sent }, (_, i) => String(i)),
    );
    assert.deepEqual(events, []);
  });

  tidy('waits for the end of a message that comes in compressed fragments', async (later) => {
    const { a, b, outflow } = await generations(later, { server: { perMessageDeflate: { threshold: 0 } } });
    const { ws, receives } = await client(later, a, { perMessageDeflate: { threshold: 0 } });
    const before = bytesRead(a);
    ws.send('one, '.repeat(100), { fin: false });
    await until(() => bytesRead(a) > before, 'the first fragment');
    await turns(20);
    outflow.start();
    await turns(50);
    assert.equal(outflow.moved, 0);
    ws.send('two', { fin: true });
    await receives(`a:1:${'one, '.repeat(100)}two`);
    await moved(outflow, b, 1);
    ws.send('next');
    await receives('b:2:next');
  });

  tidy('moves although messages come and go without a pause', async (later) => {
    const { a, b, outflow } = await generations(later, { server: { perMessageDeflate: { threshold: 0 } } });
    const { ws, received } = await client(later, a, { perMessageDeflate: { threshold: 0 } });
    let sent = 0;
    const send = () => ws.send(`${sent++} ${'x'.repeat(2000)}`);
    for (let i = 0; i < 20; i += 1) send();
    ws.on('message', () => received.length < 500 && send());
    await until(() => received.length > 50, 'some answers');
    outflow.start();
    await moved(outflow, b, 1);
    await until(() => received.length >= sent, 'all answers');
    assert.deepEqual(
      received.map((text) => Number(/^\w:\d+:(\d+)/.exec(text)?.[1])),
      Array.from({ length: sent }, (_, i) => i),
    );
    assert.deepEqual(
      received.map((text) => Number(/^\w:(\d+)/.exec(text)?.[1])),
      Array.from({ length: sent }, (_, i) => i + 1),
    );
  });

  tidy('goes on although the new release has switched it off', async (later) => {
    const on = { server: { perMessageDeflate: { threshold: 0 } } };
    const { a, b, outflow } = await generations(later, on, {});
    const { ws, receives } = await client(later, a, { perMessageDeflate: { threshold: 0 } });
    ws.send('x'.repeat(100));
    await receives(`a:1:${'x'.repeat(100)}`);
    outflow.start();
    await moved(outflow, b, 1);
    ws.send('x'.repeat(101));
    await receives(`b:2:${'x'.repeat(101)}`);
  });
});

describe('a WebSocket that cannot be restored', () => {
  tidy('is closed with 1012, so that its client comes again', async (later) => {
    const { a, outflow } = await generations(
      later,
      {},
      {
        movable: {
          restore: () => {
            throw new Error('a mistake');
          },
        },
      },
    );
    const { ws } = await client(later, a);
    const closed = eventOf<[number]>(ws, 'close');
    outflow.start();
    const [code] = await closed;
    assert.equal(code, 1012);
    await until(() => outflow.failed === 1, 'the report');
  });

  tidy('is not sent where nobody knows its path', async (later) => {
    const a = await webSocketSide(later, 'a', { movable: { name: 'one' } });
    const b = await webSocketSide(later, 'b', { movable: { name: 'another' } });
    const outflow = flow(later, a, b);
    const { ws, receives } = await client(later, a);
    outflow.start();
    await soon(outflow.settled, 'the end of nothing');
    ws.send('x');
    await receives('a:1:x');
    assert.equal(outflow.moved, 0);
  });

  tidy(
    'because its server was closed meanwhile stays, and is not taken for a fresh connection',
    async (later) => {
      const { a, b, outflow } = await generations(later);
      const { ws, receives } = await client(later, a);
      outflow.start();
      await moved(outflow, b, 1);
      b.wss.close();
      await eventOf(b.wss, 'close', 50).catch(() => {});
      b.wss.emit('close');
      const [near, far] = channels(later);
      const back = new Outflow(near, b.tracker, () => 'web', carriedTo(a.server));
      new Inflow(far, a.tracker, () => a.server);
      later(() => back.stop());
      back.start();
      await soon(back.settled, 'the end of nothing');
      await turns(20);
      assert.equal(back.moved, 0);
      ws.send('x');
      await receives('b:1:x');
    },
  );

  tidy('because its library is another one stays, and its service is told', async (later) => {
    // A release of ws in which a field means something else.
    class Another extends WebSocket {
      setSocket(...args: unknown[]): void {
        const insides = WebSocket.prototype as unknown as { setSocket(...all: unknown[]): void };
        insides.setSocket.apply(this, args);
        (this as unknown as { _sender: Record<string, unknown> })._sender._firstFragment = 1;
      }
    }
    const told: string[] = [];
    const { a, outflow } = await generations(later, {
      server: { WebSocket: Another },
      movable: { stayed: (_ws, error) => told.push(error.code) },
    });
    const { ws, receives } = await client(later, a);
    outflow.start();
    await soon(outflow.settled, 'the end of trying');
    ws.send('x');
    await receives('a:1:x');
    assert.deepEqual(told, ['MOULT_SAVE_FAILED']);
    assert.equal(outflow.moved, 0);
  });
});

describe('a WebSocket that is left at the end of a drain', () => {
  tidy('is told 1012, so that its client comes again; one that does not answer is cut', async (later) => {
    const { a } = await generations(later);
    const { ws } = await client(later, a);
    const mute = await rawClient(later, a);
    const closed = eventOf<[number]>(ws, 'close');
    const drain = new Drain(
      a.tracker,
      [a.server],
      { timeoutMs: 50, spreadMs: 0 },
      () => true,
      () => true,
    );
    const [code] = await closed;
    assert.equal(code, 1012);
    await until(() => mute.frames().length === 1, 'its close frame');
    assert.deepEqual(mute.frames()[0], [8, Buffer.from([0x03, 0xf4])]);
    await soon(drain.finished, 'the end of the drain');
    assert.equal(drain.cut.length, 2);
    await until(() => a.tracker.size === 0, 'no connection');
  });
});

describe('moveWebSockets()', () => {
  it('refuses data that nobody would restore', () => {
    const wss = new WebSocketServer({ noServer: true });
    assert.throws(
      () => moveWebSockets(wss, { save: () => 1 }),
      (error: MoultError) => error.code === 'MOULT_BAD_OPTION',
    );
  });

  it('lets a server of HTTPS be, whose WebSockets stay', () => {
    const server = createSecureServer();
    moveWebSockets(new WebSocketServer({ server }));
  });
});
