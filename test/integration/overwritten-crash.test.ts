// A release that was written over while it served, and that a crash starts: it has to prove itself as any other.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { Supervised, until, withFolder, withService } from './supervised.js';

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

/** Whether the journal says that a generation has proved itself. */
function confirmed(service: Supervised, generation: number): boolean {
  const journal = readFileSync(service.folder.journal, 'utf8').split('\n');
  return journal.some((line) => line.includes('"confirmed"') && line.includes(`"generation":${generation},`));
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
  it('is no measure for its successor, which closes what the last good release listened on', async () => {
    await crashed({ probation: '1h' }, async (service, port, file) => {
      await service.logs(/generation 2 serves/);
      assert.equal(await asks(port, '/close'), 'bad');
      await until('it is closed', () =>
        asks(port).then(
          () => false,
          () => true,
        ),
      );
      const nowhere = await freePort();
      write(file, 'worse', nowhere);
      const refused = await service.failingRestart();
      assert.match(refused.message, new RegExp(`127\\.0\\.0\\.1:${port}`), refused.message);
      write(file, 'mended', port);
      await service.restart();
      assert.equal(await asks(port), 'mended');
    });
  });

  it('is started again where it closes its port in its probation, and nobody says that clients wait', async () => {
    await crashed({ probation: '1s' }, async (service, port) => {
      await service.logs(/generation 2 serves/);
      await asks(port, '/close');
      await service.logs(/generation 2 failed in its probation: .*has closed/);
      const said = await service.logs(/generation 2 was ended by SIGKILL/);
      assert.match(said, new RegExp(`clients of tcp://127\\.0\\.0\\.1:${port} are refused`));
      assert.doesNotMatch(said, /wait in the backlog/);
      await service.logs(/generation 3 serves/);
      assert.equal(await asks(port), 'bad');
    });
  });

  it('fails its successor that closes the port which the last good release had, before it is confirmed', async () => {
    await crashed({ probation: '2s' }, async (service, port, file) => {
      await service.logs(/generation 2 serves/);
      await asks(port, '/close');
      write(file, 'worse', port);
      const restarted = service.failingRestart('--wait=confirmed');
      await until('its successor serves', () =>
        asks(port, '/close').then(
          (name) => name === 'worse',
          () => false,
        ),
      );
      // Either look may find that, the one at the commit or the one at the end of probation.
      assert.match((await restarted).message, /clients do not reach generation 3: /);
      // Its predecessor has nothing to serve on either, and is not left at that.
      await service.logs(/generation 2 failed in its probation: .*has closed/);
      await service.logs(/generation 4 serves/);
      assert.equal(await asks(port), 'worse');
    });
  });

  it('is killed and started again where it hangs in its probation, and a restart mends it', async () => {
    await crashed({ probation: '1h' }, async (service, port, file) => {
      await service.logs(/generation 2 serves/);
      await asks(port, '/hang');
      await service.logs(/generation 2 failed in its probation: .*it hangs/);
      await service.logs(/generation 3 serves/);
      write(file, 'mended', port);
      await service.restart();
      assert.equal(await asks(port), 'mended');
    });
  });

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
      await service.logs(
        /generation 2 has not answered for 3000 ms \(--ready-timeout\) in its start: it hangs, and is killed/,
      );
      await service.logs(/generation 3 serves/);
      assert.equal(await asks(port), 'mended');
    });
  });

  it('serves on where it listens elsewhere, proves nothing, and is no measure for its successor', async () => {
    const elsewhere = await freePort();
    // Of two ports it moves one: one that moves all is started again where nobody holds the first.
    await crashed({ probation: '100ms', port: elsewhere }, async (service, port, file) => {
      await service.logs(
        /failed in its probation: generation \d does not listen on tcp:.*, as the last good release did/,
      );
      assert.equal(await asks(elsewhere), 'bad');
      const refused = await service.failingRestart();
      assert.ok(refused.message.includes(String(port)), refused.message);
      const { code, stderr } = await service.moult('rollback', service.name);
      assert.equal(code, 1);
      assert.match(stderr, /MOULT_NOTHING_TO_ROLL_BACK/);
      assert.equal(await asks(elsewhere), 'bad');
      write(file, 'mended', port);
      await service.restart('--wait=confirmed');
      assert.equal(await asks(port), 'mended');
    });
  });

  it('is what a crash starts from then on once it has proved itself', async () => {
    await crashed({ probation: '100ms' }, async (service, port) => {
      await service.logs(/generation 2 serves/);
      const { pid } = await service.current();
      await until('it is proved', async () => confirmed(service, 2));
      process.kill(pid, 'SIGKILL');
      await service.logs(/generation 3 serves/);
      assert.equal(await asks(port), 'bad');
      assert.ok(!service.log().some((line) => line.includes('generation 3 is not the last good release')));
    });
  });

  it('is watched anew by the next supervisor, which knows that it is another one', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'server.cjs');
      const part = path.join(folder, 'part.cjs');
      const port = await freePort();
      writeFileSync(part, '');
      writeFileSync(path.join(folder, 'package.json'), '{"name":"app"}');
      write(file, 'good', port, "require('./part.cjs')");
      const options = {
        command: [file],
        runOptions: ['--probation', '1h', ...limits],
        runtimeFolder: path.join(folder, 'run'),
      };
      const first = await Supervised.start(options);
      let second: Supervised | undefined;
      try {
        const { pid } = await first.current();
        // What it is known by stays the same.
        writeFileSync(part, '/* another one */');
        process.kill(pid, 'SIGKILL');
        await first.logs(/generation 2 is not the last good release/);
        await first.logs(/generation 2 serves/);
        first.process.kill('SIGKILL');
        await until('it is dead', () => first.isOver);
        const next = await Supervised.start(options);
        second = next;
        await until('it is watched', async () =>
          (await next.status()).generations.some(({ watchedUntil }) => watchedUntil !== undefined),
        );
        assert.equal(confirmed(next, 2), false);
        await asks(port, '/close');
        write(file, 'worse', await freePort());
        assert.ok((await next.failingRestart()).message.includes(String(port)));
      } finally {
        // The generation writes where the second one reads, and bears the mark of the first.
        second?.process.kill('SIGKILL');
        await first.kill();
        await second?.kill();
      }
    });
  });
});
