import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import { configSchema } from '#moult/config/config-schema.js';
import { MAX_HOST_BYTES, MAX_HOSTS, MAX_VALUE_BYTES } from '#moult/fleet/limits.js';
import { aliveSchema, hostSchema, leaseSchema, orderSchema, read, rollSchema } from '#moult/fleet/records.js';
import { fleetSettings } from '#moult/fleet/settings.js';
import { namesIn, orderKey } from '#moult/fleet/store/keys.js';
import fc from '../support/fast-check.js';
import { rollOf } from './roll/roll-world.js';

const parseConfig = (value: unknown) => v.parse(configSchema, value) as { readonly fleet?: unknown };
const schemas = [orderSchema, hostSchema, aliveSchema, leaseSchema, rollSchema];
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe('a value of a bucket', () => {
  it('never throws, whatever is there', () => {
    const anything = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => new TextEncoder().encode(text)),
      fc
        .object({ key: fc.constantFrom('protocol', 'hosts', 'waves', 'obeyed', 'serial', '__proto__') })
        .map(bytes),
    );
    fc.assert(
      fc.property(anything, fc.nat(4), (value, at) => {
        const found = read(schemas[at] ?? orderSchema, value, MAX_HOST_BYTES);
        if ('trouble' in found) assert.ok(found.trouble.length > 0 && found.trouble.length < 400);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no number that cannot have grown, and no roll whose waves are not its hosts', () => {
    const roll = rollOf([['a'], ['b']]);
    const isTaken = (value: object) => 'value' in read(rollSchema, bytes(value), MAX_VALUE_BYTES);
    assert.ok(isTaken(roll));
    for (const broken of [
      { epoch: Number.MAX_SAFE_INTEGER },
      { serial: Number.MAX_SAFE_INTEGER },
      { wave: 2 },
      { waves: [['a']] },
      { waves: [['a'], ['b'], ['b']] },
      { waves: [['a'], ['c']] },
      { waves: [] },
    ])
      assert.ok(!isTaken({ ...roll, ...broken }), JSON.stringify(broken));
  });

  it('says of a newer one that it is newer, and of others what is wrong', () => {
    const order = { protocol: 1, roll: 'x', serial: 1, action: 'restart', epoch: 1, release: null };
    assert.ok('value' in read(orderSchema, bytes({ ...order, since: 'later' }), MAX_HOST_BYTES));
    const trouble = (value: unknown) => {
      const found = read(orderSchema, bytes(value), MAX_HOST_BYTES);
      return 'trouble' in found ? found.trouble : assert.fail('it was read');
    };
    assert.match(trouble({ ...order, protocol: 2, action: 'dance' }), /newer moult \(protocol 2, here 1\)/);
    assert.match(trouble({ ...order, action: 'dance' }), /^action: /);
    assert.match(trouble({ ...order, release: '$(reboot)' }), /^release: /);
    assert.match(trouble({ ...order, epoch: -1 }), /^epoch: /);
    assert.match(trouble({ ...order, roll: 'x'.repeat(MAX_HOST_BYTES) }), /bytes, the limit is/);
  });

  it('has room for a roll of as many hosts as a roll may have, with reasons', () => {
    const hosts = Array.from({ length: MAX_HOSTS }, (_, n) => `web-${n}.eu-central-1.example.com`);
    const roll = rollOf(hosts.map((host) => [host]));
    const whole = bytes(roll);
    assert.ok(whole.length < MAX_VALUE_BYTES / 2, `${whole.length} bytes`);
    const found = read(rollSchema, whole, MAX_VALUE_BYTES);
    assert.deepEqual('value' in found && found.value, roll);
  });

  it('may be named in the settings of a service, as a file or a text has them', async () => {
    const config = parseConfig({ fleet: { servers: 'nats://a:1', labels: { zone: 'b' }, creds: 'x.creds' } });
    const settings = await fleetSettings(String(config.fleet), '/srv');
    assert.deepEqual(settings.servers, ['nats://a:1']);
    assert.deepEqual(settings.labels, { zone: 'b' });
    assert.equal(settings.creds, '/srv/x.creds');
    assert.equal(parseConfig({ fleet: 'nats://a:1' }).fleet, 'nats://a:1');
    assert.throws(() => parseConfig({ fleet: ['nats://a:1'] }));
    await assert.rejects(fleetSettings('{"servers":"nats://a:1","zone":"b"}', '/srv'), /received "zone"/);
    await assert.rejects(fleetSettings('{"servers":', '/srv'), /--fleet: expected JSON/);
  });

  it('is found by names that may have dots', () => {
    assert.equal(orderKey('web-1.example.com', 'api.v2'), 'order.web-1=example=com.api=v2');
    assert.deepEqual(namesIn('order.web-1=example=com.api=v2'), ['web-1.example.com', 'api.v2']);
  });
});
