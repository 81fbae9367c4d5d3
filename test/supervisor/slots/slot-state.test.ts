import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lostOf, whatIsLost } from '#moult/supervisor/slots/slot-state.js';

const timers = (name: string, entries: number) => ({ kind: 'timers' as const, name, entries });

describe('what is lost where slots end', () => {
  it('is nothing where they have nothing, or all of it goes to another slot', () => {
    assert.deepEqual(lostOf([{ index: 1 }], [{ index: 0 }]), []);
    const all = [timers('reminders', 7), timers('others', 0)];
    assert.deepEqual(
      lostOf([{ index: 1, passable: all }], [{ index: 0, passable: [timers('reminders', 0)] }]),
      [],
    );
  });

  it('is each value, and the entries of each map, of all slots that end', () => {
    const declared = [{ name: 'counter' }, { name: 'sessions', entries: 3 }];
    const lost = lostOf(
      [
        { index: 1, declared },
        { index: 2, declared },
      ],
      [{ index: 0, declared }],
    );
    assert.deepEqual(lost, [
      { name: 'counter', slots: 2 },
      { name: 'sessions', entries: 6, slots: 2 },
    ]);
    assert.deepEqual(lost.map(whatIsLost), [
      'the state counter of 2 slots',
      '6 entries of the map sessions of 2 slots',
    ]);
  });

  it('is timers and jobs that one of the other slots does not know, whichever of them would have had them', () => {
    const leaving = [{ index: 2, passable: [timers('reminders', 7)] }];
    const knows = { index: 0, passable: [timers('reminders', 0)] };
    const knowsOther = { index: 1, passable: [timers('others', 0)] };
    const lost = [{ ...timers('reminders', 7), slots: 1 }];
    assert.deepEqual(lostOf(leaving, [{ index: 0 }]), lost);
    assert.deepEqual(lostOf(leaving, [knowsOther]), lost);
    assert.deepEqual(lostOf(leaving, [knows, knowsOther]), lost);
    assert.deepEqual(lostOf(leaving, [knows, { index: 1 }]), [], 'one without any gets none');
    assert.deepEqual(lost.map(whatIsLost), ['7 timers of the name reminders of one slot']);
  });

  it('may be anything of one that did not say', () => {
    const lost = lostOf([{ index: 3, isSilent: true }], [{ index: 0 }]);
    assert.deepEqual(lost.map(whatIsLost), ['whatever slot 3 has, which did not say in time']);
  });
});
