import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { Clients, fetchOnce } from './clients.js';
import { PYTHON, SERVER, skip } from './python-program.js';
import {
  fixture,
  processesWith,
  Supervised,
  type SupervisedOptions,
  until,
  withFolder,
} from './supervised.js';

const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

/** Runs a service, kills its supervisor when it was met, and runs the next one of the same name. */
async function killedAndRunAgain(
  options: SupervisedOptions,
  before: (service: Supervised) => Promise<void>,
  after: (again: Supervised) => Promise<void>,
): Promise<void> {
  const service = await Supervised.start(options);
  try {
    await before(service);
    await service.killSupervisor();
    const again = await Supervised.start({ ...options, runtimeFolder: service.runtimeFolder });
    try {
      await after(again);
    } catch (error) {
      // Both: what the first had started holds the second's output, too.
      await Promise.all([service.kill(), again.kill()]);
      if (error instanceof Error) error.message += `\nthe second run's output was:\n${again.output}`;
      throw error;
    }
    await again.stop();
    await until('what the first had started has ended', () => processesWith(service.mark).length === 0);
  } finally {
    await service.kill();
  }
}

describe('a program whose supervisor is killed', { skip }, () => {
  it('is taken over by the next one with its socket, and nobody is refused from the one to the other', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'release');
      writeFileSync(file, 'one');
      const port = await freePort();
      const runOptions = ['--listen', `http=127.0.0.1:${port}`, '--probation', '100ms'];
      let clients!: Clients;
      let pid = 0;
      await killedAndRunAgain(
        { command: [PYTHON, SERVER, file], runOptions },
        async (service) => {
          clients = new Clients({ port }, { pauseMs: 15 });
          // The one that is left has another socket than the first had.
          writeFileSync(file, 'two');
          await service.restart('--wait', 'confirmed');
          pid = await service.alone();
        },
        async (again) => {
          assert.equal(await again.alone(), pid);
          writeFileSync(file, 'three');
          await again.restart('--wait', 'confirmed');
          const third = await again.alone();
          assert.match(await fetchOnce({ port, path: '/' }), new RegExp(`^${third} three`));
          process.kill(third, 'SIGKILL');
          await again.logs(/generation 4 serves/);
          await clients.stop();
          // What was in the middle of a request, or of its answer, when it was killed is lost, and no other.
          const others = clients.failures.filter((why) => !/ECONNRESET|EPIPE|hang up|aborted/.test(why));
          assert.deepEqual(others, []);
          assert.ok(clients.failures.length <= 4, clients.failures.join());
        },
      );
    });
  });

  it('in its probation is taken over, and the one before it comes to its end', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'release');
      writeFileSync(file, 'one');
      const port = await freePort();
      const runOptions = ['--listen', `127.0.0.1:${port}`, '--probation', '60s'];
      let clients!: Clients;
      let second = 0;
      await killedAndRunAgain(
        { command: [PYTHON, SERVER, file], runOptions },
        async (service) => {
          clients = new Clients({ port }, { pauseMs: 15 });
          writeFileSync(file, 'two');
          await service.restart();
          second = (await service.current()).pid;
        },
        async (again) => {
          assert.equal(await again.alone(), second);
          writeFileSync(file, 'three');
          await again.restart();
          assert.match(await fetchOnce({ port, path: '/' }), /three/);
          await clients.stop();
          assert.deepEqual(clients.failures, []);
        },
      );
    });
  });

  it('before commit is taken over, and its successor, which no client has met, comes to its end', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'release');
      const port = await freePort();
      const runOptions = ['--listen', `127.0.0.1:${port}`, '--wait-ready', '--ready-timeout', '60s'];
      let clients!: Clients;
      let first = 0;
      writeFileSync(file, 'one says-ready');
      await killedAndRunAgain(
        { command: [PYTHON, SERVER, file], runOptions },
        async (service) => {
          clients = new Clients({ port }, { pauseMs: 15 });
          first = (await service.current()).pid;
          writeFileSync(file, 'two');
          void service.restartLines();
          await until('the successor runs', async () => (await service.status()).generations.length === 2);
          await until('it has become the program', () => {
            const programs = processesWith(service.mark).filter(({ command }) => command.startsWith(PYTHON));
            return programs.length === 2;
          });
        },
        async (again) => {
          assert.equal(await again.alone(), first);
          await clients.stop();
          assert.deepEqual(clients.failures, []);
          assert.deepEqual([...clients.bodies.keys()], [`${first} one\n`]);
        },
      );
    });
  });

  it('is taken over with those before it that still drain, which get no more clients and no second stop signal', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'release');
      const port = await freePort();
      const runOptions = ['--listen', `127.0.0.1:${port}`, '--probation', '0', '--drain-timeout', '60s'];
      const draining: number[] = [];
      let first!: Supervised;
      let clients!: Clients;
      writeFileSync(file, 'one slow-stop');
      await killedAndRunAgain(
        { command: [PYTHON, SERVER, file], runOptions },
        async (service) => {
          first = service;
          for (const name of ['two slow-stop', 'three']) {
            const { pid } = await service.current();
            draining.push(pid);
            writeFileSync(file, name);
            await service.restart('--wait', 'confirmed');
            await service.writes(new RegExp(`${pid} is told to stop`));
          }
        },
        async (again) => {
          clients = new Clients({ port }, { pauseMs: 15 });
          const { generations } = await again.status();
          assert.equal(generations.length, 3);
          writeFileSync(file, 'four');
          await again.restart('--wait', 'confirmed');
          await until('the fourth answers', () =>
            [...clients.bodies.keys()].some((body) => /four/.test(body)),
          );
          await clients.stop();
          assert.deepEqual(clients.failures, []);
          assert.deepEqual(
            [...clients.bodies.keys()].map((body) => body.replace(/\d+ (\w+)\n/, '$1')),
            ['three', 'four'],
          );
          for (const pid of draining) process.kill(pid, 'SIGKILL');
          await again.alone();
          const told = `${first.output}${again.output}`;
          for (const pid of draining) assert.equal(told.split(`${pid} is told to stop`).length, 2, told);
          assert.match(await fetchOnce({ port, path: '/' }), /four/);
        },
      );
    });
  });

  it('serves on where it may not be looked into, and the next one says which process that is', {
    skip: isRoot ? false : 'needs root',
  }, async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'release');
      writeFileSync(file, 'one undumpable');
      const runtimeFolder = path.join(folder, 'run');
      mkdirSync(runtimeFolder);
      chmodSync(folder, 0o755);
      chownSync(runtimeFolder, NOBODY, NOBODY);
      const port = await freePort();
      const options = {
        command: [PYTHON, SERVER, file],
        runOptions: ['--listen', `127.0.0.1:${port}`],
        runtimeFolder,
        cwd: folder,
        user: { uid: NOBODY, gid: NOBODY },
      };
      const service = await Supervised.start(options);
      try {
        const { pid } = await service.current();
        await service.killSupervisor();
        const again = await Supervised.start({ ...options, waits: false });
        await again.ended;
        assert.match(
          again.output,
          new RegExp(`taken back from process ${pid} of generation 1.*EACCES.*MOULT_LISTEN_FAILED`),
        );
        assert.match(await fetchOnce({ port, path: '/' }), /one/);
      } finally {
        await service.kill();
      }
    });
  });

  it('is taken over with paths and datagrams too', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'release');
      const at = path.join(folder, 'x.sock');
      writeFileSync(file, 'one');
      const port = await freePort();
      const runOptions = ['--listen', `unix:${at}`, '--listen', `udp:127.0.0.1:${port}`, '--probation', '0'];
      const clients: Clients[] = [];
      await killedAndRunAgain(
        { command: [PYTHON, SERVER, file], runOptions },
        async () => {
          clients.push(new Clients({ socketPath: at }));
        },
        async (again) => {
          writeFileSync(file, 'two');
          await again.restart('--wait', 'drained');
          for (const one of clients) await one.stop();
          assert.deepEqual(
            clients.flatMap(({ failures }) => failures),
            [],
          );
          const socket = createSocket('udp4');
          socket.send('hello', port, '127.0.0.1');
          const [answer] = (await once(socket, 'message')) as [Buffer];
          socket.close();
          assert.match(answer.toString(), /two hello/);
        },
      );
      assert.ok(!existsSync(at), 'the path is removed');
    });
  });
});

