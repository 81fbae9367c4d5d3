import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { descriptorOf } from '#moult/node/handle.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { streamSocketPair } from '#moult/os/sockets/descriptor-socket.js';
import { checkPeer, ProcessHandle, peerCredentials, trustUids } from '#moult/os/unix-sockets/peer.js';
import { eventOf, soon } from '../../support/events.js';
import { fixture } from '../../support/fixture.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { tidy } from '../../support/tidy.js';

const NOBODY = 65534;

describe('the credentials of a peer', () => {
  tidy('are our own on a socket pair', () => {
    const [near, far] = streamSocketPair();
    assert.deepEqual(peerCredentials(near), {
      pid: process.pid,
      uid: process.geteuid?.(),
      gid: process.getegid?.(),
    });
    for (const fd of [near, far]) closeDescriptor(fd);
  });

  tidy('are those of the process that connected, as the kernel knows them', async (later) => {
    const folder = temporaryFolder(later);
    const path = join(folder, 'a.sock');
    const server = createServer({ pauseOnConnect: true }).listen(path);
    later(() => new Promise((resolve) => server.close(resolve)));
    await eventOf(server, 'listening');
    chmodSync(folder, 0o755);
    chmodSync(path, 0o666);
    // Only root can start a process as somebody else; everybody else is checked with their own user.
    const isRoot = process.geteuid?.() === 0;
    const who = isRoot
      ? { uid: NOBODY, gid: NOBODY }
      : { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
    const child = fixture(later, 'connect.mjs', [path], isRoot ? who : {});
    const [socket] = await eventOf<[Socket]>(server, 'connection');
    const peer = peerCredentials(descriptorOf(socket));
    assert.deepEqual(peer, { pid: child.pid, ...who });
    socket.destroy();
    if (isRoot)
      assert.throws(() => checkPeer(peer), {
        code: 'MOULT_PEER_REFUSED',
        message: new RegExp(`process ${child.pid} is of user ${NOBODY}`),
      });
    else checkPeer(peer);
  });

  tidy('let the same user and root in, and nobody else', () => {
    const ours = process.geteuid?.() ?? 0;
    checkPeer({ pid: 1, uid: ours, gid: 12345 });
    checkPeer({ pid: 1, uid: 0, gid: 0 });
    assert.throws(() => checkPeer({ pid: 1, uid: ours + 1, gid: 0 }), { code: 'MOULT_PEER_REFUSED' });
    assert.throws(() => checkPeer({ pid: 1, uid: 4_294_967_295, gid: 0 }), { code: 'MOULT_PEER_REFUSED' });
  });

  tidy('let those in who are trusted', (later) => {
    const other = (process.geteuid?.() ?? 0) + 1;
    trustUids([other]);
    later(() => trustUids([]));
    checkPeer({ pid: 1, uid: other, gid: 0 });
    assert.throws(() => checkPeer({ pid: 1, uid: other + 1, gid: 0 }), { code: 'MOULT_PEER_REFUSED' });
  });

  tidy('are refused to be more of than each generation can be told', (later) => {
    const users = Array.from({ length: 65 }, (_, i) => 50_000 + i);
    later(() => trustUids([]));
    trustUids(users.slice(1));
    checkPeer({ pid: 1, uid: 50_064, gid: 0 });
    assert.throws(() => trustUids(users), {
      code: 'MOULT_BAD_OPTION',
      message: /at most 64 users.*received 65/,
    });
  });

  tidy('of what is no socket are a typed error', () => {
    assert.throws(() => peerCredentials(99_999), {
      code: 'MOULT_SYSTEM_CALL',
      details: { call: 'getsockopt(SO_PEERCRED)', reason: 'EBADF' },
    });
  });
});

describe('a process held by a descriptor', () => {
  tidy('has not ended while it runs, and has after kill returns', async (later) => {
    const child = fixture(later, 'idle.mjs');
    await child.says();
    const held = new ProcessHandle(child.pid);
    assert.equal(held.hasEnded(), false);
    assert.equal(held.kill(), true);
    assert.equal(held.hasEnded(), true);
    assert.equal(held.kill(), true, 'a second kill is no error');
    held.close();
    held.close();
    assert.deepEqual(await soon(child.exited, 'the end'), { code: null, signal: 'SIGKILL' });
  });

  tidy('that is stopped is ended all the same', async (later) => {
    const child = fixture(later, 'idle.mjs');
    await child.says();
    process.kill(child.pid, 'SIGSTOP');
    const held = new ProcessHandle(child.pid);
    assert.equal(held.hasEnded(), false);
    assert.equal(held.kill(), true);
    held.close();
  });

  tidy('of another PID namespace has no number here, and neither ends nor is ended', () => {
    // To kill(2), 0 would be the group of this very process.
    const held = new ProcessHandle(0);
    assert.equal(held.isKnown, false);
    assert.equal(held.hasEnded(), false);
    assert.equal(held.kill(), false);
    held.close();
  });

  tidy('that had ended before counts as ended', async (later) => {
    const child = fixture(later, 'idle.mjs');
    await child.says();
    await child.end();
    const held = new ProcessHandle(child.pid);
    assert.equal(held.hasEnded(), true);
    assert.equal(held.kill(), true);
    held.close();
  });

  tidy('is never said to be gone while it lives, also where no descriptor can be opened', async (later) => {
    const victim = fixture(later, 'idle.mjs');
    await victim.says();
    const child = fixture(later, 'kill-without-room.mjs', [String(victim.pid)], { maxDescriptors: 60 });
    const told = await child.says();
    // A process that cannot be held may be refused; it may not be taken for one that is gone.
    if (told.error !== undefined) assert.equal(told.error, 'MOULT_SYSTEM_CALL');
    else assert.equal(told.isAlive, false, 'the successor would accept beside the predecessor');
  });

  tidy('is waited for although signals interrupt the wait', async (later) => {
    process.on('SIGWINCH', () => {});
    later(() => process.removeAllListeners('SIGWINCH'));
    const noise = fixture(later, 'signal-often.mjs', [String(process.pid), 'SIGWINCH']);
    await noise.says();
    for (let i = 0; i < 3; i += 1) {
      const child = fixture(later, 'idle.mjs');
      await child.says();
      const held = new ProcessHandle(child.pid);
      const gone = held.kill();
      held.close();
      assert.equal(gone, true, `${i}: said to live on after a kill`);
    }
    await noise.end();
  });
});
