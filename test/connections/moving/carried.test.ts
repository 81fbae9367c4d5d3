import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { MoultError } from '#moult/errors.js';
import { atBoundary, busy, type Movable, movable } from '#moult/library/movable/movable.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { sendDescriptors, streamSocketPair } from '#moult/os/sockets/descriptor-socket.js';
import { encodeFrame, FrameReader } from '#moult/protocol/frame.js';
import { bareChannel, socketOf as socketOn } from '../../channel/pair.js';
import { eventOf, soon, turns, until } from '../../support/events.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';
import { LineService, type LineState } from '../line-service.js';
import { carriedTo, flow, type RawSide, rawClient, rawSide } from '../raw-servers.js';

/** Two generations of a line service, and what moves its connections. */
async function generations(
  later: Later,
  first: Partial<Movable<LineState>> = {},
  second: Partial<Movable<LineState>> = first,
) {
  const a = await rawSide(later);
  const b = await rawSide(later);
  const one = new LineService(a.server, 'a', first);
  const two = new LineService(b.server, 'b', second);
  return { a, b, one, two, ...flow(later, a, b) };
}

function socketOf({ tracker }: RawSide): Socket {
  const [tracked] = tracker.all();
  assert.ok(tracked !== undefined);
  return tracked.socket;
}

describe('a connection that its service has declared movable', () => {
  tidy('moves with its data, and neither side hears of an end', async (later) => {
    const { a, b, one, two, outflow } = await generations(later);
    const client = await rawClient(later, a);
    client.socket.write('x\ny\n');
    await client.receives('a:2:y');
    outflow.start();
    await soon(outflow.settled, 'the end of moving');
    assert.equal(outflow.moved, 1);
    await until(() => b.tracker.size === 1, 'the connection');
    assert.equal(a.tracker.size, 0);
    client.socket.write('z\n');
    await client.receives('b:3:z');
    await turns(5);
    assert.deepEqual(one.events, []);
    assert.equal(one.states.size, 0);
    client.socket.end();
    await soon(client.closed, 'its end');
    await until(() => two.events.includes('close'), 'the end in the successor');
  });

  tidy('that came over a Unix socket moves as well', async (later) => {
    const folder = temporaryFolder(later);
    const a = await rawSide(later, {}, join(folder, 'a'));
    const b = await rawSide(later, {}, join(folder, 'b'));
    new LineService(a.server, 'a');
    new LineService(b.server, 'b');
    const { outflow } = flow(later, a, b);
    const client = await rawClient(later, a);
    client.socket.write('x\n');
    await client.receives('a:1:x');
    outflow.start();
    await until(() => outflow.moved === 1, 'the move');
    client.socket.write('y\n');
    await client.receives('b:2:y');
  });

  tidy('moves with a line of which only a part has come, wherever it is cut', async (later) => {
    const { a, b, outflow } = await generations(later);
    const line = 'päßwörter\n';
    const bytes = Buffer.from(line);
    const clients = await Promise.all(
      Array.from({ length: bytes.length }, async (_, cut) => {
        const client = await rawClient(later, a);
        client.socket.write(bytes.subarray(0, cut));
        return { client, cut };
      }),
    );
    const whole = clients.reduce((sum, { cut }) => sum + cut, 0);
    const read = () => a.tracker.all().reduce((sum, { socket }) => sum + socket.bytesRead, 0);
    await until(() => read() === whole, 'all the parts');
    outflow.start();
    await until(() => b.tracker.size === bytes.length, 'all of them');
    for (const { client, cut } of clients) client.socket.write(bytes.subarray(cut));
    for (const { client } of clients) await client.receives(`b:1:${line}`);
  });

  tidy('goes back again when the handover is undone', async (later) => {
    const { a, b, outflow } = await generations(later);
    const client = await rawClient(later, a);
    client.socket.write('x\n');
    await client.receives('a:1:x');
    outflow.start();
    await until(() => outflow.moved === 1 && b.tracker.size === 1, 'the move');
    outflow.stop();
    const back = flow(later, b, a).outflow;
    client.socket.write('y');
    back.start();
    await until(() => back.moved === 1 && a.tracker.size === 1, 'the move back');
    client.socket.write('\n');
    await client.receives(':2:y');
    client.socket.write('z\n');
    await client.receives('a:3:z');
  });

  tidy('carries what its service had not taken from the socket yet', async (later) => {
    const { a, b, one, outflow } = await generations(later, {});
    const client = await rawClient(later, a);
    const socket = socketOf(a);
    socket.pause();
    client.socket.write('x\ny\n');
    await until(() => socket.readableLength === 4, 'unread bytes');
    outflow.start();
    await until(() => outflow.moved === 1, 'the move');
    await client.receives('b:2:y');
    assert.equal(b.tracker.size, 1);
    assert.deepEqual(one.events, []);
  });

  tidy('carries half a character that its socket had decoded', async (later) => {
    const seen: string[] = [];
    const set = (name: string) => (socket: Socket) => {
      socket.setEncoding('utf8').on('data', (text: string) => seen.push(`${name}:${text}`));
    };
    const a = await rawSide(later);
    const b = await rawSide(later);
    a.server.on('connection', set('a'));
    for (const { server } of [a, b]) {
      movable(server, { save: () => null, restore: set(server === a.server ? 'a' : 'b') });
    }
    const { outflow } = flow(later, a, b);
    const client = await rawClient(later, a);
    const [first, second] = [Buffer.from('aß').subarray(0, 2), Buffer.from('aß').subarray(2)];
    client.socket.write(first);
    await until(() => seen.length === 1, 'the first character');
    outflow.start();
    await until(() => outflow.moved === 1 && b.tracker.size === 1, 'the move');
    client.socket.write(second);
    await until(() => seen.length === 2, 'the second');
    assert.deepEqual(seen, ['a:a', 'b:ß']);
  });

  tidy('is not given what it was sent before its service has restored it', async (later) => {
    let go: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const { a, two, outflow } = await generations(
      later,
      {},
      {
        restore: async (socket, state) => {
          await gate;
          two.setUp(socket, state);
        },
      },
    );
    const client = await rawClient(later, a);
    outflow.start();
    await until(() => outflow.moved === 1, 'the move');
    client.socket.write('x\n');
    await turns(10);
    assert.equal(client.text(), '');
    go();
    await client.receives('b:1:x');
  });
});

