// What lies on disk may vanish, be replaced, or find no room: the supervisor is found again, and nobody serves twice.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { withBrokenCalls } from './broken-calls.js';
import { fixture, Supervised, until, withFolder, withService } from './supervised.js';

const command = [fixture('http.cjs')];
const runOptions = ['--probation', '200ms', '--drain-timeout', '2s', '--stop-timeout', '2s'];

function doorsIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => /^g\d+-\d+\.sock$/.test(name)) : [];
}

function replace(place: string, make: () => void): void {
  rmSync(place, { recursive: true });
  make();
}

/** It is found by its name, restarted, and left by its predecessor. */
async function isWhole(service: Supervised, what: string): Promise<void> {
  const { pid } = service;
  const found = await until(`it is found after ${what}`, () => service.status().catch(() => false as const));
  assert.equal(found.pid, pid, what);
  await service.alone();
  const { generation } = await service.restart();
  assert.equal((await service.current()).generation, generation, what);
  await service.alone();
}

describe('the run folder of a living supervisor', () => {
  it('is made anew, with all that belongs there, whatever is removed or put in its place', async () => {
    await withService({ command, runOptions }, async (service) => {
      const { path: folder, control, journal } = service.folder;
      const root = path.dirname(folder);
      const lock = path.join(folder, 'lock');
      const inode = (one: string) => lstatSync(one, { throwIfNoEntry: false })?.ino;
      const changes: [string, () => void][] = [
        ['the control socket was removed', () => rmSync(control)],
        [
          'a file lies in the place of the control socket',
          () => replace(control, () => writeFileSync(control, '')),
        ],
        ['the lock was removed', () => rmSync(lock)],
        ['a FIFO lies in the place of the lock', () => replace(lock, () => execFileSync('mkfifo', [lock]))],
        ['a folder lies in the place of the lock', () => replace(lock, () => mkdirSync(lock))],
        ['the door was removed', () => rmSync(path.join(folder, doorsIn(folder)[0] ?? 'none'))],
        ['all but the sockets was removed', () => [lock, journal].map((one) => rmSync(one))],
        ['the journal was emptied', () => truncateSync(journal)],
        ['the folder was removed', () => rmSync(folder, { recursive: true })],
        ['the folder and the one above were removed', () => rmSync(root, { recursive: true })],
        ['an empty folder is in its place', () => replace(folder, () => mkdirSync(folder, 0o700))],
        ['a file is in its place', () => replace(folder, () => writeFileSync(folder, 'mine'))],
        ['it was opened to others', () => chmodSync(folder, 0o755)],
      ];
      for (const [what, change] of changes) {
        change();
        await until(`all is there after ${what}`, () => {
          const isPrivate = (statSync(folder, { throwIfNoEntry: false })?.mode ?? 0) % 0o1000 === 0o700;
          const names = isPrivate ? readdirSync(folder) : [];
          return (
            ['lock', 'journal.ndjson', 'control.sock'].every((one) => names.includes(one)) &&
            doorsIn(folder).length === 1 &&
            statSync(control).isSocket() &&
            statSync(lock).isFile() &&
            inode(journal)
          );
        });
        await isWhole(service, what);
      }
      for (const aside of readdirSync(root).filter((name) => name.includes('.aside-'))) {
        assert.equal(readFileSync(path.join(root, aside), 'utf8'), 'mine', 'what lay there is kept');
        rmSync(path.join(root, aside));
      }
    });
  });

  it('is never taken by a second moult run, whatever is missing of it, not even in the same moment', async () => {
    await withService({ command, runOptions }, async (service) => {
      const { path: folder, control } = service.folder;
      for (const gone of [path.join(folder, 'lock'), control, folder, path.dirname(folder)]) {
        rmSync(gone, { recursive: true });
        const { code, stderr } = await service.moult('run', '--name', service.name, ...command);
        assert.equal(code, 1, gone);
        assert.match(stderr, new RegExp(`is already running, under process ${service.pid}`));
        await isWhole(service, `${gone} was removed`);
      }
    });
  });

  it('has a control socket again, where the first one that was bound anew could not listen', async () => {
    await withBrokenCalls({ command, runOptions }, async (service, calls) => {
      calls.begin({ call: 'listen', error: 'ENOMEM' });
      rmSync(service.folder.control);
      await until('it could not listen', () => calls.count > 0);
      calls.end();
      await isWhole(service, 'it could not listen');
    });
  });

  it('is made anew for a restart by a signal that comes before the next look, and for a crash', async () => {
    await withService({ command, runOptions }, async (service) => {
      const { path: folder } = service.folder;
      rmSync(folder, { recursive: true });
      service.process.kill('SIGHUP');
      await service.logs(/generation 2 took over/);
      const pid = await service.alone();
      rmSync(folder, { recursive: true });
      process.kill(pid, 'SIGKILL');
      await service.logs(/generation 3 serves/);
      await isWhole(service, 'a crash');
    });
  });
});

