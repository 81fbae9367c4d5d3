import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { Clients, fetchOnce } from './clients.js';
import { PYTHON, SERVER, skip } from './python-program.js';
import { fixture, type Supervised, until, withFolder, withService } from './supervised.js';

/** A service that is a Python program. What its next release is like is written into a file. */
interface Program {
  readonly service: Supervised;
  readonly port: number;
  release(words: string): void;
  answer(path?: string): Promise<string>;
}

async function withProgram(
  first: string,
  runOptions: readonly string[],
  test: (program: Program) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const file = path.join(folder, 'release');
    const release = (words: string) => writeFileSync(file, words);
    release(first);
    const port = await freePort();
    const options = {
      command: [PYTHON, SERVER, file],
      runOptions: ['--listen', `http=127.0.0.1:${port}`, ...runOptions],
    };
    await withService(options, (service) =>
      test({ service, port, release, answer: (at = '/') => fetchOnce({ port, path: at }) }),
    );
  });
}

async function numbersAlive(service: Supervised): Promise<number[]> {
  const { generations } = await service.status();
  return generations.map(({ generation }) => generation);
}

describe('a program that knows nothing of moult', { skip }, () => {
  it('gets its sockets by every protocol that it may know', async () => {
    await withProgram('one', [], async ({ service, port, answer }) => {
      const lines = (await answer('/environment')).split('\n');
      const { pid } = await service.current();
      for (const line of [
        `LISTEN_PID=${pid}`,
        'LISTEN_FDS=1',
        'LISTEN_FDNAMES=http',
        `SERVER_STARTER_PORT=127.0.0.1:${port}=3`,
        'SERVER_STARTER_GENERATION=1',
        'EINHORN_FD_COUNT=1',
        'EINHORN_FD_0=3',
        `EINHORN_MASTER_PID=${service.pid}`,
      ]) {
        assert.ok(lines.includes(line), `${line} is in ${lines.join(' ')}`);
      }
      assert.ok(
        !lines.some((line) => line.startsWith('NODE_OPTIONS=')),
        'nothing is left of how it was started',
      );
    });
  });

  it('is restarted without a refused or reset connection', async () => {
    await withProgram('r0', ['--probation', '200ms', '--drain-timeout', '5s'], async (program) => {
      const clients = new Clients({ port: program.port });
      for (let n = 1; n <= 5; n += 1) {
        program.release(`r${n}`);
        const summary = await program.service.restart('--wait', 'confirmed');
        assert.equal(summary.generation, n + 1);
        assert.equal(summary.listeners, 1);
      }
      await program.service.alone();
      await clients.stop();
      assert.deepEqual(clients.failures, []);
      assert.ok(
        [...clients.bodies.keys()].some((body) => body.endsWith('r5\n')),
        'the last release answered',
      );
      assert.match(await program.answer(), /r5/);
    });
  });

  it('keeps what it was until the next one has proved itself', async () => {
    await withProgram('good', ['--probation', '1h'], async ({ service, release, answer }) => {
      release('better');
      await service.restart();
      assert.deepEqual(await numbersAlive(service), [1, 2]);
      for (let n = 0; n < 20; n += 1) assert.match(await answer(), /better/, 'one at a time');
      const { stdout } = await service.moult('rollback', service.name);
      assert.match(stdout, /1/);
      for (let n = 0; n < 20; n += 1) assert.match(await answer(), /good/, 'one at a time');
      await service.alone();
      assert.match(await answer(), /good/);
      assert.deepEqual(await numbersAlive(service), [1]);
    });
  });

  it('goes on when the next one cannot start', async () => {
    await withProgram('good', [], async ({ service, release, answer }) => {
      release('bad dies');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_SUCCESSOR_EXITED');
      assert.equal(error.serving, 'predecessor');
      assert.match(error.message, /exited with code 3/);
      assert.match(await answer(), /good/);
    });
  });

  it('goes on when the next one never accepts, and says what was waited for', async () => {
    await withProgram('good', ['--ready-timeout', '5s'], async ({ service, release, answer }) => {
      release('bad deaf');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_READY_TIMEOUT');
      assert.match(error.message, /neither said READY=1 nor accepted a connection/);
      await service.alone();
      assert.match(await answer(), /good/);
    });
  });

  it('goes on when the next one fails its check, which only that one answers', async () => {
    const options = ['--check', '/healthz', '--check-retries', '1', '--check-interval', '50ms'];
    await withProgram('good', options, async ({ service, release, port }) => {
      const clients = new Clients({ port });
      release('bad unwell');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_CHECK_FAILED');
      assert.match(error.message, /received 500/);
      await service.alone();
      release('better');
      await service.restart();
      await clients.stop();
      assert.deepEqual(clients.failures, []);
      const reached = [...clients.bodies.keys()].filter((body) => body.includes('bad'));
      assert.deepEqual(reached, [], 'no client has reached the one that failed');
    });
  });

  it('goes on when the next one dies in its probation', async () => {
    await withProgram('good', ['--probation', '1h'], async ({ service, release, answer }) => {
      release('bad dies-soon says-ready');
      await service.restart().catch(() => {});
      await service.alone();
      assert.match(await answer(), /good/);
      assert.equal((await service.current()).generation, 1);
      const { stdout } = await service.moult('history', service.name, '--json');
      const { result, code } = JSON.parse(stdout).at(-1) as { result: string; code: string };
      assert.deepEqual([result, code], ['undone', 'MOULT_SUCCESSOR_LOST']);
    });
  });

  it('is ready when it says so, itself or by a child', async () => {
    await withProgram('one says-ready', ['--wait-ready', '--ready-timeout', '5s'], async (program) => {
      const { service, release } = program;
      assert.equal((await service.status()).generations[0]?.says, 'all is well');
      release('two child-speaks');
      await service.restart();
      release('three');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_READY_TIMEOUT');
      assert.match(error.message, /it has not said READY=1/);
      assert.equal((await service.current()).generation, 2);
    });
  });

  it('is ready after a time, where that was asked for', async () => {
    await withProgram('one deaf', ['--ready-after', '300ms'], async ({ service }) => {
      assert.equal((await service.current()).state, 'serving');
    });
  });

  it('is killed when it does not stop, and what that cut is told', async () => {
    const options = ['--probation', '100ms', '--drain-timeout', '500ms'];
    await withProgram('good slow-stop', options, async ({ service, release, port }) => {
      const client = connect(port, '127.0.0.1');
      client.on('error', () => {});
      await once(client, 'connect');
      await until('it is accepted', async () => (await service.current()).connections === 1);
      release('better');
      const { draining } = await service.restart('--wait', 'confirmed');
      assert.equal(draining, 1);
      await service.logs(/generation 1: cut the connection of 127\.0\.0\.1:\d+ .*SIGTERM/);
      await service.alone();
      client.destroy();
      const { stdout } = await service.moult('history', service.name, '--json');
      assert.match(stdout, /did not exit within 500 ms of SIGTERM/);
    });
  });

  it('cannot take the socket from its successor by shutting it down', async () => {
    await withProgram('good shuts-down', ['--probation', '100ms'], async ({ service, release, port }) => {
      const clients = new Clients({ port });
      for (const words of ['better shuts-down', 'best']) {
        release(words);
        await service.restart('--wait', 'confirmed');
      }
      await service.alone();
      await clients.stop();
      assert.deepEqual(clients.failures, []);
      assert.match(await fetchOnce({ port, path: '/' }), /best/);
    });
  });

  it('listens again where the one that serves has shut its socket down', async () => {
    await withProgram('one', [], async ({ service, answer }) => {
      await answer('/shut');
      await service.logs(/shut tcp:.* down for all processes: moult listens there again/);
      assert.match(await answer(), /one/);
    });
  });

  it('is started again when it crashes, and clients wait', async () => {
    await withProgram('good', [], async ({ service, port }) => {
      const { pid } = await service.current();
      process.kill(pid, 'SIGKILL');
      await until('it has ended', () => !existsSync(`/proc/${pid}/stat`));
      assert.match(await fetchOnce({ port, path: '/' }), /good/);
      const { crashes } = await service.status();
      assert.equal(crashes, 1);
    });
  });

  it('serves on while the supervisor is upgraded', async () => {
    await withProgram('good', ['--probation', '100ms'], async ({ service, release, port }) => {
      release('better');
      await service.restart('--wait', 'confirmed');
      await service.alone();
      const clients = new Clients({ port });
      const { pid } = await service.current();
      const { code } = await service.moult('upgrade', service.name);
      assert.equal(code, 0);
      await service.logs(/generation 2 is adopted/);
      assert.equal((await service.current()).pid, pid);
      release('best');
      await service.restart('--wait', 'confirmed');
      await service.alone();
      await clients.stop();
      assert.deepEqual(clients.failures, []);
    });
  });

  it('gets paths and datagrams too, and leaves no path behind', async () => {
    await withFolder(async (folder) => {
      const at = path.join(folder, 'x.sock');
      const file = path.join(folder, 'release');
      writeFileSync(file, 'one');
      const port = await freePort();
      const runOptions = [
        '--listen',
        `unix:${at}`,
        '--listen',
        `udp:127.0.0.1:${port}`,
        '--probation',
        '100ms',
      ];
      await withService({ command: [PYTHON, SERVER, file], runOptions }, async (service) => {
        assert.ok(statSync(at).isSocket());
        const clients = new Clients({ socketPath: at });
        writeFileSync(file, 'two');
        await service.restart('--wait', 'confirmed');
        await service.alone();
        await clients.stop();
        assert.deepEqual(clients.failures, []);
        const socket = createSocket('udp4');
        socket.send('hello', port, '127.0.0.1');
        const [answer] = (await once(socket, 'message')) as [Buffer];
        socket.close();
        assert.match(answer.toString(), /two hello/);
      });
      assert.ok(!existsSync(at), 'the path is removed');
    });
  });

  it('cannot be told what only a service that knows moult understands', async () => {
    await withFolder(async (folder) => {
      const { service, code } = await failing(['--listen', '0', '--max-error-rate', '5%'], folder);
      assert.equal(code, 2);
      assert.match(service, /--max-error-rate is for services that use moult/);
    });
  });
});

