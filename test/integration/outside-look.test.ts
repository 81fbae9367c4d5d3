import assert from 'node:assert/strict';
import { rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { eventOf } from '../support/events.js';
import { freePort } from '../support/free-ports.js';
import { PACE } from '../support/pace.js';
import { askOnce } from './raw-client.js';
import { pointAt, type Supervised, until, withFolder, withService } from './supervised.js';

/** Listens on two ports and a path, and does what `then` says of its servers when it has begun to serve. */
const release = (then: string) => `
  const http = require('node:http');
  const answer = (q, r) => r.end(JSON.stringify({ generation: String(process.pid) }));
  const counted = (server) => server.on('connection', () => console.log('MET A CLIENT'));
  const [first, second, third] = [0, 1, 2].map(() => counted(http.createServer(answer)));
  const { A, B, SOCK } = process.env;
  first.listen(A, '127.0.0.1');
  second.listen(B, '::');
  third.listen(SOCK);
  const whenServing = (work) => {
    const look = setInterval(() => {
      if (!process.env.WAIT || require('node:fs').existsSync(process.env.WAIT)) { clearInterval(look); work(); }
    }, 5);
  };
  ${then}`;

interface Scene {
  readonly service: Supervised;
  /** Of the releases: 1.cjs is the first one. */
  readonly folder: string;
  readonly ports: readonly [number, number];
  readonly socket: string;
  deploy(then: string): Promise<void>;
  /** From now on what the release does when it serves is done. */
  go(): Promise<void>;
}

async function withRelease(probation: string, test: (scene: Scene) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const link = path.join(folder, 'current.cjs');
    const ports = [await freePort(), await freePort()] as const;
    const socket = path.join(folder, 'app.sock');
    const WAIT = path.join(folder, 'go');
    let n = 0;
    const deploy = async (then: string) => {
      n += 1;
      await writeFile(path.join(folder, `${n}.cjs`), release(then));
      await pointAt(link, path.join(folder, `${n}.cjs`));
    };
    await deploy('');
    const env = { A: String(ports[0]), B: String(ports[1]), SOCK: socket, WAIT };
    const times = ['--drain-timeout', '2s', '--stop-timeout', '2s', '--hang-timeout', '2s'];
    const options = { command: [link], env, runOptions: ['--probation', probation, ...times] };
    const go = () => writeFile(WAIT, '');
    await withService(options, (service) => test({ service, folder, ports, socket, deploy, go }));
  });
}

