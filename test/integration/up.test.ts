import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { boundFile } from '#moult/os/files/bounded-file.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { cli, until } from './supervised.js';

const SERVICE = `const [name] = process.argv.slice(2);
  console.log(name + ' begins');
  require('node:http').createServer((_, response) => response.end(name)).listen(0, () => {
    console.log(name + ' ' + process.env.RELEASE + ' listens');
    if (process.env.FAILS === 'yes') process.exit(3);
  });
  process.on('SIGUSR2', () => console.log(name + ' was called'));`;

function services(release: number, fails = 'no') {
  return {
    probation: '200ms',
    env: { RELEASE: release },
    services: {
      web: { command: 'service.cjs web', after: 'api' },
      api: { command: ['service.cjs', 'api'], env: { FAILS: fails }, after: 'db' },
      db: { command: 'service.cjs db' },
    },
  };
}

/** A command of moult in a folder with a config file. */
class Folder {
  readonly path: string;
  readonly env: NodeJS.ProcessEnv;

  constructor(t: TestContext) {
    let remove: () => void = () => {};
    this.path = temporaryFolder((end) => {
      remove = end as () => void;
    });
    t.after(async () => {
      await this.run('stop');
      remove();
    });
    const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
    this.env = { ...env, XDG_RUNTIME_DIR: join(this.path, 'run'), PWD: this.path, NO_COLOR: '1' };
    writeFileSync(join(this.path, 'service.cjs'), SERVICE);
  }

  write(config: object): void {
    writeFileSync(join(this.path, 'moult.config.json'), JSON.stringify(config));
  }

  start(...words: string[]): Running {
    return new Running(spawn(process.execPath, [cli, ...words], { cwd: this.path, env: this.env }));
  }

  async run(...words: string[]): Promise<{ code: number | null; output: string }> {
    const running = this.start(...words);
    return { code: await running.ended, output: running.output };
  }

  async pids(): Promise<Record<string, number>> {
    const { output } = await this.run('status', '--json');
    const all = JSON.parse(output) as { name: string; pid: number } | { name: string; pid: number }[];
    return Object.fromEntries([all].flat().map(({ name, pid }) => [name, pid]));
  }
}

class Running {
  output = '';
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
    this.ended = new Promise((resolve) => child.once('close', resolve));
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async says(...patterns: RegExp[]): Promise<void> {
    for (const pattern of patterns) {
      await until(`it says ${pattern}`, () => pattern.test(this.output)).catch((error: Error) =>
        assert.fail(`${error.message}:\n${this.output}`),
      );
    }
  }
}

it('runs the services of a file, which outlive it, and are followed by the next one', async (t) => {
  const folder = new Folder(t);
  folder.write(services(1));
  const up = folder.start('up');
  await up.says(/all serve: db, api, web/);
  // In the order of after: each begins when the one before serves.
  const at = (text: string) => up.output.indexOf(text);
  assert.ok(at('db  | INFO: moult: generation 1 serves') < at('api | api begins'), up.output);
  assert.ok(at('api | INFO: moult: generation 1 serves') < at('web | web begins'), up.output);
  const before = await folder.pids();
  up.kill('SIGKILL');
  await up.ended;

  // The second restart has a broken api: the first of the file runs the new release, the last was not touched.
  folder.write(services(2));
  const good = await folder.run('restart');
  assert.equal(good.code, 0, good.output);
  assert.match(good.output, /db, api, web: restarted/);
  folder.write(services(3, 'yes'));
  const bad = await folder.run('restart');
  assert.equal(bad.code, 1, bad.output);
  assert.match(bad.output, /✗ api: .*; db runs the new release; web was not touched/);

  const next = folder.start('up');
  await next.says(/db {2}\| runs already/, /api \| runs already/, /web \| runs already/, /all serve/);
  assert.deepEqual(await folder.pids(), before, 'the same supervisors');
  process.kill(before.web ?? -1, 'SIGUSR2');
  await next.says(/^web \| web was called$/m);
  // A supervisor that is killed is followed by one that adopts its service.
  process.kill(before.db ?? -1, 'SIGKILL');
  await next.says(
    /db {2}\| its supervisor is gone: a new one adopts/,
    /db {2}\| INFO: moult: generation \d+ is adopted/,
  );

  const history = await folder.run('history');
  assert.match(history.output, /db[\s\S]*api[\s\S]*web/);
  next.kill('SIGINT');
  assert.equal(await next.ended, 0, next.output);
  const ends = ['web', 'api', 'db'].map((name) =>
    next.output.search(new RegExp(`^${name} *\\| .*(has ended|code 0)`, 'm')),
  );
  assert.deepEqual(
    [...ends].sort((a, b) => a - b),
    ends,
    next.output,
  );
  for (const name of ['moult', 'moult-up']) {
    const path = join(folder.path, 'run', name);
    assert.deepEqual(existsSync(path) ? readdirSync(path) : [], []);
  }
});

it('starts what is named with what that comes after, and says what does not start', async (t) => {
  const folder = new Folder(t);
  folder.write(services(1, 'yes'));
  const unknown = await folder.run('up', 'nobody');
  assert.deepEqual([unknown.code, /\(db, api, web\), received nobody/.test(unknown.output)], [2, true]);
  const up = folder.start('up', 'web');
  await up.says(/web \| not started: it starts after api, which does not serve/, /1 of 3 serve: db/);
  const status = await folder.run('status');
  assert.match(status.output, /api, web: in the config file, and not running/);
  await folder.run('stop');
  assert.equal(await up.ended, 1, up.output);
});

it('goes on with the others where one supervisor was killed and no other can be started', async (t) => {
  const folder = new Folder(t);
  folder.write(services(1));
  const up = folder.start('up');
  await up.says(/all serve: db, api, web/);
  const { web = 0 } = await folder.pids();
  const output = join(folder.path, 'run', 'moult-up', 'web.log');
  rmSync(output);
  // Whoever may write there could have it lead elsewhere.
  symlinkSync('/dev/null', output);
  process.kill(web, 'SIGKILL');
  await up.says(/web *\| .*could not be started: .*ELOOP/);
  const status = await folder.run('status');
  assert.match(status.output, /api/);
  rmSync(output);
  await folder.run('stop');
  assert.equal(await up.ended, 1, up.output);
  // Its service lives on without a supervisor until one adopts it.
  const again = folder.start('run', '--config', 'moult.config.json', '--service', 'web');
  await until('it has adopted the service', async () => (await folder.pids()).web !== undefined);
  await folder.run('stop');
  await again.ended;
});

it('keeps the end of an output that nobody reads, and gives back the room of the rest', (t) => {
  const path = join(
    temporaryFolder((end) => t.after(end)),
    'output',
  );
  const fd = openSync(path, 'a');
  const line = `${'x'.repeat(1023)}\n`;
  for (let i = 0; i < 2000; i += 1) writeSync(fd, line);
  assert.equal(boundFile(fd, 4 * 1024 * 1024), false);
  assert.equal(boundFile(fd, 1024 * 1024), true);
  assert.ok(statSync(path).blocks * 512 <= 600 * 1024);
  writeSync(fd, 'the last line\n');
  closeSync(fd);
  const kept = readFileSync(path);
  assert.equal(kept.length, 2000 * 1024 + 14, 'whoever reads keeps its place');
  assert.equal(kept.subarray(-14 - 1024).toString(), `${line}the last line\n`);
});
