import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { Target } from '#moult/verify/client/target.js';
import { freePort } from '../support/free-ports.js';
import { RawClient } from './raw-client.js';
import { whenAllServe } from './slots-of.js';
import { fixture, pointAt, type Supervised, until, withFolder, withService } from './supervised.js';

/** Longer than a successor with fewer listeners is waited for where that is allowed. */
const LATE_MS = 1800;
const host = '127.0.0.1';

type Listeners = readonly (readonly [number, number | string])[];

/** Releases that listen on this and that; the service's path leads to one of them. */
class ReleaseHistory {
  readonly link: string;
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.link = path.join(folder, 'current.mjs');
  }

  /** Makes a release, or changes what it listens on from its next start on, and has the path lead to it. */
  async put(release: string, listeners: Listeners, saysReady = false): Promise<void> {
    const script = path.join(this.#folder, `${release}.mjs`);
    await copyFile(fixture('late.mjs'), script);
    await writeFile(path.join(this.#folder, `${release}.json`), JSON.stringify({ listeners, saysReady }));
    await pointAt(this.link, script);
  }
}

async function withLate(
  first: (ports: { early: number; late: number; folder: string }) => Listeners,
  runOptions: readonly string[],
  test: (around: {
    service: Supervised;
    releases: ReleaseHistory;
    early: number;
    late: number;
    folder: string;
  }) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const [early, late] = [await freePort(), await freePort()];
    const releases = new ReleaseHistory(folder);
    await releases.put('first', first({ early, late, folder }));
    const options = { command: [releases.link], runOptions: ['--probation', '200ms', ...runOptions] };
    await withService(options, (service) => test({ service, releases, early, late, folder }));
  });
}

/** Who answers, however long it takes. @throws where it is refused or reset */
async function asks(target: Target): Promise<number> {
  const client = await RawClient.connect(target);
  const { pid } = JSON.parse((await client.get('/', 'Connection: close\r\n')).body?.toString() ?? '{}') as {
    pid: number;
  };
  client.close();
  return pid;
}

