import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { ask } from '#moult/cli/services/control.js';
import type { RunFolder } from '#moult/supervisor/journal/run-folder.js';
import type { ServiceStatus } from '#moult/supervisor/status.js';
import type { Load, LoadReport } from '#moult/verify/load.js';
import { freePort } from '../support/free-ports.js';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import { RawClient } from './raw-client.js';
import {
  fixture,
  pointAt,
  processesWith,
  root,
  Supervised,
  type SupervisedOptions,
  until,
  withFolder,
} from './supervised.js';

const SOURCE = pathToFileURL(path.join(root, 'test/fixtures/faults/release.mjs')).href;
const { Bench: FaultBench } = (await import(
  pathToFileURL(path.join(root, 'test/fixtures/faults/cell.mjs')).href
)) as {
  Bench: new (
    options: object,
  ) => {
    readonly faults: string;
    readonly runFolder: RunFolder;
    run(): Promise<void>;
    status(): Promise<ServiceStatus>;
    alone(): Promise<{ generation: number }>;
    clear(): Promise<void>;
  };
};

type Kind =
  | 'good'
  | 'throws'
  | 'exits'
  | 'hangs'
  | 'answers-500'
  | 'fails-later'
  | 'errors'
  | 'closes'
  | 'chatty';

interface Bench {
  readonly service: Supervised;
  readonly options: SupervisedOptions;
  readonly load: Load;
  /** Puts a release of this kind behind the path of the service. */
  deploy(kind: Kind): Promise<void>;
}

/** A service whose release is what a link points at, under a small load of kept-alive and new connections. */
async function underLoad(
  runOptions: readonly string[],
  test: (bench: Bench) => Promise<void>,
  first: Kind = 'good',
): Promise<void> {
  await withFolder(async (folder) => {
    const link = path.join(folder, 'current.mjs');
    const deploy = async (kind: Kind) => {
      const file = path.join(folder, `${kind}.mjs`);
      await writeFile(file, `globalThis.KIND = '${kind}';\nawait import('${SOURCE}');\n`);
      await pointAt(link, file);
    };
    await deploy(first);
    const env = { PORT: String(await freePort()), VICTIMS: folder };
    const options = { command: [link], runOptions, env };
    const service = await Supervised.start(options);
    let load: Load | undefined;
    try {
      load = startLoad({
        target: { host: '127.0.0.1', port: Number(env.PORT) },
        check: 'echo',
        clients: { 'kept-alive': 8, 'new-connection': 2 },
        thinkMs: 20 * PACE,
        requestTimeoutMs: 25_000,
        connectTimeoutMs: 25_000,
      });
      await goesOn(load);
      await test({ service, options, load, deploy });
    } catch (error) {
      if (error instanceof Error) error.message += `\nthe output was:\n${service.output.slice(-4000)}`;
      throw error;
    } finally {
      await load?.stop(0);
      await service.kill();
    }
  });
}

async function goesOn(load: Load, by = 40): Promise<void> {
  const { answered } = load.snapshot().total;
  await until('the load goes on', () => load.snapshot().total.answered > answered + by);
}

/** Fails when a connection was refused; the report. */
async function nothingRefused(load: Load): Promise<LoadReport> {
  const report = await load.stop();
  for (const reason of ['refused', 'connect-failed', 'connect-timeout'])
    assert.equal(report.total.reasons[reason] ?? 0, 0, JSON.stringify(report.total.reasons));
  assert.equal(report.total.duplicated, 0);
  return report;
}

async function nothingFailed(load: Load): Promise<void> {
  const report = await nothingRefused(load);
  const { failed, lost } = report.total;
  assert.deepEqual({ failed, lost }, { failed: 0, lost: 0 }, JSON.stringify(report.failures.slice(0, 5)));
}

