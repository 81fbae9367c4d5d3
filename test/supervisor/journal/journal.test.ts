import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs, {
  appendFileSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { dirname, join } from 'node:path';
import { describe } from 'node:test';
import type { JournalFact } from '#moult/lifecycle/journal-entry.js';
import { Journal } from '#moult/supervisor/journal/journal.js';
import { JournalFile } from '#moult/supervisor/journal/journal-file.js';
import { livingGenerations } from '#moult/supervisor/process/journal-replay.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

const release = { command: 'node', args: ['a.js'], cwd: '/srv', isDirect: true, label: 'a.js' };
const start = (generation: number, pid: number, ticks: number, more = {}): JournalFact => ({
  event: 'start',
  generation,
  pid,
  ticks,
  release,
  ...more,
});

function journalIn(later: Later): {
  journal: Journal;
  path: string;
  failures: string[];
  again: () => Journal;
} {
  const path = join(temporaryFolder(later), 'journal.ndjson');
  const failures: string[] = [];
  const again = () => new Journal(new JournalFile(path, (error) => failures.push(String(error))));
  return { journal: again(), path, failures, again };
}

function numbers(journal: Journal): number[] {
  return livingGenerations(journal.read()).living.map(({ generation }) => generation);
}

describe('the journal', () => {
  tidy('leaves out what is no line of it, and tells of that', (later) => {
    const { journal, path, again } = journalIn(later);
    journal.write(start(1, 10, 100));
    const odd = [
      '{"at":1,"event":"start","generation":77}',
      '{"at":1,"event":"start","generation":"abc"}',
      '{"at":1,"event":"start","generation":3,"pid":4,"ticks":5,"release":{"command":"x","args":"y","cwd":"/"}}',
      '{"at":1,"event":"confirmed","generation":1,"epoch":"x"}',
      '{"at":1,"event":"exited"}',
      '{"at":1,"event":"exited","generation":-1}',
      '{"event":"exited","generation":1}',
      '[]',
      'null',
      '\u0000\u0001\ufffd',
      `{"at":1,"event":"start","${'x'.repeat(100_000)}`,
    ];
    for (const line of odd) appendFileSync(path, `${line}\n`);
    again().write(start(2, 11, 101));
    const leftOut: string[] = [];
    const entries = journal.read((lines) => leftOut.push(...lines));
    assert.deepEqual(leftOut, odd);
    const { living, epoch, lastNumber } = livingGenerations(entries);
    assert.deepEqual(
      living.map(({ pid }) => pid),
      [10, 11],
    );
    assert.equal(epoch, 0);
    assert.equal(lastNumber, 2);
  });

  tidy('loses no line behind one that a kill cut short', (later) => {
    const { journal, path, again } = journalIn(later);
    journal.write(start(1, 10, 100));
    appendFileSync(path, '{"at":2,"event":"sta');
    const told: string[] = [];
    assert.deepEqual(journal.read((lines) => told.push(...lines)).length, 1);
    assert.deepEqual(told, [], 'the last line was only cut short');
    again().write(start(2, 11, 101));
    assert.deepEqual(numbers(journal), [1, 2]);
  });

  tidy('has what lives written again when there is room', (later) => {
    const { journal, path, failures } = journalIn(later);
    journal.tellsAnew(() => [start(2, 11, 101), { event: 'confirmed', generation: 2 }]);
    journal.write({ event: 'sockets', listener: 'a', inodes: [1] });
    journal.write(start(1, 10, 100));
    const folder = dirname(path);
    renameSync(folder, `${folder}.away`);
    journal.write(start(2, 11, 101));
    journal.write({ event: 'exited', generation: 1 });
    assert.equal(failures.length, 1, 'told once');
    assert.match(failures.join(), /ENOENT/);
    journal.mend();
    renameSync(`${folder}.away`, folder);
    journal.mend();
    const { living } = livingGenerations(journal.read());
    assert.deepEqual(
      living.map(({ generation, isProved }) => [generation, isProved]),
      [
        [1, false],
        [2, true],
      ],
      'of the one that exited its process tells',
    );
    journal.write(start(3, 12, 102));
    assert.deepEqual(numbers(journal), [1, 2, 3]);
    assert.equal(readFileSync(path, 'utf8').match(/"pid":11/g)?.length, 1, 'written once');
  });

  tidy('is made anew whatever is put in its place, and never waits for that or follows it', (later) => {
    const { journal, path, failures } = journalIn(later);
    journal.tellsAnew(() => [start(1, 10, 100)]);
    journal.write(start(1, 10, 100));
    const elsewhere = `${path}.elsewhere`;
    writeFileSync(elsewhere, 'not ours');
    const places: Record<string, () => void> = {
      'a folder': () => mkdirSync(path),
      'a folder with files': () => {
        mkdirSync(path);
        writeFileSync(join(path, 'file'), '');
      },
      'a FIFO': () => execFileSync('mkfifo', [path]),
      'a link to a file': () => symlinkSync(elsewhere, path),
      'a link to nothing': () => symlinkSync(`${path}.nothing`, path),
      'a link to a device': () => symlinkSync('/dev/full', path),
    };
    for (const [what, put] of Object.entries(places)) {
      for (const write of [() => journal.mend(), () => journal.write(start(1, 10, 100))]) {
        rmSync(path, { recursive: true, force: true });
        put();
        assert.deepEqual(journal.read(), [], what);
        journal.compact();
        write();
        assert.deepEqual(numbers(journal), [1], what);
        assert.ok(lstatSync(path).isFile(), what);
      }
    }
    assert.equal(readFileSync(elsewhere, 'utf8'), 'not ours');
    assert.deepEqual(failures, []);
  });

  tidy('that cannot be read just now says so, and is not written over', (later) => {
    const { journal, path } = journalIn(later);
    journal.tellsAnew(() => [start(1, 10, 100)]);
    journal.write(start(1, 10, 100));
    for (let n = 0; n < 12_000; n += 1)
      appendFileSync(path, `${JSON.stringify({ at: n, event: 'x'.repeat(90) })}\n`);
    const { size } = statSync(path);
    const { readSync } = fs;
    fs.readSync = () => {
      throw Object.assign(new Error('EIO: injected'), { code: 'EIO' });
    };
    syncBuiltinESMExports();
    const failures: unknown[] = [];
    try {
      assert.deepEqual(
        journal.read(undefined, (error) => failures.push(error)),
        [],
      );
      journal.compact();
    } finally {
      fs.readSync = readSync;
      syncBuiltinESMExports();
    }
    assert.match(String(failures), /EIO/);
    assert.equal(statSync(path).size, size);
    journal.compact();
    assert.ok(statSync(path).size < size);
    assert.deepEqual(numbers(journal), [1]);
  });

  tidy('of 20 MB is read by its end, and made short', (later) => {
    const { journal, path } = journalIn(later);
    journal.tellsAnew(() => [start(9, 19, 109)]);
    const line = `${JSON.stringify({ at: 1, event: 'note', more: 'y'.repeat(1000) })}\n`;
    appendFileSync(path, line.repeat(20_000));
    journal.write(start(9, 19, 109));
    const leftOut: string[] = [];
    assert.deepEqual(livingGenerations(journal.read((lines) => leftOut.push(...lines))).living.length, 1);
    assert.deepEqual(leftOut, []);
    journal.compact();
    assert.ok(statSync(path).size < 1024 * 1024, String(statSync(path).size));
    assert.deepEqual(numbers(journal), [9]);
  });

  tidy('that was removed, emptied or put in another place is made anew with what lives', (later) => {
    const { journal, path } = journalIn(later);
    journal.tellsAnew(() => [start(1, 10, 100)]);
    journal.write({ event: 'sockets', listener: 'a', inodes: [1] });
    journal.write(start(1, 10, 100));
    rmSync(path);
    journal.mend();
    assert.deepEqual(numbers(journal), [1]);
    assert.deepEqual(journal.read().find(({ event }) => event === 'sockets')?.inodes, [1]);
    rmSync(path);
    journal.write(start(2, 11, 101));
    assert.deepEqual(numbers(journal), [1, 2]);
    writeFileSync(`${path}.other`, '');
    renameSync(`${path}.other`, path);
    journal.mend();
    assert.deepEqual(numbers(journal), [1]);
    writeFileSync(path, '');
    journal.mend();
    assert.deepEqual(numbers(journal), [1], 'emptied in place');
  });

  tidy(
    'knows generations by their processes where a number was given twice, and a process number too',
    (later) => {
      const { journal } = journalIn(later);
      journal.write(start(1, 10, 100));
      journal.write(start(2, 11, 101));
      journal.write(start(2, 12, 102));
      journal.write({ event: 'confirmed', generation: 2 });
      journal.write(start(3, 10, 500));
      journal.write({ event: 'exited', generation: 3 });
      const { living } = livingGenerations(journal.read());
      assert.deepEqual(
        living.map(({ generation, pid, ticks, isProved }) => [generation, pid, ticks, isProved]),
        [
          [1, 10, 100, false],
          [2, 11, 101, false],
          [2, 12, 102, true],
        ],
      );
    },
  );

  tidy('stays short, and keeps who lives, what a rollback needs and the last restarts', (later) => {
    const { journal, path, again } = journalIn(later);
    journal.ofSlot(1).write(start(1, 10, 100));
    journal.ofSlot(1).write({ event: 'confirmed', generation: 1, epoch: 7 });
    journal.write({ event: 'sockets', listener: 'a', inodes: [1] });
    const filler = 'x'.repeat(300);
    for (let generation = 2; generation < 3000; generation += 1) {
      const slot = journal.ofSlot(0);
      slot.write(start(generation, generation, 1));
      slot.write({ event: 'stage', generation, filler });
      if (generation % 2 === 0) slot.write({ event: 'confirmed', generation, epoch: generation });
      slot.write({ event: 'listened', generation, listeners: ['tcp://*:1'] });
      slot.write({ event: 'listened', generation, listeners: [`tcp://*:${generation}`] });
      slot.write({ event: 'unseen', generation, addresses: [`127.0.0.1:${generation}`] });
      slot.write({ event: 'restart', ok: true, generation, filler });
      slot.write({ event: 'exited', generation });
    }
    const before = { ...livingGenerations(journal.read()), size: statSync(path).size };
    assert.ok(before.size > 1024 * 1024);
    journal.compact();
    const entries = again().read();
    const after = livingGenerations(entries);
    assert.ok(statSync(path).size < 200_000, String(statSync(path).size));
    assert.deepEqual(after.living, before.living);
    assert.deepEqual([after.lastNumber, after.epoch], [before.lastNumber, before.epoch]);
    assert.deepEqual(after.proved.slice(-10), before.proved.slice(-10));
    const last = after.proved.at(-1);
    assert.ok(last !== undefined);
    assert.deepEqual(after.listened.get(last), ['tcp://*:2998']);
    assert.deepEqual(after.unseen.get(last), { generation: 2998, addresses: ['127.0.0.1:2998'] });
    assert.equal(entries.filter(({ event }) => event === 'restart').length, 200);
    assert.equal(entries.filter(({ event }) => event === 'sockets').length, 1);
    journal.write(start(3001, 3001, 1));
    assert.deepEqual(numbers(journal), [1, 3001]);
  });

  tidy('that may not be read or written costs history only', (later) => {
    const { path, failures, again } = journalIn(later);
    const folder = dirname(path);
    renameSync(folder, `${folder}.away`);
    const journal = again();
    journal.write(start(1, 10, 100));
    assert.deepEqual(journal.read(), []);
    journal.compact();
    renameSync(`${folder}.away`, folder);
    assert.equal(failures.length, 1);
  });
});
