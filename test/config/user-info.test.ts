import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withoutUserInfo } from '#moult/config/options/user-info.js';
import { resolveConfig } from '#moult/config/resolve-config.js';
import { shownServer } from '#moult/fleet/settings.js';

describe('a password in an address', () => {
  it('is not shown, whatever is in it', () => {
    for (const password of ['plain', 'a/b', 'a,b', 'a@b', '%40']) {
      const [one, other] = [`nats://user:${password}@10.0.0.5:4222`, `tls://user:${password}@10.0.0.6`];
      assert.equal(shownServer(one), 'nats://10.0.0.5:4222');
      assert.equal(withoutUserInfo(`${one},${other}`), 'nats://10.0.0.5:4222,tls://10.0.0.6');
      const settings = { servers: [one, other], labels: { zone: 'a' }, lead: false };
      const shown = { ...settings, servers: ['nats://10.0.0.5:4222', 'tls://10.0.0.6'] };
      assert.deepEqual(withoutUserInfo(settings), shown);
      assert.equal(withoutUserInfo(JSON.stringify(settings)), JSON.stringify(shown));
    }
    for (const same of ['nats://10.0.0.5:4222', 'fleet.yaml', 'me@here'])
      assert.equal(withoutUserInfo(same), same);
  });

  it('is not among the options that are shown to others, and holds all the same', () => {
    const fleet = 'nats://user:secret@10.0.0.5:4222';
    const given = { words: ['server.js'], flags: { fleet }, cwd: '/' };
    const { held, flags } = resolveConfig(given, undefined);
    assert.equal(held.find(({ key }) => key === 'fleet')?.value, 'nats://10.0.0.5:4222');
    assert.equal(flags.fleet, fleet);
  });
});
