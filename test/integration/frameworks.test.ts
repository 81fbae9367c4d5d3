import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { type VerifyOptions, type VerifyResult, verify } from '#moult/verify/verify.js';
import { PACE } from '../support/pace.js';
import { makeCertificate } from './certificate.js';
import { fixture, pointAt, type Supervised, withFolder, withService } from './supervised.js';

const clients = { 'kept-alive': 8, pipelined: 3, 'slow-body': 3, 'new-connection': 3 };
const quick = { restarts: 3, warmUpMs: 200, steadyMs: 200 };

async function restartedUnderLoad(
  service: Supervised,
  options: Partial<VerifyOptions> = {},
): Promise<VerifyResult> {
  const load = { check: 'echo', clients, thinkMs: 10 * PACE, ...options.load } as const;
  const result = await verify({ service: await service.underTest(), ...quick, ...options, load });
  const told = JSON.stringify({
    failures: result.load.failures.slice(0, 5),
    restarts: result.restarts.map((one) => one.outcome),
  });
  assert.equal(result.load.total.failed, 0, told);
  assert.equal(result.load.total.duplicated, 0, told);
  assert.ok(
    result.restarts.every(({ outcome, expectedToFail }) => outcome.ok !== expectedToFail),
    told,
  );
  return result;
}

describe('restarts under load', () => {
  for (const [what, script] of [
    ['plain node:http', 'http.cjs'],
    ['plain node:http as an ES module, without a signal handler', 'http.mjs'],
    ['Express', 'express.mjs'],
    ['Fastify', 'fastify.mjs'],
    ['Koa', 'koa.mjs'],
    ['Hono', 'hono.mjs'],
    ['NestJS', 'nest.mjs'],
  ] as const) {
    it(`lose nothing of ${what}: 0 failed, 0 lost, 0 twice, and as many descriptors as before`, async () => {
      await withService(
        { command: [fixture(script)], runOptions: ['--probation', '100ms'] },
        async (service) => {
          await service.restart();
          const descriptors = await service.descriptors();
          // Of the others two generations: node proofs/restarts.mjs has twenty.
          const times = script === 'http.cjs' ? 3 : 1;
          const { load, restarts } = await restartedUnderLoad(service, { restarts: times });
          assert.equal(load.total.lost, 0, JSON.stringify(load.failures.slice(0, 5)));
          assert.equal(load.total.redials, 0);
          assert.equal(Object.keys(load.total.generations).length, times + 1, 'each has answered');
          assert.ok(
            restarts.every(({ outcome }) => (outcome.summary?.moved ?? 0) > 0),
            'connections moved',
          );
          await service.assertDescriptors(descriptors);
          if (!['http.mjs'].includes(script)) assert.match(service.stdout, /pool of \d+ closed/);
        },
      );
    });
  }

  it('fail nothing of node:https: connections drain, and clients that were told so dial again', async () => {
    await withFolder(async (folder) => {
      const ca = makeCertificate(folder);
      const env = { CERTIFICATE: folder };
      await withService(
        { command: [fixture('https.mjs')], env, runOptions: ['--probation', '100ms'] },
        async (service) => {
          await service.restart();
          const descriptors = await service.descriptors();
          const { load } = await restartedUnderLoad(service, { load: { tls: { ca } } });
          assert.equal(load.total.lost, 0);
          assert.ok(load.total.toldToClose > 0, 'connections were told to close');
          await service.assertDescriptors(descriptors);
        },
      );
    });
  });

  it('lose nothing on another supported Node version that runs the service', {
    skip: process.env.MOULT_TEST_NODE === undefined,
  }, async () => {
    const command = [process.env.MOULT_TEST_NODE ?? '', fixture('http.mjs')];
    await withService({ command }, async (service) => {
      const { load } = await restartedUnderLoad(service);
      assert.equal(load.total.lost, 0);
    });
  });
});

describe('a broken release', () => {
  const runOptions = ['--probation', '100ms'];
  /** Longer than a good one takes on a busy machine. */
  const inTime = ['--ready-timeout', '5s'];

  for (const [what, script, reason, output] of [
    [
      'throws at load',
      'broken/throws.mjs',
      /MOULT_SUCCESSOR_EXITED: .*exited with code 1/,
      'no database configured',
    ],
    [
      'exits with 3 after 50 ms',
      'broken/exits.mjs',
      /MOULT_SUCCESSOR_EXITED: .*exited with code 3/,
      'does not like its work',
    ],
    ['has a syntax error', 'syntax error', /MOULT_SUCCESSOR_EXITED: .*exited with code 1/, 'SyntaxError'],
    [
      'hangs before it listens',
      'broken/hangs.mjs',
      /MOULT_READY_TIMEOUT: .*has not listened on tcp/,
      'waiting for the database',
    ],
    [
      'listens on another port',
      'broken/other-port.mjs',
      /MOULT_READY_TIMEOUT: .*has not listened on .*and has opened .* instead/,
      'listening elsewhere',
    ],
  ] as const) {
    it(`that ${what} changes nothing, says why, and the next good one takes over`, async () => {
      await withFolder(async (folder) => {
        const link = path.join(folder, 'current.js');
        const broken = script === 'syntax error' ? path.join(folder, 'broken.cjs') : fixture(script);
        if (script === 'syntax error') await writeFile(broken, "console.log('never' ;\n");
        await pointAt(link, fixture('http.cjs'));
        const limits = reason.source.includes('TIMEOUT') ? inTime : [];
        await withService({ command: [link], runOptions: [...runOptions, ...limits] }, async (service) => {
          const first = await service.current();
          const underTest = await service.underTest();
          let n = 0;
          const restart = async () => {
            n += 1;
            await pointAt(link, n % 2 === 1 ? broken : fixture('http.cjs'));
            return underTest.restart();
          };
          const options = {
            service: { ...underTest, restart },
            expectBroken: (one: number) => one % 2 === 1,
          };
          const { load, restarts } = await restartedUnderLoad(service, {
            ...options,
            restarts: 2,
            steadyMs: 50,
          });
          assert.equal(load.total.lost, 0);
          const error = restarts[0]?.outcome.error;
          assert.match(`${error?.code}: ${error?.message}`, reason);
          assert.ok(load.total.generations[String(first.pid)]);
          await pointAt(link, broken);
          const { code, stdout, stderr } = await service.moult('restart');
          assert.equal(code, 1);
          assert.match(stderr, /stage: +(spawn|hello|inherit|expecting|inheriting)/);
          assert.match(stderr, /serving now: the predecessor/);
          assert.ok(stderr.includes(output), `${stdout}\n${stderr}`);
        });
      });
    });
  }

  it('that never says it is ready fails, where services say so, with a word about it', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.js');
      await pointAt(link, fixture('wait-ready.cjs'));
      const env = { READY_FILE: '/dev/null' };
      await withService(
        { command: [link], env, runOptions: [...runOptions, ...inTime, '--wait-ready'] },
        async (service) => {
          await pointAt(link, fixture('broken/never-ready.cjs'));
          const error = await service.failingRestart();
          assert.equal(error.code, 'MOULT_READY_TIMEOUT');
          assert.equal(error.serving, 'predecessor');
          assert.deepEqual(error.details?.output, ['warming up']);
          await pointAt(link, fixture('wait-ready.cjs'));
          await service.restart();
        },
      );
    });
  });
});
