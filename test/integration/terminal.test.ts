import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import {
  cli,
  fixture,
  processesWith,
  root,
  runNode,
  Supervised,
  until,
  withFolder,
  within,
  withService,
} from './supervised.js';

const EVIL = '\x1b]0;T\x07\x1b[2J\x9b31m\u202e\ud800\x7f\r\nforged: all is well';
/** What a terminal obeys or what deceives a reader; line ends are moult's own. */
const OBEYED = /[^\P{Cc}\n]|[\u202a-\u202e\u2066-\u2069\ud800-\udfff]/u;

/** What moult has a terminal do: colours, and a line that is drawn over. */
const OWN = new RegExp(`${String.fromCharCode(27)}\\[(?:\\d+m|K)`, 'g');

const generation = {
  generation: 1,
  pid: 1,
  state: `serving${EVIL}`,
  startedAt: 0,
  listeners: [
    { name: EVIL, address: { path: `/run/${EVIL}.sock` } },
    { name: 'b', address: { address: EVIL, port: 1 } },
  ],
  connections: 1,
  moves: { http1: EVIL },
  memoryBytes: 1,
};
const summary = {
  generation: 2,
  predecessor: 1,
  listeners: 1,
  moved: 0,
  draining: 0,
  cut: 1,
  longestPauseMs: 0,
  pauseP50Ms: 0,
  pauseP99Ms: 0,
  tookMs: 1,
  stages: [],
  drainedBecause: EVIL,
  cutConnections: [{ peer: EVIL, ageMs: 1, reason: EVIL }],
};
const events = [
  { type: 'stage', stage: 'hello', generation: 2, at: 0, ms: 1, facts: { pid: 1, node: EVIL } },
  { type: 'stage', stage: EVIL, generation: EVIL, slot: EVIL, at: 0, ms: 1, facts: {} },
];
const failure = {
  code: 'MOULT_SUCCESSOR_EXITED',
  message: EVIL,
  stage: EVIL.slice(0, 20),
  serving: EVIL.slice(0, 20),
  details: { output: [EVIL, `${EVIL}\r`] },
};
const status = {
  name: `web${EVIL}`,
  state: EVIL,
  pid: 1,
  version: EVIL,
  startedAt: 0,
  restarts: 0,
  crashes: 0,
  command: EVIL,
};

const wellMeant = {
  status: { ok: true, value: { ...status, generations: [generation] } },
  restart: { ok: true, value: summary, events },
  rollback: { ok: true, value: { how: EVIL, generation: EVIL }, events },
  history: {
    ok: true,
    value: {
      restarts: [
        { at: 0, generation: EVIL, result: EVIL, message: EVIL, code: EVIL, moved: EVIL, slot: EVIL },
      ],
    },
  },
  scale: { ok: true, value: { slots: EVIL, were: EVIL } },
  stop: { ok: true, value: {} },
  upgrade: { ok: true, value: {} },
};
const failing = Object.fromEntries(
  Object.keys(wellMeant).map((question) => [question, { ok: false, error: failure, events }]),
);

const COMMANDS = [['status'], ['restart'], ['rollback'], ['history'], ['scale', '2'], ['stop']] as const;

interface Impostor {
  readonly process: ChildProcess;
  readonly env: NodeJS.ProcessEnv;
}

async function withImpostor(
  answers: object,
  test: (impostor: Impostor, folder: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const runFolder = path.join(folder, 'moult', 'web');
    mkdirSync(runFolder, { recursive: true, mode: 0o700 });
    const file = path.join(folder, 'answers.json');
    writeFileSync(file, JSON.stringify(answers));
    const script = path.join(root, 'test/fixtures/impostor.mjs');
    const child = spawn(process.execPath, [script, path.join(runFolder, 'control.sock'), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(child.stdout, 'data');
      await test({ process: child, env: environment(folder) }, folder);
    } finally {
      child.kill('SIGKILL');
    }
  });
}

function environment(folder: string): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    XDG_RUNTIME_DIR: folder,
    TERM: 'xterm',
    LC_ALL: 'C.UTF-8',
  };
  for (const name of ['NODE_OPTIONS', 'NODE_TEST_CONTEXT', 'FORCE_COLOR', 'NO_COLOR']) delete env[name];
  return env;
}

