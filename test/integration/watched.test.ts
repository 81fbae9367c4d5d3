import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { GenerationStatus } from '#moult/supervisor/status.js';
import { freePort } from '../support/free-ports.js';
import { askOnce } from './raw-client.js';
import { serving, whenAllServe } from './slots-of.js';
import { pointAt, type Supervised, until, withFolder, withService } from './supervised.js';

const PROBATION_MS = 1500;

const THROWS = "throw new Error('no database')";

/** How a release ends by itself: when there is a file. */
interface End {
  readonly whenThereIs: string;
  readonly how?: string;
}

/** Answers with its release and its process. */
const release = (name: string, end?: End) => `
  const server = require('node:http')
    .createServer((q, r) => r.end(JSON.stringify({ generation: '${name} ' + process.pid })))
    .listen(process.env.PORT, '127.0.0.1');
  ${end === undefined ? '' : endOf(end)}`;

function endOf({ whenThereIs, how = THROWS }: End): string {
  return `const look = setInterval(() => {
    if (require('node:fs').existsSync('${whenThereIs}')) { clearInterval(look); ${how}; }
  }, 10);`;
}

/** Of a probation that only another restart may end, however busy the machine is. */
const LASTING_MS = 120_000;

interface Scene {
  readonly service: Supervised;
  readonly target: { host: string; port: number };
  readonly folder: string;
  deploy(name: string, end?: End): Promise<void>;
}

async function withReleases(
  test: (scene: Scene) => Promise<void>,
  probationMs = PROBATION_MS,
  others: readonly string[] = [],
): Promise<void> {
  await withFolder(async (folder) => {
    const link = path.join(folder, 'current.cjs');
    const port = await freePort();
    const deploy = async (name: string, end?: End) => {
      const file = path.join(folder, `${name}.cjs`);
      await writeFile(file, release(name, end));
      await pointAt(link, file);
    };
    await deploy('good');
    const options = {
      command: [link],
      env: { PORT: String(port) },
      runOptions: [
        '--probation',
        `${probationMs}ms`,
        '--drain-timeout',
        '2s',
        '--stop-timeout',
        '2s',
        ...others,
      ],
    };
    await withService(options, (service) =>
      test({ service, folder, target: { host: '127.0.0.1', port }, deploy }),
    );
  });
}

/** Crashes it again and again, until its next start is due only later. */
async function waiting(service: Supervised): Promise<void> {
  for (let generation = 1; ; generation += 1) {
    process.kill((await service.current()).pid, 'SIGKILL');
    await until('it has crashed', async () => (await service.status()).crashes === generation);
    if (service.log().some((line) => /starts in 3200 ms/.test(line))) return;
    await service.logs(new RegExp(`generation ${generation + 1} serves`));
  }
}

