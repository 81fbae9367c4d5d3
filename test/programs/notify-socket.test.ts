import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { pipe } from '#moult/os/descriptors/pipe.js';
import { sendDatagram } from '#moult/os/unix-sockets/datagram.js';
import { isReadable } from '#moult/os/unix-sockets/unix-socket.js';
import { NotifySocket } from '#moult/programs/notify-socket.js';
import { until, withFolder } from '../integration/supervised.js';

/** Hears this very process, unless another leader is given. */
async function hearing(
  test: (socket: NotifySocket, heard: { ready: number; refused: number[] }) => Promise<void>,
  leader = process.pid,
): Promise<void> {
  await withFolder(async (folder) => {
    const heard = { ready: 0, refused: [] as number[] };
    const socket = new NotifySocket(path.join(folder, 'n.sock'), {
      ready: () => {
        heard.ready += 1;
      },
      refused: (pid) => heard.refused.push(pid),
    });
    socket.listenTo(leader);
    const alive = setInterval(() => {}, 1000);
    try {
      await test(socket, heard);
    } finally {
      clearInterval(alive);
      socket.close();
      assert.ok(!existsSync(socket.path), 'the path is removed');
    }
  });
}

describe('the socket at which a program speaks', () => {
  it('hears that it is ready, once, and how it does', () =>
    hearing(async (socket, heard) => {
      sendDatagram(socket.path, Buffer.from('READY=1\nSTATUS=all\twell\nX=1'));
      await until('it is heard', () => heard.ready === 1);
      assert.equal(socket.status, 'all well');
      sendDatagram(socket.path, Buffer.from('READY=1\nSTATUS=again'));
      await until('the second is heard', () => socket.status === 'again');
      assert.equal(heard.ready, 1);
    }));

  it('does not hear a process of another tree', async () => {
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      detached: true,
      stdio: 'ignore',
    });
    try {
      await hearing(async (socket, heard) => {
        sendDatagram(socket.path, Buffer.from('READY=1'));
        await until('it is refused', () => heard.refused.length === 1);
        assert.deepEqual(heard, { ready: 0, refused: [process.pid] });
      }, other.pid);
    } finally {
      other.kill('SIGKILL');
      await once(other, 'exit');
    }
  });

  it('drops what is longer than a message may be', () =>
    hearing(async (socket, heard) => {
      sendDatagram(socket.path, Buffer.from(`READY=1\nX=${'x'.repeat(5000)}`));
      sendDatagram(socket.path, Buffer.from('STATUS=short'));
      await until('the next is heard', () => socket.status === 'short');
      assert.equal(heard.ready, 0);
    }));

  it('answers a barrier by closing what came with it', () =>
    hearing(async (socket) => {
      const [near, far] = pipe();
      sendDatagram(socket.path, Buffer.from('BARRIER=1'), [far]);
      closeDescriptor(far);
      await until('the other end is closed', () => isReadable(near));
      closeDescriptor(near);
    }));
});
