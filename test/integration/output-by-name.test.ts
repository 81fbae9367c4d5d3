import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { RawClient } from './raw-client.js';
import { Supervised, until, withFolder, withService } from './supervised.js';

/** Logs each request by a stream on /dev/stdout, and from a shell on /dev/stderr; ends when it cannot. */
const SERVER = `
  const fs = require('node:fs');
  const http = require('node:http');
  const { execSync } = require('node:child_process');
  const log = fs.createWriteStream('/dev/stdout', { flags: 'a' });
  log.on('error', (error) => { console.error('LOG FAILED', error.code); process.exit(1); });
  let count = 0;
  http.createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
    count += 1;
    log.write(\`by name \${process.pid} \${count} \${'x'.repeat(Number(request.headers['x-size'] ?? 0))}\\n\`, () => {
      execSync(\`echo "from a shell \${process.pid} \${count}" > /dev/stderr\`, { stdio: ['ignore', 'inherit', 'inherit'] });
      response.end(String(process.pid));
    });
  }).listen(0, '127.0.0.1');`;

// Pipes, as in a shell: the test's own are sockets, which nobody can open by name.
const through = ['bash', '-c', 'exec "$@" > >(cat) 2> >(cat >&2)', '_'];

describe('a service that opens its output by name', () => {
  it('is heard before, during and after restarts, by a supervisor that is upgraded, and after its end', async () => {
    await withFolder(async (folder) => {
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      const options = { command: ['server.cjs'], cwd: folder, through, runOptions: ['--probation', '50ms'] };
      await withService(options, async (service) => {
        const client = await RawClient.connect(await service.target());
        const counts = new Map<string, number>();
        const ask = async (size = 0) => {
          const pid = (await client.get('/', `x-size: ${size}\r\n`)).body.toString();
          const count = (counts.get(pid) ?? 0) + 1;
          counts.set(pid, count);
          const line = `${pid} ${count}`;
          await until(`line ${line} arrives`, () =>
            service.stdout.includes(`by name ${line} ${'x'.repeat(size)}\n`),
          );
          await until(`the shell's ${line} arrives`, () => service.stderr.includes(`from a shell ${line}\n`));
        };
        await ask();
        await service.restart();
        await ask();
        await service.moult('upgrade', service.name);
        await ask();
        // More than a pipe holds.
        await ask(3_000_000);
        await service.restart();
        await ask();
        assert.equal(counts.size, 3);
        client.close();
      });
    });
  });

  it('is heard after the death of its supervisor, and by the next one', async () => {
    await withFolder(async (folder) => {
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      const options = { command: ['server.cjs'], cwd: folder, through, runOptions: ['--probation', '50ms'] };
      const first = await Supervised.start(options);
      const client = await RawClient.connect(await first.target());
      const line = async (of: Supervised, count: number) => {
        const pid = (await client.get('/')).body.toString();
        await until('the line arrives', () => of.stdout.includes(`by name ${pid} ${count} \n`));
      };
      await line(first, 1);
      first.process.kill('SIGKILL');
      await line(first, 2);
      const second = await Supervised.start({ ...options, runtimeFolder: first.runtimeFolder });
      await second.logs(/is adopted/);
      await line(second, 3);
      client.close();
      await second.stop();
      await first.kill();
    });
  });

  it('leaves whole last words behind', async () => {
    await withFolder(async (folder) => {
      const words = "process.stdout.write('y'.repeat(150_000) + 'END\\\\n'); process.exit(3);";
      await writeFile(path.join(folder, 'server.cjs'), `setTimeout(() => { ${words} }, 100);`);
      const service = await Supervised.start({ command: ['server.cjs'], cwd: folder, waits: false });
      await service.ended;
      assert.match(service.stdout, /y{150000}END/);
      await service.kill();
    });
  });
});
