import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { eventOf } from '../support/events.js';
import { freeDatagramPort } from '../support/free-ports.js';
import { PACE } from '../support/pace.js';
import { DatagramStream, type StreamReport } from './datagram-stream.js';
import {
  fixture,
  processesWith,
  root,
  runNode,
  Supervised,
  type SupervisedOptions,
  until,
  withFolder,
  withService,
} from './supervised.js';

interface Bench {
  readonly service: Supervised;
  readonly stream: DatagramStream;
  readonly options: SupervisedOptions;
}

/** Runs the service under a stream of datagrams; what came of the stream is left to the test. */
async function underStream(
  env: Record<string, string>,
  runOptions: readonly string[],
  test: (bench: Bench) => Promise<void>,
  {
    perSecond = 1000 / PACE,
    isKilled = false,
    command = [fixture('udp.cjs')],
    binds = undefined,
  }: { perSecond?: number; isKilled?: boolean; command?: readonly string[]; binds?: RegExp | undefined } = {},
): Promise<void> {
  const port = await freeDatagramPort();
  const options = { command, env: { UDP_PORT: String(port), ...env }, runOptions };
  await (isKilled ? withDoomed : withService)(options, async (service) => {
    if (binds !== undefined) await service.writes(binds);
    const stream = await DatagramStream.start(port, perSecond);
    try {
      await goesOn(stream);
      await test({ service, stream, options });
    } finally {
      await stream.stop();
    }
  });
}

/** As {@link withService}, of a service whose supervisor does not live to its end. */
async function withDoomed(
  options: SupervisedOptions,
  test: (service: Supervised) => Promise<void>,
): Promise<void> {
  const service = await Supervised.start(options);
  try {
    await test(service);
  } finally {
    await service.kill();
  }
}

/** Waits until a process answers, or whichever it is. */
async function goesOn(stream: DatagramStream, pid?: number): Promise<void> {
  const enough = stream.answered(pid) + 200 / PACE;
  await until('the stream goes on', () => stream.answered(pid) >= enough);
}

/** Fails unless all were answered exactly once, but for those that the kernel had no room for. */
function allAnswered({ sent, lost, twice, dropped }: StreamReport, mayBeLost = 0): void {
  assert.deepEqual(twice, [], 'none was answered twice');
  assert.ok(
    lost.length <= dropped + mayBeLost,
    `${lost.length} of ${sent} were lost, the kernel dropped ${dropped}: ${lost.slice(0, 20)}`,
  );
}

