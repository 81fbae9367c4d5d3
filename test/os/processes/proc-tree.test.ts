import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { isOfTree } from '#moult/os/processes/proc-tree.js';

const ENOUGH = 500;
const STARTS = 20;

describe('the tree of a process', () => {
  it('never disowns one of its own that ends while it is looked at', async () => {
    const leader = spawn('sh', ['-c', 'while :; do /bin/true; done'], { detached: true, stdio: 'ignore' });
    await once(leader, 'spawn');
    const pid = Number(leader.pid);
    try {
      const said = new Map<boolean | undefined, number>();
      for (const looked = new Set<number>(); looked.size < ENOUGH; await turn()) {
        const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').map(Number);
        if (!child) continue;
        looked.add(child);
        // As often as it lives.
        for (let is = isOfTree(child, pid); ; is = isOfTree(child, pid)) {
          said.set(is, (said.get(is) ?? 0) + 1);
          if (is !== true) break;
        }
      }
      assert.equal(said.get(false), undefined);
      assert.ok(said.get(true));
    } finally {
      leader.kill('SIGKILL');
      await once(leader, 'exit');
    }
  });

  it('is not that of a process beside it', async () => {
    const leader = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
    await once(leader, 'spawn');
    try {
      assert.equal(isOfTree(process.pid, Number(leader.pid)), false);
      assert.equal(isOfTree(Number(leader.pid), process.pid), true);
    } finally {
      leader.kill('SIGKILL');
      await once(leader, 'exit');
    }
  });
});

describe('who hears of the end of a process', () => {
  const module = import.meta.resolve('#moult/os/processes/proc-tree.js');
  const script = `
    const { isAffairOfParent } = await import(${JSON.stringify(module)});
    const { readFileSync } = await import('node:fs');
    const { spawn } = await import('node:child_process');
    const own = spawn('sleep', ['1000']);
    const all = readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim().split(' ').map(Number);
    const [shells] = all.filter((pid) => pid !== own.pid);
    process.stdout.write(JSON.stringify([isAffairOfParent(shells), isAffairOfParent(own.pid)]));
    for (const pid of all) process.kill(pid, 'SIGKILL');`;

  it('is a program of its own processes, and not of those of the shell that became it', () => {
    const node = `exec "${process.execPath}" --input-type=module -e "$SCRIPT"`;
    const env = { ...process.env, SCRIPT: script };
    for (let i = 0; i < STARTS; i += 1) {
      const said = execFileSync('sh', ['-c', `(cd . && sleep 1000) & ${node}`], { encoding: 'utf8', env });
      assert.equal(said, '[false,true]');
    }
  });
});
