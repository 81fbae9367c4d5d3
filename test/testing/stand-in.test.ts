import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { MoultError } from 'moult';
import { type StandIn, standIn } from 'moult/testing';
import { Alone } from '../examples/alone.js';
import { fixture, until, withFolder } from '../integration/supervised.js';
import { freePort } from '../support/free-ports.js';

const EVENTS = ['serve', 'yield', 'failed', 'stopping', 'drain', 'end', 'aborted'] as const;

/** What the fixture tells of a real service, of a stand-in. */
function recordOf(service: StandIn): string[] {
  const told: string[] = [];
  for (const event of EVENTS) service.on(event, () => told.push(event));
  service.signal.addEventListener('abort', () => told.push('abort'));
  service.beforeEnd(() => told.push('before end'));
  return told;
}

/** What a generation of the real service told, once it has told the last of these. */
async function realRecord(
  env: Record<string, string>,
  signals: readonly [generation: number, after: string, name: NodeJS.Signals][],
  [generation, last]: readonly [number, string],
): Promise<string[]> {
  return withFolderAlone(env, async (alone) => {
    const told = (of: number) => alone.lines().filter((line) => line.generation === of);
    const has = (of: number, event: string) =>
      until(`${event} of ${of}`, () => told(of).find((line) => line.event === event)).catch((error: Error) =>
        assert.fail(`${error.message}\n${alone.output}`),
      );
    for (const [of, after, name] of signals) process.kill((await has(of, after)).pid, name);
    await has(generation, last);
    return told(generation).map(({ event }) => event);
  });
}

async function withFolderAlone<T>(
  env: Record<string, string>,
  test: (alone: Alone & { lines(): { generation: number; event: string; pid: number }[] }) => Promise<T>,
): Promise<T> {
  let result: T | undefined;
  await withFolder(async (folder) => {
    const port = String(await freePort());
    const alone = new Alone(fixture('tells-events.mjs'), join(folder), { PORT: port, ...env });
    const lines = () =>
      alone.output
        .split('\n')
        .slice(0, -1)
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line));
    try {
      result = await test(Object.assign(alone, { lines }));
    } finally {
      await alone.kill();
    }
  });
  return result as T;
}

const refusedWith = (code: string) => (error: unknown) => error instanceof MoultError && error.code === code;

describe('the stand-in for the users’ own tests', () => {
  it('tells a life in the order in which the real service does', async () => {
    const options = JSON.stringify({ probationMs: 200 });
    const real = await realRecord({ OPTIONS: options }, [[1, 'ready', 'SIGUSR2']], [1, 'before end']);
    const service = standIn();
    const told = recordOf(service);
    const ready = service.ready().then(() => told.push('ready'));
    await service.serve();
    await ready;
    const restarted = service.restart().then(() => told.push('restarted'));
    await service.yield();
    await restarted;
    service.drain();
    await service.end();
    assert.deepEqual(told, real);
  });

  it('tells a failed restart as the real service does', async () => {
    const code = 'MOULT_SUCCESSOR_EXITED';
    const real = await realRecord({ BROKEN: '2' }, [[1, 'ready', 'SIGUSR2']], [1, code]);
    const service = standIn();
    const told = recordOf(service);
    const ready = service.ready().then(() => told.push('ready'));
    await service.serve();
    await ready;
    const restarted = service.restart().catch((error: MoultError) => told.push(error.code));
    assert.equal(service.restartsAsked, 1);
    service.fail();
    await restarted;
    assert.deepEqual(told, real);
    assert.equal(service.isServing, true);
  });

  it('serves again when a successor that had taken over fails', async () => {
    const service = standIn({ generation: 3 });
    service.ready();
    await service.serve();
    await service.yield();
    assert.equal(service.isServing, false);
    const [resumed] = await Promise.all([once(service, 'serve'), service.fail()]);
    assert.deepEqual(resumed, [{ resumed: true }]);
    assert.equal(service.isServing, true);
  });

  it('lets nobody take over during a critical section', async () => {
    const service = standIn();
    service.ready();
    await service.serve();
    const order: string[] = [];
    service.on('yield', () => order.push('yield'));
    let leave = () => {};
    const work = service.critical(
      () =>
        new Promise<void>((resolve) => {
          leave = resolve;
        }),
    );
    assert.equal(service.isCritical, true);
    const yielded = service.yield();
    await new Promise((resolve) => setImmediate(resolve));
    order.push('leave');
    leave();
    await Promise.all([work, yielded]);
    assert.deepEqual(order, ['leave', 'yield']);
  });

  it('refuses a program whose check fails, and one whose handover is called off', async () => {
    const unfit = standIn().check(() => Promise.reject(new Error('no database')));
    await assert.rejects(unfit.ready(), refusedWith('MOULT_CHECK_FAILED'));
    await assert.rejects(unfit.serve(), refusedWith('MOULT_CHECK_FAILED'));
    const late = standIn();
    const ready = late.ready();
    late.abort(new MoultError('MOULT_READY_TIMEOUT', 'too late'));
    await assert.rejects(ready, refusedWith('MOULT_READY_TIMEOUT'));
  });

  it('is refused what the real one could not do', async () => {
    const service = standIn();
    await assert.rejects(service.yield(), refusedWith('MOULT_PROTOCOL_ORDER'));
    assert.throws(() => service.fail(), refusedWith('MOULT_PROTOCOL_ORDER'));
    await assert.rejects(service.restart(), refusedWith('MOULT_NOT_SERVING'));
    const plain = standIn({ mode: 'plain', reason: 'a test' });
    await plain.ready();
    await assert.rejects(plain.yield(), refusedWith('MOULT_PROTOCOL_ORDER'));
    await assert.rejects(plain.restart(), refusedWith('MOULT_UNSUPPORTED_PLATFORM'));
  });

  it('refuses state that is declared after ready(), as the real one does', async () => {
    const service = standIn();
    service.map('before');
    const ready = service.ready();
    assert.throws(() => service.map('after'), refusedWith('MOULT_BAD_OPTION'));
    const after = { save: () => 1, restore: () => {} };
    assert.throws(() => service.state('after', after), refusedWith('MOULT_BAD_OPTION'));
    await service.serve();
    await ready;
  });

  it('gives the descriptors that a test says were passed, and opens others', () => {
    const service = standIn({ files: { log: 7 } });
    const open = () => 8;
    assert.deepEqual([service.file('log', open), service.file('lock', open)], [7, 8]);
    assert.equal(
      service.file('lock', () => assert.fail('it is open')),
      8,
    );
  });
});
