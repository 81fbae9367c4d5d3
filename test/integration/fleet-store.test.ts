import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { checked } from '#moult/fleet/settings.js';
import { FleetStore } from '#moult/fleet/store/store.js';
import { brokerOf, started } from '../support/brokers.js';
import { lacksServer } from '../support/message-service.js';
import { tidy } from '../support/tidy.js';

const broker = await brokerOf('nats');

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
});
