import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { eventOf } from '../support/events.js';
import { freePort } from '../support/free-ports.js';
import { PACE } from '../support/pace.js';
import { askOnce } from './raw-client.js';
import { fixture, pointAt, type Supervised, until, withFolder, withService } from './supervised.js';

interface Behaviour {
  readonly before?: readonly string[];
  readonly listen?: object;
  readonly after?: readonly string[];
  readonly later?: readonly string[];
  readonly exit?: string;
  readonly path?: string;
  readonly shown?: string;
}

interface Scene {
  readonly service: Supervised;
  readonly folder: string;
  readonly socket: string;
  /** What the next generation does. */
  behave(behaviour: Behaviour): Promise<void>;
}

const quick = [
  '--probation',
  '60s',
  '--ready-timeout',
  '6s',
  '--stop-timeout',
  '2s',
  '--drain-timeout',
  '2s',
];

async function withPath(
  first: Behaviour,
  test: (scene: Scene) => Promise<void>,
  options: { command?: readonly string[]; runtimeFolder?: string; runOptions?: readonly string[] } = {},
): Promise<void> {
  await withFolder(async (folder) => {
    const socket = path.join(folder, 'run', 'app.sock');
    await mkdir(path.dirname(socket));
    const BEHAVE = path.join(folder, 'behave.json');
    const behave = (behaviour: Behaviour) =>
      writeFile(BEHAVE, JSON.stringify({ path: socket, ...behaviour }));
    await behave(first);
    const service = {
      command: options.command ?? [fixture('unix-path.cjs')],
      env: { BEHAVE, SOCK: socket },
      runOptions: options.runOptions ?? quick,
      ...(options.runtimeFolder === undefined ? {} : { runtimeFolder: options.runtimeFolder }),
    };
    await withService(service, (running) => test({ service: running, folder, socket, behave }));
    assert.equal(existsSync(path.dirname(socket)), true);
    assert.deepEqual(await readdir(path.dirname(socket)), [], 'no path and no second name is left');
  });
}

/** New connections, one after the other, for as long as some work takes; each must be answered. */
async function neverRefused<T>(socketPath: string, work: () => Promise<T>): Promise<T> {
  const failed: string[] = [];
  let isOver = false;
  let asked = 0;
  const clients = Array.from({ length: 4 }, async () => {
    while (!isOver) {
      asked += 1;
      await askOnce({ socketPath }).catch((error: Error) => failed.push(error.message));
      await pause(PACE);
    }
  });
  await until('clients ask', () => asked > 20);
  try {
    return await work();
  } finally {
    isOver = true;
    await Promise.all(clients);
    assert.deepEqual(failed, [], `of ${asked} requests`);
  }
}

const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8);
const askedOf = async (service: Supervised) => String((await service.current()).pid);

