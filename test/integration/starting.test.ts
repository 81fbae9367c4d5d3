import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { json, RawClient } from './raw-client.js';
import {
  fixture,
  pointAt,
  Supervised,
  type SupervisedOptions,
  until,
  withFolder,
  within,
  withService,
} from './supervised.js';

const short = ['--probation', '50ms'];

/** An app with a package.json: it says on both outputs that it starts, and answers with the name of its folder. */
async function writeApp(folder: string, extra: { file?: string; before?: string } = {}): Promise<void> {
  const file = extra.file ?? 'server.js';
  await mkdir(folder, { recursive: true });
  await writeFile(
    path.join(folder, 'package.json'),
    JSON.stringify({ name: '@shop/my-app', version: '1.0.0', scripts: { start: `node ${file}` } }),
  );
  const isModule = file.endsWith('.mjs');
  const load = (name: string, from: string) =>
    isModule ? `import ${name} from '${from}';` : `const ${name} = require('${from}');`;
  await writeFile(
    path.join(folder, file),
    [
      load('http', 'node:http'),
      load('path', 'node:path'),
      load('echo', fixture('echo.cjs')),
      extra.before ?? '',
      "console.log('to stdout');",
      "console.error('to stderr');",
      'const release = process.env.RELEASE ?? path.basename(path.dirname(process.argv[1]));',
      'const server = http.createServer({ keepAliveTimeout: echo.PATIENCE_MS }, (request, response) =>',
      '  response.end(JSON.stringify({ ...echo.answerTo(), release, cwd: process.cwd() })));',
      "server.listen(0, '127.0.0.1');",
      'echo.endGracefully((done) => server.close(done));',
    ].join('\n'),
  );
}

async function answer(client: RawClient): Promise<Record<string, unknown>> {
  return json(await client.get('/'));
}

/** Runs a service with one connection that stays open. */
async function withClient(
  options: SupervisedOptions,
  test: (service: Supervised, client: RawClient) => Promise<void>,
): Promise<Supervised> {
  let ran: Supervised | undefined;
  await withService({ runOptions: short, ...options }, async (service) => {
    ran = service;
    const client = await RawClient.connect(await service.target());
    try {
      await test(service, client);
    } finally {
      client.close();
    }
  });
  return ran ?? assert.fail();
}

describe('a service that is started by', () => {
  for (const [command, file] of [
    [['npm', 'start'], 'server.js'],
    [['sh', '-c', 'node server.js'], 'server.js'],
    [['sh', '-c', 'node server.js; exit $?'], 'server.js'],
    [['node', '--enable-source-maps', 'server.mjs'], 'server.mjs'],
  ] as const) {
    it(`${command.join(' ')} is restarted without loss, and hears its stop signal`, async () => {
      await withFolder(async (folder) => {
        await writeApp(folder, { file });
        const pids: string[] = [];
        const service = await withClient({ command, cwd: folder }, async (running, client) => {
          for (let restart = 0; restart < 2; restart += 1) {
            if (restart > 0) await running.restart();
            const { pid } = await running.current();
            assert.equal((await answer(client)).generation, String(pid));
            pids.push(String(pid));
          }
          await running.alone();
          assert.match(running.stdout, /^to stdout$/m);
          assert.match(running.stderr, /^to stderr$/m);
          assert.doesNotMatch(running.stdout, /to stderr/);
        });
        for (const pid of pids) assert.match(service.stdout, new RegExp(`pool of ${pid} closed`));
      });
    });
  }

  it('npm start gives moult run the status with which it fails', async () => {
    await withFolder(async (folder) => {
      await writeApp(folder, { before: 'process.exit(7);' });
      const service = await Supervised.start({ command: ['npm', 'start'], cwd: folder, waits: false });
      try {
        assert.equal(await within('moult run ends', service.ended), 7);
        await service.assertNothingLeft();
      } finally {
        await service.kill();
      }
    });
  });
});