describe('a connection that moves from hand to hand', () => {
  tidy('goes on when it is restored, not before', async (later) => {
    let go: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const { a, b, two, outflow } = await generations(
      later,
      {},
      {
        restore: async (socket, state) => {
          await gate;
          two.setUp(socket, state);
        },
      },
    );
    const c = await rawSide(later);
    new LineService(c.server, 'c');
    const next = flow(later, b, c).outflow;
    next.start();
    const client = await rawClient(later, a);
    client.socket.write('x\n');
    await client.receives('a:1:x');
    outflow.start();
    await until(() => outflow.moved === 1 && b.tracker.size === 1, 'the first move');
    client.socket.write('y\n');
    await turns(30);
    assert.equal(next.moved, 0);
    go();
    await until(() => next.moved === 1, 'the second move');
    await client.receives(':2:y');
    client.socket.write('z\n');
    await client.receives('c:3:z');
  });
});

describe('what the service writes while a connection is on its way', () => {
  tidy('arrives once, in order, before what the successor writes', async (later) => {
    const { a, one, outflow, far } = await generations(later);
    const client = await rawClient(later, a);
    client.socket.write('x\n');
    await client.receives('a:1:x');
    const socket = socketOf(a);
    const told: unknown[] = [];
    far.on('connections-adopted', () => {});
    outflow.start();
    // It is sent, and not acknowledged before the loop turns.
    for (let i = 0; i < 50; i += 1) socket.write(`late ${i}\n`, (error) => told.push(error));
    client.socket.write('y\n');
    await client.receives('b:2:y');
    const expected = ['a:1:x', ...Array.from({ length: 50 }, (_, i) => `late ${i}`), 'b:2:y'];
    assert.deepEqual(client.text().trim().split('\n'), expected);
    await until(() => told.length === 50, 'the callbacks');
    assert.ok(told.every((error) => !error));
    assert.deepEqual(one.events, []);
  });

  tidy('is written here when the other side does not take the connection', async (later) => {
    const { a, outflow, near } = await generations(later);
    const client = await rawClient(later, a);
    const socket = socketOf(a);
    outflow.start();
    socket.cork();
    socket.write('late 1\n');
    socket.write('late 2\n');
    socket.uncork();
    socket.write('late 3\n');
    client.socket.write('x\n');
    near.close();
    await client.receives('a:1:x');
    assert.equal(client.text(), 'late 1\nlate 2\nlate 3\na:1:x\n');
    assert.equal(outflow.moved, 0);
  });

  tidy('waits for a client that is slow to take what was written before', async (later) => {
    const { a, b, outflow } = await generations(later);
    const client = await rawClient(later, a);
    client.socket.pause();
    const socket = socketOf(a);
    const size = 12 * 1024 * 1024;
    socket.write('x'.repeat(size));
    await turns(10);
    assert.ok(socket.writableLength > 0, 'the kernel took all of it');
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    socket.write('the end\n');
    client.socket.resume();
    await until(() => outflow.moved === 1 && b.tracker.size === 1, 'the move');
    client.socket.write('y\n');
    await client.receives('b:1:y');
    assert.equal(client.text(), `${'x'.repeat(size)}the end\nb:1:y\n`);
  });

  for (const [what, act] of [
    ['ends', (socket: Socket) => socket.end('bye\n')],
    ['destroys', (socket: Socket) => socket.destroy()],
  ] as const) {
    tidy(`and a connection that it ${what} meanwhile ends here, and nowhere else`, async (later) => {
      const { a, b, two, outflow } = await generations(later);
      const client = await rawClient(later, a);
      const socket = socketOf(a);
      outflow.start();
      act(socket);
      if (what === 'ends') await client.receives('bye\n');
      client.socket.end();
      await soon(client.closed, 'the end');
      assert.equal(outflow.moved, 0);
      assert.equal(b.tracker.size, 0);
      assert.equal(two.states.size, 0);
      await until(() => a.tracker.size === 0, 'the end here');
    });
  }
});