/** Runs a command at a terminal of its own, of so many columns; what it wrote there. */
function atTerminal(
  command: string,
  env: NodeJS.ProcessEnv,
  columns: number,
): Promise<{ code: number | null; text: string }> {
  return new Promise((resolve, reject) => {
    const line = `stty cols ${columns} rows 24; ${command}`;
    const child = spawn('script', ['-qec', line, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, text }));
  });
}

describe('what a supervisor says reaches the reader so that nothing of it is obeyed:', () => {
  for (const [how, answers] of [
    ['an answer', wellMeant],
    ['a failure', failing],
  ] as const) {
    it(`${how} to each command`, async () => {
      await withImpostor(answers, async ({ env }) => {
        for (const words of COMMANDS) {
          const { stdout, stderr } = await runNode([cli, ...words], env);
          const all = stdout + stderr;
          assert.doesNotMatch(all, OBEYED, words.join(' '));
          assert.doesNotMatch(
            all,
            /^forged: all is well/m,
            `${words.join(' ')}: no line of it passes for ours`,
          );
        }
      });
    });
  }

  it('also where commands draw on a terminal, whatever its width', async () => {
    await withImpostor(failing, async ({ env }) => {
      for (const columns of [20, 0]) {
        for (const words of ['status', 'restart', 'history']) {
          const { text } = await atTerminal(`${process.execPath} ${cli} ${words}`, env, columns);
          // What is moult's own: colours, and the line that is drawn over.
          const others = text.replaceAll(OWN, '').replaceAll('\r', '');
          assert.doesNotMatch(others, OBEYED, `${words} at ${columns} columns`);
          assert.ok(text.length < 20_000, `${words} at ${columns} columns writes ${text.length} bytes`);
        }
      }
    });
  });

  it('and programs get the very value', async () => {
    await withImpostor(wellMeant, async ({ env }) => {
      const { stdout } = await runNode([cli, 'status', '--json'], env);
      assert.deepEqual(JSON.parse(stdout), JSON.parse(JSON.stringify(wellMeant.status.value)));
      const lines = (await runNode([cli, 'restart', '--json'], env)).stdout.trimEnd().split('\n');
      assert.deepEqual(
        lines.slice(0, 2).map((line) => JSON.parse(line)),
        JSON.parse(JSON.stringify(events)),
      );
    });
  });

  it('and words of the command line do not either', async () => {
    await withFolder(async (folder) => {
      for (const words of [
        [EVIL],
        ['status', EVIL],
        ['run', `--${EVIL}`],
        ['run', '--check', EVIL, 'x'],
        ['run', EVIL],
      ]) {
        const { stdout, stderr } = await runNode(
          [cli, ...words.map((word) => word.replace('\ud800', ''))],
          environment(folder),
        );
        // The log is for programs here.
        const forPeople = (stdout + stderr).replaceAll(/^\{"level.*$/gm, '');
        assert.doesNotMatch(forPeople, OBEYED, JSON.stringify(words));
      }
    });
  });
});

const isRoot = process.geteuid?.() === 0;
const NOBODY = 65534;

describe("another user's", { skip: isRoot ? false : 'needs root' }, () => {
  /** Runs the commands of root with a run folder that is another user's, in a temporary folder for everybody. */
  async function shown(
    prepare: (temporary: string) => string,
    env: (temporary: string) => NodeJS.ProcessEnv,
  ): Promise<string> {
    let all = '';
    await withFolder(async (folder) => {
      chmodSync(folder, 0o755);
      const temporary = path.join(folder, 'tmp');
      mkdirSync(temporary);
      chmodSync(temporary, 0o1777);
      const runFolder = prepare(temporary);
      const file = path.join(folder, 'answers.json');
      writeFileSync(file, JSON.stringify(wellMeant));
      const script = path.join(root, 'test/fixtures/impostor.mjs');
      const child = spawn(process.execPath, [script, path.join(runFolder, 'control.sock'), file], {
        stdio: ['ignore', 'pipe', 'inherit'],
        uid: NOBODY,
        gid: NOBODY,
      });
      try {
        await once(child.stdout, 'data');
        for (const words of [
          ['status'],
          ['status', '--json'],
          ['status', 'web'],
          ['restart'],
          ['history'],
          ['stop'],
        ]) {
          const { code, stdout, stderr } = await runNode([cli, ...words], {
            ...environment(folder),
            ...env(temporary),
          });
          assert.notEqual(code, 0, words.join(' '));
          all += stdout + stderr;
        }
      } finally {
        child.kill('SIGKILL');
      }
    });
    return all;
  }

  const makeFolder = (parent: string, owner: number) => {
    const folder = path.join(parent, 'web');
    mkdirSync(folder, { recursive: true });
    for (const each of [parent, folder]) chownSync(each, owner, owner);
    return folder;
  };

  for (const [what, prepare, env] of [
    [
      'run folder below the temporary folder',
      (temporary: string) => makeFolder(path.join(temporary, 'moult-0'), NOBODY),
      (temporary: string) => ({ XDG_RUNTIME_DIR: '', TMPDIR: temporary }),
    ],
    [
      'run folder where XDG_RUNTIME_DIR is a folder for everybody',
      (temporary: string) => makeFolder(path.join(temporary, 'moult'), NOBODY),
      (temporary: string) => ({ XDG_RUNTIME_DIR: temporary }),
    ],
    [
      "socket in a folder of root's",
      (temporary: string) => {
        const folder = makeFolder(path.join(temporary, 'moult'), 0);
        for (const each of [path.dirname(folder), folder]) chmodSync(each, 0o777);
        return folder;
      },
      (temporary: string) => ({ XDG_RUNTIME_DIR: temporary }),
    ],
  ] as const) {
    it(`${what} is refused, and nothing of it is shown`, async () => {
      const said = await shown(prepare, env);
      assert.doesNotMatch(said, OBEYED);
      assert.doesNotMatch(said, /forged|"name":"web/);
      assert.match(said, /MOULT_PEER_REFUSED/);
    });
  }

  it("service is root's to operate where its run folder can only be that user's", async () => {
    await withFolder(async (folder) => {
      chownSync(folder, NOBODY, NOBODY);
      const user = { uid: NOBODY, gid: NOBODY };
      const service = await Supervised.start({ command: [fixture('http.mjs')], runtimeFolder: folder, user });
      try {
        const { code, stdout } = await runNode([cli, 'status', '--json'], environment(folder));
        assert.equal(code, 0);
        assert.equal(JSON.parse(stdout).name, 'service');
        // The other way round: a folder that a user may not enter is none in which nothing runs.
        const closed = path.join(folder, 'closed');
        mkdirSync(path.join(closed, 'moult'), { recursive: true });
        chmodSync(closed, 0o700);
        for (const words of [['status'], ['restart', 'service']]) {
          const env = environment(closed);
          const { status, stderr } = spawnSync(process.execPath, [cli, ...words], { ...user, env });
          assert.equal(status, 1);
          assert.match(String(stderr), /expected a run folder that user \d+ may enter, found .*closed/);
        }
      } finally {
        await service.stop();
      }
    });
  });
});

describe('services that cannot answer for themselves', () => {
  it('do not hide others: a supervisor that stands still, and one that is gone', async () => {
    await withFolder(async (folder) => {
      const started: Supervised[] = [];
      try {
        for (const name of ['alive', 'gone', 'still']) {
          started.push(
            await Supervised.start({ command: [fixture('http.mjs')], runtimeFolder: folder, name }),
          );
        }
        const [, gone, still] = started as [Supervised, Supervised, Supervised];
        const { pid } = await gone.current();
        process.kill(gone.pid, 'SIGKILL');
        await within('it is gone', once(gone.process, 'exit'));
        process.kill(still.pid, 'SIGSTOP');
        const { code, stdout } = await runNode([cli, 'status'], environment(folder));
        assert.equal(code, 1);
        assert.match(stdout, /^alive {2}serving/m);
        assert.match(stdout, /^gone {2}without a supervisor/m);
        assert.match(
          stdout.replaceAll(/\s+/g, ' '),
          new RegExp(`generation 1 \\(process ${pid}\\) still runs: moult run --name gone`),
        );
        assert.match(stdout, /^still {2}silent/m);
        const json = JSON.parse((await runNode([cli, 'status', '--json'], environment(folder))).stdout);
        assert.deepEqual(
          json.map(({ name, state }: Record<string, string>) => [name, state]),
          [
            ['alive', 'serving'],
            ['gone', 'unsupervised'],
            ['still', 'silent'],
          ],
        );
        const stop = await runNode([cli, 'stop', 'gone'], environment(folder));
        assert.equal(stop.code, 1);
        assert.match(stop.stderr, /MOULT_NO_SUPERVISOR/);
        process.kill(still.pid, 'SIGCONT');
        // What it says to do does it.
        const again = await Supervised.start({
          command: [fixture('http.mjs')],
          runtimeFolder: folder,
          name: 'gone',
        });
        started.push(again);
        assert.equal((await again.current()).pid, pid);
      } finally {
        for (const one of started) if (!one.isOver) process.kill(one.pid, 'SIGCONT');
        for (const one of started) await one.kill();
      }
    });
  });

  it('also not when so many have asked a stopped one that its queue is full', async () => {
    await withService({ command: [fixture('http.mjs')] }, async (service) => {
      process.kill(service.pid, 'SIGSTOP');
      const sockets: ChildProcess[] = [];
      try {
        const filler = `
          const { connectUnixNow } = await import('#moult/os/unix-sockets/unix-socket.js');
          for (let n = 0; n < 2000; n += 1) { try { connectUnixNow(process.argv[1]); } catch { break; } }
          console.log('full');
          setInterval(() => {}, 60_000);`;
        const child = spawn(process.execPath, ['--input-type=module', '-e', filler, service.folder.control], {
          cwd: root,
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        sockets.push(child);
        await once(child.stdout, 'data');
        const { code, stderr } = await service.moult('status');
        assert.equal(code, 1);
        assert.match(stderr, /MOULT_SYSTEM_CALL|MOULT_PEER_TIMEOUT/);
      } finally {
        for (const child of sockets) child.kill('SIGKILL');
        process.kill(service.pid, 'SIGCONT');
      }
    });
  });
});

describe('output that nobody takes', () => {
  for (const words of [['status'], ['status', '--watch'], ['history'], ['restart'], ['--help']]) {
    it(`of moult ${words.join(' ')} ends it without a word, or does not hinder it`, async () => {
      await withService({ command: [fixture('http.mjs')] }, async ({ runtimeFolder }) => {
        const child = spawn(process.execPath, [cli, ...words], {
          env: environment(runtimeFolder),
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        child.stdout.destroy();
        let said = '';
        child.stderr.setEncoding('utf8').on('data', (text: string) => {
          said += text;
        });
        const [code] = (await within('it ends', once(child, 'close'))) as [number];
        assert.equal(said, '');
        assert.equal(code, 0);
      });
    });
  }

  it('because the disk is full is told, and is no success', async () => {
    await withService({ command: [fixture('http.mjs')] }, async ({ runtimeFolder }) => {
      const line = `${process.execPath} ${cli} status > /dev/full`;
      const child = spawn('sh', ['-c', line], {
        env: environment(runtimeFolder),
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
      const [code] = (await within('it ends', once(child, 'close'))) as [number];
      assert.match(said, /could not be written: ENOSPC/);
      assert.equal(code, 1);
    });
  });
});

describe('a terminal', () => {
  it('that is closed under moult run, in the foreground or with nohup, does not restart the service', async () => {
    for (const before of ['', 'nohup ']) {
      await withFolder(async (folder) => {
        const mark = `MOULT_TEST_MARK=terminal-${process.pid}-${before.trim()}`;
        const line = `cd ${folder}; ${before}${process.execPath} ${cli} run --name svc ${fixture('http.mjs')}`;
        const env = { ...environment(folder), MOULT_TEST_MARK: mark.split('=')[1] };
        const terminal = spawn('script', ['-qec', line, '/dev/null'], {
          env,
          stdio: ['pipe', 'ignore', 'ignore'],
        });
        const status = async () => {
          const { code, stdout } = await runNode([cli, 'status', 'svc', '--json'], environment(folder));
          return code === 0 ? JSON.parse(stdout) : undefined;
        };
        try {
          const serving = await until('it serves', async () => {
            const now = await status();
            return now?.state === 'serving' ? now : undefined;
          });
          terminal.kill('SIGKILL');
          await within('the terminal is gone', once(terminal, 'close'));
          // The supervisor has no terminal from then on; it looks a moment after the hang-up.
          const settled = Date.now() + 1500;
          await until('a moment has passed', () => Date.now() > settled);
          const after = await status();
          assert.deepEqual([after?.state, after?.generations.length], ['serving', 1]);
          assert.equal(after.generations[0].pid, serving.generations[0].pid);
          assert.equal((await runNode([cli, 'stop', 'svc'], environment(folder))).code, 0);
        } finally {
          terminal.kill('SIGKILL');
          await until('nothing is left', () => {
            const left = processesWith(mark);
            for (const { pid } of left) process.kill(pid, 'SIGKILL');
            return left.length === 0;
          });
        }
      });
    }
  });

  it('whose SIGHUP was ignored by who started it keeps that: it restarts nothing', async () => {
    const through = ['sh', '-c', 'trap "" HUP; "$@"; exit $?', 'sh'];
    const service = await Supervised.start({ command: [fixture('http.mjs')], through });
    try {
      process.kill((await service.status()).pid, 'SIGHUP');
      await service.logs(/^SIGHUP is ignored because of nohup or a trap/);
      assert.equal((await service.current()).generation, 1);
      assert.equal((await service.moult('stop')).code, 0);
      assert.equal(await within('it ends', service.ended), 0);
    } finally {
      await service.kill();
    }
  });
});

describe('options of moult behind the script', () => {
  for (const [words, said] of [
    [['SCRIPT', '--name', 'api'], /^--name stands after the script/],
    [['SCRIPT', '--name=api', '--check', '/'], /^--name, --check stand after the script/],
    [['node', 'SCRIPT', '--slots', '2'], /^--slots stands after the script/],
    [['--', 'SCRIPT', '--name', 'api'], undefined],
    [['SCRIPT', '--', '--name', 'api'], undefined],
    [['node', '--enable-source-maps', 'SCRIPT', '--verbose'], undefined],
  ] as const) {
    it(`${words.join(' ')}: ${said === undefined ? 'nothing is said' : 'are told to have gone to the service'}`, async () => {
      await withFolder(async (folder) => {
        const given = words.map((word) => (word === 'SCRIPT' ? fixture('http.mjs') : word));
        const child = spawn(process.execPath, [cli, 'run', '--name', 'svc', ...given], {
          env: environment(folder),
          stdio: ['ignore', 'ignore', 'pipe'],
        });
        let log = '';
        child.stderr.setEncoding('utf8').on('data', (text: string) => {
          log += text;
        });
        try {
          await until('it serves', () => /generation 1 serves/.test(log));
          const warnings = log
            .split('\n')
            .filter((line) => line.includes('"level":40'))
            .map((line) => JSON.parse(line).msg as string);
          if (said === undefined) assert.deepEqual(warnings, []);
          else assert.match(warnings[0] ?? '', said);
        } finally {
          child.kill('SIGTERM');
          await within('it ends', once(child, 'close'));
        }
      });
    });
  }
});

describe('an older Node', () => {
  it('is told in one sentence', async () => {
    const pretend = "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'VERSION'})";
    for (const version of ['18.20.4', '20.18.3', '12.0.0']) {
      const { code, stdout, stderr } = await runNode(
        ['--import', pretend.replace('VERSION', version), cli, 'status'],
        environment('/nowhere'),
      );
      assert.equal(`${stdout}${stderr}`, `moult needs Node 20.19 or later, and this is Node ${version}\n`);
      assert.equal(code, 1);
    }
  });
});
