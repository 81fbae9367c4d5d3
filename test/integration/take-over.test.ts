import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { Load, LoadReport } from '#moult/verify/load.js';
import { freePort } from '../support/free-ports.js';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import { processesWith, root, Supervised, type SupervisedOptions, until } from './supervised.js';

const SOURCE = pathToFileURL(path.join(root, 'test/fixtures/faults/release.mjs')).href;

type Kind = 'good' | 'throws' | 'late' | 'never' | 'answers-500' | 'fails-later';

/** Supervisors that know nothing of each other, in one run folder, under a load of kept-alive clients. */
class Street {
  readonly folder: string;
  readonly port: number;
  readonly all: Supervised[] = [];
  #load: Load | undefined;

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.port = port;
  }

  static async with(test: (street: Street) => Promise<void>): Promise<void> {
    const folder = await mkdtemp(path.join(tmpdir(), 'moult-it-'));
    const street = new Street(folder, await freePort());
    try {
      await test(street);
      await street.#tidy();
    } catch (error) {
      const output = street.all.map((one, i) => `-- ${i + 1} --\n${one.output.slice(-3000)}`).join('\n');
      if (error instanceof Error) error.message += `\nthe output was:\n${output}`;
      throw error;
    } finally {
      await street.#load?.stop(0);
      for (const one of street.all) await one.kill();
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Starts one more. @param kind of its release. */
  async run(kind: Kind, options: Partial<SupervisedOptions> = {}): Promise<Supervised> {
    const file = path.join(this.folder, `${kind}.mjs`);
    const before = {
      late: 'await new Promise((go) => setTimeout(go, 1500));',
      never: 'await new Promise(() => setInterval(() => {}, 1000));',
    };
    const what = `globalThis.KIND = '${kind}';\nawait import('${SOURCE}');\n`;
    await writeFile(file, kind in before ? `${before[kind as 'late']}\n${what}` : what);
    const { runOptions = [], env = {}, ...others } = options;
    const one = await Supervised.start({
      command: [file],
      runtimeFolder: path.join(this.folder, 'run'),
      ...others,
      runOptions: ['--drain-timeout', '5s', '--stop-timeout', '3s', '--log', 'debug', ...runOptions],
      env: { PORT: String(this.port), VICTIMS: this.folder, ...env },
      waits: false,
    });
    this.all.push(one);
    if (options.waits !== false) await one.logs(/generation \d+ serves/);
    return one;
  }

  /** Starts one that takes over. */
  takeOver(kind: Kind, options: Partial<SupervisedOptions> = {}): Promise<Supervised> {
    const runOptions = ['--take-over', this.runFolder, ...(options.runOptions ?? [])];
    return this.run(kind, { ...options, runOptions });
  }

  get runFolder(): string {
    return path.join(this.folder, 'run/moult/service');
  }

  async load(): Promise<void> {
    this.#load = startLoad({
      target: { host: '127.0.0.1', port: this.port },
      check: 'echo',
      clients: { 'kept-alive': 20, 'new-connection': 2 },
      thinkMs: 20 * PACE,
      requestTimeoutMs: 25_000,
      connectTimeoutMs: 25_000,
    });
    await this.goesOn();
  }

  async goesOn(): Promise<void> {
    const answered = () => this.#load?.snapshot().total.answered ?? 0;
    const before = answered();
    await until('the load goes on', () => answered() > before + 50);
  }

  /** Waits until this supervisor's generation alone answers. */
  async servedBy(one: Supervised): Promise<void> {
    // Between the end of the old supervisor and the new one's socket commands find nobody for a moment.
    await until('commands find it', () => one.status().catch(() => false as const));
    const pid = await one.alone();
    const of = () => ({ ...(this.#load?.snapshot().total.generations ?? {}) }) as Record<string, number>;
    await this.goesOn();
    const before = of();
    await until('it answers', () => (of()[pid] ?? 0) > (before[pid] ?? 0) + 40);
    const after = of();
    for (const [other, n] of Object.entries(after))
      if (other !== String(pid)) assert.ok(n <= (before[other] ?? 0) + 2, `process ${other} answers as well`);
  }

  async report(): Promise<LoadReport> {
    assert.ok(this.#load, 'there is a load');
    const report = await this.#load.stop();
    for (const reason of ['refused', 'connect-failed', 'connect-timeout'])
      assert.equal(report.total.reasons[reason] ?? 0, 0, JSON.stringify(report.total.reasons));
    assert.equal(report.total.duplicated, 0);
    return report;
  }

  /** Fails when anything was lost. */
  async nothingLost(): Promise<void> {
    const { failures, total } = await this.report();
    const { failed, lost } = total;
    assert.deepEqual({ failed, lost }, { failed: 0, lost: 0 }, JSON.stringify(failures.slice(0, 5)));
  }

  /** Waits until this supervisor has ended, whatever of it lives on; its exit status. */
  async ends({ process: it }: Supervised): Promise<number | string> {
    await until('it ends', () => it.exitCode !== null || it.signalCode !== null);
    return it.exitCode ?? it.signalCode ?? 'unknown';
  }

  /** Nothing may be left of those that have ended, and of the others nothing after a stop. */
  async #tidy(): Promise<void> {
    for (const one of this.all.toReversed()) {
      if (!one.isOver) one.process.kill('SIGTERM');
      await this.ends(one);
      await until('every process has ended', () => processesWith(one.mark).length === 0);
    }
    const left = path.join(this.folder, 'run/moult');
    assert.deepEqual(existsSync(left) ? readdirSync(left) : [], [], 'the run folder is gone');
  }
}

const quick = ['--probation', '1s'];

describe('a supervisor that takes over from another one', () => {
  it('of the same name has the service, the name and every connection then', async () => {
    await Street.with(async (street) => {
      let serving = await street.run('good', { runOptions: quick });
      await street.load();
      for (let round = 0; round < 3; round += 1) {
        const before = serving;
        serving = await street.takeOver('good', { runOptions: quick });
        assert.equal(await street.ends(before), 0);
        await until('commands find it', async () => {
          const status = await serving.status().catch(() => undefined);
          return status?.pid === serving.pid;
        });
        await street.servedBy(serving);
      }
      await serving.restart();
      await street.servedBy(serving);
      await street.nothingLost();
      assert.match((await serving.moult('history', 'service')).stdout, /5/, 'its numbers go on');
    });
  });

  it('of another name leaves nothing of the old one', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      const second = await street.takeOver('good', { name: 'next', runOptions: quick });
      assert.equal(await street.ends(first), 0);
      await street.servedBy(second);
      await street.nothingLost();
      assert.deepEqual(readdirSync(path.dirname(street.runFolder)), ['next']);
    });
  });

  it('checks its release before it commits', async () => {
    await Street.with(async (street) => {
      const check = [...quick, '--check', '/healthz', '--check-retries', '0'];
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      const bad = await street.takeOver('answers-500', { runOptions: check, waits: false });
      assert.equal(await street.ends(bad), 1);
      assert.match(bad.stderr, /MOULT_CHECK_FAILED/);
      await street.servedBy(first);
      const second = await street.takeOver('good', { runOptions: check });
      assert.equal(await street.ends(first), 0);
      await street.servedBy(second);
      await street.nothingLost();
    });
  });

  it('begins as the first where nobody is', async () => {
    await Street.with(async (street) => {
      const first = await street.takeOver('good');
      await street.load();
      await street.servedBy(first);
      await street.nothingLost();
    });
  });

  it('is found and adopted like any other when it is killed later', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      const second = await street.takeOver('good', { runOptions: quick });
      assert.equal(await street.ends(first), 0);
      const pid = await second.alone();
      second.process.kill('SIGKILL');
      await street.ends(second);
      const third = await street.takeOver('good', { runOptions: quick, waits: false });
      await third.logs(/generation 2 is adopted/);
      assert.equal(await third.alone(), pid);
      await street.servedBy(third);
      await third.restart();
      await until('one is left', () => third.alone());
      await street.nothingLost();
      // It came with the mark of the one that started it.
      await until('nothing is left of the second', () => processesWith(second.mark).length === 0);
    });
  });
});

