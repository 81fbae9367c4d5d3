import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { freePorts } from '../support/free-ports.js';
import { PACE } from '../support/pace.js';
import { RawClient } from './raw-client.js';
import { Supervised, until, withFolder } from './supervised.js';

/** Answers with its number; /slow when the file that NOW names is there. */
const SERVER = `
  const fs = require('node:fs');
  const http = require('node:http');
  const server = http.createServer((request, response) => {
    if (request.url !== '/slow') return response.end(String(process.pid));
    response.write('begun ');
    const look = setInterval(() => {
      if (!fs.existsSync(process.env.NOW)) return;
      clearInterval(look);
      response.end('whole');
    }, 10);
  });
  // Its clients may wait for a restart on a busy machine.
  server.keepAliveTimeout = 60_000;
  server.listen(process.env.AT ?? Number(process.env.PORT), process.env.AT ? undefined : '127.0.0.1');`;

const allowNet = process.allowedNodeEnvironmentFlags.has('--allow-net') ? ['--allow-net'] : [];

type Place = { readonly port: number; readonly host: string } | { readonly socketPath: string };

/** One request on a connection of its own. */
function get(place: Place, url = '/'): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ ...place, path: url, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => resolve(body));
        response.on('error', reject);
      })
      .on('error', reject);
  });
}

/** Clients that ask one after the other, each time on a new connection, until they are stopped. */
class NewConnections {
  readonly failed: string[] = [];
  readonly pids = new Set<string>();
  #isOver = false;
  readonly #loops: Promise<void>[];

  constructor(place: Place) {
    this.#loops = [1, 2, 3].map(async () => {
      while (!this.#isOver) {
        await get(place).then(
          (pid) => this.pids.add(pid),
          (error: Error) => this.failed.push(String(error)),
        );
        await pause(PACE);
      }
    });
  }

  /** Waits until this process has answered one of them. */
  async meet(pid: string): Promise<void> {
    await until(`process ${pid} answers`, () => this.pids.has(pid));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
    assert.deepEqual(this.failed, []);
  }
}

async function withServer(
  flags: readonly string[],
  around: { runOptions?: readonly string[]; env?: Record<string, string>; through?: readonly string[] },
  use: (service: Supervised, place: Place, folder: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    await writeFile(path.join(folder, 'server.cjs'), SERVER);
    const [port = 0] = await freePorts(1);
    const { runOptions = [], env = {} } = around;
    const service = await Supervised.start({
      command: [...(around.through ?? []), 'node', ...flags, 'server.cjs'],
      cwd: folder,
      env: { PORT: String(port), NOW: path.join(folder, 'now'), ...env },
      runOptions: ['--probation', '50ms', ...runOptions],
    });
    try {
      const at = env.AT;
      await use(service, at === undefined ? { port, host: '127.0.0.1' } : { socketPath: at }, folder);
      await service.stop();
    } finally {
      await service.kill();
    }
  });
}

async function pidOf(service: Supervised): Promise<string> {
  return String((await service.current()).pid);
}

