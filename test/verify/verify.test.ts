import assert from 'node:assert/strict';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { RestartOutcome, ServiceUnderTest } from '#moult/verify/moult/service-under-test.js';
import { startUnderMoult } from '#moult/verify/moult/under-moult.js';
import { VerifyError } from '#moult/verify/moult/verify-error.js';
import { type VerifyEvent, type VerifyOptions, verify } from '#moult/verify/verify.js';
import { goodServer } from './misbehaving-server.js';

const quick = { warmUpMs: 40, steadyMs: 20, restarts: 3 };
const clients = { 'kept-alive': 2, pipelined: 1, 'slow-body': 1, 'new-connection': 1 };

async function verifyWith(
  restart: (n: number) => Promise<RestartOutcome>,
  options: Partial<VerifyOptions> = {},
) {
  const server = await goodServer();
  let n = 0;
  const service: ServiceUnderTest = {
    target: server.target,
    restart: () => {
      n += 1;
      return restart(n);
    },
    stop: async () => {},
  };
  const events: VerifyEvent[] = [];
  try {
    const load = { check: 'echo', thinkMs: 1, clients } as const;
    const onEvent = (event: VerifyEvent) => events.push(event);
    return { result: await verify({ service, ...quick, load, onEvent, ...options }), events };
  } finally {
    await server.close();
  }
}

describe('a verification', () => {
  it('restarts as often as asked under load, and marks a window for each', async () => {
    const { result, events } = await verifyWith(async (n) => ({ ok: true, generation: n + 1 }));
    assert.equal(result.ok, true, JSON.stringify(result.load.failures.slice(0, 3)));
    assert.equal(result.restarts.length, 3);
    assert.equal(result.load.windows.length, 3);
    assert.ok(result.load.total.answered > 0);
    const types = events.map((event) => event.type);
    assert.deepEqual(types, ['load', ...Array(3).fill(['restarting', 'restarted']).flat(), 'finishing']);
  });

  it('fails when a restart fails', async () => {
    const { result } = await verifyWith(async (n) => ({ ok: n !== 2 }));
    assert.equal(result.ok, false);
    assert.equal(result.load.ok, true);
  });

  it('lets a restart fail that was expected to', async () => {
    const { result } = await verifyWith(async (n) => ({ ok: n !== 2 }), { expectBroken: (n) => n === 2 });
    assert.equal(result.ok, true);
    assert.deepEqual(
      result.restarts.map((record) => record.expectedToFail),
      [false, true, false],
    );
  });

  it('reports what was done when it is interrupted, and is not ok then', async () => {
    const interrupt = new AbortController();
    const restart = async () => {
      interrupt.abort();
      return { ok: true };
    };
    const { result } = await verifyWith(restart, { signal: interrupt.signal });
    assert.equal(result.restarts.length, 1);
    assert.equal(result.interrupted, true);
    assert.equal(result.ok, false);
  });

  it('stops the load when a restart throws', async () => {
    await assert.rejects(
      verifyWith(async () => {
        throw new Error('no such command');
      }),
      /no such command/,
    );
  });
});

// A stand-in for the command line, with the same JSON: the server lives in `run` itself.
const FAKE_MOULT = `
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
const [command, ...rest] = process.argv.slice(2);
const name = command === 'run' ? rest[rest.indexOf('--name') + 1] : rest[0];
const file = path.join(process.env.XDG_RUNTIME_DIR, name);
const read = () => JSON.parse(readFileSync(file, 'utf8'));
if (command === 'run') {
  if (rest.at(-1) === 'broken.js') {
    console.error('SyntaxError: broken on purpose');
    process.exit(3);
  }
  process.once('SIGTERM', () => process.exit(0));
  const server = http.createServer((request, response) => request.resume().on('end', () => response.end('hi')));
  server.listen(0, '127.0.0.1', () => {
    const listeners = rest.at(-1) === 'silent.js' ? [] : [{ name: 'x', address: server.address() }];
    const generations = [{ generation: 1, pid: process.pid, state: 'serving', listeners }];
    writeFileSync(file, JSON.stringify({ name, pid: process.pid, state: 'serving', generations }));
  });
} else if (command === 'status') {
  console.log(JSON.stringify(read()));
} else if (command === 'restart') {
  console.log(JSON.stringify({ type: 'stage', stage: 'spawn', at: 1 }));
  const summary = { listeners: 1, moved: 3, draining: 0, cut: 0, longestPauseMs: 2, stages: [{ stage: 'ready', ms: 5 }] };
  console.log(JSON.stringify({ type: 'result', ok: true, generation: 2, summary }));
} else {
  process.kill(read().pid, 'SIGTERM');
}
`;

describe('a service started under moult', () => {
  let folder = '';
  let cliPath = '';
  before(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'moult-test-'));
    cliPath = path.join(folder, 'fake-moult.mjs');
    await writeFile(cliPath, FAKE_MOULT);
  });
  after(() => rm(folder, { recursive: true }));

  it('is found by its status, restarted by the command, and leaves nothing', async () => {
    const runFolderFile = path.join(folder, 'run-folder');
    const recording = path.join(folder, 'recording.mjs');
    await writeFile(
      recording,
      `import { writeFileSync } from 'node:fs';
       writeFileSync(${JSON.stringify(runFolderFile)}, process.env.XDG_RUNTIME_DIR);
       await import('./fake-moult.mjs');`,
    );
    const service = await startUnderMoult({ command: ['server.js'], cliPath: recording });
    try {
      const result = await verify({ service, ...quick, restarts: 1, load: { thinkMs: 1, clients } });
      assert.equal(result.ok, true, JSON.stringify(result.load.failures.slice(0, 3)));
      assert.equal(result.restarts[0]?.outcome.generation, 2);
      assert.equal(result.restarts[0]?.outcome.summary?.moved, 3);
    } finally {
      await service.stop();
    }
    await assert.rejects(access(await readFile(runFolderFile, 'utf8')), { code: 'ENOENT' });
  });

  it('is an error with the last output when it ends before it serves', async () => {
    await assert.rejects(startUnderMoult({ command: ['broken.js'], cliPath }), (error: unknown) => {
      assert.ok(error instanceof VerifyError);
      assert.equal(error.code, 'MOULT_VERIFY_NOT_SERVING');
      assert.match(error.message, /exit code 3.*SyntaxError: broken on purpose/s);
      return true;
    });
  });

  it('is an error when it listens nowhere', async () => {
    await assert.rejects(startUnderMoult({ command: ['silent.js'], cliPath }), {
      code: 'MOULT_VERIFY_NO_LISTENER',
    });
  });

  it('tells a restart without a result as a failed one', async () => {
    const service = await startUnderMoult({ command: ['server.js'], cliPath });
    await writeFile(
      cliPath,
      FAKE_MOULT.replace("command === 'restart'", "command === 'never'").replace(
        'process.kill(',
        'if (command === "stop") process.kill(',
      ),
    );
    const outcome = await service.restart();
    await service.stop();
    assert.equal(outcome.ok, false);
    assert.equal(outcome.error?.code, 'MOULT_VERIFY_BAD_OUTPUT');
  });
});
