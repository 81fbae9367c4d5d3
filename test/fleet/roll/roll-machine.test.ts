import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_HOSTS, MAX_VALUE_BYTES } from '#moult/fleet/limits.js';
import { hostStates } from '#moult/fleet/roll/host-states.js';
import { judge } from '#moult/fleet/roll/obedience.js';
import type { Roll } from '#moult/fleet/roll/roll.js';
import { advance, type Happened, ordersOf, type Report } from '#moult/fleet/roll/roll-machine.js';
import fc from '../../support/fast-check.js';
import { modelRuns } from '../../support/model-runs.js';
import { sequenceOf } from '../../support/sequence.js';
import { RollWorld, rollOf } from './roll-world.js';

const RUNS = modelRuns('MODEL_RUNS', 400);

const event = (host: string, what: Report, reason?: string): Happened => ({
  type: 'host',
  host,
  event: what,
  ...(reason === undefined ? {} : { reason }),
});

/** One after another, as a leader sees them that sees all. */
function after(roll: Roll, ...happened: Happened[]): Roll {
  return happened.reduce((now, one) => advance(now, [one]), advance(roll, []));
}

describe('the machine of a roll', () => {
  it('goes on to the next wave only when all of one are confirmed', () => {
    let roll = advance(rollOf([['a'], ['b', 'c']]), []);
    assert.deepEqual([...ordersOf(roll)], [['a', 'restart']]);
    roll = after(roll, event('a', 'begun'), event('a', 'succeeded'));
    assert.equal(roll.phase, 'watching');
    assert.equal(ordersOf(roll).size, 1);
    roll = after(roll, { type: 'watched' });
    assert.deepEqual([...ordersOf(roll).keys()], ['a', 'b', 'c']);
    roll = after(roll, event('b', 'succeeded'));
    assert.equal(roll.phase, 'rolling');
    roll = after(roll, event('c', 'begun'), event('c', 'succeeded'), event('c', 'succeeded'));
    assert.equal(roll.phase, 'done');
  });

  it('takes back what it has replaced, and touches nothing else, when a host fails', () => {
    let roll = after(rollOf([['a'], ['b'], ['c']], { watchForMs: 0 }), event('a', 'succeeded'));
    roll = after(roll, event('b', 'failed', 'it exited with code 1'));
    assert.equal(roll.phase, 'undoing');
    assert.equal(roll.reason, 'b failed: it exited with code 1');
    assert.deepEqual(
      [...ordersOf(roll)],
      [
        ['a', 'undo'],
        ['b', 'undo'],
      ],
    );
    roll = after(roll, event('a', 'taken-back'), event('b', 'taken-back'));
    assert.equal(roll.phase, 'undone');
    assert.equal(roll.hosts.c?.state, 'waiting');
  });

  it('says that it was stopped, and where, when a host could not be taken back', () => {
    let roll = after(rollOf([['a'], ['b']], { watchForMs: 0 }), event('a', 'succeeded'));
    roll = after(roll, event('b', 'failed', 'x'), event('b', 'taken-back'));
    roll = after(roll, event('a', 'not-taken-back', 'its files were written over'));
    assert.equal(roll.phase, 'stopped');
    assert.match(roll.reason ?? '', /not undone: a/);
    assert.equal(roll.hosts.a?.reason, 'its files were written over');
  });

  it('fails when a canary falls silent or was seen to be worse than the rest', () => {
    const begun = advance(rollOf([['a'], ['b']]), []);
    assert.equal(after(begun, event('a', 'silent')).phase, 'undoing');
    const watching = after(begun, event('a', 'succeeded'));
    const judged = after(watching, { type: 'watched', reason: 'the canaries answered 9% with 5xx' });
    assert.equal(judged.phase, 'undoing');
    assert.match(judged.reason ?? '', /9%/);
  });

  it('counts silent hosts as unavailable, and stops when there are too many', () => {
    const silent = (n: number) => {
      let roll = advance(rollOf([['a'], ['b'], ['c'], ['d']], { watchForMs: 0, onFailure: 'stop' }), []);
      roll = after(roll, ...['d', 'c', 'b'].slice(0, n).map((host) => event(host, 'silent')));
      return after(roll, event('a', 'succeeded'), event('b', 'succeeded'), event('c', 'succeeded'));
    };
    const one = silent(1);
    assert.equal(one.phase, 'done');
    assert.equal(one.hosts.d?.state, 'unknown');
    assert.equal(ordersOf(one).get('d'), 'restart', 'it learns when it returns what was decided');
    const three = silent(3);
    assert.equal(three.phase, 'stopped');
    assert.match(three.reason ?? '', /3 hosts are silent \(.*\), and at most \d may be silent or restart/);
  });

  it('counts confirmed hosts that fall silent as unavailable, until they are heard again', () => {
    const waves = [['a'], ['b'], ['c']];
    let roll = after(rollOf(waves, { watchForMs: 0, maxUnavailable: 1 }), event('a', 'succeeded'));
    roll = after(roll, event('a', 'silent'), event('b', 'succeeded'));
    assert.equal(roll.phase, 'undoing');
    assert.match(roll.reason ?? '', /1 hosts? (is|are) silent \(a\)/);
    roll = after(rollOf(waves, { watchForMs: 0, maxUnavailable: 1 }), event('a', 'succeeded'));
    roll = after(
      roll,
      event('a', 'silent'),
      event('a', 'heard'),
      event('b', 'succeeded'),
      event('c', 'succeeded'),
    );
    assert.equal(roll.phase, 'done');
    assert.deepEqual(roll.hosts.a, { state: 'confirmed' });
  });

  it('fails when a canary falls silent while it is watched, or has while the roll was paused', () => {
    const watching = after(rollOf([['a'], ['b']]), event('a', 'succeeded'));
    const silent = after(watching, event('a', 'silent'));
    assert.equal(silent.phase, 'undoing');
    assert.match(silent.reason ?? '', /a, a canary, fell silent/);
    let paused = after({ ...watching, asked: 'pause' }, event('a', 'silent'));
    assert.equal(paused.phase, 'paused');
    paused = advance({ ...paused, asked: 'resume' }, []);
    assert.equal(paused.phase, 'undoing');
    assert.match(paused.reason ?? '', /a, a canary, is silent/);
  });

  it('fits into its value, however many hosts fail with whatever reason', () => {
    const names = Array.from({ length: MAX_HOSTS }, (_, n) => `${'web-'.padEnd(60, 'x')}${n}`);
    let roll = rollOf([names], { maxUnavailable: MAX_HOSTS, onFailure: 'stop' });
    const reason = '\u0007€'.repeat(400);
    roll = advance(roll, []);
    roll = advance(
      roll,
      names.map((host) => event(host, 'failed', reason)),
    );
    assert.equal(roll.phase, 'stopped');
    assert.ok((roll.hosts[names[0] ?? '']?.reason?.length ?? 0) > 20);
    const { length } = Buffer.from(JSON.stringify(roll));
    assert.ok(length < MAX_VALUE_BYTES, `${length} bytes`);
  });

  it('lets what has begun come to its end, and withdraws the rest, when it is given up', () => {
    let roll = after(rollOf([['a'], ['b', 'c']], { watchForMs: 0 }), event('a', 'succeeded'));
    roll = after({ ...roll, asked: 'abort' }, event('b', 'begun'));
    assert.equal(roll.phase, 'stopping');
    roll = after(roll, event('b', 'begun'), event('c', 'left-alone'));
    assert.equal(roll.phase, 'stopping');
    assert.equal(after(roll, event('b', 'succeeded')).phase, 'stopped');
  });

  it('changes nothing for what is late, comes twice, or is about a host that is not in it', () => {
    const roll = after(rollOf([['a'], ['b']]), event('a', 'succeeded'));
    const late = [
      event('a', 'begun'),
      event('a', 'taken-back'),
      event('z', 'failed'),
      event('b', 'succeeded'),
    ];
    assert.equal(advance(roll, late), roll);
  });
});

