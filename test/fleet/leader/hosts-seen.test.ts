import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CanaryWatch } from '#moult/fleet/leader/canary-watch.js';
import { HostsSeen } from '#moult/fleet/leader/hosts-seen.js';
import type { AliveRecord } from '#moult/fleet/records.js';
import type { Roll } from '#moult/fleet/roll/roll.js';
import { hostKey } from '#moult/fleet/store/keys.js';
import { ALIVE_MS } from '#moult/fleet/store/store.js';
import { rollOf } from '../roll/roll-world.js';
import { LaggingKv, storeOf } from './lagging-kv.js';

const SERVING: AliveRecord = {
  protocol: 1,
  identity: 'x',
  state: 'serving',
  generation: 2,
  connections: 0,
  inFlight: 0,
  restarts: 1,
  crashes: 3,
};
/** As an agent writes it whose supervisor does not answer. */
const SILENT: AliveRecord = { ...SERVING, state: 'silent', generation: 0, restarts: 0, crashes: 0 };

/** A canary that is watched for ten seconds, and who sees it. */
async function watching(later: (end: () => void) => void): Promise<{
  readonly roll: Roll;
  readonly seen: HostsSeen;
  readonly watch: CanaryWatch;
  beat(health: AliveRecord): Promise<void>;
}> {
  const alive = new LaggingKv();
  const seen = new HostsSeen(storeOf(new LaggingKv(), alive), 'api');
  await seen.begin();
  later(() => seen.end());
  const roll = rollOf([['a'], ['b']], { watchForMs: 10_000 });
  return {
    roll: { ...roll, phase: 'watching', hosts: { ...roll.hosts, a: { state: 'confirmed' } } },
    seen,
    watch: new CanaryWatch(),
    async beat(health) {
      await alive.put(hostKey('a', 'api'), JSON.stringify(health));
      // Whoever watches hears of it in a later turn.
      for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** What happened to the canary. */
const ofCanary = (seen: HostsSeen, roll: Roll) =>
  seen.happened(roll).filter((one) => 'host' in one && one.host === 'a');

describe('a host whose agent lives, and whose supervisor does not answer', () => {
  it('is silent, until its supervisor answers', async (t) => {
    const { roll, seen, beat } = await watching((end) => t.after(end));
    await beat(SERVING);
    for (let passedMs = 0; passedMs <= ALIVE_MS; passedMs += 5000) {
      assert.deepEqual(ofCanary(seen, roll), []);
      seen.pass(5000);
      await beat(SILENT);
    }
    assert.deepEqual(ofCanary(seen, roll), [{ type: 'host', host: 'a', event: 'silent' }]);
    const silent: Roll = { ...roll, hosts: { ...roll.hosts, a: { state: 'confirmed', isSilent: true } } };
    assert.deepEqual(ofCanary(seen, silent), []);
    await beat(SERVING);
    assert.deepEqual(ofCanary(seen, silent), [{ type: 'host', host: 'a', event: 'heard' }]);
  });

  it('has not said how it is: as a canary it does not pass', async (t) => {
    const { roll, seen, watch, beat } = await watching((end) => t.after(end));
    await beat(SERVING);
    watch.happened(roll, seen);
    watch.pass(10_000);
    assert.deepEqual(watch.happened(roll, seen), []);
    await beat(SILENT);
    assert.deepEqual(watch.happened(roll, seen), []);
    await beat(SERVING);
    assert.deepEqual(watch.happened(roll, seen), [{ type: 'watched' }]);
  });

  it('has no figures to compare with: what crashed before the roll is no crash of a canary', async (t) => {
    const { roll, seen, watch, beat } = await watching((end) => t.after(end));
    await beat(SILENT);
    watch.happened(roll, seen);
    await beat(SERVING);
    assert.deepEqual(watch.happened(roll, seen), []);
    assert.equal(seen.health('a')?.crashes, 3);
  });
});
