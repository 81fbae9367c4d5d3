// A service that gives up its privileges cannot enter the run folder any more; it is called by who can.
import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fixture, Supervised, until, withFolder, withService } from './supervised.js';

const runOptions = ['--probation', '200ms', '--drain-timeout', '2s', '--stop-timeout', '2s'];
const command = [fixture('drops-privileges.cjs')];

async function user(service: Supervised): Promise<string> {
  const { host, port } = await service.target();
  return (await fetch(`http://${host}:${port}`, { headers: { connection: 'close' } })).text();
}

describe('a service that has given up its privileges', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, () => {
  for (const after of [0, 300]) {
    it(`${after} ms after it listened comes back after an upgrade, and is restarted then`, async () => {
      await withService({ command, runOptions, env: { DROP_AFTER_MS: String(after) } }, async (service) => {
        await until('it has', async () => (await user(service)) === '65534');
        const { pid } = await service.current();
        const { code, stderr } = await service.moult('upgrade', service.name);
        assert.equal(code, 0, stderr);
        assert.equal((await service.current()).pid, pid);
        await service.restart();
        await until('the next one has', async () => (await user(service)) === '65534');
        await service.alone();
        assert.equal((await service.moult('upgrade', service.name)).code, 0);
      });
    });
  }

  it('is restarted, upgraded and adopted when its run folder was removed', async () => {
    await withFolder(async (runtimeFolder) => {
      const first = await Supervised.start({ command, runOptions, runtimeFolder });
      let second: Supervised | undefined;
      const { path: folder } = first.folder;
      const isMade = (door: string) =>
        until('its socket is there', () => existsSync(path.join(folder, door)));
      const dropped = async (service: Supervised) => {
        await until('it has', async () => (await user(service)) === '65534');
        const { generation, pid } = await service.current();
        return { pid, door: `g${generation}-${pid}.sock` };
      };
      try {
        await dropped(first);
        rmSync(folder, { recursive: true });
        // Before the next look.
        first.process.kill('SIGHUP');
        await first.logs(/generation 2 took over/);
        await first.alone();
        const { pid, door } = await dropped(first);
        rmSync(folder, { recursive: true });
        await isMade(door);
        const { code, stderr } = await first.moult('upgrade', first.name);
        assert.equal(code, 0, stderr);
        assert.equal((await first.current()).pid, pid);
        // What was said of the first removal is no word about this one.
        const said = first.output.length;
        rmSync(path.dirname(folder), { recursive: true });
        const again = /the socket of generation 2 was missing and is created again/;
        await until('it listens there', () => again.test(first.output.slice(said)));
        first.process.kill('SIGKILL');
        await until('it is dead', () => first.isOver);
        second = await Supervised.start({ command, runOptions, runtimeFolder });
        assert.equal((await second.current()).pid, pid);
        await second.restart();
        await second.alone();
        await second.stop();
        await first.assertNothingLeft();
      } finally {
        await second?.kill();
        await first.kill();
      }
    });
  });

  for (const how of ['', ' and the journal is gone']) {
    it(`is adopted when its supervisor was killed${how}`, async () => {
      await withFolder(async (runtimeFolder) => {
        const first = await Supervised.start({ command, runOptions, runtimeFolder });
        let second: Supervised | undefined;
        try {
          await until('it has', async () => (await user(first)) === '65534');
          const { pid } = await first.current();
          first.process.kill('SIGKILL');
          await until('it is dead', () => first.isOver);
          if (how !== '') rmSync(first.folder.journal);
          second = await Supervised.start({ command, runOptions, runtimeFolder });
          assert.equal((await second.current()).pid, pid);
          await second.restart();
          await second.alone();
          await second.stop();
          await first.assertNothingLeft();
        } finally {
          await second?.kill();
          await first.kill();
        }
      });
    });
  }
});