describe('what a host obeys', () => {
  it('is each instruction once, none after a later one, and none of an older leader', () => {
    const obeyed = { serial: 4, action: 'withdraw', epoch: 7 } as const;
    assert.equal(judge(undefined, { serial: 1, action: 'restart', epoch: 1 }), 'obey');
    assert.equal(judge(obeyed, { serial: 4, action: 'withdraw', epoch: 9 }), 'repeated');
    assert.equal(judge(obeyed, { serial: 4, action: 'undo', epoch: 7 }), 'obey');
    assert.equal(judge(obeyed, { serial: 4, action: 'undo', epoch: 6 }), 'older');
    assert.equal(judge(obeyed, { serial: 4, action: 'restart', epoch: 9 }), 'older');
    assert.equal(judge(obeyed, { serial: 3, action: 'undo', epoch: 9 }), 'older');
    assert.equal(judge(obeyed, { serial: 5, action: 'restart', epoch: 7 }), 'obey');
  });
});

const host = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const small = fc.nat(3);
/** What happens next in the world, by the name of what does it. */
const step = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(fc.constant('elect' as const)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('kill' as const), small) },
  { weight: 10, arbitrary: fc.tuple(fc.constant('look' as const), small, host, small) },
  { weight: 8, arbitrary: fc.tuple(fc.constant('flush' as const), small, small) },
  { weight: 8, arbitrary: fc.tuple(fc.constant('read' as const), host, small) },
  { weight: 8, arbitrary: fc.tuple(fc.constant('finish' as const), host, fc.nat(9)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('hear' as const), small, host, fc.boolean()) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('watched' as const), small) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('watch' as const), small) },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constant('ask' as const),
      fc.constantFrom('pause' as const, 'resume' as const, 'abort' as const, 'undo' as const),
    ),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function happens(world: RollWorld, one: Step): unknown {
  switch (one[0]) {
    case 'elect':
      return world.elect();
    case 'kill':
      return world.kill(one[1]);
    case 'look':
      return world.look(one[1], one[2], one[3]);
    case 'flush':
      return world.flush(one[1], one[2]);
    case 'read':
      return world.read(one[1], one[2]);
    case 'finish':
      return world.finish(one[1], one[2] > 0);
    case 'hear':
      return world.happen(one[1], [event(one[2], one[3] ? 'heard' : 'silent')]);
    case 'watched':
      return world.happen(one[1], [{ type: 'watched' }]);
    case 'watch':
      return world.watch(one[1]);
    case 'ask':
      return world.ask(one[1]);
  }
}

it('a roll ends as was decided, whatever is lost, late or repeated, and whoever is killed', () => {
  const ends = new Map<string, number>();
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(
      sequenceOf(step, { maxLength: 150 }),
      fc.constantFrom('undo' as const, 'stop' as const),
      fc.integer({ min: 1, max: 3 }),
      fc.boolean(),
      fc.boolean(),
      (steps, onFailure, maxUnavailable, isLeaderKept, comesLate) => {
        const world = new RollWorld(rollOf([['a'], ['b', 'c'], ['d', 'e']], { onFailure, maxUnavailable }));
        world.elect();
        for (const one of steps) happens(world, one);
        world.settle(isLeaderKept, comesLate);
        world.assertSettled();
        for (const state of world.statesSeen) seen.set(state, (seen.get(state) ?? 0) + 1);
        ends.set(world.roll.phase, (ends.get(world.roll.phase) ?? 0) + 1);
      },
    ),
    { ...RUNS, includeErrorInReport: true },
  );
  for (const phase of ['done', 'undone', 'stopped']) assert.ok(ends.get(phase), `none of them was ${phase}`);
  for (const state of Object.keys(hostStates)) assert.ok(seen.get(state), `no host was ever ${state}`);
});
