// A release that was written over while it served, and that a crash starts: it has to prove itself as any other.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { type Supervised, withFolder, withService } from './supervised.js';

const HANGS = "require('node:fs').writeSync(1, 'HANGS\\n'); for (;;);";
const limits = [
  '--hang-timeout',
  '500ms',
  '--ready-timeout',
  '3s',
  '--drain-timeout',
  '1s',
  '--stop-timeout',
  '500ms',
];

/** A release that answers with its name, and then does what is asked of it. */
function write(file: string, name: string, port: number, more = ''): void {
  const text = `const http = require('node:http');
const server = http.createServer((request, response) => {
  response.on('finish', () => setImmediate(() => asked[request.url]?.()));
  response.setHeader('connection', 'close').end('${name}');
});
const asked = {
  '/close': () => server.close(),
  '/hang': () => { for (;;); },
};
server.listen(${port}, '127.0.0.1', () => { ${more} });
setInterval(() => {}, 1000);
`;
  writeFileSync(file, text);
}

async function asks(port: number, url = '/'): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}${url}`)).text();
}

/** Starts a good release, and crashes it when another one was written over it. */
async function crashed(
  run: {
    readonly probation: string;
    readonly port?: number;
    readonly more?: string;
    readonly readyTimeout?: string;
  },
  then: (service: Supervised, port: number, file: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const file = path.join(folder, 'server.cjs');
    const port = await freePort();
    write(file, 'good', port);
    const runOptions = ['--probation', run.probation, ...limits];
    if (run.readyTimeout !== undefined) runOptions.push('--ready-timeout', run.readyTimeout);
    await withService({ command: [file], runOptions }, async (service) => {
      const { pid } = await service.current();
      write(file, 'bad', run.port ?? port, run.more);
      process.kill(pid, 'SIGKILL');
      await service.logs(/generation 2 is not the last good release/);
      await then(service, port, file);
    });
  });
}

describe('a release that was written over, and that a crash has started', () => {
  it('is killed where it hangs in its start, at once where a restart waits for it', async () => {
    await crashed({ probation: '1h', more: HANGS, readyTimeout: '1h' }, async (service, port, file) => {
      await service.writes(/HANGS/);
      write(file, 'mended', port);
      await service.restart();
      await service.logs(/generation 2 has not answered for 500 ms in its start and is killed/);
      assert.equal(await asks(port), 'mended');
    });
    await crashed({ probation: '1h', more: HANGS }, async (service, port, file) => {
      await service.writes(/HANGS/);
      write(file, 'mended', port);
      await service.logs(/generation 2 has not answered for 3000 ms in its start: it hangs, and is killed/);
      await service.logs(/generation 3 serves/);
      assert.equal(await asks(port), 'mended');
    });
  });
});
