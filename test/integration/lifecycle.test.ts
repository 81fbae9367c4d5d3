import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { ask } from '#moult/cli/services/control.js';
import type { Target } from '#moult/verify/client/target.js';
import { freePort } from '../support/free-ports.js';
import { askOnce, RawClient } from './raw-client.js';
import { fixture, Supervised, until, withFolder, within, withService } from './supervised.js';

const short = ['--probation', '50ms'];

async function download(target: Target): Promise<RawClient> {
  const client = await RawClient.connect(target);
  client.write('GET /download HTTP/1.1\r\nHost: test\r\n\r\n');
  await client.reads(/more/);
  return client;
}

async function refuses(target: Target): Promise<boolean> {
  return askOnce(target).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
  );
}

/** Takes over a service that is to end by itself, or by what the test does: with what status? */
async function endsWith(service: Supervised): Promise<number | string> {
  try {
    const code = await within('moult run ends', service.ended);
    await service.assertNothingLeft();
    return code;
  } finally {
    await service.kill();
  }
}

describe('a successor that has claimed its listeners and is not ready', () => {
  for (const [when, runOptions] of [
    ['with --wait-ready', ['--wait-ready']],
    ["whose predecessor said process.send('ready')", []],
  ] as const) {
    it(`gets no connection (${when})`, async () => {
      await withFolder(async (folder) => {
        const READY_FILE = path.join(folder, 'ready');
        await writeFile(READY_FILE, '');
        const options = { command: [fixture('wait-ready.cjs')], runOptions, env: { READY_FILE } };
        await withService(options, async (service) => {
          const target = await service.target();
          const first = await service.current();
          await rm(READY_FILE);
          let isOver = false;
          const restart = service.restart().finally(() => {
            isOver = true;
          });
          const listening = () => [...service.output.matchAll(/(\d+) listens/g)].map((match) => match[1]);
          await until('the successor listens', () => listening().length > 1);
          for (let i = 0; i < 50; i += 1) assert.equal(await askOnce(target), String(first.pid));
          assert.equal(isOver, false);
          await writeFile(READY_FILE, '');
          await restart;
          assert.equal(await askOnce(target), String((await service.current()).pid));
          assert.equal(String((await service.current()).pid), listening()[1]);
        });
      });
    });
  }
});

describe('signals and commands to the supervisor', () => {
  it('SIGHUP restarts', async () => {
    await withService({ command: [fixture('http.mjs')] }, async (service) => {
      process.kill(service.pid, 'SIGHUP');
      await service.logs(/generation 2 took over from 1/);
      assert.equal(await askOnce(await service.target()), String((await service.current()).pid));
    });
  });

  for (const how of ['SIGTERM', 'SIGINT', 'moult stop'] as const) {
    it(`${how} finishes what is in flight, refuses what is new, and ends with 0`, async () => {
      const service = await Supervised.start({ command: [fixture('shapes.mjs')] });
      let code: number | string = 'never asked';
      try {
        const target = await service.target();
        const { pid } = await service.current();
        const client = await download(target);
        const stopped = how === 'moult stop' ? service.moult('stop', service.name) : undefined;
        if (how !== 'moult stop') process.kill(service.pid, how);
        await until('the port is refused', () => refuses(target));
        process.kill(pid, 'SIGUSR2');
        await client.reads(/end\n/);
        assert.equal(await client.ends(), 'end');
        const said = await stopped;
        if (said !== undefined) assert.deepEqual([said.code, said.stdout], [0, 'service has ended\n']);
      } finally {
        code = await endsWith(service);
      }
      assert.equal(code, 0);
      assert.match(service.stdout, /STOP SIGNAL \d+[\s\S]*ENDED/);
    });
  }

  it('SIGTERM while a restart waits for the first start starts nothing any more', async () => {
    const env = { START_MS: '60000' };
    const service = await Supervised.start({ command: [fixture('slow-start.cjs')], env, waits: false });
    await service.writes(/STARTING/);
    const restart = ask(service.folder, {
      type: 'restart',
      wait: true,
      ifBusy: 'wait',
      allowFewerListeners: false,
      untilConfirmed: false,
      whenQuiet: null,
    });
    const failure = assert.rejects(restart, { code: 'MOULT_STOPPING' });
    // Asked after it, and answered.
    await service.status();
    process.kill(service.pid, 'SIGTERM');
    assert.equal(await endsWith(service), 0);
    await failure;
    assert.equal(service.output.split('STARTING').length, 2);
  });

  it('a second SIGINT ends everything at once, says what it cuts, and the exit status tells of it', async () => {
    const service = await Supervised.start({ command: [fixture('shapes.mjs')] });
    try {
      const client = await download(await service.target());
      process.kill(service.pid, 'SIGINT');
      await service.logs(/stopping/);
      assert.equal(client.ending, undefined);
      process.kill(service.pid, 'SIGINT');
      await service.logs(
        /^stopping at once: generation 1 is killed with 1 requests in flight and 1 connections$/,
      );
      await client.ends();
    } finally {
      assert.equal(await endsWith(service), 1);
    }
  });
});

