import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { Agent } from '#moult/fleet/agent/agent.js';
import { MAX_HOST_BYTES } from '#moult/fleet/limits.js';
import { hostSchema, read } from '#moult/fleet/records.js';
import { checked } from '#moult/fleet/settings.js';
import { FleetStore } from '#moult/fleet/store/store.js';
import { fleet } from '../fleet/hosts.js';
import { Obedient } from '../fleet/obedient.js';
import { brokerOf, started } from '../support/brokers.js';
import { lacksServer } from '../support/message-service.js';
import { type Later, tidy } from '../support/tidy.js';
import { until } from './supervised.js';

const broker = await brokerOf('nats');
const NAMES = ['web-1', 'web-2', 'web-3'];

interface Fleet {
  readonly url: string;
  readonly store: FleetStore;
  readonly services: readonly Obedient[];
  readonly said: string[];
  agentOf(name: string, service?: Obedient): Agent;
  /** Writes to any key, as whoever may. */
  write(key: string, value: string | Uint8Array): Promise<void>;
}

async function fleetOf(later: Later): Promise<Fleet> {
  const { url } = await started(broker, later);
  const store = await FleetStore.open(checked({ servers: url }, 'test', '/'));
  later(() => store.close());
  const said: string[] = [];
  const log = { info: () => {}, warn: (what: string) => said.push(what) };
  const agentOf = (name: string, service = new Obedient()) => {
    const settings = checked({ servers: url, host: name }, 'test', '/');
    const agent = new Agent({ settings, name: 'api', identity: name, service, log, beatMs: 200 });
    later(() => agent.end(false));
    return agent;
  };
  const kvm = new Kvm(jetstream(store.connection));
  const [main, alive] = [await kvm.open('MOULT_moult'), await kvm.open('MOULT_moult_ALIVE')];
  const write = async (key: string, value: string | Uint8Array) => {
    if (key.startsWith('alive.')) await alive.put(key.replace('alive', 'host'), value);
    else await main.put(key, value);
  };
  const services = NAMES.map(() => new Obedient());
  for (const [at, name] of NAMES.entries()) agentOf(name, services[at]);
  await until('all have joined', async () => (await store.alive.all('host.*.api')).length === NAMES.length);
  return { url, store, services, said, agentOf, write };
}

/** What is no record of anybody: no text, no JSON, another shape, too much, numbers out of every range, from a later moult. */
const GARBAGE: readonly (string | Uint8Array)[] = [
  '',
  'boo',
  Uint8Array.of(0xff, 0xfe, 0x00),
  '[]',
  '['.repeat(10_000),
  JSON.stringify({ protocol: 99 }),
  JSON.stringify({ protocol: -1 }),
  JSON.stringify({
    protocol: 1,
    epoch: 2 ** 53 - 1,
    serial: 2 ** 53 - 1,
    holder: null,
    beat: 0,
    done: 2 ** 53 - 1,
  }),
  JSON.stringify({ protocol: 1, epoch: {}, hosts: [], waves: {}, obeyed: 'x', identity: 7 }),
  `{"protocol":1,"hosts":{"__proto__":{"state":"done"}},"waves":[["__proto__"]]}`,
  JSON.stringify({ protocol: 1, host: 'x'.repeat(15_000) }),
  JSON.stringify({ protocol: 1, epoch: 2 ** 52, holder: 'nobody', beat: 0, done: 0 }),
];

const ROUNDS = 4;

describe('values that mean nothing', { skip: lacksServer(broker) }, () => {
  tidy('end no agent and no roll, wherever they are', async (later) => {
    const { url, services, store, write, said } = await fleetOf(later);
    const keys = ['host.web-1.api', 'order.web-2.api', 'lease.api', 'alive.web-3.api', 'past.api.1'];
    const strange = ['host.ghost.api', 'alive.ghost.api', 'order.ghost.api', 'past.api.x', 'nothing', 'roll'];
    const all = [...keys, ...strange, 'roll.api'];
    // Each value is in some key in some round, and each key meets another value in each.
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [at, key] of all.entries())
        await write(key, GARBAGE[(at * ROUNDS + round) % GARBAGE.length] ?? '');
      // Each host heals what is its own.
      await until('web-1 has a record', async () => {
        const found = await store.main.get('host.web-1.api');
        return found !== undefined && 'value' in read(hostSchema, found.bytes, MAX_HOST_BYTES);
      });
      const args = ['--canary', 'none', '--wave', '3', '--host-timeout', '60s', '--max-unavailable', '3'];
      const rolled = await fleet(url, 'restart', 'api', ...args);
      assert.equal(rolled.code, 0, `round ${round}: ${rolled.stderr}${rolled.stdout}${said}`);
      for (const service of services) assert.equal(service.told.length, round + 1);
    }
    const status = await fleet(url, 'status');
    assert.match(status.stdout, /ghost .*\n +its record cannot be used/);
    const history = await fleet(url, 'history');
    assert.equal(history.code, 0);
    assert.equal(history.stdout.trim().split('\n').length, 1 + ROUNDS);
  });

  tidy('in the place of a roll that is under way are replaced by what its leader knows', async (later) => {
    const { url, services, store, write, said } = await fleetOf(later);
    const rolling = fleet(url, 'restart', 'api', '--canary', '1', '--watch-for', '4s', '--wave', '2');
    await until('the canary is watched', async () => {
      const found = await store.main.get('roll.api');
      return found !== undefined && new TextDecoder().decode(found.bytes).includes('"phase":"watching"');
    });
    await write('roll.api', 'boo');
    await until('it is restored', () => said.some((what) => what.includes('is restored')));
    await write('lease.api', '[]');
    await write('order.web-3.api', 'boo');
    await rolling;
    const end = await fleet(url, 'watch', 'api');
    assert.equal(end.code, 0, end.stderr + end.stdout + said);
    for (const { told } of services) assert.deepEqual(told, ['restart']);
  });
});

describe('the record of a host', { skip: lacksServer(broker) }, () => {
  tidy('is that of its last agent: what an earlier one has on its way is refused', async (later) => {
    const { store, agentOf } = await fleetOf(later);
    const service = new Obedient();
    const agent = agentOf('web-4', service);
    const recordOf = async () => {
      const found = await store.main.get('host.web-4.api');
      const record = found && read(hostSchema, found.bytes, MAX_HOST_BYTES);
      return record && 'value' in record ? { ...record.value, revision: found.revision } : undefined;
    };
    await until('it has joined', recordOf);
    await agent.end(false);
    const before = await recordOf();
    assert.ok(before);
    const { revision, ...record } = before;
    const next = agentOf('web-4', service);
    await until('the next one has joined', async () => ((await recordOf())?.revision ?? 0) > revision);
    assert.equal(await store.main.compareAndSet('host.web-4.api', record, revision), undefined);
    // Who leaves stays away, whatever comes to its end meanwhile.
    await next.end(true);
    assert.equal((await recordOf())?.hasLeft, true);
  });
});
