import assert from 'node:assert/strict';
import { chmod, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { askOnce, RawClient } from './raw-client.js';
import { cli, fixture, runNode, Supervised, withFolder, within, withService } from './supervised.js';

/** Runs moult with a run folder of its own, to its end. */
function moult(folder: string, ...args: string[]): ReturnType<typeof runNode> {
  const env: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: '1', XDG_RUNTIME_DIR: folder };
  delete env.NODE_OPTIONS;
  delete env.NODE_TEST_CONTEXT;
  return runNode([cli, ...args], env);
}

describe('a wrong option is told with its name, what was expected and what came:', () => {
  for (const [args, said] of [
    [
      ['run', '--ready-timeout', 'soon', 'x.js'],
      /--ready-timeout.*Expected a time such as .*received "soon"/,
    ],
    [['run', '--stop-signal', 'SIGNOPE', 'x.js'], /--stop-signal.*Expected the name of a signal.*"SIGNOPE"/],
    [
      ['run', '--restart', 'sometimes', 'x.js'],
      /--restart.*Expected always or on-failure or never.*"sometimes"/,
    ],
    [['run', '--max-error-rate', '7', 'x.js'], /--max-error-rate.*Expected a share.*"7"/],
    [['run', '--check', 'nonsense', 'x.js'], /--check.*Expected a path.*"nonsense"/],
    [['run', '--name', '../x', fixture('http.mjs')], /--name: expected 1 to 64 letters.*"\.\.\/x"/],
    [['run', '/nowhere/x.js'], /expected a script, found none at \/nowhere\/x\.js/],
    [['run'], /expected <script\.js \| command …>, or a config file with a command; received neither/],
    [['restart', '--if-busy', 'maybe'], /--if-busy.*Expected wait or refuse.*"maybe"/],
    [['status', '--frob'], /unknown option '--frob'/],
    [['frob'], /unknown command 'frob'/],
    [['ls'], /no command 'ls': moult status/],
    [['status', '--json', '--frob'], /unknown option '--frob'/],
    [['logs', '--lines', 'x', '--json'], /--lines.*Expected a whole number, received "x"/],
    [['list', '--json'], /no command 'list': moult status/],
    [['reload', 'api'], /no command 'reload': moult restart/],
    [['start', 'x.js'], /no command 'start': moult run/],
    [['log'], /no command 'log': moult logs \[name\] shows the recent output/],
    [['scale', 'api', 'many'], /Expected 1 to 64 or max, received "api"/],
    [['scale', 'api', '99'], /Expected 1 to 64 or max, received "99"/],
  ] as const) {
    it(`moult ${args.join(' ').replace(fixture(''), '')}`, async () => {
      await withFolder(async (folder) => {
        const { code, stdout, stderr } = await moult(folder, ...args);
        assert.match(stderr.replaceAll('\n', ' '), said);
        assert.notEqual(code, 0);
        // For a program: the same as JSON.
        const told = (args as readonly string[]).includes('--json') ? JSON.parse(stdout) : undefined;
        assert.equal(told?.error.code, told && 'MOULT_BAD_OPTION');
      });
    });
  }

  // Node itself looks for this option among all words of its command line.
  it('moult run --env-file /nowhere/env', async () => {
    await withFolder(async (folder) => {
      const { code, stderr } = await moult(folder, 'run', '--env-file', '/nowhere/env', fixture('http.mjs'));
      assert.match(stderr, /\/nowhere\/env/);
      assert.notEqual(code, 0);
    });
  });

  it('and the exit status is 2', async () => {
    await withFolder(async (folder) => {
      for (const args of [
        ['frob'],
        ['run'],
        ['run', '--ready-timeout', 'soon', 'x.js'],
        ['status', '--frob'],
      ])
        assert.equal((await moult(folder, ...args)).code, 2, args.join(' '));
    });
  });
});

