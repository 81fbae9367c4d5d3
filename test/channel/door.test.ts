import assert from 'node:assert/strict';
import { chmodSync, chownSync, closeSync, existsSync, openSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, mock } from 'node:test';
import type { Channel } from '#moult/channel/channel.js';
import { Door, type Visitor } from '#moult/channel/door.js';
import { Opening } from '#moult/channel/open.js';
import { MoultError } from '#moult/errors.js';
import { descriptorOf } from '#moult/node/handle.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import {
  descriptorSocketPair,
  sendBytesWithDescriptor,
  sendDescriptors,
} from '#moult/os/sockets/descriptor-socket.js';
import { encodeFrame } from '#moult/protocol/frame.js';
import type { Message } from '#moult/protocol/messages.js';
import { PROTOCOL } from '#moult/protocol/version.js';
import { comesBackTo, isOpen, openDescriptors } from '../support/descriptors.js';
import { eventOf, soon, turns } from '../support/events.js';
import fc from '../support/fast-check.js';
import { fixture } from '../support/fixture.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { rawPeer } from './raw-peer.js';

const listener = (name: string) => ({ name, family: 'tcp', backlog: 1, path: null }) as const;
const hello = { type: 'hello', protocol: 1, role: 'operator', moult: 'test', pid: 1 };

async function doorAt(
  later: Later,
  visit: Visitor,
  folder = temporaryFolder(later),
  role: 'supervisor' | 'predecessor' = 'supervisor',
): Promise<Door> {
  const door = Door.open(join(folder, 'a.sock'), role, visit);
  later(() => door.close());
  return door;
}

/** A door, and the first channel that comes through it. */
async function doorWithGuest(
  later: Later,
): Promise<{ path: string; guest: Promise<[Channel, Message<'hello'>]> }> {
  let welcome: (guest: [Channel, Message<'hello'>]) => void;
  const guest = new Promise<[Channel, Message<'hello'>]>((resolve) => {
    welcome = resolve;
  });
  const { path } = await doorAt(later, (channel, message) => welcome([channel, message]));
  return { path, guest: soon(guest, 'a guest') };
}

function files(later: Later, names: readonly string[]): number[] {
  const folder = temporaryFolder(later);
  const fds = names.map((name, i) => {
    writeFileSync(join(folder, String(i)), name);
    return openSync(join(folder, String(i)), 'r');
  });
  later(() => {
    for (const fd of fds) if (isOpen(fd)) closeSync(fd);
  });
  return fds;
}

