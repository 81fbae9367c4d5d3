import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { createUser, type fromSeed } from '@nats-io/nkeys';
import { Agent } from '#moult/fleet/agent/agent.js';
import { checked, type FleetSettings } from '#moult/fleet/settings.js';
import { FleetStore } from '#moult/fleet/store/store.js';
import { fleet } from '../fleet/hosts.js';
import { Obedient } from '../fleet/obedient.js';
import { brokerOf } from '../support/brokers.js';
import { freePort } from '../support/free-ports.js';
import { lacksServer } from '../support/message-service.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { root, until } from './supervised.js';

const broker = await brokerOf('nats');

async function serve(folder: string, config: string, port: number, env: object, later: Later): Promise<void> {
  const path = join(folder, 'nats.conf');
  writeFileSync(path, config);
  const server = spawn('/usr/sbin/nats-server', ['-c', path], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: 'ignore',
  });
  const exited = once(server, 'exit');
  later(async () => {
    server.kill('SIGKILL');
    await exited;
  });
  await until('it answers', async () => {
    assert.equal(server.exitCode, null, `nats-server takes ${path}`);
    const socket = connectTcp(port, '127.0.0.1');
    const is = await Promise.race([
      once(socket, 'connect').then(
        () => true,
        () => false,
      ),
      pause(500, false),
    ]);
    socket.destroy();
    return is;
  });
}

describe('permissions of a fleet', { skip: lacksServer(broker) }, () => {
  tidy('let an operator roll, a watcher read, and a host speak only of itself', async (later) => {
    const folder = temporaryFolder(later);
    const port = await freePort();
    const example = readFileSync(join(root, 'examples/fleet/nats.conf'), 'utf8');
    const secrets = {
      ADMIN_PASSWORD: 'a-secret',
      OPERATOR_PASSWORD: 'o-secret',
      LEADER_PASSWORD: 'l-secret',
      WATCHER_PASSWORD: 'w-secret',
      WEB_1_PASSWORD: 'h-secret',
    };
    await serve(folder, example.replace('127.0.0.1:4222', `127.0.0.1:${port}`), port, secrets, later);
    const of = (user: string, password: string, more: object = {}): FleetSettings => {
      const servers = `nats://${user}:${password}@127.0.0.1:${port}`;
      return checked({ servers, inbox: `_INBOX_${user}`, ...more }, 'test', folder);
    };
    const file = (user: string, password: string) => {
      const path = join(folder, `${user}.json`);
      writeFileSync(path, JSON.stringify({ servers: of(user, password).servers, inbox: `_INBOX_${user}` }));
      return path;
    };
    // Who may not create the buckets says so; the admin does, by any command.
    const early = await fleet(file('operator', 'o-secret'), 'status');
    assert.match(early.stderr, /MOULT_FLEET_UNREACHABLE/);
    assert.equal((await fleet(file('admin', 'a-secret'), 'status')).code, 0);

    const service = new Obedient();
    const said: string[] = [];
    const log = { info: (what: string) => said.push(what), warn: (what: string) => said.push(what) };
    const settings = of('web-1', 'h-secret', { host: 'web-1', lead: false });
    const agent = new Agent({ settings, name: 'api', identity: 'x', service, log });
    later(() => agent.end(false));
    const status = () => fleet(file('watcher', 'w-secret'), 'status', '--json');
    await until('the host has joined', async () =>
      (await status()).stdout.includes('"state":"serving"'),
    ).catch((error) => assert.fail(`${error.message}: ${said}`));

    const watcher = await fleet(file('watcher', 'w-secret'), 'restart', 'api', '--yes');
    assert.equal(watcher.code, 1, 'who only watches begins no roll');
    const leading = spawn(
      process.execPath,
      [join(root, 'dist/cli/main.js'), 'fleet', 'lead', '--fleet', file('leader', 'l-secret')],
      { stdio: 'ignore' },
    );
    const ended = once(leading, 'exit');
    later(async () => {
      leading.kill('SIGTERM');
      await ended;
    });
    const rolled = await fleet(file('operator', 'o-secret'), 'restart', 'api', '--watch-for', '0');
    assert.equal(rolled.code, 0, rolled.stderr + rolled.stdout + said);
    assert.equal(service.generation, 2);
    // All that an operator may do, and what a watcher may see.
    const undone = await fleet(file('operator', 'o-secret'), 'rollback', 'api');
    assert.equal(undone.code, 0, undone.stderr + undone.stdout + said);
    assert.deepEqual(service.told, ['restart', 'rollback']);
    assert.match((await fleet(file('operator', 'o-secret'), 'history')).stdout, /undone/);
    assert.equal((await fleet(file('watcher', 'w-secret'), 'watch', 'api')).code, 1);
    for (const args of [
      ['undo', 'api'],
      ['forget', 'web-1'],
    ])
      assert.notEqual((await fleet(file('watcher', 'w-secret'), ...args)).code, 0);
    assert.ok(!rolled.stdout.includes('secret') && !rolled.stderr.includes('secret'));

    // What it may not write is not written, whatever it tries.
    const host = await FleetStore.open(of('web-1', 'h-secret'));
    later(() => host.close());
    for (const key of ['order.web-2.api', 'roll.api', 'lease.api', 'host.web-2.api'])
      await assert.rejects(host.main.put(key, 'evil'), key);
    await assert.rejects(host.main.get('roll.api'));
    const MAY: Readonly<Record<string, readonly string[]>> = {
      'operator:o-secret': ['roll.other'],
      'leader:l-secret': ['roll.other', 'order.web-2.other', 'lease.other', 'past.other.1'],
      'watcher:w-secret': [],
    };
    const KEYS = [
      'roll.other',
      'order.web-2.other',
      'lease.other',
      'past.other.1',
      'host.web-2.other',
      'else',
    ];
    for (const [who, may] of Object.entries(MAY)) {
      const [user = '', password = ''] = who.split(':');
      const store = await FleetStore.open(of(user, password));
      later(() => store.close());
      for (const key of KEYS) {
        const written = await store.main.put(key, 'x').then(
          () => true,
          () => false,
        );
        assert.equal(written, may.includes(key), `${user} writes ${key}`);
      }
      await assert.rejects(store.alive.put('host.web-2.other', 'x'));
    }
    const admin = await FleetStore.open(of('admin', 'a-secret'));
    later(() => admin.close());
    assert.equal(await admin.main.get('order.web-2.api'), undefined);
    const refused = await fleet(file('operator', 'wrong'), 'status');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /MOULT_FLEET_UNREACHABLE/);
    assert.ok(!refused.stderr.includes('wrong@'));
  });

  tidy('an nkey opens a fleet, and only the right one', async (later) => {
    const folder = temporaryFolder(later);
    const port = await freePort();
    const [right, other] = [createUser(), createUser()];
    const config = `listen: 127.0.0.1:${port}
jetstream { store_dir: "./jetstream" }
authorization { users: [ { nkey: ${right.getPublicKey()} } ] }`;
    await serve(folder, config, port, {}, later);
    const of = (user: ReturnType<typeof fromSeed>, name: string) => {
      writeFileSync(join(folder, name), `# ${name}\n${new TextDecoder().decode(user.getSeed())}\n`);
      return checked({ servers: `nats://127.0.0.1:${port}`, nkey: name }, 'test', folder);
    };
    const store = await FleetStore.open(of(right, 'right.nk'));
    await store.close();
    await assert.rejects(FleetStore.open(of(other, 'other.nk')), { code: 'MOULT_FLEET_UNREACHABLE' });
  });
});
