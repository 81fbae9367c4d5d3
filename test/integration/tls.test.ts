import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { verify } from '#moult/verify/verify.js';
import { freePorts } from '../support/free-ports.js';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import { makeCertificate } from './certificate.js';
import { fixture, type Supervised, until, withFolder, withService } from './supervised.js';

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
          load: { check: 'echo', clients: CLIENTS, thinkMs: 10 * PACE, tls: { ca } },
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
        // The servers that were left had no connection to wait for.
        assert.match(service.stdout, /pool of \d+ closed/);
        const [{ moves } = {}] = (await service.status()).generations;
        assert.deepEqual(moves, { http1: 'yes', tls: 'yes' });
      });
    });
  });

  it('gives them back when the restart is undone, and they are served by who had them before', async () => {
    await withFolder(async (folder) => {
      const ca = makeCertificate(folder);
      const env = { CERTIFICATE: folder };
      const runOptions = ['--tls', 'move', '--probation', '60s', '--stop-timeout', '2s'];
      await withService({ command: [fixture('https.mjs')], env, runOptions }, async (service) => {
        const { pid } = await service.current();
        const target = await service.target();
        const clients = { 'kept-alive': 12, pipelined: 2 };
        const load = startLoad({ target, check: 'echo', clients, thinkMs: 10 * PACE, tls: { ca } });
        await service.restart();
        const { pid: successor } = await service.current();
        assert.notEqual(successor, pid);
        await until(
          'all are with the successor',
          async () => (await connectionsOf(service, successor)) === 14,
        );
        const { code, stderr } = await service.moult('rollback', service.name);
        assert.equal(code, 0, stderr);
        await until('all are back', async () => (await connectionsOf(service, pid)) === 14);
        // Each is asked once more where it was at first.
        const before = load.snapshot().total;
        await until('all are answered again', () => load.snapshot().total.answered > before.answered + 200);
        const { total, failures } = await load.stop();
        const { failed, lost, duplicated, redials } = total;
        assert.deepEqual(
          { failed, lost, duplicated, redials },
          { failed: 0, lost: 0, duplicated: 0, redials: 0 },
          JSON.stringify(failures.slice(0, 5)),
        );
        assert.equal(Object.keys(total.generations).length, 2);
      });
    });
  });

  it('tells clients to close where the server that accepts is not the one that answers, and loses none of their requests', async () => {
    await withFolder(async (folder) => {
      const ca = makeCertificate(folder);
      const ports = await freePorts(4);
      const env = { CERTIFICATE: folder, PORTS: ports.join() };
      const runOptions = ['--tls', 'move', '--probation', '200ms'];
      await withService({ command: [fixture('layered.mjs')], env, runOptions }, async (service) => {
        // That of the worker thread may come after the service is ready.
        await until('all listen', async () => (await service.current()).listeners?.length === ports.length);
        const { pid } = await service.current();
        const clients = { 'kept-alive': 6, pipelined: 2 };
        const loads = ports.map((port) =>
          startLoad({
            target: { host: '127.0.0.1', port },
            check: 'echo',
            clients,
            thinkMs: 10 * PACE,
            tls: { ca },
          }),
        );
        const answered = () => loads.map((load) => load.snapshot().total.answered);
        await until('all are answered', () => answered().every((count) => count > 200));
        await service.restart();
        // Nobody is cut, long before the deadline.
        await until('nobody is left', async () => {
          const { generations } = await service.status();
          return !generations.some((one) => one.pid === pid && (one.connections ?? 0) > 0);
        });
        for (const load of loads) {
          const { total, failures } = await load.stop();
          const { failed, lost, duplicated } = total;
          const told = JSON.stringify(failures.slice(0, 5));
          assert.deepEqual({ failed, lost, duplicated }, { failed: 0, lost: 0, duplicated: 0 }, told);
          assert.ok(total.toldToClose >= 8, `${total.toldToClose} told to close`);
        }
      });
    });
  });
});

async function connectionsOf(service: Supervised, pid: number): Promise<number | undefined> {
  const { generations } = await service.status();
  return generations.find((one) => one.pid === pid)?.connections;
}
