import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Alone } from '../examples/alone.js';
import { until, withFolder } from '../integration/supervised.js';
import { freePort } from '../support/free-ports.js';
import { page, root } from './page.js';

/** The program that a page shows. */
function programOf(path: string): string {
  const [, code = ''] = /^```js\n(import \{ createServer \}[\s\S]*?)^```$/m.exec(page(path)) ?? [];
  return code;
}

describe('the ten lines of the README and of the guide', () => {
  const program = programOf('README.md');

  it('are the same', () => {
    assert.match(program, /service\.ready\(\)/);
    assert.equal(programOf('docs/guide/restart-yourself.md'), program);
  });

  it('run, restart by the PID file, and end', async () => {
    await withFolder(async (folder) => {
      // Within the package, so that it can be imported by its name.
      const own = join(root, 'build/ten-lines');
      const script = join(own, `${process.pid}.mjs`);
      mkdirSync(own, { recursive: true });
      writeFileSync(script, program);
      const port = await freePort();
      const alone = new Alone(script, folder, { PORT: String(port) });
      const pid = () => Number(readFileSync(join(folder, 'app.pid'), 'utf8'));
      const once = { headers: { connection: 'close' } };
      const answer = async () => (await fetch(`http://127.0.0.1:${port}`, once)).text();
      try {
        assert.equal(await alone.serves(1), pid());
        assert.equal(await answer(), 'hello from generation 1\n');
        process.kill(pid(), 'SIGHUP');
        assert.equal(await alone.serves(2), pid());
        await until('the second answers', async () => (await answer()) === 'hello from generation 2\n');
        process.kill(pid(), 'SIGTERM');
        await alone.areLeft();
        assert.equal(existsSync(join(folder, 'app.pid')), false);
      } finally {
        await alone.kill();
        rmSync(script);
      }
    });
  });
});