describe('a datagram socket', () => {
  it('changes hands at every restart, and no datagram is lost or answered twice', async () => {
    await underStream({}, ['--probation', '50ms'], async ({ service, stream }) => {
      for (let restart = 1; restart <= 6; restart += 1) {
        const { listeners } = await service.restart('--wait=confirmed');
        assert.equal(listeners, 1);
        const { pid } = await service.current();
        await goesOn(stream, pid);
        assert.equal(stream.lastBy, pid, 'exactly one receives');
      }
      const report = await stream.stop();
      assert.equal(report.by.size, 7);
      allAnswered(report);
    });
  });

  it('is listed by moult status, and counted beside one that accepts connections', async () => {
    await underStream({ PORT: '0' }, ['--probation', '50ms'], async ({ service, stream }) => {
      assert.equal((await service.restart('--wait=confirmed')).listeners, 2);
      const { listeners = [] } = await service.current();
      assert.deepEqual(listeners.map(({ address }) => address.transport).sort(), ['udp', undefined]);
      const { stdout } = await service.moult('status', service.name);
      assert.match(stdout, /127\.0\.0\.1:\d+\/udp/);
      allAnswered(await stream.stop());
    });
  });

  it('is answered on by a predecessor whose answers take long, although it receives no more', async () => {
    await underStream({ ANSWER_AFTER_MS: '700' }, ['--probation', '0ms'], async ({ service, stream }) => {
      for (let restart = 1; restart <= 2; restart += 1) {
        await service.restart('--wait=confirmed');
        await goesOn(stream, (await service.current()).pid);
      }
      const report = await stream.stop();
      assert.equal(report.by.size, 3);
      allAnswered(report);
    });
  });

  it('goes back to the predecessor when the restart is undone in probation', async () => {
    await underStream({}, ['--probation', '1h'], async ({ service, stream }) => {
      const first = (await service.current()).pid;
      await service.restart();
      await goesOn(stream, (await service.current()).pid);
      const { code, stdout } = await service.moult('rollback', service.name, '--json');
      assert.equal(code, 0, stdout);
      await goesOn(stream, first);
      assert.equal(await service.alone(), first);
      await goesOn(stream, first);
      allAnswered(await stream.stop());
    });
  });

  it('goes back to the predecessor when the successor is killed in probation', async () => {
    await underStream({}, ['--probation', '1h'], async ({ service, stream }) => {
      const first = (await service.current()).pid;
      await service.restart();
      const second = (await service.current()).pid;
      await goesOn(stream, second);
      process.kill(second, 'SIGKILL');
      await goesOn(stream, first);
      // The one that the killed process had received and was answering.
      allAnswered(await stream.stop(), 1);
    });
  });

  it('keeps what comes during a crash, and the next generation receives it', async () => {
    await underStream(
      {},
      [],
      async ({ service, stream }) => {
        process.kill((await service.current()).pid, 'SIGKILL');
        await service.logs(/generation 2 serves/);
        await goesOn(stream, (await service.current()).pid);
        allAnswered(await stream.stop(), 1);
      },
      { perSecond: 200 },
    );
  });

  it('stays open over an upgrade of the supervisor', async () => {
    await underStream({}, ['--probation', '50ms'], async ({ service, stream }) => {
      await service.restart('--wait=confirmed');
      const { code, stderr } = await service.moult('upgrade', service.name);
      assert.equal(code, 0, stderr);
      await goesOn(stream);
      await service.restart('--wait=confirmed');
      await goesOn(stream, (await service.current()).pid);
      const report = await stream.stop();
      assert.equal(report.by.size, 3);
      allAnswered(report);
    });
  });

  it('stays with the service when the supervisor is killed, and with the next supervisor', async () => {
    await underStream(
      {},
      ['--probation', '50ms'],
      async ({ service, stream, options }) => {
        await service.restart('--wait=confirmed');
        const serving = await service.alone();
        await service.killSupervisor();
        await goesOn(stream, serving);
        const again = await Supervised.start({ ...options, runtimeFolder: service.runtimeFolder });
        try {
          assert.equal(await again.alone(), serving);
          await again.restart('--wait=confirmed');
          process.kill((await again.current()).pid, 'SIGKILL');
          await again.logs(/generation \d+ .*; clients wait/);
          const last = await until('another serves', async () => {
            const { generations } = await again.status();
            const one = generations.find(({ state }) => state === 'serving');
            return one !== undefined && stream.answered(one.pid) > 0 && one.pid;
          });
          await goesOn(stream, last);
          allAnswered(await stream.stop(), 1);
        } finally {
          await again.stop();
        }
        assert.deepEqual(processesWith(service.mark), []);
      },
      { isKilled: true },
    );
  });
});