describe('a take-over that fails', () => {
  for (const kind of ['throws', 'never'] as const) {
    const what = kind === 'never' ? 'never listens' : kind;
    it(`because its release ${what} ends with the reason, and the service goes on as it was`, async () => {
      await Street.with(async (street) => {
        const first = await street.run('good', { runOptions: quick });
        await street.load();
        const pid = await first.alone();
        const second = await street.takeOver(kind, {
          runOptions: [...quick, ...(kind === 'never' ? ['--ready-timeout', '2s'] : [])],
          waits: false,
        });
        assert.equal(await street.ends(second), 1);
        assert.match(second.stderr, kind === 'never' ? /MOULT_READY_TIMEOUT/ : /MOULT_SUCCESSOR_EXITED/);
        assert.match(second.stderr, /the predecessor, as before/);
        await street.servedBy(first);
        assert.equal(await first.alone(), pid);
        const third = await street.takeOver('good', { runOptions: quick });
        assert.equal(await street.ends(first), 0);
        await street.servedBy(third);
        await street.nothingLost();
      });
    });
  }

  it('within probation is undone', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      const second = await street.takeOver('good', { runOptions: ['--probation', '20s'] });
      const { pid } = await successorOf(second);
      process.kill(pid, 'SIGKILL');
      assert.equal(await street.ends(second), 1);
      await until('it says so', () => /was undone/.test(second.output));
      await street.servedBy(first);
      await street.report();
    });
  });

  it('hands every connection back when it is stopped within probation', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      const second = await street.takeOver('good', { runOptions: ['--probation', '20s'] });
      second.process.kill('SIGTERM');
      assert.equal(await street.ends(second), 0);
      await street.servedBy(first);
      await first.restart();
      await street.servedBy(first);
      await street.nothingLost();
    });
  });

  it('because its check fails within probation hands every connection back', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      const second = await street.takeOver('fails-later', {
        runOptions: ['--probation', '20s', '--check', '/healthz', '--check-retries', '0'],
        waits: false,
      });
      assert.equal(await street.ends(second), 1);
      await until('it says so', () => /generation 2 serves[\s\S]*was undone/.test(second.output));
      await street.servedBy(first);
      await street.nothingLost();
    });
  });
});

