import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isOver, mayAsk } from '#moult/fleet/roll/asking.js';
import type { Asked, Roll } from '#moult/fleet/roll/roll.js';
import { advance } from '#moult/fleet/roll/roll-machine.js';
import { rollPhases } from '#moult/fleet/roll/roll-phases.js';
import { rollOf } from './roll-world.js';

const ALL: readonly Asked[] = ['pause', 'resume', 'abort', 'undo'];
const PHASES = Object.keys(rollPhases) as Roll['phase'][];

describe('what operators ask of a roll at once', () => {
  it('is never less than what one of them has asked for', () => {
    assert.equal(mayAsk({ phase: 'rolling', asked: 'undo' }, 'pause'), 'outweighed');
    assert.equal(mayAsk({ phase: 'rolling', asked: 'undo' }, 'abort'), 'outweighed');
    assert.equal(mayAsk({ phase: 'paused', asked: 'abort' }, 'resume'), 'outweighed');
    assert.equal(mayAsk({ phase: 'rolling', asked: 'abort' }, 'undo'), 'yes');
    assert.equal(mayAsk({ phase: 'done', asked: null }, 'pause'), 'unfit');
    assert.equal(mayAsk({ phase: 'undoing', asked: null }, 'undo'), 'unfit');
  });

  it('may be taken back before a leader has heard it', () => {
    const roll = rollOf([['a'], ['b']]);
    assert.equal(mayAsk({ phase: 'rolling', asked: 'pause' }, 'resume'), 'yes');
    assert.equal(advance({ ...roll, asked: 'resume' }, []).phase, 'rolling');
    assert.equal(mayAsk({ phase: 'paused', asked: 'resume' }, 'pause'), 'yes');
    assert.equal(advance({ ...roll, phase: 'paused', asked: 'pause' }, []).phase, 'paused');
  });

  it('comes to an undo or an end wherever one of them was let ask for that', () => {
    for (const phase of PHASES) {
      for (const first of ALL.filter((one) => mayAsk({ phase, asked: null }, one) === 'yes')) {
        for (const second of ALL.filter((one) => mayAsk({ phase, asked: first }, one) === 'yes')) {
          const roll = { ...rollOf([['a'], ['b']]), phase, asked: second };
          const next = advance(roll, []).phase;
          const heavier = [first, second].includes('undo') ? 'undo' : 'abort';
          if (![first, second].includes(heavier)) continue;
          const wanted = heavier === 'undo' ? /^und/ : /^(stop|und)/;
          assert.match(next, wanted, `${phase}: ${first}, then ${second}`);
        }
      }
    }
  });

  it('keeps the next roll from beginning', () => {
    assert.ok(!isOver({ phase: 'done', asked: 'undo' }));
    assert.ok(!isOver({ phase: 'rolling', asked: null }));
    assert.ok(isOver({ phase: 'undone', asked: null }));
  });
});