describe('a datagram socket of', () => {
  const places: Record<string, Record<string, string>> = {
    'workers of node:cluster that share it': { WHERE: 'cluster' },
    'workers of node:cluster whose primary opens nothing itself': { WHERE: 'cluster', ALONE: '1' },
    'a worker of node:cluster that has it for itself': { WHERE: 'exclusive' },
    'a worker thread': { WHERE: 'thread' },
  };
  const command = [fixture('udp-elsewhere.cjs')];
  for (const [place, env] of Object.entries(places)) {
    it(`${place} changes hands, and is there again after a crash`, async () => {
      await underStream(
        env,
        ['--probation', '50ms', '--ready-timeout', '30s'],
        async ({ service, stream }) => {
          for (let restart = 1; restart <= 2; restart += 1) {
            const { listeners } = await service.restart('--wait=confirmed');
            assert.equal(listeners, env.ALONE ? 1 : 2);
            await service.alone();
            await goesOn(stream);
          }
          // Its workers end with it.
          const { pid } = await service.current();
          process.kill(pid, 'SIGKILL');
          await service.logs(/generation 4 serves/);
          await goesOn(stream);
          await service.restart('--wait=confirmed');
          await service.alone();
          await goesOn(stream);
          // What those that were killed had received and were answering.
          allAnswered(await stream.stop(), 2);
          assert.doesNotMatch(service.output, /does not see|cannot hand that over/);
        },
        { command, perSecond: 200, binds: /BOUND/ },
      );
    });

    it(`${place} goes back to the predecessor after a broken release, and after an undo`, async () => {
      await underStream(
        env,
        ['--probation', '1h'],
        async ({ service, stream }) => {
          const first = (await service.current()).pid;
          await service.restart();
          await goesOn(stream);
          const { code, stdout } = await service.moult('rollback', service.name, '--json');
          assert.equal(code, 0, stdout);
          assert.equal(await service.alone(), first);
          await goesOn(stream);
          await service.restart();
          process.kill((await service.current()).pid, 'SIGKILL');
          assert.equal(await service.alone(), first);
          await goesOn(stream);
          allAnswered(await stream.stop(), 2);
        },
        { command, perSecond: 200, binds: /BOUND/ },
      );
    });
  }

  for (const where of ['cluster', 'exclusive'])
    it(`workers of node:cluster that end in probation (${where}) fails the restart, and the predecessor receives again`, async () => {
      await withFolder(async (folder) => {
        const dies = path.join(folder, 'dies');
        const env = { WHERE: where, DIES: dies };
        await underStream(
          env,
          ['--probation', '3s'],
          async ({ service, stream }) => {
            const { pid } = await service.current();
            await writeFile(dies, '');
            const { code, stderr } = await service.moult('restart', service.name, '--wait=confirmed');
            assert.equal(code, 1, stderr);
            assert.match(stderr, /MOULT_NOT_REACHED|MOULT_SUCCESSOR/);
            assert.doesNotMatch(stderr, /has closed udp/);
            assert.equal(await service.alone(), pid);
            await goesOn(stream);
          },
          { command, perSecond: 50, binds: /BOUND/ },
        );
      });
    });

  it('workers of node:cluster that came in place of others is theirs, with what was sent meanwhile', async () => {
    await underStream(
      { WHERE: 'cluster', AGAIN: '1' },
      ['--probation', '50ms'],
      async ({ service, stream }) => {
        const workers = () =>
          processesWith(service.mark)
            .map(({ pid }) => pid)
            .filter((pid) => stream.answered(pid) > 0);
        await until('both answer, or one', () => workers().length > 0);
        for (const pid of workers()) process.kill(pid, 'SIGKILL');
        await goesOn(stream);
        await service.restart('--wait=confirmed');
        await service.alone();
        await goesOn(stream);
        allAnswered(await stream.stop(), 2);
      },
      { command, perSecond: 200, binds: /BOUND/ },
    );
  });
});

describe('a datagram socket that is no listener', () => {
  it('is left to its generation: what clients send from', async () => {
    const far = createSocket('udp4');
    const asked: { word: string; port: number }[] = [];
    far.on('message', (message, { port }) => asked.push({ word: String(message), port }));
    far.bind(0, '127.0.0.1');
    await eventOf(far, 'listening');
    try {
      const env = { CLIENTS: String(far.address().port) };
      await underStream(env, ['--probation', '1h'], async ({ service, stream }) => {
        const first = (await service.current()).pid;
        await until('the clients of the first ask', () => asked.length === 3);
        assert.equal((await service.restart()).listeners, 1);
        await until('the clients of the second ask', () => asked.length === 6);
        for (const { word, port } of asked.slice(0, 3)) far.send(`to ${word}`, port, '127.0.0.1');
        for (const word of ['implicit', 'picked', 'connected']) {
          await service.writes(new RegExp(`ANSWERED ${first} to ${word}`));
        }
        allAnswered(await stream.stop());
      });
    } finally {
      far.close();
    }
  });

  it('costs nothing: moult is not loaded for it', async () => {
    const script = `
      const before = Object.keys(require.cache);
      const socket = require('node:dgram').createSocket('udp4');
      socket.bind({ address: '127.0.0.1' }, () => {
        socket.close();
        console.log(JSON.stringify([before, Object.keys(require.cache)]));
      });`;
    const preload = path.join(root, 'dist/service/preload.cjs');
    const env = { ...process.env, MOULT_SUPERVISOR: '/nowhere', MOULT_GENERATION: '1' };
    const { stdout } = await runNode(['--require', preload, '-e', script], env);
    const [before, after] = JSON.parse(stdout) as [string[], string[]];
    assert.ok(before.includes(preload));
    assert.deepEqual(after, before);
  });
});

