import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root, withFolder, withService } from '../integration/supervised.js';
import { freePort } from '../support/free-ports.js';
import { ownRelease } from '../support/own-release.js';
import { Alone } from './alone.js';
import { chatClients } from './chat-clients.js';
import { datagramClients } from './datagram-clients.js';
import { eventStreamClients } from './event-stream-clients.js';
import { grpcClients } from './grpc-clients.js';
import { httpClients } from './http-clients.js';
import { lineClients } from './line-clients.js';
import { mqttClients } from './mqtt-clients.js';
import type { Clients } from './tally.js';
import { trpcClients } from './trpc-clients.js';

interface Example {
  readonly clients: (port: number) => Clients;
  readonly runOptions?: readonly string[];
}

const examples: Readonly<Record<string, Example>> = {
  'http.mjs': { clients: httpClients },
  'express.mjs': { clients: httpClients },
  'koa.mjs': { clients: httpClients, runOptions: ['--wait-ready'] },
  'nest.mjs': { clients: httpClients },
  'hono.mjs': { clients: httpClients },
  'fastify/server.mjs': { clients: httpClients },
  'trpc.mjs': { clients: trpcClients },
  'grpc/server.mjs': { clients: grpcClients },
  'tcp-lines.mjs': { clients: lineClients },
  'udp.mjs': { clients: datagramClients },
  'sse.mjs': { clients: eventStreamClients },
  'chat/server.mjs': { clients: chatClients },
  'aedes/server.mjs': { clients: mqttClients },
};

const folder = join(root, 'examples');
const textOf = (name: string) => readFileSync(join(folder, name), 'utf8');
/** The fastify example has the import in its plugin. */
const usesLibrary = (name: string) => / from 'moult'|moult-plugin/.test(textOf(name));

describe('the examples', () => {
  let own = '';
  let copies = '';
  before(() => {
    own = mkdtempSync(join(tmpdir(), 'moult-examples-'));
    copies = ownRelease('examples', own);
  });
  after(() => rmSync(own, { recursive: true }));

  it('are all run here, and all are in their list', () => {
    const scripts = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.mjs') && !name.includes('plugin'),
    );
    assert.deepEqual(scripts.sort(), Object.keys(examples).sort());
    const list = textOf('README.md');
    for (const name of scripts) assert.ok(list.includes(`(${name})`), name);
  });

  for (const [name, { clients, runOptions = [] }] of Object.entries(examples)) {
    // Those that restart themselves do it twice below.
    const versions = usesLibrary(name) ? 2 : 3;
    it(`${name} is restarted under moult run, and no client notices`, async () => {
      const port = await freePort();
      const options = ['--probation', '200ms', '--drain-timeout', '10s', ...runOptions];
      await withFolder(async (own) => {
        const env = { PORT: String(port), PID_FILE: join(own, 'pid'), CHAT_LOG: join(own, 'chat.log') };
        await withService({ command: [join(copies, name)], env, runOptions: options }, async (service) => {
          const { tally, stop } = clients(port);
          await tally.hears(1);
          await service.restart();
          await tally.hears(2);
          if (versions === 3) {
            await service.alone();
            await service.restart('--wait=confirmed');
            await tally.hears(3);
          }
          await stop();
          assert.deepEqual(tally.failures, []);
          assert.equal(tally.versions.length, versions);
        });
      });
    });
  }

  it('hono.mjs restarts when it is asked over HTTP', async () => {
    await withFolder(async (own) => {
      const port = await freePort();
      const alone = new Alone(join(folder, 'hono.mjs'), own, { PORT: String(port) });
      try {
        await alone.serves(1);
        const answer = await fetch(`http://127.0.0.1:${port}/restart`, { method: 'POST' });
        assert.deepEqual(
          [answer.status, ((await answer.json()) as { generation: number }).generation],
          [200, 2],
        );
        await alone.serves(2);
      } finally {
        await alone.kill();
      }
    });
  });
});

function restartsItself(name: string, { clients }: Example): void {
  it(`${name} restarts itself at SIGHUP, and no client notices`, async () => {
    await withFolder(async (own) => {
      const port = await freePort();
      const alone = new Alone(join(folder, name), own, { PORT: String(port), PID_FILE: join(own, 'pid') });
      try {
        const first = await alone.serves(1);
        const { tally, stop } = clients(port);
        await tally.hears(1);
        process.kill(first, 'SIGHUP');
        const second = await alone.serves(2);
        await tally.hears(2);
        // The one that is asked has proved itself: its predecessor ends.
        process.kill(second, 'SIGHUP');
        const third = await alone.serves(3);
        await tally.hears(3).catch((error: Error) => assert.fail(`${error.message}\n${alone.output}`));
        await alone.areLeft(second, third);
        await stop();
        process.kill(third, 'SIGTERM');
        await alone.areLeft();
        assert.deepEqual(tally.failures, []);
        assert.deepEqual(tally.versions, ['1', '2', '3']);
      } finally {
        await alone.kill();
      }
    });
  });
}

describe('the examples that restart themselves', () => {
  for (const [name, example] of Object.entries(examples))
    if (usesLibrary(name)) restartsItself(name, example);
});