describe('a supervisor that was killed when the journal had lost lines', () => {
  for (const [how, lose] of [
    ['is gone', (journal: string) => rmSync(journal)],
    [
      'tells of an earlier generation only',
      (journal: string) => {
        const lines = readFileSync(journal, 'utf8').split('\n');
        writeFileSync(journal, `${lines.filter((line) => !/"generation":[2-9]/.test(line)).join('\n')}\n`);
      },
    ],
    ['is garbage', (journal: string) => writeFileSync(journal, Buffer.from([0, 255, 10, 123, 10, 34, 0]))],
    [
      'ends in an enormous line',
      (journal: string) => appendFileSync(journal, `{"at":1,"event":"${'x'.repeat(17 << 20)}`),
    ],
  ] as const) {
    it(`is followed by one that adopts what serves, where the journal ${how}`, async () => {
      await withFolder(async (runtimeFolder) => {
        const first = await Supervised.start({ command, runOptions, runtimeFolder });
        let second: Supervised | undefined;
        try {
          await first.restart();
          const pid = await first.alone();
          first.process.kill('SIGKILL');
          await until('it is dead', () => first.isOver);
          lose(first.folder.journal);
          second = await Supervised.start({ command, runOptions, runtimeFolder });
          assert.equal(await second.alone(), pid, second.output);
          assert.equal((await second.current()).generation, 2);
          await isWhole(second, how);
          await second.stop();
          await first.assertNothingLeft();
        } finally {
          await second?.kill();
          await first.kill();
        }
      });
    });
  }

  // In another network namespace its socket, too, is not seen.
  const through = ['unshare', '-n', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"'];
  const skip = process.geteuid?.() === 0 ? false : 'a network namespace needs root';
  it('retires one of which nothing told, and that comes back beside another', { skip }, async () => {
    await withFolder(async (runtimeFolder) => {
      const first = await Supervised.start({ command, runOptions, runtimeFolder });
      let second: Supervised | undefined;
      try {
        const { pid } = await first.current();
        // It can neither be seen nor come back for now.
        process.kill(pid, 'SIGSTOP');
        first.process.kill('SIGKILL');
        await until('it is dead', () => first.isOver);
        rmSync(first.folder.path, { recursive: true });
        second = await Supervised.start({ command, runOptions, runtimeFolder, through });
        process.kill(pid, 'SIGCONT');
        await second.logs(/serves at the same time as generation \d+, and is told to drain/);
        assert.notEqual(await second.alone(), pid);
        await isWhole(second, 'it was retired');
        await second.stop();
        await first.assertNothingLeft();
      } finally {
        await second?.kill();
        await first.kill();
      }
    });
  });
});

describe('a disk without room', { skip: process.getuid?.() !== 0 && 'only root may mount' }, () => {
  it('lets no successor in that could not be replaced, and the service goes on', async () => {
    await withFolder(async (folder) => {
      const small = path.join(folder, 'small');
      const runtimeFolder = path.join(small, 'run');
      mkdirSync(small, 0o700);
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,nr_inodes=40,mode=700', 'none', runtimeFolder]);
      } catch {
        // A container may not mount either.
        return;
      }
      try {
        const service = await Supervised.start({ command, runOptions, runtimeFolder });
        try {
          const fill: string[] = [];
          const add = () => {
            const name = path.join(small, `fill-${fill.length}`);
            writeFileSync(name, '');
            fill.push(name);
          };
          assert.throws(() => {
            for (;;) add();
          }, /ENOSPC/);
          const error = await service.failingRestart();
          assert.match(
            error.message,
            /could not create the socket that its successor needs to take over: .*ENOSPC/,
          );
          assert.equal((await service.current()).generation, 1);
          for (const name of fill) rmSync(name);
          await isWhole(service, 'there was room again');
          await service.stop();
        } finally {
          await service.kill().catch(() => {});
        }
      } finally {
        execFileSync('umount', ['-l', small]);
      }
    });
  });
});

describe('a run folder that another supervisor has taken over', () => {
  it('may be removed too: what that one started comes back to it, and to the next', async () => {
    const options = { command: [fixture('http.cjs')], runOptions: ['--probation', '200ms'] };
    const first = await Supervised.start(options);
    const { runtimeFolder } = first;
    const runOptions = [...options.runOptions, '--take-over', first.folder.path];
    const second = await Supervised.start({ ...options, runOptions, runtimeFolder, waits: false });
    assert.equal(await first.ended, 0);
    rmSync(first.folder.path, { recursive: true });
    await second.logs(/the run folder is created again/);
    // It is given the same path as those before it.
    await second.restart();
    const pid = await second.alone();
    const ended = once(second.process, 'exit');
    second.process.kill('SIGKILL');
    await ended;
    const third = await Supervised.start({ ...options, runtimeFolder });
    await third.logs(/is adopted/);
    assert.equal((await third.current()).pid, pid);
    await third.stop();
    await second.kill();
    await first.kill();
  });
});