describe('--listen', () => {
  it('says which address is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    await withFolder(async (folder) => {
      const { service } = await failing(['--listen', `127.0.0.1:${port}`], folder);
      assert.match(service, new RegExp(`tcp://127.0.0.1:${port} could not be opened: EADDRINUSE`));
    });
    taken.close();
  });

  it('opens the socket of a Node service before that runs, which claims it by its listen()', async () => {
    const port = await freePort();
    const runOptions = ['--listen', `127.0.0.1:${port}`, '--probation', '100ms'];
    const command = [fixture('http.mjs')];
    await withService(
      { command, runOptions, env: { PORT: String(port), HOST: '127.0.0.1' } },
      async (service) => {
        const clients = new Clients({ port });
        await service.restart('--wait', 'confirmed');
        await clients.stop();
        assert.deepEqual(clients.failures, []);
        assert.equal((await service.current()).listeners?.length, 1);
      },
    );
  });
});

async function failing(
  runOptions: readonly string[],
  folder: string,
): Promise<{ service: string; code: unknown }> {
  const { Supervised: S } = await import('./supervised.js');
  const service = await S.start({ command: [PYTHON, '-c', ''], runOptions, waits: false, cwd: folder });
  try {
    const code = await service.ended;
    return { service: service.output, code };
  } finally {
    await service.kill();
  }
}