/** Waits until this process alone is left of the generations, and answers. */
async function serves({ service, load }: Pick<Bench, 'service' | 'load'>, pid: number): Promise<void> {
  await until('it serves alone', async () => (await service.alone()) === pid);
  const of = () => load.snapshot().total.generations[String(pid)] ?? 0;
  const before = of();
  await until('it answers', () => of() > before + 20);
}

describe('a check before commit', () => {
  it('that fails keeps the predecessor, and no client reaches the new code', async () => {
    await underLoad(
      ['--check', '/healthz', '--check-retries', '1', '--check-interval', '50ms'],
      async (bench) => {
        const { service, load, deploy } = bench;
        const first = await service.current();
        await deploy('answers-500');
        const error = await service.failingRestart();
        assert.equal(error.code, 'MOULT_CHECK_FAILED');
        assert.equal(error.serving, 'predecessor');
        assert.match(error.message, /500/);
        await serves(bench, first.pid);
        await nothingFailed(load);
        assert.doesNotMatch(service.output, /CLIENT REACHED answers-500/);
        await deploy('good');
        await service.restart();
      },
    );
  });

  it('over TCP takes a server that keeps the connection, and refuses one that closes it', async () => {
    await underLoad(['--check', 'tcp', '--check-retries', '0'], async ({ service, load, deploy }) => {
      await service.restart();
      const second = await service.current();
      await deploy('closes');
      assert.equal((await service.failingRestart()).code, 'MOULT_CHECK_FAILED');
      assert.equal((await service.current()).pid, second.pid);
      await nothingFailed(load);
    });
  });

  it('by a command is told the socket of the successor, and its exit status decides', async () => {
    const ask = `node -e 'require("http").get({socketPath:process.env.MOULT_CHECK_SOCKET,path:"/"},(r)=>process.exit(r.statusCode===200?0:4))'`;
    await underLoad(['--check', `exec:${ask}`, '--check-retries', '0'], async ({ service, load, deploy }) => {
      await service.restart();
      await deploy('answers-500');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_CHECK_FAILED');
      assert.match(error.message, /expected exit status 0, received 4/);
      await nothingFailed(load);
    });
  });
});

describe('probation', () => {
  const options = ['--probation', '15s', '--drain-timeout', '10s'];

  it('is ended by a successor that exits: the predecessor serves again, and nothing is refused', async () => {
    await underLoad(options, async (bench) => {
      const { service, load, deploy } = bench;
      const first = await service.current();
      await deploy('exits');
      const error = await service.failingRestart('--wait=confirmed');
      assert.equal(error.serving, 'predecessor');
      await serves(bench, first.pid);
      const { total } = await nothingRefused(load);
      assert.ok(total.failed + total.lost <= 10, 'at most one request of each client was in it');
    });
  });

  for (const how of ['busy loop', 'SIGSTOP'] as const) {
    it(`is ended by a successor that hangs (${how})`, async () => {
      await underLoad([...options, '--hang-timeout', '2s'], async (bench) => {
        const { service, load, deploy } = bench;
        const first = await service.current();
        if (how === 'busy loop') await deploy('hangs');
        const restart = service.failingRestart('--wait=confirmed');
        if (how === 'SIGSTOP') {
          const stopped = await until('the successor serves', async () => {
            const { generations } = await service.status();
            return generations.find(({ pid, state }) => pid !== first.pid && state === 'serving')?.pid;
          });
          process.kill(stopped, 'SIGSTOP');
        }
        const error = await restart;
        // Whoever notices first: who asks it for its state, or who connects as a client.
        assert.match(error.code, /^(MOULT_PROBATION_FAILED|MOULT_NOT_REACHED)$/);
        await serves(bench, first.pid);
        await nothingRefused(load);
      });
    });
  }

  it('is ended by a check that fails later; connections go back, and no request fails', async () => {
    await underLoad([...options, '--check', '/healthz', '--check-retries', '0'], async (bench) => {
      const { service, load, deploy } = bench;
      const first = await service.current();
      await deploy('fails-later');
      const error = await service.failingRestart('--wait=confirmed');
      assert.equal(error.code, 'MOULT_CHECK_FAILED');
      await serves(bench, first.pid);
      const { toldToClose } = load.snapshot().kinds['kept-alive'];
      assert.equal(toldToClose, 0, 'kept-alive connections moved, and were not closed');
      await nothingFailed(load);
    });
  });

  it('is ended by a share of errors above the limit', async () => {
    await underLoad([...options, '--max-error-rate', '20%'], async (bench) => {
      const { service, load, deploy } = bench;
      const first = await service.current();
      await deploy('errors');
      const error = await service.failingRestart('--wait=confirmed');
      assert.equal(error.code, 'MOULT_PROBATION_FAILED');
      assert.match(error.message, /5xx/);
      await serves(bench, first.pid);
      const { total } = await nothingRefused(load);
      assert.equal(total.failed, total.reasons['status-5xx'], JSON.stringify(total.reasons));
      assert.equal(total.lost, 0);
    });
  });

  it('ends well where nothing happens, and --wait=confirmed tells so', async () => {
    await underLoad(['--probation', '500ms'], async ({ service, load }) => {
      const { generation } = await service.restart('--wait=confirmed');
      const { stdout } = await service.moult('history', service.name, '--json');
      const [restart] = JSON.parse(stdout) as { generation: number; result: string }[];
      assert.deepEqual([restart?.generation, restart?.result], [generation, 'confirmed']);
      await nothingFailed(load);
    });
  });

  it('is ended by the next restart: the operator has decided', async () => {
    await underLoad(['--probation', '1h', '--drain-timeout', '10s'], async (bench) => {
      await bench.service.restart();
      const third = await bench.service.restart();
      assert.deepEqual(await results(bench.service), ['confirmed', 'took over']);
      await until('the first has ended', async () => (await bench.service.status()).generations.length === 2);
      assert.equal((await bench.service.current()).generation, third.generation);
      await nothingFailed(bench.load);
    });
  });
});

