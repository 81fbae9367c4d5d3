import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { checked } from '#moult/fleet/settings.js';
import { FleetStore } from '#moult/fleet/store/store.js';
import { brokerOf, started } from '../support/brokers.js';
import { lacksServer } from '../support/message-service.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { root, until } from './supervised.js';

const broker = await brokerOf('nats');

interface Cluster {
  readonly urls: readonly string[];
  stop(): Promise<void>;
}

async function cluster(later: Later): Promise<Cluster> {
  const file = join(root, 'proofs/fleet/cluster.mjs');
  const { startCluster } = (await import(file)) as { startCluster(folder: string): Promise<Cluster> };
  const servers = await startCluster(temporaryFolder(later));
  later(() => servers.stop());
  return servers;
}

describe('the buckets of a fleet', { skip: lacksServer(broker) }, () => {
  tidy('are read whole while they are written over', async (later) => {
    const { url } = await started(broker, later);
    const settings = checked({ servers: url }, 'here', '/');
    const [writer, reader] = [await FleetStore.open(settings), await FleetStore.open(settings)];
    const hosts = ['host.a.api', 'host.b.api', 'host.c.api'];
    let isOver = false;
    const write = async () => {
      for (let n = 0; !isOver; n += 1) for (const key of hosts) await writer.main.put(key, { n });
    };
    for (const key of hosts) await writer.main.put(key, {});
    await writer.main.put('host.a.other', {});
    const writing = write();
    for (let round = 0; round < 100; round += 1) {
      const keys = (await reader.main.all('host.*.api')).map(({ key }) => key);
      assert.deepEqual(keys.sort(), hosts);
    }
    isOver = true;
    await writing;
    assert.deepEqual(await reader.main.all('host.nobody.*'), []);
    for (const store of [writer, reader]) await store.close();
  });

  tidy('take one of several writes over the same revision, also in a cluster', async (later) => {
    const { urls } = await cluster(later);
    const [first, ...others] = urls.map((servers) => checked({ servers }, 'here', '/'));
    assert.ok(first);
    const stores: FleetStore[] = [];
    await until('the servers have a leader', async () => {
      stores[0] ??= await FleetStore.open(first).catch(() => undefined as never);
      return stores[0] !== undefined;
    });
    for (const settings of others) stores.push(await FleetStore.open(settings));
    later(() => Promise.all(stores.map((one) => one.close())));
    const [store] = stores;
    assert.ok(store);
    let revision = await store.main.put('lease.api', {});
    for (let round = 0; round < 50; round += 1) {
      const base = revision;
      const all = await Promise.all(
        stores.map((one, at) => one.main.compareAndSet('lease.api', { round, at }, base)),
      );
      const written = all.filter((one) => one !== undefined);
      assert.equal(written.length, 1, `round ${round}: ${all}`);
      [revision = 0] = written;
    }
  });

  tidy('are heard of again soon where the server is gone that told of them', async (later) => {
    const { url } = await started(broker, later);
    const store = await FleetStore.open(checked({ servers: url }, 'here', '/'));
    later(() => store.close());
    await store.main.put('roll.api', { n: 0 });
    let heard = 0;
    const end = await store.main.watch(
      'roll.*',
      ({ bytes }) => {
        heard = (JSON.parse(new TextDecoder().decode(bytes)) as { n: number }).n;
      },
      { heartbeatMs: 200 },
    );
    for (let n = 1; n <= 3; n += 1) {
      const { consumers } = await jetstreamManager(store.connection);
      const all = await consumers.list('KV_MOULT_moult').next();
      assert.equal(all.length, 1);
      // As with its server: it ends without a word.
      for (const { name } of all) await consumers.delete('KV_MOULT_moult', name);
      await store.main.put('roll.api', { n });
      await until(`${n} is heard of`, () => heard === n, 20_000);
    }
    end();
  });
});
