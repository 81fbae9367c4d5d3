import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe } from 'node:test';
import { jetstream } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import { connect } from '@nats-io/transport-node';
import { Asking, answerOf, fleet, type Host, startHost, writeReleases } from '../fleet/hosts.js';
import { brokerOf, started } from '../support/brokers.js';
import { lacksServer } from '../support/message-service.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { until } from './supervised.js';

const broker = await brokerOf('nats');

async function bucketOf(url: string, later: Later): Promise<KV> {
  const connection = await connect({ servers: url });
  later(() => connection.close());
  return new Kvm(jetstream(connection)).open('MOULT_moult');
}

interface HostNow {
  readonly host: string;
  readonly state: string;
  readonly alive?: { readonly generation: number };
  readonly record?: { readonly release: string | null; readonly obeyed?: { readonly epoch: number } };
}

async function hostsOf(url: string): Promise<HostNow[]> {
  const { stdout, stderr } = await fleet(url, 'status', '--json');
  assert.equal(stderr, '');
  const { services } = JSON.parse(stdout) as { services: { hosts: HostNow[] }[] };
  return services[0]?.hosts ?? [];
}

describe('a fleet', { skip: lacksServer(broker) }, () => {
  tidy('restarts host by host, takes back what fails, and goes on whoever is killed', async (later) => {
    const server = await started(broker, later);
    const { url } = server;
    const folder = temporaryFolder(later);
    writeReleases(folder, {
      1: '',
      2: '',
      3: '',
      'broken-in-b': "if (process.env.ZONE === 'b') process.exit(7);",
    });
    const hosts: Host[] = [];
    for (const [name, zone] of [
      ['web-1', 'a'],
      ['web-2', 'a'],
      ['web-3', 'b'],
    ] as const) {
      const host = await startHost(folder, url, name, zone);
      later(() => host.run.kill());
      hosts.push(host);
    }
    const [, second] = hosts;
    assert.ok(second);
    const answers = () => Promise.all(hosts.map(answerOf));
    await until(
      'all have joined',
      async () => (await hostsOf(url)).filter(({ state }) => state === 'serving').length === 3,
    );
    const asking = new Asking(hosts);

    // A roll with a deploy step.
    const first = await fleet(url, 'restart', 'api', '--release', '2', '--watch-for', '500ms');
    assert.equal(first.code, 0, first.stderr + first.stdout);
    assert.match(first.stdout, /canary +web-1 \(a\)\n {2}wave 1 +web-2 \(a\)\n {2}wave 2 +web-3 \(b\)/);
    assert.match(first.stdout, /✓ 3 hosts of api confirmed/);
    assert.deepEqual(await answers(), ['2', '2', '2']);

    // What fails in one zone only does not pass its canary, and no other host begins.
    const broken = await fleet(url, 'restart', 'api', '--release', 'broken-in-b', '--canary', 'each:zone');
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /web-3 failed: MOULT_SUCCESSOR_EXITED.*\(MOULT_ROLL_FAILED\)/);
    assert.deepEqual(await answers(), ['2', '2', '2']);
    assert.equal((await second.run.current()).generation, 2, 'it was not touched');
    const undeployed = await fleet(url, 'restart', 'api', '--release', 'undeployable');
    assert.match(undeployed.stderr, /web-1 failed: the deploy step exited with status 1/);

    // Values that mean nothing, in every place, by whoever has written them.
    const bucket = await bucketOf(url, later);
    await bucket.put('order.web-2.api', '{"protocol":1,"serial":');
    await bucket.put('order.web-3.api', JSON.stringify({ protocol: 99, roll: 'x' }));
    await bucket.put('host.ghost.api', 'boo');
    await bucket.put('lease.api', '[]');

    // The leader's agent is killed, then the server, while the canary is watched.
    const epochsOf = ({ run }: Host) =>
      run.log().flatMap((line) => Number(/leads the roll of api, epoch (\d+)/.exec(line)?.[1] ?? []));
    const timesLed = () => hosts.flatMap(epochsOf).length;
    const watched = () =>
      hosts.flatMap(({ run }) => run.log()).filter((line) => /is watching/.test(line)).length;
    const [ledBefore, watchedBefore] = [timesLed(), watched()];
    const rolling = fleet(url, 'restart', 'api', '--release', '3', '--watch-for', '5s', '--json');
    await until('the canary is watched', () => watched() > watchedBefore);
    const last = Math.max(...hosts.flatMap(epochsOf));
    const leader = hosts.find((host) => epochsOf(host).includes(last));
    assert.ok(leader);
    process.kill(leader.agentPid(), 'SIGKILL');
    await server.stop('SIGKILL');
    await server.start();
    const end = await rolling;
    assert.equal(end.code, 0, end.stderr + end.stdout);
    assert.ok(timesLed() > ledBefore + 1, 'another one went on');
    assert.deepEqual(await answers(), ['3', '3', '3']);
    const epochs = (await hostsOf(url)).flatMap(({ record }) => record?.obeyed?.epoch ?? []);
    assert.ok(Math.max(...epochs) > 1);

    // The program of a supervisor is replaced: its agent is, too, and none is left behind.
    const agent = second.agentPid();
    assert.equal((await second.run.moult('upgrade', 'api')).code, 0);
    await until('its agent has joined again', () => second.agentPid() !== agent);
    const fate = existsSync(`/proc/${agent}/stat`) ? readFileSync(`/proc/${agent}/stat`, 'utf8') : 'gone';
    assert.equal(fate, 'gone');

    // The same instruction once more restarts nothing.
    const generation = (await second.run.current()).generation;
    const order = await bucket.get('order.web-2.api');
    await bucket.put('order.web-2.api', order?.value ?? '');
    await fleet(url, 'rollback', 'api');
    assert.deepEqual(await answers(), ['2', '2', '2'], 'each has what it had before the roll');
    assert.equal((await second.run.current()).generation, generation + 1);
    assert.equal((await fleet(url, 'undo', 'api')).code, 2, 'there is nothing left to undo');

    await asking.end();
    assert.deepEqual(asking.failures, []);
    assert.ok(asking.answered > 100);
    const history = await fleet(url, 'history', '--json');
    const rolls = JSON.parse(history.stdout) as { serial: number; phase: string }[];
    assert.deepEqual(
      rolls.map(({ serial, phase }) => `${serial} ${phase}`),
      ['1 done', '2 undone', '3 undone', '4 undone'],
    );
    assert.equal((await fleet(url, 'forget', 'ghost')).code, 0);
    await Promise.all(hosts.map(({ run }) => run.stop()));
    assert.deepEqual(await hostsOf(url), [], 'who is stopped has left, and nobody waits for it');
  });
});
