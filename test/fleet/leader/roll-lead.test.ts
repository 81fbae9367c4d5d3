import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { RollLead } from '#moult/fleet/leader/roll-lead.js';
import type { Roll } from '#moult/fleet/roll/roll.js';
import { rollKey } from '#moult/fleet/store/keys.js';
import { until } from '../../support/events.js';
import { tidy } from '../../support/tidy.js';
import { rollOf } from '../roll/roll-world.js';
import { LaggingKv, storeOf } from './lagging-kv.js';

describe('the leader of a roll', () => {
  tidy('hears what an operator asks for, also from a server that lags behind', async (later) => {
    const kv = new LaggingKv();
    const key = rollKey('api');
    const roll = rollOf([['a'], ['b']]);
    await kv.put(
      key,
      JSON.stringify({ ...roll, phase: 'watching', hosts: { ...roll.hosts, a: { state: 'confirmed' } } }),
    );
    const ending = new AbortController();
    const lead = new RollLead({
      store: storeOf(kv),
      service: 'api',
      epoch: 1,
      isValid: () => !ending.signal.aborted,
      signal: ending.signal,
      log: { info() {}, warn() {} },
    });
    const led = lead.run();
    later(async () => {
      ending.abort();
      await led;
    });
    let now: Roll = roll;
    const look = async () => {
      const found = await kv.bucket.get(key);
      now = JSON.parse(new TextDecoder().decode(found?.bytes)) as Roll;
      return found?.revision ?? 0;
    };
    const isNow = async (phase: Roll['phase'], epoch: number) => {
      for (const giveUpAtMs = performance.now() + 30_000; ; ) {
        await look();
        if (now.phase === phase && now.epoch === epoch) return;
        assert.ok(performance.now() < giveUpAtMs, `it is ${now.phase}, not ${phase}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await isNow('watching', 1);
    for (const [asked, phase] of [
      ['pause', 'paused'],
      ['resume', 'watching'],
      ['pause', 'paused'],
    ] as const) {
      const revision = await look();
      // The leader is told of it, and finds what was there before.
      kv.lag = 2;
      await kv.put(key, JSON.stringify({ ...now, asked }));
      await until(() => kv.lag === 0, 'it has looked');
      await isNow(phase, 1);
      assert.equal(now.asked, null);
      assert.ok((await look()) > revision);
    }
  });
});
