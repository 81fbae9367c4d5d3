import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fixture, Supervised, type SupervisedOptions, until, within } from './supervised.js';

const UNSHARE = ['unshare', '-pfm', '--mount-proc', '--kill-child'];
const isRoot = process.geteuid?.() === 0;
const canUnshare = isRoot && spawnSync('unshare', ['-pfm', '--mount-proc', 'true']).status === 0;

interface Child {
  readonly pid: number;
  readonly name: string;
  readonly state: string;
}

function childrenOf(parent: number): Child[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const [, comm = '', state = '', above] =
          /^\d+ \((.*)\) (\S) (\d+)/s.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? [];
        return Number(above) === parent ? [{ pid: Number(name), name: comm, state }] : [];
      } catch {
        return [];
      }
    });
}

/** Runs moult as process 1 of a PID namespace; its number outside of it. */
async function asProcess1(
  options: SupervisedOptions,
  test: (service: Supervised, pid: number) => Promise<void>,
): Promise<void> {
  const service = await Supervised.start({ ...options, through: UNSHARE, waits: true });
  try {
    const [first] = childrenOf(service.pid);
    assert.ok(first !== undefined, 'unshare has a child');
    await test(service, first.pid);
    process.kill(first.pid, 'SIGTERM');
    assert.equal(await within('moult run ends', service.ended), 0, service.output);
    await service.assertNothingLeft();
  } finally {
    await service.kill();
  }
}

describe('as process 1', { skip: canUnshare ? false : 'needs root and namespaces' }, () => {
  it('collects processes that nobody waits for, and those of restarts', async () => {
    const script = `for i in 1 2 3 4 5; do (sleep 0.3 &); done; exec "${process.execPath}" "${fixture('http.mjs')}"`;
    await asProcess1(
      { command: ['sh', '-c', script], runOptions: ['--probation', '100ms'] },
      async (service, pid) => {
        await service.restart('--wait', 'confirmed');
        await until('the service is the only child', () => {
          const children = childrenOf(pid);
          return children.length === 1 && children[0]?.state !== 'Z';
        });
      },
    );
  });

  it('collects them after an upgrade too, and still hears how the service ends', async () => {
    const script = `exec "${process.execPath}" "${fixture('http.mjs')}"`;
    await asProcess1({ command: ['sh', '-c', script] }, async (service, pid) => {
      assert.equal((await service.moult('upgrade', service.name)).code, 0);
      await service.logs(/generation 1 is adopted/);
      const [serving] = childrenOf(pid);
      process.kill(serving?.pid ?? -1, 'SIGKILL');
      await service.logs(/generation 2 serves/);
      await until('the one that ended is collected', () => childrenOf(pid).length === 1);
    });
  });

  it('passes signals on that are the service’s', async () => {
    const script =
      "trap 'echo heard USR2' USR2; trap 'echo heard WINCH' WINCH; trap 'exit 0' TERM; echo trapped; while :; do sleep 0.05; done";
    const options = {
      command: ['sh', '-c', script],
      runOptions: ['--program', '--ready-after', '200ms'],
    };
    await asProcess1(options, async (service, pid) => {
      await service.writes(/trapped/);
      process.kill(pid, 'SIGUSR2');
      await service.writes(/heard USR2/);
      process.kill(pid, 'SIGWINCH');
      await service.writes(/heard WINCH/);
      assert.ok(existsSync(`/proc/${pid}`));
    });
  });
});