describe('the look from outside', () => {
  it('finds every listener at commit and at the end of probation, and its connections never reach the service', async () => {
    await withRelease('300ms', async ({ service, ports, socket }) => {
      const { code, lines } = await service.restartLines('--wait=confirmed');
      assert.equal(code, 0);
      const events = lines as { stage?: string; facts?: Record<string, unknown> }[];
      const looks = events.filter(({ stage }) => stage === 'look');
      assert.deepEqual(
        looks.map(({ facts }) => facts?.looked),
        [3],
      );
      assert.ok(events.some(({ stage }) => stage === 'verify'));
      assert.doesNotMatch(service.output, /MET A CLIENT/);
      const pid = String((await service.current()).pid);
      for (const target of [...ports.map((port) => ({ host: '127.0.0.1', port })), { socketPath: socket }])
        assert.equal(await askOnce(target), pid);
      assert.match(service.output, /MET A CLIENT/);
    });
  });

  for (const [what, then, name] of [
    ['a port', 'second.close();', /tcp:\/\/\*|tcp:\/\/\[::\]/],
    ['a path', 'third.close();', /unix:/],
    [
      'a port, and opens another',
      "first.close(); first.listen(0, '127.0.0.1');",
      /127\.0\.0\.1:0@\d+ instead/,
    ],
  ] as const) {
    it(`undoes a release before confirm that closes ${what}, and says which and since when`, async () => {
      await withRelease('3s', async ({ service, ports, socket, deploy, go }) => {
        const before = String((await service.current()).pid);
        await deploy(`whenServing(() => { ${then} });`);
        const failing = service.failingRestart('--wait=confirmed');
        const whoAnswers = () => askOnce({ host: '127.0.0.1', port: ports[0] });
        await until('it has taken over', async () => (await whoAnswers()) !== before);
        await go();
        const error = await failing;
        assert.equal(error.code, 'MOULT_NOT_REACHED');
        assert.match(error.message, /has closed .*, \d+\.\d s ago/);
        assert.match(error.message, name);
        assert.equal(error.serving, 'predecessor');
        for (const target of [...ports.map((port) => ({ host: '127.0.0.1', port })), { socketPath: socket }])
          assert.equal(await askOnce(target), before);
      });
    });
  }

  it('fails a release that closes a port before confirm also where nobody served before it', async () => {
    await withRelease('2s', async ({ service, folder, ports, deploy, go }) => {
      await deploy('whenServing(() => second.close());');
      await rm(path.join(folder, '1.cjs'));
      process.kill((await service.current()).pid, 'SIGKILL');
      await service.logs(/the last good release cannot start: .*1\.cjs was removed/);
      const failing = service.failingRestart('--wait=confirmed');
      await service.logs(/generation 2 serves 3 listeners/);
      await go();
      const error = await failing;
      assert.deepEqual([error.code, error.serving], ['MOULT_NOT_REACHED', 'none']);
      assert.match(error.message, new RegExp(`has closed tcp://.*:${ports[1]}, \\d+\\.\\d s ago`));
    });
  });

  it('undoes a restart when something else took the path, and says what and since when', async () => {
    await withRelease('5s', async ({ service, socket }) => {
      const failing = service.failingRestart('--wait=confirmed');
      await until('it has taken over', async () => (await service.status()).restarts === 1);
      const other = createServer().listen(`${socket}.other`);
      await eventOf(other, 'listening');
      await rename(`${socket}.other`, socket);
      const error = await failing;
      assert.equal(error.code, 'MOULT_NOT_REACHED');
      assert.match(error.message, /something else is at .*app\.sock, \d+\.\d s ago/);
      await new Promise((resolve) => other.close(resolve));
    });
  });

  it('does not say of a first start that it serves before clients find it', async () => {
    await withFolder(async (folder) => {
      const socket = path.join(folder, 'app.sock');
      const other = createServer().listen(`${socket}.other`);
      await eventOf(other, 'listening');
      const script = path.join(folder, 'taken.cjs');
      // Something else takes its path in the moment in which it listens.
      const taken = `require('node:child_process').spawnSync('mv', [process.env.SOCK + '.other', process.env.SOCK])`;
      await writeFile(
        script,
        `require('node:http').createServer((q, r) => r.end('here')).listen(process.env.SOCK, () => ${taken});`,
      );
      await withService({ command: [script], env: { SOCK: socket }, waits: false }, async (service) => {
        await service.logs(/clients do not reach generation 1: .*something else is at .*app\.sock/);
        assert.doesNotMatch(service.output, /generation 1 serves/);
        const { state, generations } = await service.status();
        assert.deepEqual([state, generations[0]?.state], ['verifying', 'verifying']);
        assert.match(String(generations[0]?.notReached), /something else is at/);
        // Closed, it takes the path with it, which is put back then.
        await rm(socket);
        await service.logs(/generation 1 serves 1 listener/);
        await new Promise((resolve) => other.close(resolve));
      });
    });
  });

  it('looks at the listener of a service that says it is ready in the turn in which it listens', async () => {
    await withFolder(async (folder) => {
      const env = { PORT: String(await freePort()), PID_FILE: path.join(folder, 'app.pid') };
      const command = [fileURLToPath(new URL('../../../examples/http.mjs', import.meta.url))];
      await withService({ command, env, runOptions: [], waits: false }, async (service) => {
        await service.logs(/generation 1 serves .*\(process/);
        assert.match(service.output, /generation 1 serves 1 listener/);
      });
    });
  });

  it('tells of a path that was taken when a crashed service is back', async () => {
    await withRelease('300ms', async ({ service, socket }) => {
      const { pid } = await service.current();
      const other = createServer().listen(`${socket}.other`);
      await eventOf(other, 'listening');
      process.kill(pid, 'SIGSTOP');
      await rename(`${socket}.other`, socket);
      process.kill(pid, 'SIGKILL');
      await until(
        'it is told',
        () => service.output.includes('EADDRINUSE') || service.output.includes('something else is at'),
      );
      await new Promise((resolve) => other.close(resolve));
      await until(
        'it is found again',
        async () => (await askOnce({ socketPath: socket }).catch(() => '')) !== '',
      );
    });
  });

  it('does not take a client of the same machine for its own', async () => {
    await withRelease('300ms', async ({ service, ports }) => {
      const asking = new AbortController();
      let answered = 0;
      const clients = Array.from({ length: 4 }, async () => {
        while (!asking.signal.aborted) {
          await askOnce({ host: '127.0.0.1', port: ports[0] });
          answered += 1;
          await pause(PACE);
        }
      });
      let moved = 0;
      for (let restart = 0; restart < 3; restart += 1)
        moved += (await service.restart('--wait=drained')).moved;
      asking.abort();
      await Promise.all(clients);
      // Each client is met once, and by the successor once more if it moved; what they print takes its time.
      const met = () => service.output.match(/MET A CLIENT/g)?.length ?? 0;
      await until('all is printed', () => met() >= answered + moved);
      assert.equal(met(), answered + moved, `${answered} answered, ${moved} moved`);
      const socket = connect(ports[0], '127.0.0.1');
      await eventOf(socket, 'connect');
      socket.destroy();
    });
  });
});