describe('a save that returns a promise', () => {
  tidy('is asked before the connection is sent, and again when something was sent since', async (later) => {
    let saves = 0;
    const { a, b, one, outflow } = await generations(
      later,
      {
        save: async (socket) => {
          saves += 1;
          await turns(2);
          return { ...one.stateOf(socket) };
        },
      },
      {},
    );
    const client = await rawClient(later, a);
    const socket = socketOf(a);
    outflow.start();
    const expected: string[] = [];
    // More and more time to go in between.
    for (let gap = 1; outflow.moved === 0; gap += 1) {
      const text = `push ${++one.stateOf(socket).count}`;
      expected.push(text);
      socket.write(`${text}\n`);
      await turns(gap);
    }
    await until(() => b.tracker.size === 1, 'the move');
    assert.ok(saves >= 2, String(saves));
    client.socket.write('x\n');
    expected.push(`b:${expected.length + 1}:x`);
    await client.receives(':x\n');
    assert.deepEqual(client.text().trim().split('\n'), expected);
  });
});

describe('a connection on which something is pending', () => {
  tidy('moves when that is over, with what came in the meantime', async (later) => {
    const answers: (() => void)[] = [];
    const { a, one, outflow } = await generations(later);
    one.answer = (socket, text) => {
      const done = busy(socket);
      answers.push(() => {
        socket.write(text);
        done();
      });
    };
    const client = await rawClient(later, a);
    client.socket.write('x\n');
    await until(() => answers.length === 1, 'a line');
    outflow.start();
    client.socket.write('y\n');
    await turns(20);
    assert.equal(outflow.moved, 0);
    assert.equal(answers.length, 1, 'it went on reading');
    answers[0]?.();
    await client.receives('b:2:y');
    assert.equal(client.text(), 'a:1:x\nb:2:y\n');
  });

  tidy('is read again when it takes long: its end may depend on what the client says', async (later) => {
    const { a, one, outflow } = await generations(later);
    let finish: () => void = () => {};
    one.answer = (socket, text) => {
      if (text.includes('begin')) finish = busy(socket);
      if (text.includes('commit')) {
        socket.write(text);
        finish();
      }
    };
    const client = await rawClient(later, a);
    client.socket.write('begin\n');
    await until(() => one.states.get(socketOf(a))?.count === 1, 'a line');
    outflow.start();
    await turns(5);
    client.socket.write('commit\n');
    await client.receives('a:2:commit');
    await until(() => outflow.moved === 1, 'the move');
  });

  tidy('with a promise moves when it has settled, also when it was rejected', async (later) => {
    const { a, outflow } = await generations(later);
    await rawClient(later, a);
    let reject: (error: Error) => void = () => {};
    busy(
      socketOf(a),
      new Promise<void>((_resolve, fail) => {
        reject = fail;
      }),
    );
    outflow.start();
    await turns(5);
    assert.equal(outflow.moved, 0);
    reject(new Error('not to be told to anybody'));
    await until(() => outflow.moved === 1, 'the move');
  });

  tidy('moves only where canMove says so, and at once when it is told to look', async (later) => {
    const isWhole = (service: LineService) => (socket: Socket) => service.stateOf(socket).rest.length === 0;
    const services: LineService[] = [];
    const { a, one, outflow } = await generations(later, {
      canMove: (socket) => isWhole(services[0] as LineService)(socket),
    });
    services.push(one);
    const client = await rawClient(later, a);
    client.socket.write('half');
    await until(() => socketOf(a).bytesRead === 4, 'half a line');
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    one.answer = (socket, text) => {
      socket.write(text);
      atBoundary(socket);
    };
    client.socket.write(' a line\n');
    await client.receives('a:1:half a line');
    await until(() => outflow.moved === 1, 'the move');
  });
});

