import assert from 'node:assert/strict';
import { describe } from 'node:test';
import type { Roll } from '#moult/fleet/roll/roll.js';
import { checked } from '#moult/fleet/settings.js';
import { FleetStore } from '#moult/fleet/store/store.js';
import { fleet } from '../fleet/hosts.js';
import { rollOf } from '../fleet/roll/roll-world.js';
import { brokerOf, started } from '../support/brokers.js';
import { lacksServer } from '../support/message-service.js';
import { tidy } from '../support/tidy.js';

const broker = await brokerOf('nats');

describe('what is asked of a roll that nobody leads', { skip: lacksServer(broker) }, () => {
  tidy('is not lost to what weighs less, nor to the next roll', async (later) => {
    const { url } = await started(broker, later);
    const store = await FleetStore.open(checked({ servers: url }, 'test', '/'));
    later(() => store.close());
    const roll = rollOf([['a'], ['b']]);
    const put = (facts: Partial<Roll>) => store.main.put('roll.api', { ...roll, ...facts });
    const asked = async () => {
      const found = await store.main.get('roll.api');
      return (JSON.parse(new TextDecoder().decode(found?.bytes)) as Roll).asked;
    };
    await put({ phase: 'rolling', asked: 'undo' });
    for (const weaker of [['pause'], ['abort', '--no-wait']]) {
      const { code, stderr } = await fleet(url, ...weaker, 'api');
      assert.equal(code, 1, stderr);
      assert.match(stderr, /roll 1 of api is rolling, and undo was requested \(MOULT_ROLL_IN_PROGRESS\)/);
      assert.equal(await asked(), 'undo');
    }
    // What is asked first may be taken back before anybody has heard it.
    await put({ phase: 'rolling', asked: 'pause' });
    assert.equal((await fleet(url, 'resume', 'api')).code, 0);
    assert.equal(await asked(), 'resume');
    await put({ phase: 'done', asked: 'undo' });
    await store.main.put('host.a.api', host);
    const next = await fleet(url, 'restart', 'api', '--no-wait');
    assert.equal(next.code, 1);
    assert.match(next.stderr, /has not ended: it is done, and undo was requested/);
    assert.equal(await asked(), 'undo');
  });

  tidy('is followed to its own end, also where another roll has begun', async (later) => {
    const { url } = await started(broker, later);
    const store = await FleetStore.open(checked({ servers: url }, 'test', '/'));
    later(() => store.close());
    const roll = rollOf([['a'], ['b']]);
    await store.main.put('roll.api', { ...roll, phase: 'stopping' });
    const following = fleet(url, 'undo', 'api');
    const isAsked = async () => {
      const found = await store.main.get('roll.api');
      return new TextDecoder().decode(found?.bytes).includes('"asked":"undo"');
    };
    while (!(await isAsked())) await new Promise((resolve) => setTimeout(resolve, 20));
    // Undone, but for one host, and the next roll is done before the command hears of it.
    const reason = 'undo; not undone: a';
    await store.main.put('past.api.1', { ...roll, phase: 'stopped', reason });
    await store.main.put('roll.api', { ...roll, serial: 2, id: 'next', phase: 'done' });
    const { code, stderr } = await following;
    assert.equal(code, 1);
    assert.match(stderr, /roll 1 of api was stopped: undo; not undone: a/);
  });
});

describe('what a fleet command is asked for that is not there', { skip: lacksServer(broker) }, () => {
  tidy('is named, and a roll that has ended is shown and judged', async (later) => {
    const { url } = await started(broker, later);
    const store = await FleetStore.open(checked({ servers: url }, 'test', '/'));
    later(() => store.close());
    await store.main.put('host.a.api', { ...host, labels: { zone: 'z' } });
    const none = await fleet(url, 'status', 'nosuch');
    assert.equal(none.code, 1);
    assert.match(none.stdout, /^no host of this fleet runs nosuch; moult fleet status lists the services\n$/);
    for (const option of [['--by'], ['--canary', 'each:']]) {
      const [word = '', before = ''] = option;
      const wrong = await fleet(url, 'restart', 'api', '--plan', word, `${before}rack`);
      assert.equal(wrong.code, 2);
      const what = `${word}: expected a label that a host of api has, received rack; they have zone `;
      assert.ok(wrong.stderr.includes(what), wrong.stderr);
    }
    // One that is silent counts, and then none may restart.
    await store.main.put('host.b.api', { ...host, host: 'b', identity: 'b' });
    await store.alive.put('host.a.api', { protocol: 1, identity: 'a', state: 'serving', ...FIGURES });
    const silent = await fleet(url, 'restart', 'api', '--plan');
    assert.equal(silent.code, 2, silent.stdout);
    assert.match(
      silent.stderr,
      /expected more than the 1 host of 2 that are silent \(b\), received 1: no other host/,
    );
    const enough = await fleet(url, 'restart', 'api', '--plan', '--max-unavailable', '2');
    assert.equal(enough.code, 0, enough.stderr);
    const unnamed = await fleet('', 'status');
    assert.match(unnamed.stderr, /expected --fleet nats:\/\/host:4222 or the variable MOULT_FLEET/);

    const roll = rollOf([['a'], ['b']]);
    for (const [phase, status] of [
      ['done', 0],
      ['undone', 1],
    ] as const) {
      await store.main.put('roll.api', { ...roll, phase });
      const { code, stderr } = await fleet(url, 'watch', 'api');
      assert.equal(code, status, stderr);
      assert.doesNotMatch(stderr, /ClosedConnection|node_modules/);
    }
  });
});

const FIGURES = { generation: 1, connections: 0, inFlight: 0, restarts: 0, crashes: 0 };

const host = {
  protocol: 1,
  host: 'a',
  service: 'api',
  labels: {},
  version: '0',
  identity: 'a',
  hasDeploy: false,
  release: null,
};
