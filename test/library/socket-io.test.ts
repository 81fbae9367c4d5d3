import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { describe } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Server, type Socket } from 'socket.io';
import { io as connectTo } from 'socket.io-client';
import { WebSocket } from 'ws';
import { busy } from '#moult/library/socket-io.js';
import { eventOf, turns, until } from '../support/events.js';
import { tidy } from '../support/tidy.js';
import { client, flow, generations, moved, type SocketIoSide, speaking } from './socket-io-generations.js';

/** A version that works otherwise, where nobody but the rehearsal looks. */
const ElsewhereServer = class extends (Server as unknown as new (
  ...args: unknown[]
) => { onconnection(conn: unknown): void }) {
  override onconnection(conn: unknown): void {
    super.onconnection(conn);
  }

  to() {
    return { emit: () => {} };
  }
} as unknown as typeof Server;

/** The one socket of a side. */
function only(side: SocketIoSide, namespace = '/'): Socket {
  const socket = side.sockets.get(namespace);
  assert.ok(socket !== undefined, 'no socket');
  return socket;
}

describe('a client of Socket.IO', () => {
  tidy('goes on in the other generation, with its id, rooms, data and handshake', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { socket, hears, ends, heard } = await client(later, a, {
      auth: { token: 'secret' },
      query: { from: 'here' },
      extraHeaders: { 'x-of': 'mine' },
    });
    const { id } = socket;
    const before = only(a);
    before.join(['one', 'two']);
    before.data.name = 'somebody';
    const { handshake } = before;
    outflow.start();
    await moved(outflow, b);
    const after = only(b);
    assert.equal(after.id, id);
    assert.deepEqual([...after.rooms].sort(), [id, 'one', 'two'].sort());
    assert.deepEqual(after.data, { name: 'somebody' });
    assert.deepEqual(after.handshake, handshake);
    assert.equal(after.handshake.headers['x-of'], 'mine');
    assert.equal(after.request.headers['x-of'], 'mine');
    assert.equal(after.conn.remoteAddress, '127.0.0.1');
    socket.emit('echo', 1);
    await hears('echo', 'b', 1);
    b.io.to('two').emit('to all', 2);
    await hears('to all', 2);
    assert.equal(await socket.emitWithAck('echo', 3), 'b');
    assert.deepEqual(heard.length, 2);
    assert.deepEqual(ends, []);
    assert.deepEqual([a.events, b.events], [['connection'], ['recovered']]);
  });

  tidy('leaves nothing behind where it was', async (later) => {
    const gone: string[] = [];
    const { a, b, outflow } = await generations(later, { movable: { moved: ({ id }) => gone.push(id) } });
    const { socket } = await client(later, a);
    const before = only(a);
    before.join('one');
    outflow.start();
    await moved(outflow, b);
    await turns();
    assert.deepEqual(gone, [socket.id]);
    assert.equal(before.connected, false);
    assert.equal(a.io.engine.clientsCount, 0);
    assert.equal(a.io.sockets.sockets.size, 0);
    assert.deepEqual([...a.io.sockets.adapter.rooms.keys()], []);
    assert.equal(b.io.engine.clientsCount, 1);
    // The engine forgets it here as any other when it ends.
    socket.disconnect();
    await until(() => b.io.engine.clientsCount === 0, 'no client');
    assert.deepEqual(b.events, ['recovered', 'disconnect: client namespace disconnect']);
  });

  tidy('is told an error for what is sent to the socket that it has left', async (later) => {
    const { a, b, outflow } = await generations(later);
    await client(later, a);
    const before = only(a);
    outflow.start();
    await moved(outflow, b);
    const warned = eventOf<[NodeJS.ErrnoException]>(process, 'warning');
    before.emit('too late');
    assert.equal((await warned)[0].code, 'MOULT_CONNECTION_MOVED');
  });

  tidy('goes there and back as often as one likes', async (later) => {
    const { a, b } = await generations(later);
    const { socket, heard, ends } = await client(later, a);
    only(a).join('room');
    for (let i = 0; i < 6; i += 1) {
      const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
      to.sockets.clear();
      const outflow = flow(later, from, to);
      socket.emit('echo', i);
      outflow.start();
      await moved(outflow, to);
      outflow.stop();
      to.io.to('room').emit('number', i);
    }
    await until(() => heard.length === 12, 'all of it');
    assert.deepEqual(
      heard.filter(([name]) => name === 'echo').map(([, , i]) => i),
      [0, 1, 2, 3, 4, 5],
    );
    assert.deepEqual(
      heard.filter(([name]) => name === 'number').map(([, i]) => i),
      [0, 1, 2, 3, 4, 5],
    );
    assert.deepEqual(ends, []);
  });

  tidy('takes all its namespaces along, also those that are made when asked for', async (later) => {
    const namespaces = ['/', '/other'];
    const setUp = (side: SocketIoSide) => {
      side.io.of(/^\/made-\d+$/).on('connection', (socket) => {
        side.sockets.set(socket.nsp.name, socket);
        socket.on('echo', (value) => socket.emit('echo', side.name, value));
      });
    };
    const { a, b } = await generations(later, { namespaces });
    setUp(a);
    setUp(b);
    const main = await client(later, a);
    const rest = ['/other', '/made-7'].map((name) => speaking(main.socket.io.socket(name)));
    await until(() => rest.every(({ socket }) => socket.connected), 'all are connected');
    only(a, '/made-7').join('deep');
    for (const [from, to] of [
      [a, b],
      [b, a],
      [a, b],
    ] as const) {
      to.sockets.clear();
      const there = flow(later, from, to);
      there.start();
      await moved(there, to);
      await until(() => to.sockets.size === 3, 'all of them');
      there.stop();
    }
    for (const { socket, hears } of [main, ...rest]) {
      socket.emit('echo', 1);
      await hears('echo', 'b', 1);
    }
    b.io.of('/made-7').to('deep').emit('down', 1);
    await rest[1]?.hears('down', 1);
    assert.deepEqual(
      [main, ...rest].flatMap(({ ends }) => ends),
      [],
    );
  });

  tidy('gets what it is sent while it moves, in order', async (later) => {
    let n = 0;
    let sender: Socket | undefined;
    const { a, b } = await generations(later, {
      movable: {
        moved: () => {
          sender = undefined;
        },
      },
      setUp: (socket) => {
        sender = socket;
        socket.join('room');
      },
    });
    const { heard, ends } = await client(later, a);
    // To the socket itself and through its room, by turns: one of them is sent as a frame made ahead.
    const timer = setInterval(() => {
      if (sender === undefined) return;
      if (n % 2 === 0) sender.emit('n', n);
      else sender.nsp.to('room').emit('n', n);
      n += 1;
    }, 1);
    later(() => clearInterval(timer));
    for (let i = 0; i < 10; i += 1) {
      const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
      to.sockets.clear();
      const outflow = flow(later, from, to);
      outflow.start();
      await moved(outflow, to);
      outflow.stop();
    }
    clearInterval(timer);
    await until(() => heard.length >= n, 'all of it');
    assert.deepEqual(
      heard.map(([, i]) => i),
      Array.from({ length: n }, (_, i) => i),
    );
    assert.deepEqual(ends, []);
  });

  tidy('has its handlers set up by restore, with what was saved', async (later) => {
    const counts = new Map<Socket, number>();
    const { a, b, outflow } = await generations(
      later,
      {
        movable: { save: () => ({ count: 7 }), restore: () => {} } as never,
      },
      {
        movable: {
          restore: async (socket: Socket, { count }: { count: number }, version: number) => {
            await turns(5);
            counts.set(socket, count);
            socket.on('echo', (value) => socket.emit('echo', version, value));
          },
        } as never,
      },
    );
    const { socket, hears } = await client(later, a);
    outflow.start();
    socket.emit('echo', 1);
    await until(() => counts.size === 1, 'it is set up');
    assert.deepEqual([...counts.values()], [7]);
    socket.emit('echo', 2);
    await hears('echo', 1, 2);
    assert.deepEqual(b.events, []);
  });
});

