import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { runRoot } from '#moult/channel/private-folder.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { bindUnix } from '#moult/os/unix-sockets/unix-socket.js';
import { checkName, RunFolder } from '#moult/supervisor/journal/run-folder.js';
import { eventOf } from '../../support/events.js';
import { fixture } from '../../support/fixture.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

async function listening(later: Later, folder: RunFolder): Promise<void> {
  const server = createServer((socket) => socket.destroy()).listen(folder.control);
  later(() => new Promise((resolve) => server.close(resolve)));
  await eventOf(server, 'listening');
}

describe('the name of a service', () => {
  tidy('is a word that can be a folder, and nothing that leads out of it', () => {
    for (const name of ['a', 'web-1', 'A.b_c', '0', 'x'.repeat(64)]) assert.equal(checkName(name), name);
    for (const name of ['', '.', '..', '-a', '_a', 'a/b', '../a', 'a b', 'ä', 'a\n', 'a\0', 'x'.repeat(65)]) {
      assert.throws(
        () => checkName(name),
        { code: 'MOULT_BAD_OPTION', message: /--name/ },
        JSON.stringify(name),
      );
    }
  });
});

describe('the run folder', () => {
  tidy('lies in XDG_RUNTIME_DIR, else in a folder of the user alone', () => {
    assert.equal(runRoot({ XDG_RUNTIME_DIR: '/run/user/1' }), '/run/user/1/moult');
    assert.match(runRoot({}), new RegExp(`/moult-${process.geteuid?.()}$`));
    assert.equal(runRoot({ XDG_RUNTIME_DIR: '' }), runRoot({}));
  });

  tidy('is made for its user alone, and claimed by one process at a time', (later) => {
    const root = join(temporaryFolder(later), 'moult');
    const folder = new RunFolder('web', root);
    const lock = folder.claim();
    for (const path of [root, folder.path]) assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.throws(() => new RunFolder('web', root).claim(), { code: 'MOULT_NAME_TAKEN' });
    new RunFolder('other', root).claim().release();
    lock.release();
    const again = new RunFolder('web', root).claim();
    folder.remove();
    assert.equal(existsSync(folder.path), false);
    again.release();
  });

  tidy('of a supervisor that was killed can be claimed, and its stale socket is replaced', async (later) => {
    const root = join(temporaryFolder(later), 'moult');
    const folder = new RunFolder('web', root);
    folder.claim().release();
    const holder = fixture(later, 'hold-lock.mjs', [join(folder.path, 'lock')]);
    await holder.says();
    assert.throws(() => folder.claim(), { code: 'MOULT_NAME_TAKEN' });
    const stale = bindUnix(folder.control);
    assert.ok(typeof stale === 'number');
    closeDescriptor(stale);
    assert.equal(folder.isClaimed(), false);
    await holder.end();
    const lock = folder.claim();
    assert.equal(existsSync(folder.control), false);
    lock.release();
  });

  tidy('whose supervisor lives is never stolen, and lists it as running', async (later) => {
    const root = join(temporaryFolder(later), 'moult');
    const lock = new RunFolder('web', root).claim();
    later(() => lock.release());
    const folder = new RunFolder('web', root);
    await listening(later, folder);
    new RunFolder('dead', root).claim().release();
    assert.throws(() => folder.claim(), { code: 'MOULT_NAME_TAKEN' });
    assert.ok(existsSync(folder.control), 'the socket of a living supervisor was removed');
    assert.deepEqual(RunFolder.running(root), ['web']);
    assert.equal(folder.isClaimed(), true);
  });

  tidy('is refused when others could enter it, or when it is something else', (later) => {
    const base = temporaryFolder(later);
    const open = join(base, 'open');
    mkdirSync(open);
    chmodSync(open, 0o755);
    assert.throws(() => new RunFolder('web', open).claim(), { code: 'MOULT_PEER_REFUSED', message: /0755/ });
    const link = join(base, 'link');
    const real = join(base, 'real');
    mkdirSync(real, { mode: 0o700 });
    symlinkSync(real, link);
    assert.throws(() => new RunFolder('web', link).claim(), { code: 'MOULT_PEER_REFUSED' });
    const root = join(base, 'root');
    mkdirSync(root, { mode: 0o700 });
    mkdirSync(join(root, 'web'));
    chmodSync(join(root, 'web'), 0o770);
    assert.throws(() => new RunFolder('web', root).claim(), { code: 'MOULT_PEER_REFUSED', message: /0770/ });
    assert.deepEqual(readdirSync(join(root, 'web')), []);
  });

  tidy('too long for the name of a socket is refused, with what to do', () => {
    assert.throws(() => new RunFolder('web', `/tmp/${'x'.repeat(100)}`), {
      code: 'MOULT_BAD_OPTION',
      message: /XDG_RUNTIME_DIR/,
    });
  });

  tidy('that cannot be locked for want of descriptors is not to be another one', (later) => {
    const root = join(temporaryFolder(later), 'moult');
    const program = `
import { openSync } from 'node:fs';
import { libc } from ${JSON.stringify(import.meta.resolve('#moult/os/libc.js'))};
import { reserve } from ${JSON.stringify(import.meta.resolve('#moult/os/descriptors/descriptor-reserve.js'))};
import { RunFolder } from ${JSON.stringify(import.meta.resolve('#moult/supervisor/journal/run-folder.js'))};
// As moult run does: some of what it asks for first has these.
libc();
reserve.keep(12, true);
for (let isFull = false; !isFull; ) {
  try {
    openSync('/dev/null', 'r');
  } catch {
    isFull = true;
  }
}
try {
  new RunFolder('web', ${JSON.stringify(root)}).claim();
} catch ({ code, serving, message }) {
  process.stdout.write([code, serving, message].join(' '));
}
`;
    const command = [process.execPath, '--input-type=module', '-e', program];
    const { stdout, stderr } = spawnSync('sh', ['-c', 'ulimit -n 64; exec "$0" "$@"', ...command], {
      encoding: 'utf8',
    });
    assert.match(
      stdout,
      /^MOULT_DESCRIPTORS unchanged the run folder .*EMFILE.*may open no more files/,
      stderr,
    );
    assert.doesNotMatch(stdout, /XDG_RUNTIME_DIR/);
  });

  tidy('that does not exist lists nothing', (later) => {
    assert.deepEqual(RunFolder.running(join(temporaryFolder(later), 'none')), []);
  });

  tidy('with a stray folder whose name is too long still lists the others', async (later) => {
    const root = join(temporaryFolder(later), 'moult'.padEnd(20, 'x'));
    const lock = new RunFolder('web', root).claim();
    later(() => lock.release());
    await listening(later, new RunFolder('web', root));
    mkdirSync(join(root, 'x'.repeat(64)));
    writeFileSync(join(root, 'a-file'), '');
    assert.deepEqual(RunFolder.running(root), ['web']);
  });
});