describe('a connection that cannot be saved', () => {
  const broken: [string, Partial<Movable<LineState>>, string][] = [
    [
      'because save throws',
      {
        save: () => {
          throw new Error('no');
        },
      },
      'MOULT_SAVE_FAILED',
    ],
    ['because save rejects', { save: () => Promise.reject(new Error('no')) }, 'MOULT_SAVE_FAILED'],
    [
      'because it holds a function',
      { save: () => ({ count: 0, rest: () => {} }) as unknown as LineState },
      'MOULT_SAVE_FAILED',
    ],
    [
      'because it is too much',
      { maxBytes: 1000, save: () => ({ count: 0, rest: Buffer.alloc(1000) }) },
      'MOULT_DATA_TOO_LARGE',
    ],
  ];
  for (const [why, options, code] of broken) {
    tidy(`${why} stays, is served on, and its service is told once`, async (later) => {
      const told: string[] = [];
      const { a, outflow } = await generations(
        later,
        { ...options, stayed: (_socket, error) => told.push(error.code) },
        {},
      );
      const client = await rawClient(later, a);
      outflow.start();
      await soon(outflow.settled, 'the end of trying');
      client.socket.write('x\n');
      await client.receives('a:1:x');
      await turns(30);
      assert.deepEqual(told, [code]);
      assert.equal(outflow.moved, 0);
      const [tracked] = a.tracker.all();
      assert.ok(tracked !== undefined);
      assert.equal(outflow.canGo(tracked.socket), false);
      assert.ok(outflow.whyStays(tracked)?.length);
    });
  }

  tidy('stays when the other side does not know its version, and moves when it does', async (later) => {
    const a = await rawSide(later);
    const sides = await Promise.all([rawSide(later), rawSide(later), rawSide(later)]);
    new LineService(a.server, 'a', { version: 3 });
    const others = [{ version: 2 }, { version: 4 }, { version: 5, oldestVersion: 3 }];
    sides.forEach((side, i) => void new LineService(side.server, `b${i}`, others[i]));
    const client = await rawClient(later, a);
    for (const [i, side] of sides.entries()) {
      const { outflow } = flow(later, a, side);
      outflow.start();
      await soon(outflow.settled, 'the end of moving');
      assert.equal(outflow.moved, i === 2 ? 1 : 0);
      outflow.stop();
    }
    client.socket.write('x\n');
    await client.receives('b2:1:x');
  });

  tidy('or not be restored is closed, and its giver is told', async (later) => {
    const { a, b, outflow } = await generations(
      later,
      {},
      {
        restore: () => {
          throw new Error('a mistake of the new release');
        },
      },
    );
    const warnings = eventOf<[Error & { code: string }]>(process, 'warning');
    const client = await rawClient(later, a);
    outflow.start();
    await soon(client.closed, 'its end');
    await until(() => outflow.failed === 1, 'the report');
    const [warning] = await warnings;
    assert.equal(warning.code, 'MOULT_RESTORE_FAILED');
    assert.match(warning.message, /a mistake of the new release/);
    await until(() => b.tracker.size === 0, 'nothing left');
  });
});

