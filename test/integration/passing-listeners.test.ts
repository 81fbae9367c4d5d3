import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Target } from '#moult/verify/client/target.js';
import { freePort } from '../support/free-ports.js';
import { PACE } from '../support/pace.js';
import { RawClient } from './raw-client.js';
import { fixture, until, withFolder, withService } from './supervised.js';

const host = '127.0.0.1';
const runOptions = ['--probation', '100ms', '--drain-timeout', '5s'];

/** The answer of the service, as JSON. @throws where it is refused or reset */
async function asks(target: Target, where = '/'): Promise<{ pid: number; port: number }> {
  const client = await RawClient.connect(target);
  const { body } = await client.get(where, 'Connection: close\r\n');
  client.close();
  return JSON.parse(body?.toString() ?? '{}') as { pid: number; port: number };
}

/** What comes on a connection, until it ends. */
async function reads(port: number): Promise<{ pid: number }> {
  const socket = net.connect(port, host);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(socket, 'close');
  return JSON.parse(text) as { pid: number };
}

describe('a service that looks whether its port is taken', () => {
  for (const PROBE of [
    'the same address',
    'the same address, later',
    'the same address, for a while',
    'every address',
    'exclusive',
    'connecting',
    'connecting by name',
    'a request',
    'a datagram socket',
    'any port',
  ]) {
    it(`keeps it through a restart and a crash: by ${PROBE}`, async () => {
      const env = { PROBE, PORT: String(await freePort()), WAIT: '300' };
      await withService({ command: [fixture('probes.cjs')], env, runOptions }, async (service) => {
        const target = await until('it listens', async () => {
          const { listeners = [] } = await service.current();
          const [address] = listeners.flatMap((one) => ('port' in one.address ? [one.address.port] : []));
          return address !== undefined && { host, port: Number(address) };
        });
        if (PROBE !== 'any port') assert.equal(target.port, Number(env.PORT));
        const failures: string[] = [];
        let isOver = false;
        const asking = (async () => {
          while (!isOver) {
            await asks(target).catch((error: NodeJS.ErrnoException) => failures.push(String(error)));
            await pause(PACE);
          }
        })();
        const { generation } = await service.restart();
        await service.alone();
        isOver = true;
        await asking;
        assert.deepEqual(failures, []);
        const second = await service.current();
        assert.equal(second.generation, generation);
        process.kill(second.pid, 'SIGKILL');
        assert.notEqual((await asks(target)).pid, second.pid);
      });
    });
  }

  it('is refused early, by name, where it listens in a form in which it cannot', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'env');
      const port = await freePort();
      const listens = (form: string) => writeFile(file, `PORT=${port}\nHOST=${form}\n`);
      await listens(host);
      const options = {
        command: [fixture('transfers.cjs')],
        runOptions: [...runOptions, '--env-file', file],
      };
      await withService(options, async (service) => {
        const { pid } = await asks({ host, port });
        await listens('0.0.0.0');
        const error = await service.failingRestart();
        assert.equal(error.code, 'MOULT_OTHER_ADDRESS');
        assert.match(error.message, new RegExp(`0\\.0\\.0\\.0:${port}, .* tcp://127\\.0\\.0\\.1:${port}`));
        assert.equal((await asks({ host, port })).pid, pid);
      });
    });
  });
});

/** Listens as its arguments say, and ends. */
const CHECK = `
  const net = require('node:net');
  const [how, place] = process.argv.slice(2);
  const fail = (error) => { console.log('CHECK', error.code); process.exit(1); };
  if (how === 'udp') {
    const socket = require('node:dgram').createSocket('udp4').on('error', fail);
    socket.bind(Number(place), () => socket.close());
  } else if (how === 'twice') {
    const again = () => net.createServer().on('error', fail).listen(Number(place), '${host}', function () { this.close(); });
    net.createServer().on('error', fail).listen(0, function () { this.close(() => setTimeout(again, 50)); });
  } else {
    const where = { port: Number(place), ...(how === 'host' ? { host: '${host}' } : {}) };
    net.createServer().on('error', fail).listen(where, function () { this.close(); });
  }`;