describe('a service is found by name:', () => {
  it('none runs, another runs, several run, the name is taken', async () => {
    await withFolder(async (folder) => {
      const none = await moult(folder, 'status');
      assert.equal(none.code, 1);
      assert.match(
        none.stderr,
        /no service of this user runs under moult \(looked in .*\/moult\).*MOULT_NOT_RUNNING/,
      );
      const started: Supervised[] = [];
      const start = async (name: string) => {
        const options = { command: [fixture('http.mjs')], runtimeFolder: folder, name };
        started.push(await Supervised.start(options));
      };
      try {
        await start('one');
        const unknown = await moult(folder, 'restart', 'nope');
        assert.equal(unknown.code, 1);
        assert.match(
          unknown.stderr,
          /expected a running service named nope; running now: one .*MOULT_NOT_RUNNING/,
        );
        await withFolder(async (other) => {
          // Others of this user may run on this machine: five folders are named.
          const { stderr } = await moult(other, 'status');
          const named = `one in ${path.join(folder, 'moult')} (with XDG_RUNTIME_DIR=${folder})`;
          assert.ok(stderr.includes(named) || /and in \d+ folders? more/.test(stderr), stderr);
        });
        const taken = await moult(folder, 'run', '--name', 'one', fixture('http.mjs'));
        assert.equal(taken.code, 1);
        assert.match(taken.stderr, /a service named one is already running.*MOULT_NAME_TAKEN/);
        await start('two');
        const ambiguous = await moult(folder, 'restart');
        assert.equal(ambiguous.code, 1);
        assert.match(ambiguous.stderr, /several services run: one, two .*MOULT_AMBIGUOUS_NAME/);
        const all = await moult(folder, 'status', '--json');
        assert.deepEqual(
          JSON.parse(all.stdout).map(({ name }: { name: string }) => name),
          ['one', 'two'],
        );
        assert.equal((await moult(folder, 'restart', 'two', '--json')).code, 0);
        for (const one of started) one.process.kill('SIGTERM');
        for (const one of started) assert.equal(await within('it ends', one.ended), 0);
        for (const one of started) await one.assertNothingLeft();
      } finally {
        for (const one of started) await one.kill();
      }
    });
  });
});

describe('what moult tells of a service:', () => {
  it('status as a table and as JSON, a restart as lines of JSON and in words', async () => {
    await withService({ command: [fixture('http.mjs')] }, async (service) => {
      const { port } = await service.target();
      const { pid } = await service.current();
      const table = await service.moult('status');
      assert.match(table.stdout, /^service {2}serving {2}supervisor \d+, up \d+ s, 0 restarts, 0 crashes$/m);
      assert.match(table.stdout, new RegExp(`\\b1 .*\\b${pid} .*serving.*127\\.0\\.0\\.1:${port}`));
      const status = JSON.parse((await service.moult('status', 'service', '--json')).stdout);
      assert.deepEqual([status.name, status.state, status.pid], ['service', 'serving', service.pid]);
      const { code, lines } = await service.restartLines();
      assert.equal(code, 0);
      const stages = lines.filter(({ type }) => type === 'stage').map(({ stage }) => stage);
      const inOrder = ['hello', 'inherit', 'ready', 'commit', 'connections'];
      assert.deepEqual(
        stages.filter((stage) => inOrder.includes(String(stage))),
        inOrder,
      );
      const { type, ok, summary } = lines.at(-1) as Record<string, Record<string, unknown>>;
      assert.deepEqual([type, ok], ['result', true]);
      assert.deepEqual([summary?.generation, summary?.predecessor, summary?.listeners], [2, 1, 1]);
      const words = await service.moult('restart');
      assert.equal(words.code, 0);
      assert.match(words.stdout, /generation 3/);
      assert.match(words.stdout, /1 listener/);
      const history = JSON.parse((await service.moult('history', '--json')).stdout);
      assert.equal(history.length, 2);
    });
  });

  it('a summary that counts a connection as moved or as draining, not as both', async () => {
    await withService({ command: [fixture('http.mjs')] }, async (service) => {
      const target = await service.target();
      const clients = await Promise.all([1, 2, 3].map(() => RawClient.connect(target)));
      for (const client of clients) await client.get('/');
      const { moved, draining } = await service.restart();
      for (const client of clients) client.close();
      assert.deepEqual({ moved, draining }, { moved: 3, draining: 0 });
    });
  });
});

describe('the run folder', () => {
  it('is refused when others could enter it', async () => {
    await withFolder(async (folder) => {
      const own = path.join(folder, 'moult', 'service');
      await mkdir(own, { recursive: true, mode: 0o700 });
      await chmod(own, 0o777);
      const { code, stderr } = await moult(folder, 'run', '--name', 'service', fixture('http.mjs'));
      assert.equal(code, 1);
      assert.match(
        stderr,
        /expected .*service to be a folder of user \d+ with mode 0700, found .* 0777.*MOULT_PEER_REFUSED/,
      );
    });
  });

  it('and its sockets are private', async () => {
    await withService({ command: [fixture('http.mjs')] }, async (service) => {
      const folder = path.join(service.runtimeFolder, 'moult', 'service');
      assert.equal((await stat(folder)).mode & 0o777, 0o700);
      assert.equal((await stat(path.join(folder, 'control.sock'))).mode & 0o777, 0o600);
    });
  });

  it('of a supervisor that was killed, with its service, is taken over', async () => {
    await withFolder(async (folder) => {
      const options = { command: [fixture('http.mjs')], runtimeFolder: folder };
      const first = await Supervised.start(options);
      const { pid } = await first.current();
      process.kill(first.pid, 'SIGKILL');
      process.kill(pid, 'SIGKILL');
      await within('it is gone', first.ended);
      assert.match((await moult(folder, 'status')).stderr, /MOULT_NOT_RUNNING/);
      const second = await Supervised.start(options);
      try {
        assert.equal(await askOnce(await second.target()), String((await second.current()).pid));
      } finally {
        await second.stop();
      }
    });
  });
});