describe('a client of Socket.IO waits', () => {
  tidy('for an acknowledgement that it has asked for', async (later) => {
    let answer: ((value: string) => void) | undefined;
    const { a, b, outflow } = await generations(later, {
      setUp: (socket) => {
        socket.on('ask', (acknowledge) => {
          answer = acknowledge;
        });
      },
    });
    const { socket } = await client(later, a);
    const asked = socket.emitWithAck('ask');
    await until(() => answer !== undefined, 'it is asked');
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    answer?.('from a');
    assert.equal(await asked, 'from a');
    await moved(outflow, b);
  });

  tidy(
    'for an acknowledgement that the service has forgotten, until it is collected as garbage',
    async (later) => {
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      let isAsked = false;
      const { a, b, outflow } = await generations(later, {
        setUp: (socket) => {
          socket.on('ask', () => {
            isAsked = true;
          });
        },
      });
      const { socket } = await client(later, a);
      socket.emit('ask', () => {});
      await until(() => isAsked, 'it is asked');
      outflow.start();
      await until(() => {
        collect();
        return outflow.moved === 1;
      }, 'it moved');
      await moved(outflow, b);
    },
  );

  tidy('for an acknowledgement that the service has asked for', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { socket } = await client(later, a);
    let acknowledge: ((value: string) => void) | undefined;
    socket.on('ask', (done) => {
      acknowledge = done;
    });
    const asked = only(a).emitWithAck('ask');
    await until(() => acknowledge !== undefined, 'it is asked');
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    acknowledge?.('from the client');
    assert.equal(await asked, 'from the client');
    await moved(outflow, b);
  });

  tidy('for a handler that returns a promise', async (later) => {
    let finish: (() => void) | undefined;
    const { a, b, outflow } = await generations(later, {
      setUp: (socket, { name }) => {
        socket.on('work', async () => {
          await new Promise<void>((resolve) => {
            finish = resolve;
          });
          socket.emit('done', name);
        });
      },
    });
    const { socket, hears } = await client(later, a);
    socket.emit('work');
    await until(() => finish !== undefined, 'it works');
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    finish?.();
    await hears('done', 'a');
    await moved(outflow, b);
  });

  tidy('for a middleware of its events, of its namespace, and while the service says so', async (later) => {
    const nexts: (() => void)[] = [];
    const { a, b, outflow } = await generations(later, {
      namespaces: ['/', '/slow'],
      setUp: (socket) => {
        socket.use((_event, next) => void nexts.push(next));
      },
    });
    a.io.of('/slow').use((_socket, next) => void nexts.push(next));
    const main = await client(later, a);
    const end = busy(only(a));
    main.socket.emit('echo', 1);
    await until(() => nexts.length === 1, 'the event');
    const slow = main.socket.io.socket('/slow');
    await until(() => nexts.length === 2, 'the namespace');
    outflow.start();
    for (const go of [nexts[0], end, nexts[1]]) {
      await turns(20);
      assert.equal(outflow.moved, 0);
      go?.();
    }
    await main.hears('echo', 'a', 1);
    if (!slow.connected) await eventOf(slow as never, 'connect');
    await moved(outflow, b);
    await until(() => b.sockets.size === 2, 'both');
  });

  tidy('for the rest of a message with binary parts', async (later) => {
    const { a, b, outflow } = await generations(later);
    const { socket, heard } = await client(later, a);
    const engine = socket.io.engine as unknown as { write(part: string | Buffer): void };
    engine.write('52-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    engine.write(Buffer.from('one'));
    const { decoder } = (
      only(a) as unknown as { client: { decoder: { reconstructor?: { buffers: Buffer[] } } } }
    ).client;
    await until(() => decoder.reconstructor?.buffers.length === 1, 'the first part');
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    engine.write(Buffer.from('two'));
    await moved(outflow, b);
    await until(() => heard.length === 1, 'the answer');
    assert.deepEqual(heard, [['echo', 'a', Buffer.from('one'), Buffer.from('two')]]);
  });

  tidy('until canMove says yes', async (later) => {
    let may = false;
    const { a, b, outflow } = await generations(later, { movable: { canMove: () => may } });
    await client(later, a);
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    may = true;
    await moved(outflow, b);
  });
});