describe('a door', () => {
  tidy('is a socket of its user alone, and is gone when it is closed', async (later) => {
    const door = await doorAt(later, () => {});
    assert.equal(statSync(door.path).mode & 0o777, 0o600);
    door.close();
    await turns();
    assert.equal(existsSync(door.path), false);
  });

  tidy('where one is already, or in a folder that is missing, is a typed error', async (later) => {
    const folder = temporaryFolder(later);
    await doorAt(later, () => {}, folder);
    assert.throws(() => Door.open(join(folder, 'a.sock'), 'supervisor', () => {}), {
      code: 'MOULT_SYSTEM_CALL',
      message: /EADDRINUSE/,
    });
    assert.throws(() => Door.open(join(folder, 'none/a.sock'), 'supervisor', () => {}), {
      code: 'MOULT_SYSTEM_CALL',
    });
  });

  tidy(
    'lets another process in, which speaks at once and then with others: messages, attachments, descriptors',
    async (later) => {
      const { path, guest } = await doorWithGuest(later);
      const child = fixture(later, 'open-channel.mjs', [path, 'converse']);
      const [channel, said] = await guest;
      assert.equal(said.role, 'operator');
      assert.equal(said.entry, 'fixture');
      assert.equal(said.pid, child.pid);
      assert.deepEqual(channel.peer, { pid: child.pid, uid: process.geteuid?.(), gid: process.getegid?.() });
      const fds = files(later, ['one', 'two', 'three']);
      channel.send({ type: 'inherit', epoch: 7, listeners: [] }, fds.slice(0, 2));
      const heard = await child.says<{ heard: number; texts: string[]; greeting: object; peer: object }>();
      assert.equal(heard.heard, 7);
      assert.deepEqual(heard.texts, ['one', 'two']);
      assert.deepEqual(heard.greeting, {
        type: 'greeting',
        parts: true,
        protocol: PROTOCOL,
        role: 'supervisor',
        moult: (heard.greeting as { moult: string }).moult,
        pid: process.pid,
      });
      assert.deepEqual(heard.peer, { pid: process.pid, uid: process.geteuid?.(), gid: process.getegid?.() });

      const back = new Promise<string>((resolve) =>
        channel.on('hold', ({ listener: { name } }, incoming) =>
          resolve(`${name} ${incoming.count} ${incoming.attachment}`),
        ),
      );
      channel.send({ type: 'hold', listener: listener('third') }, fds.slice(2), Buffer.from('with it'));
      assert.deepEqual(await child.says(), { held: 'third', text: 'three', beside: 'with it' });
      assert.equal(await soon(back, 'an answer'), 'third 1 back');
      channel.send({ type: 'release', name: 'x' });
      assert.deepEqual(await child.says(), { closed: null, left: 0 });
      assert.equal(await soon(channel.closed, 'the end'), undefined);
      assert.equal((await child.exited).code, 0);
    },
  );

  tidy('keeps its channels open when it closes, and lets nobody else in', async (later) => {
    let channel: Channel | undefined;
    const door = await doorAt(later, (visitor) => {
      channel = visitor;
    });
    const child = fixture(later, 'open-channel.mjs', [door.path, 'converse']);
    while (channel === undefined) await turns(1);
    door.close();
    channel.send({ type: 'inherit', epoch: 1, listeners: [] });
    assert.equal((await child.says()).heard, 1);
    const late = fixture(later, 'open-channel.mjs', [door.path, 'fail']);
    assert.deepEqual((await late.says()).error, 'MOULT_SYSTEM_CALL');
    channel.close();
  });

  tidy('tells a visitor why it refuses it, and keeps nothing of it', async (later) => {
    const { path } = await doorAt(later, () => {
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', 'not now', { serving: 'both' });
    });
    const child = fixture(later, 'open-channel.mjs', [path, 'fail']);
    assert.deepEqual(await child.says(), {
      error: 'MOULT_RESTART_IN_PROGRESS',
      message: 'not now',
      serving: 'both',
      left: 0,
    });
  });

  tidy('refuses a process of another user, and tells it so', async (later) => {
    // Only root can be visited by somebody else; another user visits itself, as an impostor of the check would see.
    const isRoot = process.geteuid?.() === 0;
    const folder = temporaryFolder(later);
    let visits = 0;
    const { path } = await doorAt(
      later,
      (channel) => {
        visits += 1;
        channel.close();
      },
      folder,
    );
    chmodSync(folder, 0o755);
    chmodSync(path, 0o666);
    const child = fixture(
      later,
      'open-channel.mjs',
      [path, 'fail'],
      isRoot ? { uid: 65534, gid: 65534 } : {},
    );
    const told = await child.says();
    assert.equal(told.left, 0);
    assert.equal(told.error, isRoot ? 'MOULT_PEER_REFUSED' : 'MOULT_PEER_CLOSED');
    assert.equal(visits, isRoot ? 0 : 1);
  });

  const isRoot = process.geteuid?.() === 0;
  const skip = isRoot ? false : 'only root meets sockets of others';
  for (const mine of [true, false]) {
    const what = mine ? 'as who owns its folder' : 'as another who may write to its folder';
    tidy(
      `is ${mine ? '' : 'not '}believed by a process of root ${what}`,
      async (later) => {
        const folder = temporaryFolder(later);
        const path = join(folder, 'a.sock');
        if (mine) chownSync(folder, 65534, 65534);
        else chmodSync(folder, 0o777);
        const child = fixture(later, 'closes-at-once.mjs', [path], { uid: 65534, gid: 65534 });
        await child.says();
        const open = () => new Opening(path, { role: 'generation', generation: 1 }, 5000);
        // It closes without a greeting: only one that is believed is waited for.
        assert.throws(open, { code: mine ? 'MOULT_PEER_CLOSED' : 'MOULT_PEER_REFUSED' });
      },
      { skip },
    );
  }

  tidy('loses a visitor that is killed, with what was on its way to it', async (later) => {
    const { path, guest } = await doorWithGuest(later);
    const child = fixture(later, 'open-channel.mjs', [path, 'deaf']);
    const [channel] = await guest;
    channel.send({ type: 'release', name: 'go' });
    await child.says();
    channel.send({ type: 'hold', listener: listener('a') }, files(later, ['a']));
    child.process.kill('SIGKILL');
    await soon(channel.closed, 'the loss');
    assert.ok(channel.isClosed);
  });

  tidy('cuts a visitor that has stopped reading', async (later) => {
    const { path, guest } = await doorWithGuest(later);
    const child = fixture(later, 'open-channel.mjs', [path, 'deaf']);
    const [channel] = await guest;
    channel.send({ type: 'release', name: 'go' });
    await child.says();
    const attachment = Buffer.alloc(1024 * 1024);
    let sent = 0;
    for (; sent < 100 && !channel.isClosed; sent += 1)
      channel.send({ type: 'release', name: 'x' }, [], attachment);
    assert.ok(sent < 32, `${sent} MB were taken`);
    assert.equal((await soon(channel.closed, 'the cut'))?.code, 'MOULT_PEER_TIMEOUT');
  });

  tidy('gives a visitor that says nothing ten seconds, and no more', async (later) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    later(() => mock.timers.reset());
    const { path } = await doorAt(later, () => {});
    const silent = await rawPeer(later, path);
    const speaks = await rawPeer(later, path);
    speaks.socket.write(encodeFrame(hello));
    await turns(5);
    mock.timers.tick(9_999);
    await turns(5);
    assert.equal(silent.socket.destroyed, false);
    mock.timers.tick(1);
    await soon(silent.closed, 'the end of the silent one');
    mock.timers.tick(60_000);
    await turns(5);
    assert.equal(speaks.socket.destroyed, false, 'one that has said hello may stay');
  });

  tidy('of a generation lets 192 in at a time', async (later) => {
    const { path } = await doorAt(later, () => {}, temporaryFolder(later), 'predecessor');
    for (let i = 0; i < 192; i += 1) await rawPeer(later, path);
    const one = connect(path);
    const bytes: Buffer[] = [];
    one.on('data', (chunk: Buffer) => bytes.push(chunk));
    one.on('error', () => {});
    await eventOf(one, 'close');
    assert.equal(Buffer.concat(bytes).length, 0);
  });
});