describe('the path of a Unix listener leads to whoever serves, always, when the next release', () => {
  it('removes it before it listens, in whichever way of Node', async () => {
    await withPath({ before: ['unlink'], after: ['chmod 666'] }, async ({ service, socket, behave }) => {
      const ways = [
        'unlink',
        'unlink-callback',
        'unlink-promise',
        'rm',
        'rm-callback',
        'rm-promise',
        'esm-unlink',
      ];
      for (const way of ways) {
        await behave({ before: [way, 'pause 50'], after: ['chmod 666'] });
        await neverRefused(socket, () => service.restart());
        assert.equal(await askOnce({ socketPath: socket }), await askedOf(service), way);
        assert.equal(modeOf(socket), '666');
      }
    });
  });

  it('removes it in a worker thread before that listens', async () => {
    await withFolder(async (folder) => {
      const socketPath = path.join(folder, 'app.sock');
      const script = path.join(folder, 'service.cjs');
      await writeFile(
        script,
        `const fs = require('node:fs');
        const { Worker, isMainThread } = require('node:worker_threads');
        const socketPath = ${JSON.stringify(socketPath)};
        const remove = async () => {
          fs.rmSync(socketPath, { force: true });
          await fs.promises.unlink(socketPath).catch(() => {});
        };
        if (isMainThread) new Worker(__filename);
        else remove().then(() => {
          console.log('REMOVED', !fs.existsSync(socketPath));
          require('node:http')
            .createServer((_, response) => response.end(JSON.stringify({ generation: String(process.pid) })))
            .listen(socketPath);
        });`,
      );
      await withService({ command: [script] }, async (service) => {
        await until('it has removed it', () => /REMOVED true/.test(service.output));
        await neverRefused(socketPath, async () => {
          const before = await askOnce({ socketPath });
          await service.restart();
          assert.match(service.output, /REMOVED false/);
          assert.notEqual(await askOnce({ socketPath }), before);
        });
      });
    });
  });

  it('gives the socket another name for its clients, after it has removed that', async () => {
    const ways = [['hide', 'show'], ['show-callback'], ['show-promise'], ['hide', 'show-by-rename']];
    const [first = [], ...others] = ways;
    const test = async ({ service, folder, behave }: Scene) => {
      const shown = path.join(folder, 'shown.sock');
      await behave({ shown, before: ['unlink'], after: first });
      await service.restart();
      for (const after of others) {
        await behave({ shown, before: ['unlink', 'hide'], after });
        await neverRefused(shown, () => service.restart());
        assert.equal(await askOnce({ socketPath: shown }), await askedOf(service), after.join());
      }
      await service.alone();
      const { pid } = await service.current();
      process.kill(pid, 'SIGKILL');
      assert.notEqual(await askOnce({ socketPath: shown }), String(pid));
    };
    const runOptions = ['--probation', '50ms', '--drain-timeout', '1s', '--stop-timeout', '2s'];
    await withPath({}, test, { runOptions });
  });

  it('removes it at its end, as releases do that tidy up', async () => {
    await withPath(
      { exit: 'unlink' },
      async ({ service, socket }) => {
        await neverRefused(socket, async () => {
          await service.restart();
          await service.moult('restart', service.name);
          await until('the first has ended', async () => (await service.status()).generations.length <= 2);
        });
      },
      { runOptions: ['--probation', '50ms', '--drain-timeout', '1s', '--stop-timeout', '2s'] },
    );
  });

  it('removes it and is broken: the predecessor is found there as before', async () => {
    await withPath({ after: ['chmod 666'] }, async ({ service, socket, behave }) => {
      const before = await askedOf(service);
      await behave({ before: ['unlink', 'throw'] });
      await neverRefused(socket, () => service.failingRestart());
      assert.equal(await askOnce({ socketPath: socket }), before);
      assert.equal(modeOf(socket), '666');
    });
  });

  it('is started after a crash, and removes it', async () => {
    await withPath({ before: ['unlink'] }, async ({ service, socket }) => {
      process.kill((await service.current()).pid, 'SIGKILL');
      await service.logs(/generation 2 serves/);
      assert.equal(await askOnce({ socketPath: socket }), await askedOf(service));
    });
  });

  it('has it removed by the shell that starts it', async () => {
    const command = ['sh', '-c', `rm -f "$SOCK"; exec node ${fixture('unix-path.cjs')}`];
    await withPath(
      {},
      async ({ service, socket }) => {
        const before = await askedOf(service);
        const ended = service.restart();
        // The shell is not moult's to hold back: the path is there again in a moment.
        await until('the path leads to a release', () => existsSync(socket));
        await ended;
        assert.equal(await askOnce({ socketPath: socket }), await askedOf(service));
        assert.notEqual(await askedOf(service), before);
      },
      { command },
    );
  });

  it('closes its server within probation, opens it anew, and ends', async () => {
    await withPath({}, async ({ service, socket, behave }) => {
      const before = await askedOf(service);
      await behave({ later: ['unlink', 'close', 'again', 'pause 100', 'close', 'unlink', 'throw'] });
      await service.restart();
      await askOnce({ socketPath: socket }).catch(() => {});
      await service.logs(/serves again/);
      await neverRefused(socket, async () => {
        assert.equal(await askOnce({ socketPath: socket }), before);
      });
    });
  });

  it('closes its server within probation, for good, and ends: on a port and on a path', async () => {
    for (const listen of [{}, { port: await freePort(), host: '127.0.0.1' }]) {
      for (const later of [['close'], ['close', 'again'], ['close', 'pause 50', 'again', 'close']]) {
        await withPath({ listen }, async ({ service, socket, behave }) => {
          const target =
            'port' in listen ? (listen as { port: number; host: string }) : { socketPath: socket };
          const before = await askedOf(service);
          await behave({ listen, later: [...later, 'pause 50', 'throw'] });
          await service.restart();
          await askOnce(target).catch(() => {});
          await service.logs(/serves again/);
          assert.equal(await askOnce(target), before, later.join());
          assert.equal((await service.current()).state, 'serving');
        });
      }
    }
  });

  it('lies in another folder, behind the same link, and back again', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current');
      for (const release of ['one', 'two']) {
        await mkdir(path.join(folder, release, 'tmp'), { recursive: true });
        await writeFile(
          path.join(folder, release, 'server.cjs'),
          `process.env.BEHAVE = ${JSON.stringify(path.join(folder, 'behave.json'))}; require(${JSON.stringify(fixture('unix-path.cjs'))});`,
        );
      }
      await writeFile(
        path.join(folder, 'behave.json'),
        JSON.stringify({ path: 'tmp/app.sock', before: ['unlink'] }),
      );
      await pointAt(link, path.join(folder, 'one'));
      const options = { command: ['server.cjs'], cwd: link, runOptions: quick };
      await withService(options, async (service) => {
        const socketPath = path.join(link, 'tmp/app.sock');
        await pointAt(link, path.join(folder, 'two'));
        await service.restart();
        assert.equal(await askOnce({ socketPath }), await askedOf(service));
        // What the first release had is its own until it can serve no more.
        assert.equal(
          await askOnce({ socketPath: path.join(folder, 'one/tmp/app.sock') }),
          await askedOf(service),
        );
        await pointAt(link, path.join(folder, 'one'));
        const { code, stderr } = await service.moult('rollback', service.name);
        assert.equal(code, 0, stderr);
        assert.equal(await askOnce({ socketPath }), await askedOf(service));
        await until('the second release is gone', () => !existsSync(path.join(folder, 'two/tmp/app.sock')));
      });
      for (const release of ['one', 'two'])
        assert.deepEqual(await readdir(path.join(folder, release, 'tmp')), []);
    });
  });
});