describe('flows of datagrams', () => {
  /** Sessions of thirty datagrams, two hundred a second over ten flows. */
  async function underFlows(
    runOptions: readonly string[],
    test: (bench: Bench) => Promise<void>,
  ): Promise<StreamReport> {
    const port = await freeDatagramPort();
    const options = { command: [fixture('udp-flows.mjs')], env: { UDP_PORT: String(port) }, runOptions };
    let report: StreamReport | undefined;
    await withService(options, async (service) => {
      const stream = await DatagramStream.start(port, 200, 10, 30);
      try {
        await goesOn(stream);
        await test({ service, stream, options });
      } finally {
        report = await stream.stop();
      }
    });
    assert.ok(report);
    allAnswered(report);
    assert.deepEqual(report.broken, [], 'each session was whole, and of one process');
    return report;
  }

  it('stay with the generation that has them, and it stays for them; new ones go to its successor', async () => {
    const { by } = await underFlows(['--probation', '50ms'], async ({ service, stream }) => {
      for (let restart = 1; restart <= 3; restart += 1) {
        await service.restart('--wait=confirmed');
        const { pid } = await service.current();
        await goesOn(stream, pid);
      }
      await service.alone();
    });
    assert.equal(by.size, 4);
  });

  it('are whole over restarts that do not wait for each other', async () => {
    const runOptions = ['--probation', '50ms', '--max-draining', '9'];
    const { by } = await underFlows(runOptions, async ({ service, stream }) => {
      await service.restart();
      await service.restart();
      // In the time of the second no session may have begun.
      const { pid } = await service.current();
      await until('the third has sessions', () => stream.answered(pid) > 0);
      await service.restart();
      await goesOn(stream, await service.alone());
    });
    assert.ok(by.size >= 3);
  });

  it('stay where they are when a handover is undone', async () => {
    await underFlows(['--probation', '1h'], async ({ service, stream }) => {
      const first = await service.current();
      await service.restart();
      const second = await until('the successor serves', async () =>
        (await service.status()).generations.find(
          ({ state, pid }) => state === 'serving' && pid !== first.pid,
        ),
      );
      await goesOn(stream, second.pid);
      const { code } = await service.moult('rollback', service.name);
      assert.equal(code, 0);
      assert.equal(await service.alone(), first.pid);
      await goesOn(stream, first.pid);
    });
  });

  it('that have not ended at the drain timeout are named, and go to who serves', async () => {
    const port = await freeDatagramPort();
    const env = { UDP_PORT: String(port), PER_SESSION: '1000000' };
    const runOptions = ['--probation', '50ms', '--drain-timeout', '1s'];
    await withService({ command: [fixture('udp-flows.mjs')], env, runOptions }, async (service) => {
      const stream = await DatagramStream.start(port, 200, 2);
      try {
        await goesOn(stream);
        const { cutConnections } = await service.restart('--wait=drained');
        assert.equal(cutConnections?.length, 2, JSON.stringify(cutConnections));
        for (const { peer, reason } of cutConnections ?? []) {
          assert.match(peer, /^127\.0\.0\.1:\d+$/);
          assert.match(reason, /flow of datagrams/);
        }
        const { pid } = await service.current();
        await goesOn(stream, pid);
      } finally {
        await stream.stop();
      }
    });
  });
});
