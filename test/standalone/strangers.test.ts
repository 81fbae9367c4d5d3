import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import type { LoadReport } from '#moult/verify/load.js';
import { until } from '../support/events.js';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { Alone } from './alone.js';

async function start(later: Later, options: Record<string, unknown> = {}): Promise<[Alone, string]> {
  const door = join(temporaryFolder(later), 'service.sock');
  return [await Alone.start(later, { options: { door, ...options } }), door];
}

function load(service: Alone) {
  const clients = { 'kept-alive': 20, 'new-connection': 2 };
  return startLoad({
    target: { host: '127.0.0.1', port: service.port },
    check: 'echo',
    clients,
    thinkMs: 20 * PACE,
  });
}

function nothingLost({ total, failures }: LoadReport): void {
  assert.deepEqual(failures.slice(0, 3), []);
  assert.equal(total.failed + total.lost + total.duplicated, 0);
  assert.ok(total.answered > 0);
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;

describe('a stranger at the door of a service without a supervisor', () => {
  tidy('takes over, again and again, and the path leads to whoever serves', async (later) => {
    const [service, door] = await start(later);
    const running = load(service);
    let before = service.first;
    for (let generation = 2; generation <= 5; generation += 1) {
      const next = service.stranger();
      await service.until('serve', generation);
      await until(() => hasEnded(before), `the end of generation ${generation - 1}`);
      assert.equal(service.pid(), next.pid);
      before = next;
    }
    // The last one restarts itself, and its own successor is found at the same path.
    service.signal('SIGHUP');
    await service.until('serve', 6);
    await service.until('end', 5);
    service.stranger();
    await service.until('serve', 7);
    await service.until('end', 6);
    nothingLost(await running.stop());
    service.signal('SIGTERM');
    await until(() => service.processes().length === 0, 'the end of all');
    assert.equal(existsSync(door), false, 'the path is gone with the last');
    assert.deepEqual(readdirSync(join(door, '..')), []);
  });

  tidy('that fails ends, and the service goes on', async (later) => {
    const [service] = await start(later, { readyTimeoutMs: 5000 });
    const running = load(service);
    for (const how of ['throws', 'exits', 'fails-check', 'never-ready']) {
      service.behave(how);
      const stranger = service.stranger();
      await until(() => hasEnded(stranger), `the end of one that ${how}\n${service.output}`, 20_000);
      assert.equal(service.pid(), service.first.pid);
    }
    service.behave('good');
    service.stranger();
    await until(() => hasEnded(service.first), 'the end of the first', 20_000);
    nothingLost(await running.stop());
  });

  tidy('that dies within probation leaves the service to the one before, at the same path', async (later) => {
    const [service] = await start(later, { probationMs: 20_000 });
    service.behave('ends-in-probation');
    service.stranger();
    const { code } = await service.until('failed', 1);
    assert.equal(code, 'MOULT_SUCCESSOR_LOST');
    await service.until('serve', 1, 2);
    service.behave('good');
    const next = service.stranger({ probationMs: 300 });
    await service.until('serve', 3);
    const { pid } = await service.until('ready', 3);
    assert.equal(pid, next.pid);
  });

  tidy('goes on when the one before is stopped within probation', async (later) => {
    const [service] = await start(later, { probationMs: 20_000 });
    const running = load(service);
    const next = service.stranger({ probationMs: 300 });
    await service.until('ready', 2);
    service.first.kill('SIGTERM');
    await until(() => hasEnded(service.first), 'the end of the first');
    assert.equal(service.pid(), next.pid);
    service.stranger();
    await service.until('ready', 3);
    nothingLost(await running.stop());
  });

  tidy('finds the path of one that was killed, and begins as the first', async (later) => {
    const [service, door] = await start(later);
    await until(() => existsSync(door), 'its door');
    service.first.kill('SIGKILL');
    await until(() => hasEnded(service.first), 'its end');
    assert.equal(existsSync(door), true, 'nobody could remove it');
    const next = service.stranger();
    await service.until('serve', 1, 2);
    assert.equal(service.pid(), next.pid);
  });

  tidy('is refused while another one takes over', async (later) => {
    const [service] = await start(later);
    service.behave('never-ready');
    const slow = service.stranger();
    await service.until('open', 2);
    service.behave('good');
    const second = service.stranger();
    await until(() => hasEnded(second), 'the end of the second');
    // Its end may be known before its last words are read.
    const isTold = /MOULT_RESTART_IN_PROGRESS|generation 2 is just taking over/;
    await until(() => isTold.test(service.output), 'why it is refused');
    slow.kill('SIGKILL');
    await service.until('failed', 1);
  });

  tidy('finds something that is no socket, and says so', async (later) => {
    const folder = temporaryFolder(later);
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const [service] = await start(later);
    const stranger = service.stranger({ takeOver: join(file, 'x') });
    await until(() => hasEnded(stranger), 'its end');
    await until(() => /ENOTDIR/.test(service.output), 'what it found');
  });
});
