import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import {
  type HandoverEvent,
  type HandoverState,
  next,
  step,
  table,
} from '#moult/lifecycle/handover-states.js';
import fc from '../support/fast-check.js';
import { sequenceOf } from '../support/sequence.js';

const states = [
  'serving',
  'expecting',
  'inheriting',
  'ready',
  'committing',
  'probation',
  'verifying',
  'undoing',
  'returning',
  'draining',
  'ended',
] as const;
const events = [
  'expect',
  'hello',
  'pass-by',
  'ready',
  'commit',
  'committed',
  'elapsed',
  'confirm',
  'fail',
  'resume',
  'give-back',
  'taken-back',
  'retire',
  'drained',
] as const;

/** What design.md says, written down a second time: state, event, the state that follows. */
const designed = [
  ['serving', 'expect', 'expecting'],
  ['serving', 'retire', 'draining'],
  ['serving', 'give-back', 'returning'],
  ['returning', 'taken-back', 'draining'],
  ['returning', 'resume', 'serving'],
  ['expecting', 'hello', 'inheriting'],
  ['expecting', 'fail', 'serving'],
  ['inheriting', 'ready', 'ready'],
  ['inheriting', 'pass-by', 'expecting'],
  ['inheriting', 'fail', 'serving'],
  ['ready', 'commit', 'committing'],
  ['ready', 'fail', 'serving'],
  ['committing', 'committed', 'probation'],
  ['committing', 'fail', 'undoing'],
  ['probation', 'elapsed', 'verifying'],
  ['verifying', 'confirm', 'draining'],
  ['verifying', 'fail', 'undoing'],
  ['probation', 'confirm', 'draining'],
  ['probation', 'fail', 'undoing'],
  ['undoing', 'resume', 'serving'],
  ['draining', 'drained', 'ended'],
] as const satisfies readonly (readonly [HandoverState, HandoverEvent, HandoverState])[];

describe('the table of a handover', () => {
  it('has every state, and no event that the design does not have', () => {
    assert.deepEqual(Object.keys(table).sort(), [...states].sort());
    const named = new Set(Object.values(table).flatMap(({ on }) => Object.keys(on)));
    assert.deepEqual([...named].sort(), [...events].sort());
  });

  for (const state of states) {
    for (const event of events) {
      const to = designed.find(([from, what]) => from === state && what === event)?.[2];
      it(
        to === undefined ? `refuses ${event} while ${state}` : `goes from ${state} to ${to} on ${event}`,
        () => {
          assert.equal(next(state, event), to);
          if (to !== undefined) {
            assert.equal(step(state, event), to);
            return;
          }
          assert.throws(
            () => step(state, event),
            (error) => {
              assert.ok(error instanceof MoultError);
              assert.equal(error.code, 'MOULT_PROTOCOL_ORDER');
              assert.equal(error.stage, state);
              assert.equal(error.serving, table[state].accepts);
              assert.ok(error.message.includes(event) && error.message.includes(state));
              return true;
            },
          );
        },
      );
    }
  }

  it('lets nobody accept only while committing, undoing and returning', () => {
    const nobody = states.filter((state) => table[state].accepts === 'none');
    assert.deepEqual(nobody, ['committing', 'undoing', 'returning']);
  });

  it('can reach the end from every state', () => {
    for (const from of states) {
      const seen = new Set<HandoverState>([from]);
      for (const state of seen) for (const to of Object.values(table[state].on)) seen.add(to);
      assert.ok(seen.has('ended'), from);
    }
  });

  it('can reach every state from the first', () => {
    const seen = new Set<HandoverState>(['serving']);
    for (const state of seen) for (const to of Object.values(table[state].on)) seen.add(to);
    assert.deepEqual([...seen].sort(), [...states].sort());
  });

  it('undoes everything before the confirmation, and nothing after it', () => {
    for (const state of states) {
      const isBefore = ['expecting', 'inheriting', 'ready'].includes(state);
      const isAfter = ['committing', 'probation', 'verifying'].includes(state);
      assert.equal(next(state, 'fail'), isBefore ? 'serving' : isAfter ? 'undoing' : undefined, state);
    }
  });
});

/** Two generations whose listeners follow what the table says; the test asks the listeners, not the table. */
class Model {
  state: HandoverState = 'serving';
  predecessorAccepts = true;
  successorAccepts = false;

  apply(event: HandoverEvent): void {
    const to = next(this.state, event);
    if (to === undefined) return;
    // By a retire the service stops; taken back the other generation has what this one had.
    const retired = event === 'retire';
    switch (to) {
      case 'committing':
        this.predecessorAccepts = false;
        break;
      case 'probation':
        this.successorAccepts = true;
        break;
      case 'undoing':
        this.successorAccepts = false;
        break;
      case 'serving':
        this.predecessorAccepts = true;
        break;
      case 'draining':
        // Without a commit before it there is no successor: the service stops.
        if (retired) this.predecessorAccepts = false;
        else if (event === 'taken-back') this.successorAccepts = true;
        break;
      case 'returning':
        this.predecessorAccepts = false;
        break;
      default:
    }
    this.state = to;
  }
}

describe('a handover', () => {
  it('has exactly one side accepting after any events, or none while it commits, undoes, or after a stop', () => {
    fc.assert(
      fc.property(sequenceOf(fc.constantFrom(...events), { maxLength: 60 }), (sequence) => {
        const model = new Model();
        let isStopped = false;
        for (const event of sequence) {
          isStopped ||= event === 'retire' && next(model.state, event) !== undefined;
          model.apply(event);
          const accepting = Number(model.predecessorAccepts) + Number(model.successorAccepts);
          if (['committing', 'undoing', 'returning'].includes(model.state) || isStopped)
            assert.equal(accepting, 0, model.state);
          else assert.equal(accepting, 1, model.state);
          const told = table[model.state].accepts;
          if (!isStopped) {
            assert.equal(told === 'predecessor', model.predecessorAccepts, model.state);
            assert.equal(told === 'successor', model.successorAccepts, model.state);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('is never undone by an event that comes late', () => {
    fc.assert(
      fc.property(sequenceOf(fc.constantFrom(...events), { maxLength: 60 }), (sequence) => {
        let state: HandoverState = 'draining';
        for (const event of sequence) {
          state = next(state, event) ?? state;
          assert.ok(state === 'draining' || state === 'ended');
        }
      }),
    );
  });
});