describe('during a take-over', () => {
  it('the run folder may be removed: the new supervisor is found at the name', async () => {
    await Street.with(async (street) => {
      const runOptions = ['--probation', '1s'];
      const old = await street.run('good', { runOptions });
      await street.load();
      const fresh = await street.takeOver('good', { runOptions });
      await rm(street.runFolder, { recursive: true });
      assert.equal(await old.ended, 0);
      await street.servedBy(fresh);
      await fresh.restart();
      await street.servedBy(fresh);
      await street.nothingLost();
    });
  });

  it('the old supervisor takes no other orders, and lets nobody else take over', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      const second = await street.takeOver('good', { name: 'next', runOptions: ['--probation', '1m'] });
      assert.equal((await first.failingRestart()).code, 'MOULT_RESTART_IN_PROGRESS');
      const third = await street.takeOver('good', { name: 'third', waits: false });
      assert.equal(await street.ends(third), 1);
      assert.match(third.stderr, /MOULT_RESTART_IN_PROGRESS/);
      await second.restart();
      assert.equal(await street.ends(first), 0, 'what a restart replaces is confirmed by it');
      await street.goesOn();
      await street.nothingLost();
    });
  });

  it('one of several that are started at once takes over, and the others say who does, and end', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      // Nobody may come late enough to take over from who has just done so.
      const options = { runOptions: ['--probation', '5m'], waits: false };
      const all = await Promise.all([1, 2, 3, 4, 5].map(() => street.takeOver('good', options)));
      await until('one is left of them', () => all.filter(({ isOver }) => !isOver).length === 1);
      const winner = all.find(({ isOver }) => !isOver) as Supervised;
      await winner.logs(/generation \d+ serves/);
      for (const other of all.filter((one) => one !== winner)) {
        assert.equal(await street.ends(other), 1);
        assert.match(other.stderr, new RegExp(`process ${winner.pid} .*MOULT_RESTART_IN_PROGRESS`));
      }
      first.process.kill('SIGTERM');
      assert.equal(await street.ends(first), 0, 'its stop confirms what has taken over');
      await street.servedBy(winner);
      await street.nothingLost();
    });
  });

  it('a stop of the old supervisor waits for what it has, and the new one serves', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      await street.load();
      const second = await street.takeOver('good', { runOptions: ['--probation', '20s'] });
      first.process.kill('SIGTERM');
      assert.equal(await street.ends(first), 0);
      await street.servedBy(second);
      await street.nothingLost();
    });
  });

  for (const when of ['before it is ready', 'within probation'] as const) {
    const options = (probation = '20s'): [Kind, Partial<SupervisedOptions>] =>
      when === 'within probation'
        ? ['good', { runOptions: ['--probation', probation] }]
        : ['late', { runOptions: ['--probation', '1s'], waits: false }];

    it(`the new supervisor may be killed ${when}: the old one serves on`, async () => {
      await Street.with(async (street) => {
        const first = await street.run('good', { runOptions: quick });
        await street.load();
        const second = await street.takeOver(...options());
        if (when === 'before it is ready') await until('it is expected', () => isExpecting(first));
        second.process.kill('SIGKILL');
        await first.logs(/did not take over/);
        await until('its successor is gone', () => processesWith(second.mark).length === 0);
        await street.servedBy(first);
        const third = await street.takeOver('good', { runOptions: quick });
        assert.equal(await street.ends(first), 0);
        await street.servedBy(third);
        await street.nothingLost();
      });
    });

    it(`the old supervisor may be killed ${when}: the new one has the service`, async () => {
      await Street.with(async (street) => {
        const first = await street.run('good', { runOptions: quick });
        await street.load();
        const second = await street.takeOver(...options('5s'));
        if (when === 'before it is ready') await until('it is expected', () => isExpecting(first));
        first.process.kill('SIGKILL');
        await second.logs(/generation 2 serves/);
        await until('nothing is left of the first', () => processesWith(first.mark).length === 0);
        await until('commands find the new one', async () => {
          const status = await second.status().catch(() => undefined);
          return status?.pid === second.pid;
        });
        await street.servedBy(second);
        await second.restart();
        await street.servedBy(second);
        await street.nothingLost();
      });
    });

    it(`the old generation may be killed ${when}: the new one serves`, async () => {
      await Street.with(async (street) => {
        const first = await street.run('good', { runOptions: quick });
        await street.load();
        const pid = await first.alone();
        const second = await street.takeOver(...options());
        if (when === 'before it is ready') await until('it is started', () => isExpecting(first));
        process.kill(pid, 'SIGKILL');
        assert.equal(await street.ends(first), 0);
        await second.logs(/generation 2 serves/);
        await street.servedBy(second);
        await street.report();
      });
    });
  }
});

