import assert from 'node:assert/strict';
import { describe } from 'node:test';
import type { Socket } from 'socket.io';
import { busy } from '#moult/library/socket-io.js';
import { eventOf, turns, until } from '../support/events.js';
import { tidy } from '../support/tidy.js';
import { client, flow, generations, moved, type SocketIoSide, speaking } from './socket-io-generations.js';

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
    const { a, b, outflow } = await generations(later, { namespaces });
    setUp(a);
    setUp(b);
    const main = await client(later, a);
    const rest = ['/other', '/made-7'].map((name) => speaking(main.socket.io.socket(name)));
    await until(() => rest.every(({ socket }) => socket.connected), 'all are connected');
    only(a, '/made-7').join('deep');
    outflow.start();
    await moved(outflow, b);
    await until(() => b.sockets.size === 3, 'all of them');
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