describe('a program that moult does not see listen', () => {
  it('is not replaced, and a restart says which option it needs', async () => {
    await withFolder(async (folder) => {
      const service = await Supervised.start({
        command: ['sh', '-c', 'echo works; exec sleep 600'],
        runOptions: ['--ready-timeout', '1s', '--stop-timeout', '1s'],
        cwd: folder,
        waits: false,
      });
      try {
        await until('it works', () => service.output.includes('works'));
        const { code, message, serving } = await service.failingRestart();
        assert.deepEqual([code, serving], ['MOULT_READY_TIMEOUT', 'unchanged']);
        assert.match(
          message,
          /^generation 1 has been starting for \d+ s and is not replaced: no process of it has/,
        );
        assert.match(message, /needs --program\. .*moult stop/);
        assert.equal((await service.status()).state, 'starting');
        await service.moult('stop', service.name);
        await within('moult run ends', service.ended);
        await service.assertNothingLeft();
      } finally {
        await service.kill();
      }
    });
  });
});

describe('a restart picks up', () => {
  it('a changed environment file', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'env');
      await writeApp(folder);
      await writeFile(file, 'RELEASE=one\n');
      const options = {
        command: [path.join(folder, 'server.js')],
        runOptions: [...short, '--env-file', file],
      };
      await withClient(options, async (service, client) => {
        assert.equal((await answer(client)).release, 'one');
        await writeFile(file, 'RELEASE=two\n');
        await service.restart();
        assert.equal((await answer(client)).release, 'two');
      });
    });
  });

  for (const [what, run] of [
    ['a switched link in the path of the script', (link: string) => ({ command: [`${link}/server.js`] })],
    ['a switched link in the working directory', (link: string) => ({ command: ['server.js'], cwd: link })],
    [
      'a switched link in the working directory of a command',
      (link: string) => ({ command: ['node', 'server.js'], cwd: link }),
    ],
  ] as const) {
    it(what, async () => {
      await withFolder(async (folder) => {
        for (const release of ['1', '2']) await writeApp(path.join(folder, release));
        const link = path.join(folder, 'current');
        await pointAt(link, path.join(folder, '1'));
        const options: SupervisedOptions = run(link);
        await withClient(options, async (service, client) => {
          assert.equal((await answer(client)).release, '1');
          await pointAt(link, path.join(folder, '2'));
          await service.restart();
          const { release, cwd } = await answer(client);
          assert.equal(release, '2');
          if (options.cwd !== undefined) assert.equal(cwd, path.join(folder, '2'));
        });
      });
    });
  }
});

describe('the name of a service', () => {
  it('is by default that of the nearest package.json', async () => {
    await withFolder(async (folder) => {
      await writeApp(folder);
      const options = { command: [path.join(folder, 'server.js')], name: null };
      await withService(options, async (service) => {
        const { code, stdout } = await service.moult('status', '--json');
        assert.equal(code, 0);
        assert.equal(JSON.parse(stdout).name, 'shop-my-app');
        assert.equal((await service.moult('restart', 'shop-my-app')).code, 0);
      });
    });
  });
});

describe('a service with helper processes of Node that listen too', () => {
  const helper = `require('node:http').createServer((_q, a) => a.end('helper')).listen(0, '127.0.0.1',
    function () { console.log('HELPER ' + process.pid + ' ' + this.address().port); });`;
  const before = `
    const helper = require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(helper)}],
      { stdio: ['ignore', 'inherit', 'inherit'] });
    process.on('exit', () => helper.kill());
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(process.env.HEAD_START_MS));`;

  // Through a wrapper the first process that listens is taken for the service: the README names that limit.
  for (const [how, command] of [
    ['the script', ['server.js']],
    ['node and the script', ['node', 'server.js']],
  ] as const) {
    it(`is itself the service, also when its helper listens first (started by ${how})`, async () => {
      await withFolder(async (folder) => {
        await writeApp(folder, { before });
        const env = { HEAD_START_MS: '1500' };
        await withService({ command, cwd: folder, env, runOptions: short }, async (service) => {
          const helpers = () =>
            [...service.stdout.matchAll(/HELPER (\d+)/g)].map((match) => Number(match[1]));
          await until('the helper listens', () => helpers().length === 1);
          await service.writes(/to stdout/);
          const { pid } = await service.current();
          assert.ok(!helpers().includes(pid), 'the helper is not the service');
          await service.restart();
          await until('the helper of the successor listens', () => helpers().length === 2);
          const second = await service.current();
          assert.ok(!helpers().includes(second.pid), 'the helper is not the service');
          const client = await RawClient.connect(await service.target());
          assert.equal((await answer(client)).generation, String(second.pid));
          client.close();
        });
      });
    });
  }
});