describe('a supervisor that is to take over, and finds what its own earlier one has left', () => {
  it('starts one generation where that ends, and nobody is there to take over from', async () => {
    await Street.with(async (street) => {
      const runOptions = ['--take-over', path.join(street.folder, 'nobody'), '--probation', '100ms'];
      const first = await street.run('good', { runOptions });
      const pid = await first.alone();
      process.kill(pid, 'SIGSTOP');
      first.process.kill('SIGKILL');
      await until('it has ended', () => first.process.signalCode !== null);
      const second = await street.run('good', { runOptions, waits: false });
      await second.logs(/left by an earlier supervisor, .* moult keeps waiting for it/);
      process.kill(pid, 'SIGKILL');
      await second.logs(/generation 2 serves/);
      await second.restart('--wait=confirmed');
      await second.alone();
      const journal = readFileSync(path.join(street.runFolder, 'journal.ndjson'), 'utf8');
      const started = [...journal.matchAll(/"event":"start","generation":(\d+)/g)].map(
        ([, number]) => number,
      );
      assert.deepEqual([...new Set(started)], ['1', '2', '3']);
      assert.doesNotMatch(second.output, /at the same time/);
    });
  });
});

/** Without these rights there are no namespaces and no other users to be had. */
const isRoot = process.geteuid?.() === 0;
const canUnshare = isRoot && spawnSync('unshare', ['-pfm', '--mount-proc', 'true']).status === 0;