/** Asks at both ports again and again until told to stop: how each ended that was not answered. */
function asksOn(targets: readonly Target[]): () => Promise<string[]> {
  const failures: string[] = [];
  let isOn = true;
  const all = targets.map(async (target) => {
    while (isOn) {
      await asks(target).catch((error: NodeJS.ErrnoException) => failures.push(error.code ?? error.message));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
  return async () => {
    isOn = false;
    await Promise.all(all);
    return failures;
  };
}

async function listensOn(service: Supervised, ...ports: (number | string)[]): Promise<void> {
  await until(`it listens on ${ports}`, async () => {
    const { listeners = [] } = await service.current();
    const names = listeners.map(({ name }) => name);
    return ports.every((port) => names.some((name) => name.endsWith(`:${port}`)));
  });
}

describe('a listener that comes late', () => {
  it('is held after a crash where the service opens another one first, and closes that', async () => {
    await withFolder(async (folder) => {
      const [first, port] = [await freePort(), await freePort()];
      const script = path.join(folder, 'server.cjs');
      await writeFile(
        script,
        `const http = require('node:http');
         const answer = (_, response) => response.end(JSON.stringify({ pid: process.pid }));
         const early = http.createServer(answer).listen(${first}, '${host}');
         setTimeout(() => early.close(() => http.createServer(answer).listen(${port}, '${host}')), ${LATE_MS});`,
      );
      await withService({ command: [script], runOptions: ['--probation', '200ms'] }, async (service) => {
        for (let crashes = 0; crashes < 2; crashes += 1) {
          await listensOn(service, port);
          const { pid } = await service.current();
          process.kill(pid, 'SIGKILL');
          assert.notEqual(await asks({ host, port }), pid);
        }
        assert.doesNotMatch(service.output, /instead of/);
      });
    });
  });

  it('is held after a crash: nobody is refused, and who waits is answered', async () => {
    await withLate(
      ({ early, late }) => [
        [0, early],
        [LATE_MS, late],
      ],
      [],
      async ({ service, early, late }) => {
        await listensOn(service, early, late);
        const { pid } = await service.current();
        process.kill(pid, 'SIGKILL');
        await service.logs(
          /generation 2 serves 1 listener .*; tcp:\/\/127\.0\.0\.1:\d+ is held until it listens there/,
        );
        // The late one is held by us; it is answered although nobody listens on it yet.
        const [one, other] = await Promise.all([asks({ host, port: late }), asks({ host, port: early })]);
        assert.equal(one, other);
        await service.logs(new RegExp(`generation 2 listens on tcp://127.0.0.1:${late} now`));
        // A second crash finds both held.
        process.kill(one, 'SIGKILL');
        assert.notEqual(await asks({ host, port: late }), one);
      },
    );
  });

  // The one before opens its second port when it is told to, in the probation of the next one, which does so later or never.
  const opened = async (
    laterMs: number | 'never',
    closesMs: number | 'never',
    then: (it: { service: Supervised; first: number; early: number; late: number }) => Promise<void>,
  ) =>
    withFolder(async (folder) => {
      const [early, late] = [await freePort(), await freePort()];
      const script = path.join(folder, 'server.cjs');
      const opens = path.join(folder, 'opens');
      const write = (waitMs: number | 'never', openMs: number | 'never') =>
        writeFile(
          script,
          `const http = require('node:http');
           const answer = (_, response) => response.end(JSON.stringify({ pid: process.pid }));
           http.createServer(answer).listen(${early}, '${host}');
           const open = () => {
             const server = http.createServer(answer).listen(${late}, '${host}');
             if ('${openMs}' !== 'never') setTimeout(() => server.close(), Number('${openMs}'));
           };
           const look = setInterval(() => {
             if (!require('node:fs').existsSync('${opens}')) return;
             clearInterval(look);
             if ('${waitMs}' !== 'never') setTimeout(open, Number('${waitMs}'));
           }, 20);`,
        );
      await write(0, closesMs);
      const runOptions = ['--probation', '400ms', '--ready-timeout', '4s'];
      await withService({ command: [script], runOptions }, async (service) => {
        const { pid } = await service.current();
        await write(laterMs, 'never');
        await service.restart();
        await writeFile(opens, '');
        await then({ service, first: pid, early, late });
      });
    });

  it('and opens at the one before in the probation of the next is waited for before that is confirmed', () =>
    opened(2500, 'never', async ({ service, first, late }) => {
      await until('it is confirmed', async () => {
        const { generations } = await service.status();
        return generations.every(({ watchedUntil }) => watchedUntil === undefined);
      });
      const { listeners = [], generation } = await service.current();
      assert.equal(generation, 2);
      assert.ok(
        listeners.some(({ name }) => name.endsWith(`:${late}`)),
        JSON.stringify(listeners),
      );
      assert.notEqual(await asks({ host, port: late }), first);
    }));

  it('and never opens at the next undoes the restart', () =>
    opened('never', 'never', async ({ service, first, early, late }) => {
      await service.logs(
        new RegExp(`generation 2 was undone .*:${late} within 4000 ms .*Generation 1 opened that`),
      );
      for (const port of [early, late]) assert.equal(await asks({ host, port }), first);
    }));

  it('and is closed again at the one before is waited for no more', () =>
    opened('never', 1500, async ({ service, first, early }) => {
      await until('it is confirmed', async () => {
        const { generations } = await service.status();
        return generations.every(({ watchedUntil }) => watchedUntil === undefined);
      });
      assert.equal((await service.current()).generation, 2);
      assert.notEqual(await asks({ host, port: early }), first);
      assert.doesNotMatch(service.output, /was undone/);
    }));

  it('is held after a crash also where it is a Unix path, or a datagram socket', async () => {
    await withLate(
      ({ early, late, folder }) => [
        [0, early],
        [LATE_MS, path.join(folder, 'late.sock')],
        [LATE_MS, -late],
      ],
      [],
      async ({ service, early, late, folder }) => {
        const socketPath = path.join(folder, 'late.sock');
        await listensOn(service, early, late, socketPath);
        process.kill((await service.current()).pid, 'SIGKILL');
        await service.logs(/generation 2 serves 1 listener/);
        const client = dgram.createSocket('udp4');
        try {
          client.send('who?', late, host);
          const answered = once(client, 'message') as Promise<[Buffer]>;
          const pid = await asks({ socketPath });
          assert.equal(String((await answered)[0]), String(pid));
          assert.equal((await service.current()).pid, pid);
        } finally {
          client.close();
        }
      },
    );
  });

  it('is closed, and named, where a release does not come to listen on it in time', async () => {
    await withLate(
      ({ early, late }) => [
        [0, early],
        [0, late],
      ],
      ['--ready-timeout', '2s'],
      async ({ service, releases, early, late }) => {
        await listensOn(service, early, late);
        await releases.put('first', [[0, early]]);
        process.kill((await service.current()).pid, 'SIGKILL');
        // It is back before that, with what it has.
        const back = await asks({ host, port: early });
        await service.logs(
          new RegExp(`generation 2 has not listened on tcp://127.0.0.1:${late} within 2000 ms`),
        );
        await assert.rejects(asks({ host, port: late }), { code: 'ECONNREFUSED' });
        assert.equal(await asks({ host, port: early }), back);
        await releases.put('second', [
          [0, early],
          [0, late],
        ]);
        await service.restart();
        assert.equal(await asks({ host, port: late }), (await service.current()).pid);
      },
    );
  });

  it('is waited for by a rollback, which brings back what that release had and no more', async () => {
    await withLate(
      ({ early, late }) => [
        [0, early],
        [LATE_MS, late],
      ],
      [],
      async ({ service, releases, early, late }) => {
        await listensOn(service, early, late);
        const added = await freePort();
        await releases.put('second', [
          [0, early],
          [0, late],
          [0, added],
        ]);
        await service.restart('--wait', 'confirmed');
        assert.equal((await service.moult('upgrade', service.name)).code, 0);
        await until('the supervisor is back', async () => {
          const { state } = await service.status().catch(() => ({ state: '' }));
          return state === 'serving';
        });
        const kept = await RawClient.connect({ host, port: late });
        await kept.get('/');
        const asked = asksOn([
          { host, port: early },
          { host, port: late },
        ]);
        const rolledBack = await service.moult('rollback', service.name);
        assert.equal(rolledBack.code, 0, rolledBack.stderr);
        const { pid } = await service.current();
        const { pid: served } = JSON.parse((await kept.get('/')).body?.toString() ?? '{}') as { pid: number };
        kept.close();
        assert.deepEqual({ failures: await asked(), served }, { failures: [], served: pid });
        await until('what it never had is refused', () =>
          asks({ host, port: added }).then(
            () => false,
            (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
          ),
        );
      },
    );
  });

  it('is named by --allow-fewer-listeners, and held for a release that comes to it after all', async () => {
    await withLate(
      ({ early, late }) => [
        [0, early],
        [0, late],
      ],
      [],
      async ({ service, releases, early, late }) => {
        await listensOn(service, early, late);
        await releases.put('second', [
          [0, early],
          [LATE_MS + 1000, late],
        ]);
        const asked = asksOn([
          { host, port: early },
          { host, port: late },
        ]);
        const { closes } = await service.restart('--allow-fewer-listeners', '--wait', 'confirmed');
        assert.deepEqual(closes, [`tcp://127.0.0.1:${late}`]);
        await listensOn(service, early, late);
        assert.deepEqual(await asked(), []);
      },
    );
  });

  it('is not given up for a release that has none of them, whatever is allowed', async () => {
    await withLate(
      ({ early, late }) => [
        [0, early],
        [0, late],
      ],
      ['--ready-timeout', '2500ms'],
      async ({ service, releases, early, late }) => {
        await listensOn(service, early, late);
        const { pid } = await service.current();
        const other = await freePort();
        await releases.put('second', [[0, other]]);
        const error = await service.failingRestart('--allow-fewer-listeners');
        assert.equal(error.code, 'MOULT_READY_TIMEOUT');
        for (const port of [early, late, other]) assert.match(error.message, new RegExp(`:${port}\\b`));
        assert.equal(await asks({ host, port: early }), pid);
        // Nor for one that says that it is ready.
        await releases.put('third', [[0, early]], true);
        const said = await service.failingRestart();
        assert.match(said.message, new RegExp(`has not listened on tcp://127.0.0.1:${late}`));
        assert.equal(await asks({ host, port: late }), pid);
      },
    );
  });

  it('is waited for in a slot that is new, and in one that crashed', async () => {
    await withLate(
      ({ early, late }) => [
        [0, early],
        [LATE_MS, late],
      ],
      ['--slots', '2'],
      async ({ service, early, late }) => {
        const all = async () => {
          const { generations } = await service.status();
          return generations.map(({ listeners = [] }) => listeners.length);
        };
        await whenAllServe(service, 2);
        await until('both have both', async () => (await all()).every((count) => count === 2));
        assert.equal((await service.moult('scale', '3', service.name)).code, 0);
        assert.deepEqual(await all(), [2, 2, 2]);
        const asked = asksOn([
          { host, port: early },
          { host, port: late },
        ]);
        const [first] = await whenAllServe(service, 3);
        await service.restart();
        assert.deepEqual(await asked(), []);
        assert.equal((await all()).length >= 3, true);
        assert.ok(first !== undefined);
      },
    );
  });
});