describe('a service that ends by itself', () => {
  for (const [script, code] of [
    ['broken/exits.mjs', 3],
    ['broken/throws.mjs', 1],
  ] as const) {
    it(`at its first start gives moult run its status (${code})`, async () => {
      const service = await Supervised.start({ command: [fixture(script)], waits: false });
      assert.equal(await endsWith(service), code);
    });
  }

  for (const [policy, asked, expected] of [
    ['on-failure', 0, 0],
    ['never', 3, 3],
    ['on-failure', 3, 'again'],
    ['always', 0, 'again'],
  ] as const) {
    const becomes = expected === 'again' ? 'is started again' : `ends moult run with ${expected}`;
    it(`with status ${asked} under --restart ${policy} ${becomes}`, async () => {
      const service = await Supervised.start({
        command: [fixture('exits-when-asked.cjs')],
        runOptions: ['--restart', policy],
      });
      let code: number | string = 'never';
      try {
        const client = await RawClient.connect(await service.target());
        client.write(`GET /exit/${asked} HTTP/1.1\r\nHost: test\r\n\r\n`);
        await client.ends();
        if (expected === 'again') {
          await service.logs(/generation 2 serves/);
          process.kill(service.pid, 'SIGTERM');
        }
      } finally {
        code = await endsWith(service);
      }
      assert.equal(code, expected === 'again' ? 0 : expected);
    });
  }
});

describe('the predecessor', () => {
  it('does not notice that it accepts no more before its stop signal', async () => {
    await withService(
      { command: [fixture('shapes.mjs')], runOptions: ['--probation', '3s'] },
      async (service) => {
        const first = await service.current();
        const { port } = await service.target();
        await service.restart();
        process.kill(first.pid, 'SIGURG');
        const [, seen = ''] = await service.writes(/^SEEN (.*)$/m);
        assert.deepEqual(JSON.parse(seen), {
          pid: first.pid,
          listening: true,
          address: { address: '127.0.0.1', family: 'IPv4', port },
        });
        assert.doesNotMatch(service.stdout, /SERVER CLOSED|STOP SIGNAL/);
        await service.alone();
        const lines = service.stdout
          .split('\n')
          .filter((line) => /SERVER CLOSED|STOP SIGNAL|ENDED/.test(line));
        assert.deepEqual(lines, [
          `STOP SIGNAL ${first.pid} {"listening":true}`,
          `SERVER CLOSED ${first.pid}`,
          `ENDED ${first.pid}`,
        ]);
      },
    );
  });

  it('goes on draining while the generation after it is replaced too', async () => {
    await withService({ command: [fixture('shapes.mjs')], runOptions: short }, async (service) => {
      const target = await service.target();
      const first = await service.current();
      const client = await download(target);
      await service.restart();
      await service.restart();
      const third = await service.current();
      assert.equal(third.generation, 3);
      assert.equal(await askOnce(target), String(third.pid));
      process.kill(first.pid, 'SIGUSR2');
      await client.reads(/end\n/);
      client.close();
      assert.equal(await service.alone(), third.pid);
    });
  });
});

describe('two restarts at once', () => {
  it('become one that follows, or are refused, as was asked', async () => {
    await withFolder(async (folder) => {
      const READY_FILE = path.join(folder, 'ready');
      await writeFile(READY_FILE, '');
      const options = {
        command: [fixture('wait-ready.cjs')],
        runOptions: [...short, '--wait-ready'],
        env: { READY_FILE },
      };
      await withService(options, async (service) => {
        await rm(READY_FILE);
        const restart = () =>
          ask(service.folder, {
            type: 'restart',
            wait: true,
            ifBusy: 'wait',
            allowFewerListeners: false,
            untilConfirmed: false,
            whenQuiet: null,
          });
        const all = [restart()];
        await until('it has begun', async () => (await service.status()).state === 'restarting');
        all.push(restart(), restart());
        const refused = await service.failingRestart('--if-busy', 'refuse');
        assert.equal(refused.code, 'MOULT_RESTART_IN_PROGRESS');
        assert.equal((await service.current()).generation, 1);
        await writeFile(READY_FILE, '');
        const generations = (await Promise.all(all)).map(({ generation }) => generation);
        assert.deepEqual(generations, [2, 3, 3]);
      });
    });
  });

  it('--no-wait returns before the successor serves', async () => {
    const env = { START_MS: '1500' };
    await withService({ command: [fixture('slow-start.cjs')], env, runOptions: short }, async (service) => {
      const { code, lines } = await service.restartLines('--no-wait');
      assert.equal(code, 0);
      assert.deepEqual(lines.at(-1), { type: 'result', ok: true, started: true });
      assert.equal((await service.current()).generation, 1);
      await service.logs(/generation 2 took over/);
    });
  });
});

