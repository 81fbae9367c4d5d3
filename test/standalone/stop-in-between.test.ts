// a stop signal to a standalone service that is in the middle of a commit, or of an undo.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { answerOrError } from '../integration/clients.js';
import { until } from '../support/events.js';
import { freePort } from '../support/free-ports.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';
import { Alone } from './alone.js';

const OVERLAPS = fileURLToPath(new URL('../../../test/fixtures/services/overlaps.mjs', import.meta.url));
async function reach(what: () => Promise<boolean>, tell: () => string, ms = 15_000): Promise<void> {
  for (const end = Date.now() + ms; !(await what()); await pause(20)) assert.ok(Date.now() < end, tell());
}
const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;

describe('a stop signal', () => {
  tidy('in the middle of a commit finishes what is in flight, and stops the successor too', async (later) => {
    const service = await Alone.start(later, { options: { drainTimeoutMs: 8000 } });
    const slow = service.ask('/slow?ms=3500').catch((error: Error) => ({ status: error.message, body: {} }));
    await service.ask('/enter');
    service.signal('SIGHUP');
    const { pid } = await service.until('open', 2);
    // Ready by then: the commit waits for the critical section only.
    await pause(1500);
    process.kill(pid, 'SIGSTOP');
    await service.ask('/leave');
    await pause(200);
    service.first.kill('SIGTERM');
    await pause(300);
    process.kill(pid, 'SIGCONT');
    assert.equal((await slow).status, 200, 'the request in flight is answered');
    await until(
      () => service.processes().filter(({ state }) => state !== 'Z').length === 0,
      'the end of all',
      12_000,
    );
  });

  tidy('in the middle of an undo is heeded', async (later) => {
    const folder = temporaryFolder(later);
    const FAILS_WHEN = path.join(folder, 'fails');
    const port = await freePort();
    const env: Record<string, string | undefined> = {
      ...process.env,
      NODE_OPTIONS: '',
      PORT: String(port),
      XDG_RUNTIME_DIR: folder,
      FAILS_WHEN,
      KEEPS: 'state',
      RESTORE_MS: '2500',
    };
    delete env.NODE_TEST_CONTEXT;
    const first = spawn(process.execPath, [OVERLAPS], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [first.stdout, first.stderr])
      stream.on('data', (c) => {
        output += c;
      });
    later(async () => {
      first.kill('SIGKILL');
      await until(() => hasEnded(first), 'its end');
    });
    const ask = () => answerOrError({ port, path: '/' });
    await reach(
      async () => (await ask()) === '1',
      () => output,
    );
    await pause(500);
    first.kill('SIGHUP');
    await reach(
      async () => (await ask()) === '2',
      () => output,
    );
    writeFileSync(FAILS_WHEN, '');
    await until(() => /no broker/.test(output), 'it fails');
    await pause(700);
    // It restores its state: nobody accepts.
    first.kill('SIGTERM');
    await until(() => hasEnded(first), `it ends\n${output}`, 10_000);
  });
});
