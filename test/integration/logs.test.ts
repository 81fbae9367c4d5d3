import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { cli, runNode, Supervised, until, withFolder } from './supervised.js';

/** Writes in several ways, before and after it serves; with FAILS it fails behind its listen(). */
const SERVICE = `const fs = require('node:fs');
  console.log('begins');
  require('node:http').createServer((request, response) => {
    console.log('console ' + request.url);
    process.stderr.write('stderr ' + request.url + '\\n');
    fs.writeSync(1, 'writeSync ' + request.url + '\\n');
    fs.write(1, Buffer.from('xxwrite ' + request.url + '\\nxx'), 2, 7 + request.url.length, () => {
      process.stdout.write('a \\x1b[31mred\\x1b[0m ');
      process.stdout.write('line\\n');
      response.end(String(process.pid));
      if (request.url === '/crash') setImmediate(() => { throw new TypeError('crashed on purpose'); });
    });
  }).listen(Number(process.env.PORT ?? 0), '127.0.0.1', function () {
    console.log('listens on ' + this.address().port);
  });
  if (fs.existsSync(__dirname + '/fails')) throw new Error('release 2 is broken');`;

interface Line {
  readonly generation: number | null;
  readonly stream: string;
  readonly text: string;
}

it('shows what every generation and moult wrote, once and by generation, also of one that failed, that crashed, and without a supervisor', () =>
  withFolder(async (folder) => {
    const file = path.join(folder, 'service.cjs');
    writeFileSync(file, SERVICE);
    const run = { command: [file], runtimeFolder: path.join(folder, 'run') };
    const env = { ...process.env, XDG_RUNTIME_DIR: run.runtimeFolder, NO_COLOR: '1' };
    const logs = (...words: string[]) => runNode([cli, 'logs', ...words], env);
    const lines = async (...words: string[]) => {
      const { stdout } = await logs('service', '--json', '--lines', '1000', ...words);
      return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]));
    };
    const textsOf = (all: readonly Line[], generation: number | null) =>
      all.filter((line) => line.generation === generation).map(({ text }) => text);
    const first = await Supervised.start(run);
    let following: ChildProcess | undefined;
    try {
      const port = await until('it listens', () => /listens on (\d+)/.exec(first.stdout)?.[1]);
      const get = (what: string) => fetch(`http://127.0.0.1:${port}/${what}`).then((answer) => answer.text());
      await get('one');
      const expected = [
        'begins',
        `listens on ${port}`,
        'console /one',
        'stderr /one',
        'writeSync /one',
        'write /one',
      ];
      const own = await lines('--generation', '1');
      assert.deepEqual(textsOf(own, 1), [...expected, 'a \x1b[31mred\x1b[0m line']);
      assert.deepEqual(own.filter(({ stream }) => stream === 'stderr').length, 1);

      writeFileSync(path.join(folder, 'fails'), '');
      await first.restart().catch(() => undefined);
      const failed = textsOf(await lines(), 2);
      assert.ok(
        failed.some((text) => text.includes('release 2 is broken')),
        failed.join('\n'),
      );

      const history = async () =>
        JSON.parse((await runNode([cli, 'history', '--json'], env)).stdout) as Record<string, unknown>[];
      assert.equal((await history()).at(-1)?.lastLine, 'Error: release 2 is broken');

      const { stdout, stderr, code } = await logs('--lines', '3', '--generation', '1');
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^\d\d:\d\d:\d\d\.\d{3} 1 a \\x1b\[31mred\\x1b\[0m line$/m);
      assert.equal(stdout.trimEnd().split('\n').length, 3);
      assert.match((await logs()).stdout, /\d\d moult INFO.*generation 1 serves/);
      const none = await logs('--generation', '7');
      assert.equal(none.code, 2);
      assert.match(none.stderr, /no output of generation 7 is kept; kept are those of 1, 2/);

      following = spawn(process.execPath, [cli, 'logs', '-f', '--lines', '0'], { env });
      let followed = '';
      following.stdout?.setEncoding('utf8').on('data', (text: string) => {
        followed += text;
      });
      const over = new Promise((resolve) => following?.once('close', resolve));
      await until('it follows', async () => {
        await get('two');
        return followed.includes('console /two');
      });
      process.kill(first.pid, 'SIGKILL');
      // Its outputs stay open: the service has them.
      await until('the supervisor is gone', () => first.process.signalCode !== null);
      await get('three');
      await until('it follows without a supervisor', () => followed.includes('console /three'));
      const left = await logs('service');
      assert.equal(left.code, 0, left.stderr);
      assert.match(left.stderr, /the supervisor of service is gone/);
      assert.match(left.stdout, /console \/three/);

      const second = await Supervised.start(run);
      try {
        await get('four');
        assert.equal(textsOf(await lines(), 1).filter((text) => text === 'console /four').length, 1);
        rmSync(path.join(folder, 'fails'));
        await get('crash');
        const seen = await until('the crash is kept', async () => {
          const texts = textsOf(await lines(), 1);
          return texts.some((text) => text.includes('TypeError: crashed on purpose')) && texts;
        });
        assert.ok(seen.length > 0);
        const crash = await until('it is started again', async () =>
          (await history()).find(({ kind }) => kind === 'crash'),
        );
        assert.equal(crash.lastLine, 'Uncaught TypeError: crashed on purpose');
        process.kill(second.pid, 'SIGTERM');
        await second.ended;
        assert.equal(await over, 0);
      } finally {
        await second.kill();
      }
      const gone = await logs('service');
      assert.equal(gone.code, 1);
      assert.match(gone.stderr, /expected a running service named service/);
    } finally {
      following?.kill('SIGKILL');
      await first.kill();
    }
  }));