describe('moult rollback', () => {
  it('within probation gives the service back at once, with its connections', async () => {
    await underLoad(['--probation', '1h', '--drain-timeout', '10s'], async (bench) => {
      const { service, load } = bench;
      const first = await service.current();
      await service.restart();
      const { code, stdout } = await service.moult('rollback', service.name, '--json');
      assert.equal(code, 0, stdout);
      assert.match(stdout, /"how":"resumed"/);
      await serves(bench, first.pid);
      await nothingFailed(load);
    });
  });

  it('later starts the release before again, as it was', async () => {
    await underLoad(['--probation', '100ms', '--drain-timeout', '10s'], async (bench) => {
      const { service, load, deploy } = bench;
      await deploy('fails-later');
      await service.restart('--wait=confirmed');
      await deploy('throws');
      const { code, stdout } = await service.moult('rollback', service.name, '--json');
      assert.equal(code, 0, stdout);
      assert.match(stdout, /"how":"restarted"/);
      const pid = await service.alone();
      assert.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /good\.mjs/);
      await serves(bench, pid);
      await nothingFailed(load);
    });
  });

  it('says so where there is nothing to go back to', async () => {
    await underLoad([], async ({ service }) => {
      const { code, stderr, stdout } = await service.moult('rollback', service.name);
      assert.equal(code, 1);
      assert.match(stdout + stderr, /MOULT_NOTHING_TO_ROLL_BACK/);
    });
  });
});