describe('who may connect to a Unix listener', () => {
  it('is what the serving release has set: not before a successor serves, and again when it is undone', async () => {
    await withPath({ after: ['chmod 666'] }, async ({ service, socket, behave }) => {
      await behave({ after: ['chmod 600', 'throw'] });
      await service.failingRestart();
      assert.equal(modeOf(socket), '666', 'after a release that failed');
      await behave({ after: ['chmod-promise 640'] });
      await service.restart();
      assert.equal(modeOf(socket), '640');
      assert.equal((await service.moult('rollback', service.name)).code, 0);
      assert.equal(modeOf(socket), '666', 'after a rollback');
      await behave({ listen: { readableAll: true, writableAll: true }, after: ['chmod 606'] });
      await service.restart();
      assert.equal(modeOf(socket), '606');
    });
  });

  it('stays while a shell changes it for a release that fails', async () => {
    const command = [
      'sh',
      '-c',
      `[ -S "$SOCK" ] && chmod 600 "$SOCK"; exec node ${fixture('unix-path.cjs')}`,
    ];
    await withPath(
      { after: ['chmod 666'] },
      async ({ service, socket, behave }) => {
        await behave({ after: ['throw'] });
        await service.failingRestart();
        assert.equal(modeOf(socket), '666');
      },
      { command },
    );
  });

  it('stays with its owner', { skip: process.geteuid?.() !== 0 }, async () => {
    await withPath({ after: ['chown 65534'] }, async ({ service, socket, behave }) => {
      await behave({ after: ['chown 1', 'throw'] });
      await service.failingRestart();
      assert.equal(statSync(socket).uid, 65_534);
      await behave({ before: ['unlink'], after: ['chown 1'] });
      await service.restart();
      assert.equal(statSync(socket).uid, 1);
    });
  });
});

/** Whether a folder could be removed with its files, which moult makes anew. */
function removed(folder: string): Promise<boolean> {
  return rm(folder, { recursive: true }).then(
    () => true,
    () => false,
  );
}

describe('a path that others remove or take', () => {
  it('is there again when its folder is made anew', async () => {
    await withPath({}, async ({ service, socket }) => {
      for (let time = 0; time < 2; time += 1) {
        // In one step, as it is moved away; or file by file, which moult may come between.
        if (time === 0) await rename(path.dirname(socket), `${path.dirname(socket)}.before`);
        else await until('the folder is gone', () => removed(path.dirname(socket)));
        await mkdir(path.dirname(socket));
        await until('the path is there', () => existsSync(socket));
        assert.equal(await askOnce({ socketPath: socket }), await askedOf(service));
      }
      await rm(socket);
      await until('the path is there', () => existsSync(socket));
      await service.restart();
      assert.equal(await askOnce({ socketPath: socket }), await askedOf(service));
    });
  });

  it('is kept where the run folder is on another file system', {
    skip: !existsSync('/dev/shm'),
  }, async () => {
    const runtimeFolder = await mkdtemp('/dev/shm/moult-it-');
    await withPath(
      {},
      async ({ service, socket, behave }) => {
        await behave({ before: ['unlink'] });
        await neverRefused(socket, () => service.restart());
        await rm(socket);
        await until('the path is there', () => existsSync(socket));
        assert.equal(await askOnce({ socketPath: socket }), await askedOf(service));
      },
      { runtimeFolder },
    );
  });

  it('is not fought over with a program that listens there, and is back when that has ended', async () => {
    await withPath({}, async ({ service, socket }) => {
      const before = await askedOf(service);
      const other = createServer((client) => client.end());
      // The path is free for a moment only: bound elsewhere, and put in its place.
      other.listen(`${socket}.other`);
      await eventOf(other, 'listening');
      await rename(`${socket}.other`, socket);
      const error = await service.failingRestart();
      assert.match(error.message + JSON.stringify(error.details), /EADDRINUSE/);
      assert.equal(await askedOf(service), before);
      await new Promise((resolve) => other.close(resolve));
      await until(
        'the path is back',
        async () => (await askOnce({ socketPath: socket }).catch(() => '')) === before,
      );
    });
  });
});
