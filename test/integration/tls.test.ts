import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { verify } from '#moult/verify/verify.js';
import { makeCertificate } from './certificate.js';
import { fixture, withFolder, withService } from './supervised.js';

const CLIENTS = { 'kept-alive': 12, pipelined: 3, 'slow-body': 3, 'new-connection': 3 };

describe('moult run --tls move', () => {
  it('moves live TLS connections of node:https over restarts: 0 failed, 0 lost, 0 redials', async () => {
    await withFolder(async (folder) => {
      const ca = makeCertificate(folder);
      const env = { CERTIFICATE: folder };
      const runOptions = ['--tls', 'move', '--probation', '200ms'];
      await withService({ command: [fixture('https.mjs')], env, runOptions }, async (service) => {
        await service.restart();
        const descriptors = await service.descriptors();
        const { load, restarts } = await verify({
          service: await service.underTest(),
          restarts: 3,
          warmUpMs: 200,
          steadyMs: 200,
          load: { check: 'echo', clients: CLIENTS, thinkMs: 10, tls: { ca } },
        });
        const told = JSON.stringify([load.failures.slice(0, 5), restarts.map(({ outcome }) => outcome)]);
        const { failed, lost, duplicated, redials, toldToClose } = load.total;
        assert.deepEqual(
          { failed, lost, duplicated, redials, toldToClose },
          { failed: 0, lost: 0, duplicated: 0, redials: 0, toldToClose: 0 },
          told,
        );
        assert.equal(Object.keys(load.total.generations).length, 4, 'each generation has answered');
        for (const { outcome } of restarts) assert.ok((outcome.summary?.moved ?? 0) >= 15, told);
        await service.assertDescriptors(descriptors);
      });
    });
  });
});
