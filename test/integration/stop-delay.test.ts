import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { Server } from 'node:http';
import path from 'node:path';
import { it } from 'node:test';
import { lacks } from '../support/debian.js';
import { root, until, withFolder, withService } from './supervised.js';

/** Says its events and signals; answers /readyz in several ways. Keep-alive is Node's. */
const SERVICE = `import http from 'node:http';
  import { openService } from 'moult';
  const service = openService();
  service.on('stopping', ({ delayMs }) => console.log('stopping in ' + delayMs));
  service.on('drain', () => console.log('drains'));
  process.on('SIGUSR2', () => console.log('heard SIGUSR2'));
  let n = 0;
  const server = http.createServer((request, response) => {
    n += 1;
    if (n % 3 === 0) response.writeHead(200, 'Fine', { 'x-way': 'head' });
    if (n % 3 === 1) response.statusCode = 201;
    response.end(JSON.stringify({ ka: server.keepAliveTimeout, headers: server.headersTimeout }));
  });
  await service.listen(server, 0, '127.0.0.1');
  console.log('listens on ' + server.address().port);
  await service.ready();`;

/** Whether this Node closes idle connections early unless it is told otherwise. */
const WARNS = new Server().keepAliveTimeout <= 10_000;

it('serves on after a stop was asked for, unready by path, event and signal, until the delay or a second stop ends it', () =>
  withFolder(async (folder) => {
    const file = path.join(folder, 'service.mjs');
    writeFileSync(file, SERVICE.replace("'moult'", JSON.stringify(path.join(root, 'dist/index.js'))));
    const runOptions = ['--stop-delay', '1h', '--unready-path', '/readyz', '--stop-delay-signal', 'SIGUSR2'];
    await withService(
      { command: [file], runOptions: [...runOptions, '--keep-alive', '65s'] },
      async (service) => {
        const port = await until('it listens', () => /listens on (\d+)/.exec(service.stdout)?.[1]);
        const get = (what: string) => fetch(`http://127.0.0.1:${port}/${what}`);
        const kept = (await (await get('x')).json()) as { ka: number; headers: number };
        assert.equal(kept.ka, 65_000);
        assert.ok(kept.headers > 65_000, String(kept.headers));
        assert.ok((await get('readyz?x')).ok);
        process.kill(service.pid, 'SIGTERM');
        await until('it is told', () => /stopping in 3600000/.test(service.stdout));
        await until('it has the signal', () => /heard SIGUSR2/.test(service.stdout));
        for (let n = 0; n < 3; n += 1) {
          assert.equal((await get('readyz?full')).status, 503);
          assert.ok((await get('x')).ok);
        }
        assert.doesNotMatch(service.stdout, /drains/);
        // The stop of the test is the second one.
        process.kill(service.pid, 'SIGTERM');
        await until('it drains', () => /drains/.test(service.stdout));
        assert.equal(await service.ended, 0);
      },
    );
    await withService({ command: [file], runOptions: ['--stop-delay', '200ms'] }, async (service) => {
      if (WARNS) await until('it warns', () => service.stderr.includes("Node's default"));
      await service.restart();
      process.kill(service.pid, 'SIGTERM');
      assert.equal(await service.ended, 0);
      assert.match(service.stdout, /stopping in 200\n[\s\S]*drains/);
      assert.equal(service.stderr.match(/Node's default/g)?.length ?? 0, WARNS ? 1 : 0);
    });
  }));

it('fails no request of two services behind HAProxy that are stopped and started', {
  skip: lacks('haproxy'),
}, async () => {
  const { code, stdout } = await new Promise<{ code: number; stdout: string }>((resolve) => {
    execFile(process.execPath, [path.join(root, 'proofs/stop-delay.mjs'), '2'], (error, stdout) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout }),
    );
  });
  assert.equal(code, 0, stdout);
});