describe('a door with a visitor that keeps no rules', () => {
  const wrongOpenings: readonly (readonly [string, Buffer, string | undefined])[] = [
    ['speaks a later protocol', encodeFrame({ ...hello, protocol: 2 }), 'MOULT_PROTOCOL_VERSION'],
    ['speaks protocol 0', encodeFrame({ ...hello, protocol: 0 }), 'MOULT_PROTOCOL_VERSION'],
    ['has no role that is known', encodeFrame({ ...hello, role: 'king' }), undefined],
    [
      'begins with another message',
      encodeFrame({ type: 'restart', wait: true, ifBusy: 'wait', allowFewerListeners: false }),
      undefined,
    ],
    ['says what no frame is', Buffer.from('GET / HTTP/1.1\r\n\r\n'), undefined],
    ['announces a frame beyond the limits', Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), undefined],
    ['speaks of descriptors that it did not send', encodeFrame({ ...hello, descriptors: 3 }), undefined],
  ];
  for (const [what, bytes, code] of wrongOpenings) {
    for (const withDescriptors of [false, true]) {
      tidy(
        `closes one that ${what}${withDescriptors ? ', with descriptors' : ''}, and serves the next`,
        async (later) => {
          let visits = 0;
          const { path } = await doorAt(later, () => {
            visits += 1;
          });
          const peer = await rawPeer(later, path);
          if (withDescriptors) sendDescriptors(peer.records, 1, files(later, ['a', 'b']));
          peer.socket.write(bytes);
          await soon(peer.closed, 'its end');
          assert.equal(visits, 0);
          const [answer] = peer.frames;
          if (code === undefined) assert.equal(answer, undefined);
          else assert.equal((answer?.message.error as { code?: string } | undefined)?.code, code);
          const next = await rawPeer(later, path);
          assert.equal(next.greeting.message.type, 'greeting');
        },
      );
    }
  }

  tidy('closes one that says hello twice', async (later) => {
    const { path, guest } = await doorWithGuest(later);
    const peer = await rawPeer(later, path);
    peer.socket.write(encodeFrame(hello));
    const [channel] = await guest;
    peer.socket.write(encodeFrame(hello));
    assert.equal((await soon(channel.closed, 'the end'))?.code, 'MOULT_PROTOCOL_ORDER');
  });

  tidy('goes on when one leaves before, while and after it is greeted', async (later) => {
    const { path } = await doorAt(later, () => {});
    for (let i = 0; i < 20; i += 1) {
      const socket = connect(path);
      socket.on('error', () => {});
      if (i % 3 === 0) socket.destroy();
      else if (i % 3 === 1) socket.once('connect', () => socket.destroy());
      else socket.once('data', () => socket.destroy());
      await eventOf(socket, 'close');
    }
    const next = await rawPeer(later, path);
    assert.equal(next.greeting.message.type, 'greeting');
  });

  tidy('survives whatever random visitors send, and keeps nothing of it', async (later) => {
    const { path } = await doorAt(later, (channel) => {
      channel.on('release', () => {});
      channel.on('hold', (_message, incoming) => {
        for (const fd of incoming.take()) closeDescriptor(fd);
      });
      channel.on('status', () => channel.send({ type: 'result', ok: true }));
    });
    const fds = files(later, ['a', 'b', 'c']);
    const bytes = fc.uint8Array({ maxLength: 80 }).map((array) => Buffer.from(array));
    const messages = fc
      .oneof(
        fc.constant(hello),
        fc.constant({ type: 'status' }),
        fc.record({
          type: fc.constant('hold'),
          listener: fc.constant(listener('a')),
          descriptors: fc.nat(3),
        }),
        fc.record({
          type: fc.constantFrom('hello', 'hold', 'release', 'restart', 'inherit', 'x'),
          name: fc.jsonValue(),
          descriptors: fc.jsonValue(),
        }),
      )
      .map((message) => encodeFrame(message));
    const step = fc.record({
      chunk: fc.oneof(bytes, messages),
      count: fc.nat(3),
      tag: fc.option(fc.nat(4), { nil: undefined }),
    });
    const before = openDescriptors();
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(step, { maxLength: 8 }), async (isPolite, steps) => {
        const undos: (() => unknown)[] = [];
        const peer = await rawPeer((undo) => undos.push(undo), path);
        if (isPolite) peer.socket.write(encodeFrame(hello));
        let tag = 0;
        for (const { chunk, count, tag: forced } of steps) {
          try {
            if (count > 0) sendDescriptors(peer.records, forced ?? ++tag, fds.slice(0, count));
          } catch {
            // It has closed already.
          }
          peer.socket.write(chunk);
        }
        peer.socket.end();
        await soon(peer.closed, 'the end');
        for (const undo of undos.reverse()) await undo();
      }),
      { numRuns: 150 },
    );
    await comesBackTo(before);
    const next = await rawPeer(later, path);
    assert.equal(next.greeting.message.type, 'greeting');
  });
});

