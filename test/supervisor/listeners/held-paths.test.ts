import assert from 'node:assert/strict';
import fs, { watch } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, mock } from 'node:test';
import { HeldPaths } from '#moult/supervisor/listeners/held-paths.js';
import { eventOf, until } from '../../support/events.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

// The loop keeps its one descriptor for watches once it has it.
watch('.').close();

const COUNT = 60;

interface Scene {
  readonly held: HeldPaths;
  readonly paths: readonly string[];
  /** How many files were asked of since the last call. */
  asked(): number;
}

async function scene(later: Later): Promise<Scene> {
  // What comes back comes by what the kernel tells, not by the looks from time to time.
  mock.timers.enable({ apis: ['setInterval'] });
  later(() => mock.timers.reset());
  const folder = temporaryFolder(later);
  const held = new HeldPaths(join(folder, 'service'));
  later(() => held.close());
  const paths = Array.from({ length: COUNT }, (_, index) => join(folder, `${index}.sock`));
  for (const path of paths) await listening(later, path);
  const stat = mock.method(fs, 'statSync');
  syncBuiltinESMExports();
  later(() => {
    stat.mock.restore();
    syncBuiltinESMExports();
  });
  const asked = () => {
    const count = stat.mock.callCount();
    stat.mock.resetCalls();
    return count;
  };
  for (const path of paths) held.hold({ name: path, family: 'unix', backlog: 1, path }, 1);
  return { held, paths, asked };
}

async function listening(later: Later, path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy()).listen(path);
  later(() => new Promise<void>((resolve) => server.close(() => resolve())));
  await eventOf(server, 'listening');
  return server;
}

describe('the paths of many Unix listeners', () => {
  tidy('cost as much for each of them as if there were few: asked for, put back, removed', async (later) => {
    const { held, paths, asked } = await scene(later);
    assert.ok(asked() <= 10 * COUNT, 'to hold them');
    for (const path of paths) fs.unlinkSync(path);
    await until(() => paths.every((path) => fs.existsSync(path)), 'all are back');
    assert.ok(asked() <= 20 * COUNT, 'to put them back');
    for (const path of paths) held.drop(path);
    assert.deepEqual(
      paths.filter((path) => fs.existsSync(path)),
      [],
    );
    assert.ok(asked() <= 10 * COUNT, 'to remove them');
  });

  tidy('are not put back when the service ends', async (later) => {
    const { held, paths } = await scene(later);
    held.endLooks();
    const [first = '', ...others] = paths;
    fs.unlinkSync(first);
    mock.timers.tick(10_000);
    assert.deepEqual(held.look(), []);
    assert.equal(fs.existsSync(first), false);
    for (const path of others) held.drop(path);
    assert.deepEqual(
      paths.filter((path) => fs.existsSync(path)),
      [],
    );
  });
});