describe('a predecessor that stands still', () => {
  it('while its successor hands back goes on with what it was told meanwhile, and ends nobody', async () => {
    const port = await freePort();
    const bench = new FaultBench({
      command: [fixture('shapes.mjs')],
      faults: true,
      env: { PORT: String(port) },
      runOptions: ['--probation', '1h', '--drain-timeout', '10s'],
    });
    try {
      await bench.run();
      await ask(bench.runFolder, {
        type: 'restart',
        wait: true,
        ifBusy: 'wait',
        allowFewerListeners: false,
        untilConfirmed: false,
        whenQuiet: null,
      });
      const [first, second] = (await bench.status()).generations;
      const download = await RawClient.connect({ host: '127.0.0.1', port });
      download.write('GET /download HTTP/1.1\r\nHost: test\r\n\r\n');
      await download.reads(/more/);
      const stop = { role: 1, hook: 'send', type: 'hand-back', does: 'stop', whom: 1 };
      await writeFile(path.join(bench.faults, 'fault.json'), JSON.stringify(stop));
      const rollback = ask(bench.runFolder, { type: 'rollback' });
      await until('it is stopped', () => existsSync(path.join(bench.faults, 'victims.json')));
      // For longer than a successor may take to hand back.
      await pause(2500);
      process.kill(first?.pid ?? -1, 'SIGCONT');
      assert.deepEqual(await rollback, { generation: 1, how: 'resumed' });
      process.kill(second?.pid ?? -1, 'SIGUSR2');
      await download.reads(/end\n/);
      download.close();
      assert.equal((await bench.alone()).generation, 1);
    } finally {
      await bench.clear();
    }
  });
});

describe('a restart is held back', () => {
  /** A service that streams until SIGUSR2, with one download under way. */
  async function downloading(
    runOptions: readonly string[],
    test: (service: Supervised, download: RawClient) => Promise<void>,
  ): Promise<void> {
    const env = { PORT: String(await freePort()) };
    const service = await Supervised.start({ command: [fixture('shapes.mjs')], runOptions, env });
    try {
      const download = await RawClient.connect(await service.target());
      download.write('GET /download HTTP/1.1\r\nHost: test\r\n\r\n');
      await download.reads(/more/);
      await test(service, download);
      download.close();
    } finally {
      await service.kill();
    }
  }

  it('while as many generations drain as may: it is refused, or waits', async () => {
    await downloading(['--probation', '50ms', '--max-draining', '1'], async (service, download) => {
      const first = await service.current();
      await service.restart('--wait=confirmed');
      const error = await service.failingRestart('--if-busy', 'refuse');
      assert.equal(error.code, 'MOULT_TOO_MANY_DRAINING');
      const waits = service.restart();
      await service.logs(/waits for one to end/);
      process.kill(first.pid, 'SIGUSR2');
      assert.equal((await waits).generation, 3);
      await download.reads(/end\n/);
    });
  });

  it('by too little memory', async () => {
    await downloading(['--min-free-memory', '100000G'], async (service) => {
      const first = await service.current();
      const error = await service.failingRestart('--if-busy', 'refuse');
      assert.equal(error.code, 'MOULT_LOW_MEMORY');
      assert.equal((await service.current()).pid, first.pid);
    });
  });

  it('until it is quiet; at the limit it gives up or goes, as asked', async () => {
    await downloading(['--probation', '50ms'], async (service, download) => {
      const first = await service.current();
      const within = ['--when-quiet', '--within', '300ms'];
      const error = await service.failingRestart(...within, '--at-limit', 'give-up');
      assert.equal(error.code, 'MOULT_NOT_QUIET');
      assert.equal((await service.current()).pid, first.pid);
      assert.equal((await service.restart(...within, '--at-limit', 'go')).generation, 2);
      process.kill(first.pid, 'SIGUSR2');
      await download.reads(/end\n/);
      const quiet = await service.restart('--when-quiet', '--within', '10s', '--at-limit', 'give-up');
      assert.equal(quiet.generation, 3);
    });
  });
});

/** How past restarts ended, oldest first. */
async function results(service: Supervised): Promise<string[]> {
  const { stdout } = await service.moult('history', service.name, '--json');
  return (JSON.parse(stdout) as { result: string }[]).map(({ result }) => result);
}