/** Something that is no door, at which another process knocks. */
async function impostor(later: Later, act: (socket: Socket) => void): Promise<string> {
  const path = join(temporaryFolder(later), 'a.sock');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    act(socket);
  }).listen(path);
  later(() => new Promise((resolve) => server.close(resolve)));
  later(() => {
    for (const socket of sockets) socket.destroy();
  });
  await eventOf(server, 'listening');
  return path;
}

const greeting = { type: 'greeting', protocol: PROTOCOL, role: 'supervisor', moult: 'test', pid: 1 };

/** Greets as a door does, then says what it is told, with these descriptors beside it. */
function greetThen(
  socket: Socket,
  said: Buffer,
  tag = 1,
  descriptors: readonly number[] = [],
  text: object = greeting,
): void {
  const [mine, theirs] = descriptorSocketPair();
  sendBytesWithDescriptor(descriptorOf(socket), encodeFrame(text), theirs);
  closeDescriptor(theirs);
  if (descriptors.length > 0) sendDescriptors(mine, tag, descriptors);
  closeDescriptor(mine);
  socket.write(said);
}

describe('the opening of a channel', () => {
  const inherit = { type: 'inherit', epoch: 1, listeners: [] };
  const cases: readonly (readonly [string, (socket: Socket, fds: number[]) => void, string])[] = [
    ['that is closed before a greeting', (socket) => socket.destroy(), 'MOULT_PEER_CLOSED'],
    [
      'that is closed within the greeting',
      (socket) => socket.end(encodeFrame(greeting).subarray(0, 20)),
      'MOULT_PEER_CLOSED',
    ],
    [
      'that is closed within the length of the greeting',
      (socket) => socket.end(Buffer.from([0, 0, 0])),
      'MOULT_PROTOCOL_FRAME',
    ],
    ['that is not greeted', () => {}, 'MOULT_PEER_TIMEOUT'],
    [
      'that is greeted with another protocol',
      (socket) => greetThen(socket, Buffer.alloc(0), 1, [], { ...greeting, protocol: { min: 7, max: 9 } }),
      'MOULT_PROTOCOL_VERSION',
    ],
    [
      'that is greeted without a socket for descriptors',
      (socket) => socket.write(encodeFrame(greeting)),
      'MOULT_PROTOCOL_ORDER',
    ],
    [
      'that is greeted with something else',
      (socket) => greetThen(socket, Buffer.alloc(0), 1, [], inherit),
      'MOULT_PROTOCOL_ORDER',
    ],
    [
      'that is greeted in another language',
      (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
      'MOULT_PROTOCOL_FRAME',
    ],
    [
      'that is greeted with a frame beyond the limits',
      (socket) => socket.write(Buffer.from([0x7f, 0, 0, 0, 0, 0, 0, 0, 1])),
      'MOULT_PROTOCOL_FRAME',
    ],
    [
      'that is refused',
      (socket) =>
        socket.write(encodeFrame({ type: 'refused', error: { code: 'MOULT_PEER_REFUSED', message: 'no' } })),
      'MOULT_PEER_REFUSED',
    ],
    [
      'that is answered with another message',
      (socket, fds) => greetThen(socket, encodeFrame({ type: 'commit', epoch: 1, descriptors: 2 }), 1, fds),
      'MOULT_PROTOCOL_ORDER',
    ],
    [
      'that is answered with a wrong field',
      (socket, fds) => greetThen(socket, encodeFrame({ ...inherit, epoch: 'x', descriptors: 2 }), 1, fds),
      'MOULT_PROTOCOL_FRAME',
    ],
    [
      'that is answered with fewer descriptors than announced',
      (socket, fds) => greetThen(socket, encodeFrame({ ...inherit, descriptors: 3 }), 1, fds),
      'MOULT_DESCRIPTORS',
    ],
    [
      'that is answered with descriptors of another message',
      (socket, fds) => greetThen(socket, encodeFrame({ ...inherit, descriptors: 2 }), 5, fds),
      'MOULT_DESCRIPTORS',
    ],
    [
      'that is answered without the descriptors announced',
      (socket) => greetThen(socket, encodeFrame({ ...inherit, descriptors: 1 })),
      'MOULT_DESCRIPTORS',
    ],
    ['that is not answered', (socket) => greetThen(socket, Buffer.alloc(0)), 'MOULT_PEER_TIMEOUT'],
    [
      'that is answered half',
      (socket) => greetThen(socket, encodeFrame(inherit).subarray(0, 15)),
      'MOULT_PEER_TIMEOUT',
    ],
    [
      'that is answered with a frame beyond the limits',
      (socket) => greetThen(socket, encodeFrame(inherit).fill(0x7f, 0, 4)),
      'MOULT_PROTOCOL_FRAME',
    ],
  ];
  for (const [what, act, code] of cases) {
    tidy(`${what} fails with ${code}, and leaves nothing open`, async (later) => {
      const fds = files(later, ['a', 'b']);
      const path = await impostor(later, (socket) => act(socket, fds));
      // Only one that is to be late meets its limit: a busy machine takes its time.
      const limitMs = code === 'MOULT_PEER_TIMEOUT' ? '500' : '8000';
      const child = fixture(later, 'open-channel.mjs', [path, 'fail', limitMs]);
      const told = await child.says();
      assert.equal(told.error, code, String(told.message));
      assert.equal(told.left, 0, `open: ${String(told.names)}`);
    });
  }

  tidy('to nobody fails with the reason', async (later) => {
    const child = fixture(later, 'open-channel.mjs', [join(temporaryFolder(later), 'none.sock'), 'fail']);
    const told = await child.says();
    assert.equal(told.error, 'MOULT_SYSTEM_CALL');
    assert.match(String(told.message), /connect failed with ENOENT/);
  });
});
