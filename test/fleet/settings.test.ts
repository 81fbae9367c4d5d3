import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checked } from '#moult/fleet/settings.js';

describe('the settings of a fleet', () => {
  it('name one that is none, and those that there are', () => {
    const wrong = { servers: 'nats://a:4222', lables: { zone: 'a' } };
    const message = /^fleet\.yaml: expected one of servers, name, host, labels, .*, received "lables"/;
    assert.throws(() => checked(wrong, 'fleet.yaml', '/'), { code: 'MOULT_BAD_OPTION', message });
  });
});