describe('the supervisor', () => {
  async function bothAreBack(again: Supervised): Promise<void> {
    await until('both are back', async () => {
      const { generations } = await again.status();
      return generations.length === 2 && generations.every(({ state }) => state !== 'silent');
    });
  }

  /** Kills the supervisor and runs another of the same name; what it adopted is left to the test. */
  async function killedAndRunAgain(
    { service, options }: Bench,
    test: (again: Supervised) => Promise<void>,
  ): Promise<void> {
    await service.killSupervisor();
    const again = await Supervised.start({ ...options, runtimeFolder: service.runtimeFolder });
    try {
      await test(again);
    } catch (error) {
      // Both: what the first had started holds the second's output, too.
      await Promise.all([service.kill(), again.kill()]);
      if (error instanceof Error)
        error.message += `\nthe second run's output was:\n${again.output.slice(-4000)}`;
      throw error;
    }
    await again.stop();
    assert.deepEqual(processesWith(service.mark), [], 'what the first run had started has ended');
  }

  it('can be killed under load: the next one adopts what lives, and nothing fails', async () => {
    await underLoad(['--probation', '200ms'], async (bench) => {
      const { service, load } = bench;
      await service.restart('--wait=confirmed');
      const serving = await service.alone();
      await killedAndRunAgain(bench, async (again) => {
        assert.equal(await again.alone(), serving);
        await goesOn(load);
        const { stdout } = await again.moult('history', again.name, '--json');
        assert.equal((JSON.parse(stdout) as unknown[]).length, 1, 'the journal survives a kill');
        await again.restart();
        await nothingFailed(load);
      });
    });
  });

  it('can be killed while a successor is in probation; a successor that then dies is replaced once', async () => {
    await underLoad(['--probation', '20s', '--drain-timeout', '10s'], async (bench) => {
      const { service, load } = bench;
      await service.restart();
      const second = await service.current();
      await killedAndRunAgain(bench, async (again) => {
        await bothAreBack(again);
        process.kill(second.pid, 'SIGKILL');
        const pid = await again.alone();
        await serves({ service: again, load }, pid);
        await nothingRefused(load);
      });
    });
  });

  it('that was killed in probation can still roll back, and has not confirmed', async () => {
    await underLoad(['--probation', '20s', '--drain-timeout', '10s'], async (bench) => {
      const { service, load } = bench;
      const first = await service.current();
      await service.restart();
      await killedAndRunAgain(bench, async (again) => {
        await bothAreBack(again);
        assert.deepEqual(await results(again), ['took over']);
        const { code, stdout, stderr } = await again.moult('rollback', again.name, '--json');
        assert.equal(code, 0, stdout + stderr);
        await serves({ service: again, load }, first.pid);
        assert.deepEqual(await results(again), ['undone']);
        await nothingFailed(load);
      });
    });
  });

  it('that was killed in probation does not come back to a release that never proved itself', async () => {
    await underLoad(['--probation', '20s', '--drain-timeout', '10s'], async (bench) => {
      const { service, load, deploy } = bench;
      const first = await service.current();
      await deploy('fails-later');
      await service.restart();
      const second = await service.current();
      await killedAndRunAgain(bench, async (again) => {
        await bothAreBack(again);
        process.kill(second.pid, 'SIGKILL');
        await serves({ service: again, load }, first.pid);
        process.kill(first.pid, 'SIGKILL');
        const third = await until('another serves', async () => {
          const { pid } = await again.current().catch(() => ({ pid: first.pid }));
          return pid === first.pid ? undefined : pid;
        });
        assert.match(readFileSync(`/proc/${third}/cmdline`, 'utf8'), /good\.mjs/);
        await nothingRefused(load);
      });
    });
  });

  it('that was killed in probation confirms when probation is over', async () => {
    await underLoad(['--probation', '4s', '--drain-timeout', '10s'], async (bench) => {
      await bench.service.restart();
      await killedAndRunAgain(bench, async (again) => {
        await until('it is confirmed', async () => (await results(again))[0] === 'confirmed');
        await again.alone();
        await nothingFailed(bench.load);
      });
    });
  });

  it('that was killed after a release had proved itself rolls back to the one before it', async () => {
    await underLoad(['--probation', '100ms', '--drain-timeout', '10s'], async (bench) => {
      const { service, load, deploy } = bench;
      await deploy('fails-later');
      await service.restart('--wait=confirmed');
      await service.alone();
      await killedAndRunAgain(bench, async (again) => {
        const { code, stdout, stderr } = await again.moult('rollback', again.name, '--json');
        assert.equal(code, 0, stdout + stderr);
        const pid = await again.alone();
        assert.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /good\.mjs/);
        await nothingFailed(load);
      });
    });
  });

  it('that was killed, with the one that served, starts it again beside what still drains', async () => {
    const env = { PORT: String(await freePort()) };
    const options = {
      command: [fixture('shapes.mjs')],
      runOptions: ['--probation', '50ms', '--drain-timeout', '60s'],
      env,
    };
    const service = await Supervised.start(options);
    try {
      const download = await RawClient.connect(await service.target());
      download.write('GET /download HTTP/1.1\r\nHost: test\r\n\r\n');
      await download.reads(/more/);
      const first = await service.current();
      await service.restart('--wait=confirmed');
      const second = await service.current();
      const gone = new Promise((resolve) => service.process.once('exit', resolve));
      process.kill(service.pid, 'SIGKILL');
      process.kill(second.pid, 'SIGKILL');
      await gone;
      const again = await Supervised.start({ ...options, runtimeFolder: service.runtimeFolder });
      try {
        assert.notEqual((await again.current()).pid, second.pid);
        process.kill(first.pid, 'SIGUSR2');
        await download.reads(/end\n/);
        download.close();
        await again.stop();
      } finally {
        await again.kill();
      }
    } finally {
      await service.kill();
    }
  });

  it('can be killed while the service says a lot; the service is neither broken nor blocked', async () => {
    await underLoad(
      ['--probation', '20s', '--drain-timeout', '10s'],
      async (bench) => {
        const { service, load } = bench;
        await service.restart();
        const second = await service.current();
        await killedAndRunAgain(bench, async (again) => {
          await goesOn(load, 100);
          await again.writes(new RegExp(`${second.pid} says`));
          assert.equal((await again.current()).pid, second.pid);
          await nothingFailed(load);
        });
      },
      'chatty',
    );
  });

  it('is upgraded in place under load: same process, nothing fails, no zombie', async () => {
    await underLoad(['--probation', '200ms'], async (bench) => {
      const { service, load } = bench;
      const before = await service.status();
      const { code, stdout, stderr } = await service.moult('upgrade', service.name, '--json');
      assert.equal(code, 0, stdout + stderr);
      const after = await service.status();
      assert.equal(after.pid, before.pid);
      assert.notEqual(after.startedAt, before.startedAt);
      assert.equal(await service.alone(), before.generations[0]?.pid);
      await service.logs(/generation 1 is adopted/);
      await service.restart('--wait=confirmed');
      await service.alone();
      await until('no zombie is left', () => zombiesOf(service.pid).length === 0);
      await nothingFailed(load);
      await service.stop();
    });
  });
});

describe('a crash', () => {
  it('runs the release that proved itself, not the one that was undone', async () => {
    await underLoad(['--probation', '15s'], async (bench) => {
      const { service, load, deploy } = bench;
      const first = await service.current();
      await deploy('exits');
      await service.failingRestart('--wait=confirmed');
      await serves(bench, first.pid);
      process.kill(first.pid, 'SIGKILL');
      const pid = await until('another serves', async () => {
        const { generations, state } = await service.status();
        return state === 'serving' && generations[0]?.pid !== first.pid && generations[0]?.pid;
      });
      assert.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /good\.mjs/);
      const { stdout } = await service.moult('history', service.name, '--json');
      assert.match(stdout, /"result":"(undone|failed)"/);
      await nothingRefused(load);
    });
  });
});

function zombiesOf(parent: number): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return state === 'Z' && Number(ppid) === parent;
    } catch {
      return false;
    }
  });
}
