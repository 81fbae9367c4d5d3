import assert from 'node:assert/strict';
import { chownSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import type { Channel } from '#moult/channel/channel.js';
import { Door } from '#moult/channel/door.js';
import { openOperator } from '#moult/channel/operator-channel.js';
import { MoultError } from '#moult/errors.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { connectToOwner, isAnsweredAt } from '#moult/os/unix-sockets/held-socket.js';
import { bindUnix, listenOn } from '#moult/os/unix-sockets/unix-socket.js';
import type { Message } from '#moult/protocol/messages.js';
import { eventOf } from '../support/events.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';

const OURS = process.geteuid?.() ?? 0;
const NOBODY = 65_534;
const asRoot = { skip: OURS !== 0 && 'only root can give a file away' };

/** A supervisor's door, and those who came through it. */
function doorAt(later: Later, path: string): { door: Door; guests: [Channel, Message<'hello'>][] } {
  const guests: [Channel, Message<'hello'>][] = [];
  const door = Door.open(path, 'supervisor', (channel, hello) => {
    channel.on('status', () => channel.send({ type: 'result', ok: true, value: { by: path } }));
    guests.push([channel, hello]);
  });
  later(() => door.close());
  later(() => {
    for (const [channel] of guests) channel.close();
  });
  return { door, guests };
}

/** A server that ends each connection, says nothing, and counts them. */
async function plainAt(later: Later, path: string): Promise<{ connections: () => number }> {
  let count = 0;
  const server = createServer((socket) => {
    count += 1;
    socket.end();
  });
  later(() => server.close());
  server.listen(path);
  await eventOf(server, 'listening');
  return { connections: () => count };
}

/** Who answers a question there. */
async function answerAt(path: string, owners: readonly number[] = []): Promise<unknown> {
  const channel = await openOperator(path, owners, 5000);
  try {
    const answer = channel.next(['result'], 5000);
    channel.send({ type: 'status' });
    return (await answer).value?.by;
  } finally {
    channel.close();
    await channel.closed;
  }
}

const refusedWith = (code: string, reason?: string) => (error: unknown) =>
  error instanceof MoultError &&
  error.code === code &&
  (reason === undefined || error.details?.reason === reason);

describe('a command', () => {
  tidy('is answered by its own user, and says who it is', async (later) => {
    const path = join(temporaryFolder(later), 'control.sock');
    const { guests } = doorAt(later, path);
    assert.equal(await answerAt(path), path);
    const [, hello] = guests[0] ?? [];
    assert.equal(hello?.role, 'operator');
    assert.equal(hello?.pid, process.pid);
    assert.equal(hello?.parts, true);
  });

  tidy(
    'refuses the socket of another user before it connects',
    async (later) => {
      const path = join(temporaryFolder(later), 'control.sock');
      const { connections } = await plainAt(later, path);
      chownSync(path, NOBODY, NOBODY);
      await assert.rejects(answerAt(path), refusedWith('MOULT_PEER_REFUSED'));
      // Whoever comes in another way is seen.
      await eventOf(connect(path), 'end');
      assert.equal(connections(), 1);
      unlinkSync(path);
      doorAt(later, path);
      chownSync(path, NOBODY, NOBODY);
      // Root may operate the service of the user whose folder it is.
      assert.equal(await answerAt(path, [NOBODY]), path);
    },
    asRoot,
  );

  tidy('follows no link, and takes nothing but a socket', async (later) => {
    const folder = temporaryFolder(later);
    const path = join(folder, 'control.sock');
    const { connections } = await plainAt(later, path);
    symlinkSync(path, join(folder, 'link.sock'));
    writeFileSync(join(folder, 'file.sock'), '');
    for (const other of ['link.sock', 'file.sock'])
      await assert.rejects(answerAt(join(folder, other)), refusedWith('MOULT_SYSTEM_CALL', 'ENOTSOCK'));
    await assert.rejects(answerAt(join(folder, 'none.sock')), refusedWith('MOULT_SYSTEM_CALL', 'ENOENT'));
    await eventOf(connect(join(folder, 'link.sock')), 'end');
    assert.equal(connections(), 1);
  });

  tidy('reaches the socket that it has looked at, whatever takes its place', async (later) => {
    const folder = temporaryFolder(later);
    const [path, planted] = [join(folder, 'control.sock'), join(folder, 'planted.sock')];
    doorAt(later, path);
    const { connections } = await plainAt(later, planted);
    const { socket } = await connectToOwner(path, () => {
      unlinkSync(path);
      renameSync(planted, path);
    });
    await eventOf(socket, 'readable');
    assert.match(String(socket.read()), /"greeting"/);
    socket.destroy();
    assert.equal(connections(), 0);
    // The path alone leads to the other one.
    await eventOf(connect(path), 'end');
    assert.equal(connections(), 1);
  });

  tidy('says that nobody listens, and tells that from a full queue', async (later) => {
    const path = join(temporaryFolder(later), 'control.sock');
    const fd = bindUnix(path);
    assert.ok(typeof fd === 'number');
    later(() => closeDescriptor(fd));
    assert.equal(await isAnsweredAt(path), false);
    await assert.rejects(answerAt(path), refusedWith('MOULT_SYSTEM_CALL', 'ECONNREFUSED'));
    listenOn(fd, 0);
    assert.equal(await isAnsweredAt(path), true);
    // That one still waits to be let in, and there is room for no other. Source: Linux net/unix/af_unix.c, unix_recvq_full.
    assert.equal(await isAnsweredAt(path), true);
    await assert.rejects(answerAt(path), refusedWith('MOULT_SYSTEM_CALL', 'EAGAIN'));
  });

  tidy('names the process that does not greet', async (later) => {
    const path = join(temporaryFolder(later), 'control.sock');
    const fd = bindUnix(path);
    assert.ok(typeof fd === 'number');
    later(() => closeDescriptor(fd));
    listenOn(fd, 8);
    await assert.rejects(openOperator(path, [], 50), {
      code: 'MOULT_PEER_TIMEOUT',
      message: `process ${process.pid} did not greet within 50 ms`,
    });
  });
});
