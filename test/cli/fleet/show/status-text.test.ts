import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fleetView } from '#moult/cli/fleet/show/fleet-view.js';
import { planText } from '#moult/cli/fleet/show/plan-text.js';
import { statusText } from '#moult/cli/fleet/show/status-text.js';
import type { Roll } from '#moult/fleet/roll/roll.js';
import type { Member } from '#moult/fleet/roster.js';
import { unpainted } from '#moult/terminal/paint.js';
import { rollOf } from '../../../fleet/roll/roll-world.js';

function member(host: string, version = '0.1.0', isHeard = true): Member {
  const alive = { generation: 2, connections: 3, inFlight: 0, restarts: 1, crashes: 0 };
  const record = { labels: { zone: 'a' }, hasDeploy: false, release: '7', version, identity: host };
  return {
    host,
    service: 'api',
    record: { protocol: 1, host, service: 'api', ...record },
    alive: isHeard ? { protocol: 1, identity: host, state: 'serving', ...alive } : undefined,
  };
}

function absent(names: readonly string[]): Roll['hosts'] {
  return Object.fromEntries(names.map((host) => [host, { state: 'absent' }] as const));
}

function text(members: readonly Member[], roll?: Roll): string {
  const services = [{ service: 'api', members, roll, trouble: undefined }];
  return unpainted(statusText({ name: 'moult', services }, 80));
}

describe('the status of a fleet', () => {
  it('says who runs another moult than the rest', () => {
    const same = text([member('a'), member('b')]);
    assert.doesNotMatch(same, /versions/);
    const mixed = text([member('a', '0.2.0'), ...['b', 'c', 'd', 'e'].map((host) => member(host))]);
    assert.match(mixed, /versions of moult: 0\.2\.0 on a; 0\.1\.0 on 4 hosts/);
  });

  it('stays readable with a thousand hosts in the middle of a roll, and on the dashboard', () => {
    const names = Array.from({ length: 1000 }, (_, n) => `web-${String(n).padStart(4, '0')}`);
    const roll = rollOf([names.slice(0, 1), names.slice(1, 500), names.slice(500)]);
    const states = names.map(
      (host, n) => [host, { state: n < 400 ? 'confirmed' : n < 900 ? 'running' : 'waiting' }] as const,
    );
    const now: Roll = { ...roll, wave: 1, hosts: Object.fromEntries(states) };
    const members = names.map((host, n) => member(host, '0.1.0', n !== 3));
    const shown = text(members, now);
    assert.match(
      shown,
      /^api: 1000 hosts, 1 silent\n {2}roll 1 is rolling \(2 of 3 waves; 400 confirmed, 500 running, 100 waiting\)\n/,
    );
    assert.match(shown, /web-0003 .*silent/);
    assert.doesNotMatch(shown, /web-0004/, 'it is confirmed');
    assert.match(shown, /960 other hosts \(--json lists all\)/);
    assert.ok(shown.split('\n').length < 100, shown);
    const plan = unpainted(planText({ ...now, hosts: absent(names) }, members, 80));
    assert.match(plan, /silent +web-0000, .* and 992 more/s);
    for (const line of [...shown.split('\n'), ...plan.split('\n')]) assert.ok(line.length <= 80, line);
    const view = fleetView({
      name: 'moult',
      services: [{ service: 'api', members, roll: now, trouble: undefined }],
    });
    assert.equal(view.services[0]?.hosts.length, 40);
    assert.equal(view.services[0]?.unshown, 960);
    assert.match(view.services[0]?.roll ?? '', /^roll 1 is rolling/);
  });
});
