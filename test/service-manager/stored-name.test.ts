import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isStoredByUs, listenerStoredAs, storedName } from '#moult/service-manager/stored-name.js';
import fc from '../support/fast-check.js';

describe('the name under which a listener is stored', () => {
  it('can be read', () => {
    assert.equal(storedName('tcp://*:3000'), 'moult/tcp%3A//*%3A3000');
    assert.equal(storedName('unix:/run/a b.sock'), 'moult/unix%3A/run/a%20b.sock');
  });

  it('is one that systemd takes, and tells the listener as far as it has room', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 400 }), (listener) => {
        const name = storedName(listener);
        assert.match(name, /^[ -9;-~]{1,255}$/);
        assert.ok(isStoredByUs(name));
        const told = listenerStoredAs(name);
        assert.ok(told === undefined || told === Buffer.from(listener).toString());
        if (Buffer.byteLength(listener) < 80 && !listener.startsWith('#')) assert.notEqual(told, undefined);
      }),
    );
  });

  it('differs for names that are too long to be told', () => {
    const long = 'unix:'.padEnd(500, 'x');
    assert.notEqual(storedName(`${long}a`), storedName(`${long}b`));
    assert.equal(listenerStoredAs(storedName(long)), undefined);
  });

  it('is not ours where another stored it', () => {
    for (const name of ['', 'stored', 'api.socket']) {
      assert.equal(isStoredByUs(name), false);
      assert.equal(listenerStoredAs(name), undefined);
    }
  });
});
