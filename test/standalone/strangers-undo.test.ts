// two serve for good.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { answerOrError } from '../integration/clients.js';
import { until } from '../support/events.js';
import { freePort } from '../support/free-ports.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';

const FIXTURE = `
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { openService } from 'moult';
const { PORT, FAILS_WHEN, DOOR } = process.env;
const service = openService({ door: DOOR, probationMs: 20000, drainTimeoutMs: 2000, stopTimeoutMs: 1000 });
if (service.generation === 2) service.consumer('broken', {
  start: async () => { while (!existsSync(FAILS_WHEN)) await pause(10); throw new Error('no broker'); },
  stop: () => {},
});
const server = createServer((request, response) => response.end(process.pid + '/' + service.generation));
await service.listen(server, Number(PORT), '127.0.0.1');
console.log('pid ' + process.pid + ' generation ' + service.generation);
service.on('serve', () => console.log('serves ' + service.generation));
service.ready().then(() => console.log('ready ' + service.generation), (e) => { console.log('refused ' + e.code); process.exit(1); });
`;
describe('a stranger', () => {
  tidy('does not replace a generation that has asked its predecessor to serve again', async (later) => {
    const folder = temporaryFolder(later);
    const file = path.join(folder, 'service.mjs');
    writeFileSync(
      file,
      FIXTURE.replace("'moult'", JSON.stringify(new URL('../../../dist/index.js', import.meta.url).href)),
    );
    const FAILS_WHEN = path.join(folder, 'fails');
    const port = await freePort();
    const env: Record<string, string | undefined> = {
      ...process.env,
      NODE_OPTIONS: '',
      PORT: String(port),
      XDG_RUNTIME_DIR: folder,
      FAILS_WHEN,
      DOOR: path.join(folder, 'door'),
    };
    delete env.NODE_TEST_CONTEXT;
    let output = '';
    const pids = new Set<number>();
    const start = () => {
      const one = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] });
      for (const stream of [one.stdout, one.stderr])
        stream.on('data', (c) => {
          output += c;
          for (const m of String(c).matchAll(/pid (\d+)/g)) pids.add(Number(m[1]));
        });
      if (one.pid) pids.add(one.pid);
      return one;
    };
    const first = start();
    later(async () => {
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGCONT');
          process.kill(pid, 'SIGKILL');
        } catch {}
      }
      await pause(300);
    });
    const ask = () => answerOrError({ port, path: '/' });
    await until(() => /ready 1/.test(output), `it serves\n${output}`, 10_000);
    first.kill('SIGHUP');
    await until(() => /ready 2/.test(output), `the second serves\n${output}`, 15_000);
    process.kill(first.pid as number, 'SIGSTOP');
    writeFileSync(FAILS_WHEN, '');
    await until(() => /no broker/.test(output), `it fails\n${output}`);
    start();
    await until(
      () => /serves 3|RESTART_IN_PROGRESS/.test(output),
      `the third serves, or is refused\n${output}`,
      10_000,
    );
    process.kill(first.pid as number, 'SIGCONT');
    await pause(4000);
    const who = new Set<string>();
    for (let i = 0; i < 200; i += 1) who.add(await ask());
    assert.equal(who.size, 1, `one generation answers, not ${[...who].join(' and ')}\n${output}`);
    rmSync(FAILS_WHEN);
  });
});