describe('a connection whose data never came', () => {
  tidy('is closed, and not given to its service without it', async (later) => {
    const b = await rawSide(later);
    const service = new LineService(b.server, 'b');
    const { channel, peer, records } = bareChannel(later);
    new Inflow(channel, b.tracker, () => b.server);
    const reader = new FrameReader();
    const messages: Record<string, unknown>[] = [];
    peer.on('data', (chunk: Buffer) => messages.push(...reader.push(chunk).map(({ message }) => message)));
    const [fd, other] = streamSocketPair();
    const client = socketOn(other);
    const closed = new Promise((resolve) => client.once('close', resolve));
    client.resume();
    const item = {
      listener: 'raw',
      kind: 'carried',
      mover: 'raw',
      version: 1,
      idleLeftMs: null,
      headLeftMs: null,
      requests: 0,
      frozenAtMs: 0,
    };
    sendDescriptors(records, 1, [fd]);
    closeDescriptor(fd);
    peer.write(encodeFrame({ type: 'connections', batch: 1, items: [item], descriptors: 1 }));
    peer.write(encodeFrame({ type: 'connections-begin', batch: 1 }));
    await soon(closed, 'its end');
    await until(() => messages.length === 2, 'the answers');
    assert.equal(messages[1]?.failed, 1);
    assert.equal(service.states.size, 0);
  });
});

describe('an outflow', () => {
  tidy('is idle only when the other side has begun with all that it was given', async (later) => {
    const a = await rawSide(later);
    new LineService(a.server, 'a');
    const client = await rawClient(later, a);
    const { channel, peer } = bareChannel(later);
    const outflow = new Outflow(channel, a.tracker, () => undefined, carriedTo(a.server));
    later(() => outflow.stop());
    let idle = 0;
    const idleWhenLeft: boolean[] = [];
    a.tracker.onClosed(() => idleWhenLeft.push(outflow.isIdle));
    outflow.onIdle = () => {
      idle += 1;
    };
    outflow.start();
    assert.equal(outflow.isIdle, false);
    peer.write(encodeFrame({ type: 'connections-received', batch: 1, count: 1 }));
    await until(() => outflow.moved === 1, 'the acknowledgement');
    // A process that ended now could take the word to begin along.
    assert.equal(a.tracker.size, 0);
    assert.deepEqual(idleWhenLeft, [false]);
    assert.equal(outflow.isIdle, false);
    assert.equal(idle, 0);
    peer.write(encodeFrame({ type: 'connections-adopted', batch: 1, pausesMs: [1] }));
    await until(() => idle === 1, 'the end');
    assert.equal(outflow.isIdle, true);
    void client;
  });
});

describe('hundreds of connections with data', () => {
  tidy('move in batches that a frame can carry', async (later) => {
    const size = 200_000;
    const padded = {
      save: (socket: Socket) => ({ count: 7, rest: Buffer.alloc(size, 'r'), of: socket.remotePort }),
    };
    const { a, b, two, outflow } = await generations(later, padded as Partial<Movable<LineState>>, {});
    const clients = await Promise.all(Array.from({ length: 100 }, () => rawClient(later, a)));
    outflow.start();
    await until(() => b.tracker.size === 100, 'all of them');
    assert.equal(outflow.moved, 100);
    for (const [socket, state] of two.states) {
      assert.equal((state as LineState & { of: number }).of, socket.remotePort, 'data of another connection');
      assert.equal(state.rest.length, size);
    }
    for (const { socket } of clients) socket.write('!\n');
    await Promise.all(clients.map(({ receives }) => receives('rr!\n')));
    assert.ok(clients.every(({ isClosed }) => !isClosed()));
  });
});

describe('movable()', () => {
  it('refuses what it cannot do', () => {
    const http = createHttpServer();
    const save = () => null;
    const restore = () => {};
    assert.throws(
      () => movable(http, { save, restore }),
      (error: MoultError) => error instanceof MoultError && error.code === 'MOULT_BAD_OPTION',
    );
  });

  tidy('refuses limits that are none', async (later) => {
    const { server } = await rawSide(later);
    const save = () => null;
    const restore = () => {};
    for (const bad of [{ version: 0 }, { version: 2, oldestVersion: 3 }, { maxBytes: 5 * 1024 * 1024 }]) {
      assert.throws(
        () => movable(server, { save, restore, ...bad }),
        (error: MoultError) => error.code === 'MOULT_BAD_OPTION',
      );
    }
  });

  tidy('means nothing to a side that was not told of its mover', async (later) => {
    const a = await rawSide(later);
    const b = await rawSide(later);
    new LineService(a.server, 'a');
    assert.deepEqual(carriedTo(b.server)?.(a.server, new Socket())?.movers, []);
    const { outflow } = flow(later, a, b);
    const client = await rawClient(later, a);
    outflow.start();
    await soon(outflow.settled, 'the end of nothing');
    assert.equal(outflow.moved, 0);
    client.socket.write('x\n');
    await client.receives('a:1:x');
  });
});