describe('a process that listens for a moment and ends, below a wrapper that starts the service next', () => {
  const check = (how: string, place: string | number) => `node check.cjs ${how} ${place}`;
  const wrappers: Readonly<Record<string, (port: number) => string>> = {
    'a script of npm that comes before': (port) => check('host', port),
    'a check of every address': (port) => check('all', port),
    'three checks, one by a datagram socket, and one that listens twice': (port) =>
      `${check('udp', port)} && ${check('host', 0)} && ${check('twice', port)}`,
  };
  for (const [what, commandOf] of Object.entries(wrappers)) {
    it(`is not the service: ${what}`, async () => {
      await withFolder(async (folder) => {
        const port = await freePort();
        const [before, start] = [commandOf(port), `node ${fixture('transfers.cjs')}`];
        const scripts = { prestart: before, start };
        await writeFile(path.join(folder, 'check.cjs'), CHECK);
        await writeFile(path.join(folder, 'package.json'), JSON.stringify({ name: 'x', scripts }));
        const command = what.includes('npm')
          ? ['npm', 'start', '--silent']
          : ['sh', '-c', `${before} && exec ${start}`];
        const options = { command, cwd: folder, env: { PORT: String(port) }, runOptions };
        await withService(options, async (service) => {
          const target = { host, port };
          const first = await asks(target);
          assert.equal((await service.current()).pid, first.pid);
          await service.restart('--wait', 'confirmed');
          const second = await asks(target);
          assert.notEqual(second.pid, first.pid);
          await service.alone();
          process.kill(second.pid, 'SIGKILL');
          const third = await asks(target);
          assert.notEqual(third.pid, second.pid);
          await until('it is known who serves', async () => (await service.current()).pid === third.pid);
          // A check that fails is the end of that release, at once.
          await writeFile(path.join(folder, 'check.cjs'), `${CHECK} setImmediate(() => process.exit(3));`);
          assert.equal((await service.failingRestart()).code, 'MOULT_SUCCESSOR_EXITED');
          assert.equal((await asks(target)).pid, third.pid);
        });
      });
    });
  }
});

describe('a port that is opened for a moment', () => {
  it('stays with the generation that opened it, keeps no restart waiting, and gives its data', async () => {
    const port = await freePort();
    const env = { PORT: String(port) };
    await withService({ command: [fixture('transfers.cjs')], env, runOptions }, async (service) => {
      const target = { host, port };
      const first = await asks(target);
      const { port: transfer } = await asks(target, '/transfer/0');
      await service.restart('--wait', 'confirmed');
      const second = await asks(target);
      assert.notEqual(second.pid, first.pid);
      const { port: other } = await asks(target, '/transfer/0');
      assert.notEqual(other, transfer);
      // The older generation has nothing else left, and waits for whoever asked for this.
      assert.deepEqual(await reads(transfer), first);
      await service.alone();
      assert.deepEqual(await reads(other), second);
    });
  });

  it('is closed at the deadline of the drain where nobody comes, and at a stop', async () => {
    const port = await freePort();
    const env = { PORT: String(port) };
    const options = [...runOptions.slice(0, 2), '--drain-timeout', '1s'];
    await withService({ command: [fixture('transfers.cjs')], env, runOptions: options }, async (service) => {
      const target = { host, port };
      const { port: transfer } = await asks(target, '/transfer/0');
      await service.restart();
      await service.alone();
      await assert.rejects(once(net.connect(transfer, host), 'connect'), { code: 'ECONNREFUSED' });
      await asks(target, '/transfer/0');
    });
  });

  it('is told of where it has a number of its own and no new release could open it in time', async () => {
    const port = await freePort();
    const options = {
      command: [fixture('transfers.cjs')],
      env: { PORT: String(port) },
      runOptions: [...runOptions, '--ready-timeout', '1s'],
    };
    await withService(options, async (service) => {
      const isTold = (line: string) => /has opened tcp:\S+ \d+ s after its start/.test(line);
      const told = () => service.log().find(isTold);
      // Until its process is older than that nothing is known of such a port.
      const line = await until('it is told', async () => {
        await asks({ host, port }, `/transfer/${await freePort()}`);
        return told();
      });
      assert.match(line, /A restart waits .* 1 s \(--ready-timeout\), and then fails: .*listen\(0\)/);
      for (let n = 0; n < 5; n += 1) await asks({ host, port }, `/transfer/${await freePort()}`);
      assert.equal((await service.failingRestart()).code, 'MOULT_READY_TIMEOUT');
      // A service that opens one for each client does not fill the log.
      assert.equal(service.log().filter(isTold).length, 3);
    });
  });

  it('is waited for where it has a number of its own, until its service has closed it', async () => {
    const [port, transfer] = [await freePort(), await freePort()];
    const env = { PORT: String(port) };
    await withService({ command: [fixture('transfers.cjs')], env, runOptions }, async (service) => {
      const target = { host, port };
      const first = await asks(target);
      await asks(target, `/transfer/${transfer}`);
      const restart = service.restart();
      await until('the successor waits', async () => {
        const { generations } = await service.status();
        return generations.some(({ state, generation }) => generation === 1 && state === 'inheriting');
      });
      assert.deepEqual(await reads(transfer), first);
      await restart;
      assert.notEqual((await asks(target)).pid, first.pid);
    });
  });
});