describe('moult restart --wait=confirmed', () => {
  it('fails for a release that ends within probation although nobody served before, and the last good one is back', async () => {
    await withReleases(async ({ service, target, folder, deploy }) => {
      await waiting(service);
      const whenThereIs = path.join(folder, 'end');
      await deploy('bad', { whenThereIs });
      const failing = service.failingRestart('--wait=confirmed');
      const isAnsweredBy = (name: string) => async () =>
        (await askOnce(target).catch(() => '')).startsWith(name);
      await until('it serves', isAnsweredBy('bad'));
      await until('it is in probation', async () => (await service.current()).state === 'serving');
      await writeFile(whenThereIs, '');
      const error = await failing;
      assert.equal(error.code, 'MOULT_SUCCESSOR_LOST');
      assert.equal(error.serving, 'none');
      await until('the last good release serves', isAnsweredBy('good'));
    }, LASTING_MS);
  });

  it('is answered at the end of probation, and not before, when nobody served before', async () => {
    await withReleases(async ({ service, target, deploy }) => {
      await waiting(service);
      await deploy('next');
      const beganMs = performance.now();
      const { generation } = await service.restart('--wait=confirmed');
      assert.ok(performance.now() - beganMs >= PROBATION_MS - 20);
      assert.equal((await service.current()).generation, generation);
      assert.match(await askOnce(target), /^next/);
      // From now on it is the last good one.
      process.kill((await service.current()).pid, 'SIGKILL');
      await service.logs(new RegExp(`generation ${generation + 1} serves`));
      assert.match(await askOnce(target), /^next/);
    });
  });

  it('fails for a roll whose slots all end in probation, once all of them are replaced', async () => {
    await withReleases(
      async ({ service, target, folder, deploy }) => {
        await whenAllServe(service, 2);
        const whenThereIs = path.join(folder, 'end');
        await deploy('bad', { whenThereIs });
        const failing = service.failingRestart('--wait=confirmed');
        const isNew = ({ generation }: GenerationStatus) => generation > 2;
        await until('both are replaced', async () => (await serving(service)).filter(isNew).length === 2);
        await writeFile(whenThereIs, '');
        const error = await failing;
        assert.equal(error.code, 'MOULT_SUCCESSOR_LOST');
        await whenAllServe(service, 2);
        for (let times = 0; times < 4; times += 1) assert.match(await askOnce(target), /^good/);
      },
      LASTING_MS,
      ['--slots', '2'],
    );
  });

  for (const [what, how] of [
    ['throws', THROWS],
    ['rejects', "Promise.reject(new Error('no database'))"],
    ['exits as if all were well', 'process.exit(0)'],
    ['is killed', "process.kill(process.pid, 'SIGKILL')"],
  ] as const) {
    it(`fails when the predecessor dies within probation, and then the successor ${what}`, async () => {
      // Nothing but its end ends its probation, however busy the machine is.
      await withReleases(async ({ service, folder, target, deploy }) => {
        const { pid } = await service.current();
        const whenThereIs = path.join(folder, 'end');
        await deploy('bad', { whenThereIs, how });
        const failing = service.failingRestart('--wait=confirmed');
        await until('the successor serves', async () =>
          (await askOnce(target).catch(() => '')).startsWith('bad'),
        );
        process.kill(pid, 'SIGKILL');
        await service.logs(/generation 1 was ended by SIGKILL/);
        await writeFile(whenThereIs, '');
        assert.equal((await failing).code, 'MOULT_SUCCESSOR_LOST');
        await until('the last good release serves', async () =>
          (await askOnce(target).catch(() => '')).startsWith('good'),
        );
      }, LASTING_MS);
    });
  }

  it('fails when the predecessor dies within probation, and the successor closes its listener', async () => {
    await withReleases(async ({ service, folder, target, deploy }) => {
      const { pid } = await service.current();
      const whenThereIs = path.join(folder, 'end');
      await deploy('bad', { whenThereIs, how: 'server.close(); setInterval(() => {}, 1000)' });
      const failing = service.failingRestart('--wait=confirmed');
      await until('the successor serves', async () =>
        (await askOnce(target).catch(() => '')).startsWith('bad'),
      );
      process.kill(pid, 'SIGKILL');
      await service.logs(/generation 1 was ended by SIGKILL/);
      await writeFile(whenThereIs, '');
      const error = await failing;
      assert.equal(error.code, 'MOULT_NOT_REACHED');
      assert.match(String(error.message), /its service has closed tcp:\/\/127\.0\.0\.1:\d+/);
      assert.equal(error.serving, 'none');
      await until('the last good release serves', async () =>
        (await askOnce(target).catch(() => '')).startsWith('good'),
      );
    });
  });

  it('is watched for the rest of the time when the predecessor dies within probation', async () => {
    await withReleases(async ({ service, target, deploy }) => {
      const { pid } = await service.current();
      await deploy('next');
      const beganMs = performance.now();
      const restarting = service.restart('--wait=confirmed');
      await until('the successor serves', async () => (await askOnce(target)).startsWith('next'));
      process.kill(pid, 'SIGKILL');
      await restarting;
      assert.ok(performance.now() - beganMs >= PROBATION_MS - 20);
      assert.match(await askOnce(target), /^next/);
    });
  });

  it('says so when another restart confirms it before its time', async () => {
    await withReleases(async ({ service, target, deploy }) => {
      await deploy('next');
      const first = service.failingRestart('--wait=confirmed');
      await until('the first serves', async () => (await askOnce(target)).startsWith('next'));
      await until('it is told of', async () => (await service.status()).restarts === 1);
      await deploy('last');
      await service.restart();
      assert.equal((await first).code, 'MOULT_NOT_WATCHED');
      assert.match(await askOnce(target), /^last/);
    }, LASTING_MS);
  });

  it('goes back to the release that has proved itself when a rollback is asked for meanwhile', async () => {
    await withReleases(async ({ service, target, deploy }) => {
      await waiting(service);
      await deploy('next');
      await service.restart();
      assert.match(await askOnce(target), /^next/);
      assert.equal((await service.moult('rollback', service.name)).code, 0);
      assert.match(await askOnce(target), /^good/);
    });
  });
});