describe('across namespaces', { skip: !canUnshare }, () => {
  /** As in a container: the shared folder is at a path of its own, and nothing of the other's is to be seen. */
  function container(
    street: Street,
    name: string,
    hidden: string,
    withPids: boolean,
  ): Partial<SupervisedOptions> {
    const mine = path.join(street.folder, name);
    const hides = path.join(street.folder, hidden);
    for (const folder of [mine, hides, path.join(street.folder, 'run')])
      mkdirSync(folder, { recursive: true });
    const enter = [
      'mount --bind "$1" "$2"',
      'mount -t tmpfs tmpfs "$1"',
      'mount -t tmpfs tmpfs "$3"',
      // Numbers of processes in different namespaces are often equal; the load tells them apart by theirs.
      ...(name === 'b' ? ['for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done'] : []),
      'export XDG_RUNTIME_DIR="$2"',
      'shift 3',
      'exec "$@"',
    ].join(' && ');
    const unshare = withPids ? ['unshare', '-pfm', '--mount-proc', '--kill-child'] : ['unshare', '-m'];
    const shared = path.join(street.folder, 'run');
    return { through: [...unshare, 'sh', '-c', enter, 'sh', shared, mine, hides], waits: false };
  }

  for (const withPids of [false, true]) {
    const which = withPids ? 'PID and mount namespaces' : 'mount namespaces';

    it(`of processes that share only the run folder (${which}) nothing is lost`, async () => {
      await Street.with(async (street) => {
        const first = await street.run('good', container(street, 'a', 'b', withPids));
        await first.logs(/generation 1 serves/);
        await street.load();
        const broken = await street.run('throws', {
          ...container(street, 'b', 'a', withPids),
          runOptions: ['--take-over', path.join(street.folder, 'b/moult/service')],
        });
        assert.equal(await street.ends(broken), 1);
        if (withPids) await first.logs(/a supervisor of user 0 elsewhere asks to take over/);
        const second = await street.run('good', {
          ...container(street, 'b', 'a', withPids),
          runOptions: [...quick, '--take-over', path.join(street.folder, 'b/moult/service/control.sock')],
        });
        await second.logs(/generation 3 serves/);
        assert.equal(await street.ends(first), 0);
        await street.servedBy(second);
        await street.nothingLost();
        assert.equal((await second.moult('stop', 'service')).code, 0);
      });
    });
  }

  it('a successor that dies within probation is noticed though it has no number here', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', container(street, 'a', 'b', true));
      await first.logs(/generation 1 serves/);
      await street.load();
      const second = await street.run('good', {
        ...container(street, 'b', 'a', true),
        runOptions: ['--probation', '20s', '--take-over', path.join(street.folder, 'b/moult/service')],
      });
      await second.logs(/generation 2 serves/);
      const { pid } = await successorOf(second);
      process.kill(pid, 'SIGKILL');
      assert.equal(await street.ends(second), 1);
      await street.servedBy(first);
      await street.report();
      assert.equal((await first.moult('stop', 'service')).code, 0);
    });
  });
});