describe('a service whose Node loads no addons', () => {
  it('is restarted, crashes and is adopted, and no new connection is refused', async () => {
    await withServer(['--no-addons'], {}, async (service, place, folder) => {
      const clients = new NewConnections(place);
      const kept = await RawClient.connect(place as { host: string; port: number });
      const first = await pidOf(service);
      await clients.meet(first);
      assert.equal((await kept.get('/')).body.toString(), first);
      const slow = get(place, '/slow');
      await until('its response is under way', async () => {
        const [state] = (await service.status()).generations;
        return (state?.inFlight ?? 0) > 0;
      });

      const summary = await service.restart();
      assert.equal(summary.moved, 0);
      assert.ok(summary.draining >= 2, JSON.stringify(summary));
      const second = await pidOf(service);
      assert.notEqual(second, first);
      await clients.meet(second);
      // What is established stays where it is, and comes to its end there.
      const last = await kept.get('/');
      assert.equal(last.body.toString(), first);
      assert.equal(last.headers.get('connection'), 'close');
      await writeFile(path.join(folder, 'now'), '');
      assert.equal(await slow, 'begun whole');
      assert.equal(String(await service.alone()), second);

      process.kill(Number(second), 'SIGKILL');
      await service.logs(/generation 3 serves 1 listener/);
      const third = await pidOf(service);
      await clients.meet(third);
      // The connections of the process that was killed are gone with it.
      clients.failed.splice(0, clients.failed.length, ...clients.failed.filter((one) => /REFUSED/.test(one)));

      const upgraded = await service.moult('upgrade', service.name);
      assert.equal(upgraded.code, 0, upgraded.stderr);
      await until('it is adopted', async () => (await service.status()).generations[0]?.state === 'serving');
      await service.restart();
      await clients.meet(await pidOf(service));
      await clients.stop();
      assert.match(service.output, /a restart drains them/);
      kept.close();
    });
  });

  for (const flags of [
    ['--experimental-permission', '--allow-fs-read=*'],
    ['--permission', '--allow-fs-read=*', ...allowNet],
  ]) {
    const isKnown = spawnSync(process.execPath, [...flags, '-e', '0']).status === 0;
    const skip = isKnown ? false : 'this Node has no such flag';
    it(`is restarted with ${flags.join(' ')}, after a check`, { skip }, async () => {
      await withServer(flags, { runOptions: ['--check', '/'] }, async (service, place) => {
        const clients = new NewConnections(place);
        await service.restart();
        await clients.meet(await pidOf(service));
        await clients.stop();
      });
    });
  }

  it('tells what it has cut, also where that is more than one report names', async () => {
    const runOptions = ['--drain-timeout', '300ms', '--stop-timeout', '2s'];
    await withServer(['--no-addons'], { runOptions }, async (service, place) => {
      const clients = Array.from({ length: 1001 }, () => get(place, '/slow').catch(() => 'cut'));
      await until('their responses are under way', async () => {
        const [state] = (await service.status()).generations;
        return state?.inFlight === clients.length;
      });
      const { cut, cutConnections } = await service.restart('--wait=drained');
      assert.deepEqual([cut, cutConnections?.length], [1000, 1000]);
      await Promise.all(clients);
      await service.alone();
    });
  });

  it('keeps its Unix socket found over a restart, and removes it at the end', async () => {
    await withFolder(async (folder) => {
      const at = path.join(folder, 'app.sock');
      await withServer(['--no-addons'], { env: { AT: at } }, async (service, place) => {
        const clients = new NewConnections(place);
        await clients.meet(await pidOf(service));
        await service.restart();
        await service.alone();
        await service.restart();
        await clients.meet(await pidOf(service));
        await clients.stop();
      });
      await assert.rejects(get({ socketPath: at }), /ENOENT/);
    });
  });

  it('serves on when its next release fails its check', async () => {
    await withFolder(async (other) => {
      const broken = path.join(other, 'broken');
      const options = { runOptions: ['--check', `exec:test ! -e ${broken}`] };
      await withServer(['--no-addons'], options, async (service, place) => {
        const clients = new NewConnections(place);
        const first = await pidOf(service);
        await writeFile(broken, '');
        const error = await service.failingRestart();
        assert.equal(error.code, 'MOULT_CHECK_FAILED');
        assert.equal(error.serving, 'predecessor');
        assert.equal(await pidOf(service), first);
        await clients.stop();
      });
    });
  });

  it('changes hands with a release that loads them, both ways, and back', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'env');
      await writeFile(file, '');
      await withServer([], { runOptions: ['--env-file', file] }, async (service, place) => {
        const clients = new NewConnections(place);
        for (const line of ['NODE_OPTIONS=--no-addons', '', 'NODE_OPTIONS="--no-addons --no-warnings"']) {
          await writeFile(file, line);
          await service.restart();
          const pid = await pidOf(service);
          await clients.meet(pid);
          await until('the others have ended', async () => String(await service.alone()) === pid);
        }
        await clients.stop();
      });
    });
  });

  it('is restarted where there is no addon for its libc, behind a shell', async () => {
    await withFolder(async (folder) => {
      const preload = path.join(folder, 'other-libc.cjs');
      await writeFile(
        preload,
        `process.dlopen = () => { throw Object.assign(new Error('libc.musl-x86_64.so.1: cannot open'), { code: 'ERR_DLOPEN_FAILED' }); };`,
      );
      const through = ['sh', '-c', 'exec "$@"', 'sh'];
      await withServer(['--require', preload], { through }, async (service, place) => {
        const clients = new NewConnections(place);
        await service.restart();
        await clients.meet(await pidOf(service));
        await clients.stop();
        assert.match(service.output, /cannot open/);
      });
    });
  });

  it('runs under a moult in whose environment the flag is, or that says where to give it', async () => {
    const script = `const http = require('node:http');
      http.createServer((_, response) => response.end(String(process.pid))).listen(0, '127.0.0.1');`;
    await withFolder(async (folder) => {
      await writeFile(path.join(folder, 'server.cjs'), script);
      const options = { command: ['server.cjs'], cwd: folder, nodeOptions: '--no-addons', waits: false };
      const service = await Supervised.start(options);
      try {
        if ('execve' in process) {
          await service.logs(/generation 1 serves 1 listener/);
          await service.restart();
          await service.stop();
        } else {
          assert.equal(await service.ended, 1);
          assert.match(service.stderr, /moult itself needs an addon, and NODE_OPTIONS \(--no-addons\)/);
        }
      } finally {
        await service.kill();
      }
    });
  });
});