describe('the heartbeat of a client that moves', () => {
  for (const [what, delayMs] of [
    ['before a ping', 0],
    ['between a ping and its answer', 150],
  ] as const) {
    tidy(`goes on as it was, with a move ${what}`, async (later) => {
      const server = { pingInterval: 120, pingTimeout: 400 };
      const { a, b } = await generations(later, { server });
      const { socket, ends } = await client(later, a);
      let pings = 0;
      const { engine } = socket.io;
      engine.on('ping', () => {
        pings += 1;
      });
      // Every generation has it for less than an interval: each must know when the next is due.
      const until = performance.now() + 1500;
      for (let i = 0; performance.now() < until; i += 1) {
        if (i === 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
        const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
        to.sockets.clear();
        const outflow = flow(later, from, to);
        outflow.start();
        await moved(outflow, to);
        outflow.stop();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.ok(pings >= 5, `${pings} pings`);
      assert.deepEqual(ends, []);
    });
  }

  tidy('ends a client that has fallen silent', async (later) => {
    const { a, b, outflow } = await generations(later, { server: { pingInterval: 100, pingTimeout: 300 } });
    const { socket } = await client(later, a);
    const engine = socket.io.engine as unknown as { _sendPacket: () => void; _onClose: () => void };
    engine._sendPacket = () => {};
    // Nor does it give the server up.
    engine._onClose = () => {};
    await eventOf(socket.io.engine as never, 'ping');
    outflow.start();
    await moved(outflow, b);
    await until(() => b.events.includes('disconnect: ping timeout'), 'its end');
  });
});

describe('a client of Socket.IO that does not speak over a WebSocket yet', () => {
  tidy('is upgraded where it is, and moves then', async (later) => {
    const { a, b, outflow } = await generations(later);
    const spoken = speaking(
      connectTo(`http://127.0.0.1:${(a.server.address() as AddressInfo).port}`, {
        reconnection: false,
        forceNew: true,
        transports: ['polling', 'websocket'],
        query: { at: 'first' },
      }),
    );
    later(() => spoken.socket.io._close());
    await eventOf(spoken.socket.io.engine as never, 'upgrading');
    outflow.start();
    await until(() => b.sockets.size === 1, 'it moved');
    spoken.socket.emit('echo', 1);
    await spoken.hears('echo', 'b', 1);
    assert.equal(only(b).handshake.query.transport, 'polling');
    assert.equal(only(b).conn.transport.name, 'websocket');
    assert.deepEqual(spoken.ends, []);
    assert.deepEqual(a.events, ['connection']);
  });

  tidy('is told to come again', async (later) => {
    const { a, outflow } = await generations(later);
    const { ends } = await client(later, a, { transports: ['polling'] });
    outflow.start();
    // Also between two of its requests: the next one is on its way.
    await until(() => ends.length === 1, 'its end');
    assert.deepEqual(ends, ['transport close']);
    assert.deepEqual(a.events, ['connection', 'disconnect: forced close']);
    // One that comes to this process nevertheless, over a connection that was open, is told as well.
    const late = await client(later, a, { transports: ['polling'] });
    await until(() => late.ends.length === 1, 'its end too');
    outflow.stop();
    const kept = await client(later, a, { transports: ['polling'] });
    kept.socket.emit('echo', 1);
    await kept.hears('echo', 'a', 1);
    assert.deepEqual(kept.ends, []);
  });
});

describe('a version of Socket.IO that is not known', () => {
  tidy('keeps its clients, and the service is told why', async (later) => {
    const told: Error[] = [];
    const { a, outflow } = await generations(later, {
      movable: { stayed: (_socket, error) => told.push(error) },
      Server: ElsewhereServer,
    });
    const { socket, hears } = await client(later, a);
    outflow.start();
    await until(() => told.length === 1, 'it is told');
    assert.match(String(told[0]), /keeps its state elsewhere than 4\.7 to 4\.8/);
    socket.emit('echo', 1);
    await hears('echo', 'a', 1);
    assert.equal(outflow.moved, 0);
  });

  tidy('of the client, too', async (later) => {
    const told: Error[] = [];
    const { a, outflow } = await generations(later, {
      server: { allowEIO3: true },
      movable: { stayed: (_socket, error) => told.push(error) },
    });
    const { port } = a.server.address() as AddressInfo;
    const ws = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=3&transport=websocket`);
    later(() => ws.terminate());
    await until(() => a.events.includes('connection'), 'it is connected');
    outflow.start();
    await until(() => told.length === 1, 'it is told');
    assert.match(String(told[0]), /client of version 2/);
  });
});