/** Whether a process has a socket that listens at this port of 127.0.0.1. Source: proc(5), /proc/net/tcp. */
function listensAt(pid: number, port: number): boolean {
  const address = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const inodes = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local === address && state === '0A')
    .map((fields) => `socket:[${fields[9]}]`);
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return inodes.includes(readlinkSync(`/proc/${pid}/fd/${fd}`));
    } catch {
      return false;
    }
  });
}

describe('a Node service with --listen whose supervisor is killed', () => {
  for (const claims of [true, false]) {
    it(`is taken over with its socket${claims ? '' : ', also one that it has not claimed'}`, async () => {
      const port = await freePort();
      const other = await freePort();
      const options = {
        command: [fixture('http.mjs')],
        runOptions: ['--listen', `127.0.0.1:${claims ? port : other}`, '--probation', '100ms'],
        env: { PORT: String(port), HOST: '127.0.0.1' },
      };
      let clients!: Clients;
      let pid = 0;
      await killedAndRunAgain(
        options,
        async (service) => {
          clients = new Clients({ port }, { pauseMs: 15 });
          pid = (await service.current()).pid;
        },
        async (again) => {
          assert.equal((await again.current()).pid, pid);
          // At once, and not when the generation that has it has ended.
          assert.ok(listensAt(again.pid, claims ? port : other), 'its supervisor has it');
          await again.restart('--wait', 'confirmed');
          await clients.stop();
          assert.deepEqual(clients.failures, []);
          assert.equal((await again.current()).listeners?.length, 1);
        },
      );
    });
  }
});
