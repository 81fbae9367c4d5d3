import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { controlGroupHeadroomBytes } from '#moult/os/processes/memory.js';
import { root, until } from '../../integration/supervised.js';

function headroom(files: Readonly<Record<string, string>>): number {
  return controlGroupHeadroomBytes((name) => files[name]);
}

describe('the memory of this process', () => {
  it('is 0 where no file can be opened, and costs nothing but that', () => {
    const program = `
      import { openSync } from 'node:fs';
      import { ownResidentBytes } from ${JSON.stringify(import.meta.resolve('#moult/os/processes/memory.js'))};
      const before = ownResidentBytes();
      try { for (;;) openSync('/dev/null'); } catch {}
      process.stdout.write([before > 1e6, ownResidentBytes()].join());`;
    const args = [
      '-c',
      'ulimit -n 60; exec "$0" "$@"',
      process.execPath,
      '--input-type=module',
      '-e',
      program,
    ];
    const { stdout, stderr } = spawnSync('sh', args, { encoding: 'utf8' });
    assert.deepEqual({ stdout, stderr }, { stdout: 'true,0', stderr: '' });
  });
});

describe('the memory that control groups leave', () => {
  it('is that of version 2, without the cache that nobody uses', () => {
    const at = '/sys/fs/cgroup/a/b';
    const files = {
      '/proc/self/cgroup': '0::/a/b\n',
      [`${at}/memory.max`]: '1000\n',
      [`${at}/memory.current`]: '700\n',
      [`${at}/memory.stat`]: 'anon 1\ninactive_file 100\nactive_file 5\n',
    };
    assert.equal(headroom(files), 400);
  });

  it('is the least of all groups on the way up', () => {
    const files = {
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/b/memory.max': 'max\n',
      '/sys/fs/cgroup/a/b/memory.current': '700\n',
      '/sys/fs/cgroup/a/memory.max': '900\n',
      '/sys/fs/cgroup/a/memory.current': '800\n',
    };
    assert.equal(headroom(files), 100);
  });

  it('is that of version 1, and of a container that sees its group as the root', () => {
    const files = {
      '/proc/self/cgroup': '4:cpu:/\n3:memory:/docker/0123\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '1000\n',
      '/sys/fs/cgroup/memory/memory.usage_in_bytes': '900\n',
      '/sys/fs/cgroup/memory/memory.stat': 'inactive_file 7\ntotal_inactive_file 50\n',
    };
    assert.equal(headroom(files), 150);
    assert.equal(headroom({ ...files, '/proc/self/cgroup': '0::/../..\n' }), Number.POSITIVE_INFINITY);
  });

  it('has no limit where there are no groups', () => assert.equal(headroom({}), Number.POSITIVE_INFINITY));
});

const group = `/sys/fs/cgroup/memory${/:memory:(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/none'}/moult-test-${process.pid}`;
const LIMIT = 96 * 1024 * 1024;

function madeGroup(): boolean {
  try {
    mkdirSync(group);
    writeFileSync(path.join(group, 'memory.limit_in_bytes'), String(LIMIT));
    rmdirSync(group);
    return true;
  } catch {
    return false;
  }
}

describe('in a control group of version 1', {
  skip: madeGroup() ? false : 'needs root and a mounted one',
}, () => {
  it('a process sees the limit of its group', async () => {
    mkdirSync(group);
    writeFileSync(path.join(group, 'memory.limit_in_bytes'), String(LIMIT));
    const child = spawn(process.execPath, [path.join(root, 'test/fixtures/free-memory.mjs')]);
    try {
      writeFileSync(path.join(group, 'cgroup.procs'), String(child.pid));
      child.stdin.write('now\n');
      const [text] = (await once(child.stdout, 'data')) as [Buffer];
      const free = Number(text.toString());
      assert.ok(free > 0 && free <= LIMIT, `${free} bytes of ${LIMIT}`);
    } finally {
      child.kill('SIGKILL');
      await until('the group is empty', () => {
        try {
          rmdirSync(group);
          return true;
        } catch {
          return false;
        }
      });
    }
  });
});
