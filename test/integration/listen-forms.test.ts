import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Target } from '#moult/verify/client/target.js';
import { PACE } from '../support/pace.js';
import { askOnce, json, RawClient } from './raw-client.js';
import { fixture, type Supervised, until, withFolder, withService } from './supervised.js';

type Address = { address: string; port: number; family: string } | string;
type Addresses = Readonly<Record<string, readonly Address[]>>;

const short = ['--probation', '50ms', '--ready-timeout', '8s'];

function targetOf(address: Address): Target {
  if (typeof address === 'string') return { socketPath: address };
  const wildcard: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { host: wildcard[address.address] ?? address.address, port: address.port };
}

/** Where the process of this number says that it listens. */
async function listensAt(service: Supervised, pid: number): Promise<Addresses> {
  return until(`process ${pid} listens`, () => {
    const told = [...service.stdout.matchAll(/^LISTENS (.*)$/gm)].map((match) => JSON.parse(match[1] ?? ''));
    return told.find((one) => one.pid === pid)?.addresses as Addresses | undefined;
  });
}

/** Connects anew again and again, and counts what went wrong. */
function keepAsking(targets: readonly Target[]): {
  stop: () => Promise<{ asked: number; failed: string[] }>;
} {
  let isOver = false;
  let asked = 0;
  const failed: string[] = [];
  const loops = targets.map(async (target) => {
    while (!isOver) {
      asked += 1;
      await askOnce(target).catch((error: Error) =>
        failed.push(`${JSON.stringify(target)} ${error.message}`),
      );
      await pause(PACE);
    }
  });
  return {
    stop: async () => {
      isOver = true;
      await Promise.all(loops);
      return { asked, failed };
    },
  };
}

async function withForms(
  forms: readonly string[],
  test: (service: Supervised, addresses: Addresses) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const env = { FORMS: JSON.stringify(forms), LISTEN_PATH: path.join(folder, 'app.sock') };
    await withService({ command: [fixture('listens.cjs')], env, runOptions: short }, async (service) => {
      const { pid } = await service.current();
      await test(service, await listensAt(service, pid));
    });
  });
}

/** Two restarts: the addresses stay, new connections are never refused, and kept-alive ones move. */
async function staysReachable(service: Supervised, addresses: Addresses): Promise<void> {
  const targets = Object.values(addresses).flat().map(targetOf);
  const clients = await Promise.all(targets.map((target) => RawClient.connect(target)));
  try {
    for (const client of clients) assert.equal((await client.get('/')).status, 200);
    for (let restart = 1; restart <= 2; restart += 1) {
      const asking = keepAsking(targets);
      await service.restart();
      const { pid } = await service.current();
      assert.deepEqual(await listensAt(service, pid), addresses);
      const { asked, failed } = await asking.stop();
      assert.deepEqual(failed, [], `of ${asked} requests`);
      for (const [i, target] of targets.entries()) {
        assert.equal(await askOnce(target), String(pid), JSON.stringify(target));
        const answer = json((await clients[i]?.get('/')) ?? assert.fail());
        assert.equal(answer.generation, String(pid), `the open connection to ${JSON.stringify(target)}`);
      }
    }
  } finally {
    for (const client of clients) client.close();
  }
}

describe('a listener keeps its address over restarts, is never refused, and its connections move, when made by', () => {
  const groups: readonly (readonly string[])[] = [
    ['port', 'port and host', 'port as text', 'port and backlog', 'port, host and backlog'],
    ['options', 'exclusive', 'ipv6Only'],
    ['path', 'options with path'],
    ['port 0 twice'],
    ['close and again'],
  ];
  for (const forms of groups) {
    it(forms.join('; '), () => withForms(forms, staysReachable));
  }

  it('abstract path', () => withForms(['abstract path'], staysReachable));

  it('another server', () => withForms(['another server'], staysReachable));

  it('descriptor', async () => {
    const command = ['sh', '-c', `node --no-deprecation ${fixture('socket-activated.cjs')}`];
    await withService({ command, runOptions: short }, async (service) => {
      const { pid } = await service.current();
      await staysReachable(service, await listensAt(service, pid));
    });
  });

  it('all of these at once', () => withForms(groups.flat(), staysReachable));
});

describe('a listener that the service closes after a restart', () => {
  it('is closed for its clients too: nobody else holds the port open', async () => {
    await withForms(['signal', 'port and host'], async (service, addresses) => {
      await service.restart();
      const pid = await service.alone();
      assert.deepEqual(await listensAt(service, pid), addresses);
      const [closing, staying] = Object.values(addresses).flat().map(targetOf) as [Target, Target];
      process.kill(pid, 'SIGUSR2');
      await until('the port is refused', () =>
        askOnce(closing).then(
          () => false,
          (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
        ),
      );
      assert.equal(await askOnce(staying), String(pid));
    });
  });
});
