import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Runner } from '#moult/tasks/runners/runner.js';
import { Task } from '#moult/tasks/task.js';
import { TaskLocks } from '#moult/tasks/task-locks.js';
import { soon } from '../support/events.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const TASK = import.meta.resolve('#moult/tasks/task.js');

/** What a process says that has a task and nothing else: Node ends it as soon as there is nothing to wait for. */
async function processWith(program: string): Promise<string[]> {
  const code = `
    import { Task } from ${JSON.stringify(TASK)};
    const say = (what) => process.stdout.write(what + '\\n');
    const runner = {
      name: 'numbers',
      overlaps: false,
      begin: async (epoch, data) => say('begun with ' + data),
      end: async () => say('ended'),
      finish: async () => {},
      receive: () => {},
    };
    const task = new Task(runner, undefined, () => {}, () => {});
    const soon = (work) => setTimeout(work, 50).unref();
    ${program}
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code]);
  return stdout.split('\n').filter((line) => line !== '');
}

describe('a task in a process that has nothing else', () => {
  it('is waited for until its former owner has given it', async () => {
    const said = await processWith(`
      task.expect(1);
      soon(() => task.arrive({ data: 7, origin: 'former' }));
    `);
    assert.deepEqual(said, ['begun with 7']);
  });

  it('is waited for until it has begun', async () => {
    const said = await processWith(`
      runner.begin = () => new Promise((resolve) => soon(() => resolve(say('begun late'))));
      task.begin(1);
    `);
    assert.deepEqual(said, ['begun late']);
  });

  it('keeps nobody from ending that it is to leave', async () => {
    const said = await processWith(`
      task.expect(1);
      // It ends at once, where nothing keeps it.
      setTimeout(() => process.exit(say('it is still there')), 10_000).unref();
      task.letGo(1000, true);
    `);
    assert.deepEqual(said, []);
  });
});

/** A task of one slot, and whom it was begun after. */
function taskOfSlot(folder: string, slot: string) {
  const begun: string[] = [];
  const runner: Runner = {
    name: 'report',
    overlaps: false,
    endWithinMs: undefined,
    prepare: () => {},
    begin: (_epoch, _given, from) => begun.push(from),
    receive: () => {},
    end: () => {},
    finish: () => {},
    close: () => {},
  };
  const failed = (error: Error) => assert.fail(error.message);
  return { begun, task: new Task(runner, new TaskLocks(folder, slot), failed, () => {}) };
}

describe('a task that all slots have in turn', () => {
  it('does not go on where its former owner was, once another slot has had it', async (test) => {
    const folder = temporaryFolder((work) => test.after(work));
    const [other, ours] = [taskOfSlot(folder, '1'), taskOfSlot(folder, '0')];
    await other.task.begin(1);
    const beginning = ours.task.expect(2);
    ours.task.arrive({ data: { lastMs: 0 }, origin: 'former' });
    // Two looks at the lock.
    await pause(100);
    await other.task.letGo(1000, false);
    await soon(beginning, 'it begins');
    assert.deepEqual(ours.begun, ['again']);
    await ours.task.letGo(1000, false);
  });

  it('is left to the next generation of its slot, which takes a moment to have it', async (test) => {
    const folder = temporaryFolder((work) => test.after(work));
    const [former, other, next] = ['0', '1', '0'].map((slot) => taskOfSlot(folder, slot)) as [
      ReturnType<typeof taskOfSlot>,
      ReturnType<typeof taskOfSlot>,
      ReturnType<typeof taskOfSlot>,
    ];
    await former.task.begin(1);
    other.task.begin(1);
    const beginning = next.task.expect(2);
    await former.task.letGo(1000, true);
    await pause(50);
    next.task.arrive({ data: { lastMs: 0 }, origin: 'former' });
    await soon(beginning, 'it begins');
    assert.deepEqual([next.begun, other.begun], [['former'], []]);
    await other.task.letGo(1000, false);
    await next.task.letGo(1000, false);
  });
});