describe('a release with other listeners', () => {
  it('fewer: is refused with a clear word, and taken when asked, and the old port is refused then', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'env');
      const listens = (...forms: string[]) => writeFile(file, `FORMS='${JSON.stringify(forms)}'\n`);
      await listens('port and host', 'ipv6Only');
      const runOptions = [...short, '--ready-timeout', '5s', '--env-file', file];
      await withService({ command: [fixture('listens.cjs')], runOptions }, async (service) => {
        const before = await service.current();
        const address = before.listeners?.find(({ name }) => name.includes('ipv6only'))?.address;
        const dropped = { host: '::1', port: Number(address?.port) };
        await listens('port and host');
        const error = await service.failingRestart();
        assert.equal(error.code, 'MOULT_READY_TIMEOUT');
        assert.equal(error.serving, 'predecessor');
        assert.match(`${error.message} ${error.remedy}`, /has not listened on tcp:\/\/\[::\]:0\?ipv6only/);
        assert.equal(await askOnce(dropped), String(before.pid));
        await service.restart('--allow-fewer-listeners');
        await service.alone();
        await until('the old port is refused', () => refuses(dropped));
        assert.equal(await askOnce(await service.target()), String((await service.current()).pid));
      });
    });
  });

  it('more: the new one does not accept before commit', async () => {
    await withFolder(async (folder) => {
      const [file, go] = [path.join(folder, 'env'), path.join(folder, 'go')];
      await writeFile(file, '');
      const runOptions = [...short, '--env-file', file];
      await withService({ command: [fixture('adds.cjs')], runOptions }, async (service) => {
        const first = await service.current();
        await writeFile(file, `ADDED_PORT=0\nGO_FILE=${go}\n`);
        const restart = service.restart();
        restart.catch(() => {});
        const [, port] = await service.writes(/ADDED (\d+)/);
        const added = { host: '127.0.0.2', port: Number(port) };
        await assert.rejects(askOnce(added), { code: 'ECONNREFUSED' });
        await writeFile(go, '');
        await restart;
        const second = await service.current();
        assert.notEqual(second.pid, first.pid);
        assert.equal(await askOnce(added), String(second.pid));
        await service.restart();
        assert.equal(await askOnce(added), String((await service.current()).pid));
      });
    });
  });

  for (const how of ['is undone', 'is killed in probation']) {
    it(`more: when the successor ${how}, the new one is closed, and the next one may open it`, async () => {
      await withFolder(async (folder) => {
        const [file, go] = [path.join(folder, 'env'), path.join(folder, 'go')];
        await writeFile(file, '');
        await writeFile(go, '');
        const added = { host: '127.0.0.2', port: await freePort() };
        const runOptions = ['--probation', '1h', '--env-file', file];
        await withService({ command: [fixture('adds.cjs')], runOptions }, async (service) => {
          const target = await service.target();
          const first = await service.current();
          await writeFile(file, `ADDED_PORT=${added.port}\nGO_FILE=${go}\n`);
          await service.restart();
          const second = await service.current();
          assert.equal(await askOnce(added), String(second.pid));
          if (how === 'is undone') await service.moult('rollback', service.name);
          else process.kill(second.pid, 'SIGKILL');
          assert.equal(await service.alone(), first.pid);
          assert.equal(await askOnce(target), String(first.pid));
          await until('the new one is closed', () => refuses(added));
          await service.restart();
          assert.equal(await askOnce(added), String((await service.current()).pid));
        });
      });
    });
  }

  it('more: one that somebody else has fails with that reason, and the predecessor serves', async () => {
    const somebody = net.createServer().listen(0, '127.0.0.2');
    await new Promise((resolve) => somebody.once('listening', resolve));
    const { port } = somebody.address() as net.AddressInfo;
    try {
      await withFolder(async (folder) => {
        const file = path.join(folder, 'env');
        await writeFile(file, '');
        const runOptions = [...short, '--env-file', file];
        await withService({ command: [fixture('adds.cjs')], runOptions }, async (service) => {
          const target = await service.target();
          const first = await service.current();
          await writeFile(file, `ADDED_PORT=${port}\nGO_FILE=/dev/null\n`);
          const error = await service.failingRestart();
          assert.equal(error.code, 'MOULT_SUCCESSOR_EXITED');
          assert.match(String(error.details?.output), /EADDRINUSE/);
          assert.equal(await askOnce(target), String(first.pid));
        });
      });
    } finally {
      await new Promise((resolve) => somebody.close(resolve));
    }
  });
});
