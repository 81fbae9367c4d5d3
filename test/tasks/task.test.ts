import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

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
      soon(() => say('it is still there'));
      task.letGo(1000, true);
    `);
    assert.deepEqual(said, []);
  });
});