describe('between two users', { skip: !isRoot }, () => {
  const [one, other, gid] = [41_001, 41_002, 41_000];

  async function shareFolders(street: Street): Promise<void> {
    const run = path.join(street.folder, 'run');
    chmodSync(street.folder, 0o755);
    mkdirSync(run);
    chownSync(run, one, gid);
    chmodSync(run, 0o2770);
  }

  it('that allow each other nothing is lost', async () => {
    await Street.with(async (street) => {
      await shareFolders(street);
      const first = await street.run('good', {
        user: { uid: one, gid },
        env: { VICTIMS: '' },
        runOptions: [...quick, '--allow-uid', String(other)],
      });
      await street.load();
      const second = await street.takeOver('good', {
        user: { uid: other, gid },
        env: { VICTIMS: '' },
        runOptions: [...quick, '--allow-uid', String(one)],
      });
      assert.equal(await street.ends(first), 0);
      await until('commands find it', async () => {
        const status = await second.status().catch(() => undefined);
        return status?.pid === second.pid;
      });
      await street.servedBy(second);
      await second.restart();
      await street.servedBy(second);
      await street.nothingLost();
    });
  });

  it('of which one does not allow the other nothing changes', async () => {
    await Street.with(async (street) => {
      await shareFolders(street);
      const user = { uid: one, gid };
      const env = { VICTIMS: '' };
      const options = { user, env, runOptions: [...quick, '--allow-uid', '41003'] };
      const first = await street.run('good', options);
      await street.load();
      const second = await street.takeOver('good', {
        user: { uid: other, gid },
        env,
        runOptions: [...quick, '--allow-uid', String(one)],
        waits: false,
      });
      assert.equal(await street.ends(second), 1);
      assert.match(second.stderr, /MOULT_PEER_REFUSED/);
      await street.servedBy(first);
      await street.nothingLost();
    });
  });
});

async function isExpecting(one: Supervised): Promise<boolean> {
  const { generations } = await one.status();
  return generations.some(({ state }) => state === 'expecting' || state === 'inheriting');
}

/** The generation that has taken over under a supervisor that shares its folder with another one. */
async function successorOf(one: Supervised): Promise<{ pid: number }> {
  return until('it has a process', () => {
    const [service] = processesWith(one.mark).filter(({ command }) => !command.includes(' run --name '));
    return service;
  });
}

describe('both supervisors are stopped within the probation of a take-over', () => {
  it('the new one first: the old one, whose generation is about to resume, ends too', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      const pid = await first.alone();
      const second = await street.takeOver('good', { name: 'next', runOptions: ['--probation', '20s'] });
      process.kill(pid, 'SIGSTOP');
      second.process.kill('SIGTERM');
      await pause(400);
      first.process.kill('SIGTERM');
      await pause(200);
      process.kill(pid, 'SIGCONT');
      await until('the old one ends', () => first.isOver, 12_000);
      await until('the new one ends', () => second.isOver, 12_000);
    });
  });

  it('the old one first: the new one, which can give back no more, ends too', async () => {
    await Street.with(async (street) => {
      const first = await street.run('good', { runOptions: quick });
      const pid = await first.alone();
      const second = await street.takeOver('good', { name: 'next', runOptions: ['--probation', '20s'] });
      process.kill(pid, 'SIGSTOP');
      first.process.kill('SIGTERM');
      await pause(400);
      second.process.kill('SIGTERM');
      await pause(200);
      process.kill(pid, 'SIGCONT');
      await until('the old one ends', () => first.isOver, 12_000);
      await until('the new one ends', () => second.isOver, 12_000);
    });
  });
});
