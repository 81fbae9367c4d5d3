import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { socketFile } from '#moult/os/unix-sockets/socket-file.js';
import { SocketLinks } from '#moult/os/unix-sockets/socket-links.js';
import { bindUnix } from '#moult/os/unix-sockets/unix-socket.js';
import { eventOf } from '../../support/events.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

async function listening(later: Later, path: string): Promise<Server> {
  const server = createServer().listen(path);
  later(() => new Promise<void>((resolve) => server.close(() => resolve())));
  await eventOf(server, 'listening');
  return server;
}

function places(later: Later): { folder: string; path: string; links: SocketLinks } {
  const folder = temporaryFolder(later);
  mkdirSync(join(folder, 'private'));
  return { folder, path: join(folder, 'app.sock'), links: new SocketLinks(join(folder, 'private')) };
}

describe('the second name of a Unix socket', () => {
  tidy('lets its path be given back, as often as it is removed', async (later) => {
    const { path, links } = places(later);
    await listening(later, path);
    const file = links.keep(path) ?? '';
    assert.equal(links.isKept(file), true);
    assert.equal(links.restore(path, file), 'there');
    for (let time = 0; time < 3; time += 1) {
      rmSync(path);
      assert.equal(links.restore(path, file), 'restored');
      assert.equal(socketFile(path), file);
    }
  });

  tidy(
    'is for another place, too, and that place is removed only while it leads to the socket',
    async (later) => {
      const { folder, path, links } = places(later);
      await listening(later, path);
      const file = links.keep(path) ?? '';
      const elsewhere = join(folder, 'elsewhere.sock');
      assert.equal(links.restore(elsewhere, file), 'restored');
      assert.equal(statSync(elsewhere).ino, statSync(path).ino);
      rmSync(elsewhere);
      writeFileSync(elsewhere, '');
      links.remove(elsewhere, file);
      assert.equal(existsSync(elsewhere), true);
    },
  );

  tidy('takes the place of a socket that nobody has bound, and of nothing else', async (later) => {
    const { path, folder, links } = places(later);
    await listening(later, path);
    const file = links.keep(path) ?? '';
    rmSync(path);
    const left = bindUnix(path);
    assert.equal(typeof left, 'number');
    assert.equal(links.restore(path, file), 'taken', 'while it is bound');
    closeDescriptor(Number(left));
    assert.equal(links.restore(path, file), 'restored');
    assert.deepEqual(readdirSync(folder).sort(), ['app.sock', 'private']);
    rmSync(path);
    writeFileSync(path, 'a file');
    assert.equal(links.restore(path, file), 'taken');
  });

  tidy('is gone when it is forgotten, and with it the way back', async (later) => {
    const { path, links } = places(later);
    await listening(later, path);
    const file = links.keep(path) ?? '';
    links.forget(file);
    assert.equal(links.isKept(file), false);
    rmSync(path);
    assert.equal(links.restore(path, file), 'lost');
  });

  tidy('does not lead into a folder that is gone', async (later) => {
    const { folder, links } = places(later);
    mkdirSync(join(folder, 'run'));
    const path = join(folder, 'run/app.sock');
    await listening(later, path);
    const file = links.keep(path) ?? '';
    renameSync(join(folder, 'run'), join(folder, 'gone'));
    assert.equal(links.restore(path, file), 'lost');
    mkdirSync(join(folder, 'run'));
    assert.equal(links.restore(path, file), 'restored');
  });

  tidy(
    'lies beside the path where the private folder is on another file system',
    async (later) => {
      const { folder, path } = places(later);
      const other = mkdtempSync('/dev/shm/moult-test-');
      later(() => rmSync(other, { recursive: true }));
      const links = new SocketLinks(other);
      await listening(later, path);
      const file = links.keep(path) ?? '';
      rmSync(path);
      assert.equal(links.restore(path, file), 'restored');
      links.forget(file);
      assert.deepEqual(readdirSync(folder).sort(), ['app.sock', 'private']);
    },
    { skip: existsSync('/dev/shm') ? false : 'there is no /dev/shm' },
  );
});
