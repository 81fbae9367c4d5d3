import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ServiceEvent, ServiceState } from '#moult/lifecycle/service-events.js';
import { serviceStep, serviceTable } from '#moult/lifecycle/service-states.js';

const states = Object.keys(serviceTable) as ServiceState[];
const events = [...new Set(states.flatMap((state) => Object.keys(serviceTable[state].on)))] as ServiceEvent[];

/** Where one may come from a state. */
function nextOf(state: ServiceState): ServiceState[] {
  return events.flatMap((event) => {
    const { to, isExpected } = serviceStep(state, event);
    return isExpected ? to : [];
  });
}

describe('the states of a service', () => {
  it('are all reached from the first one', () => {
    const known = new Set<ServiceState>(['empty']);
    for (const state of known) for (const next of nextOf(state)) known.add(next);
    assert.deepEqual(
      states.filter((state) => !known.has(state)),
      [],
    );
  });

  it('all end by a stop, and nothing follows its end', () => {
    for (const state of states) {
      const { to } = serviceStep(state, 'finish');
      assert.equal(to, 'stopped', state);
      const stopped = serviceStep(state, 'stop').to;
      assert.ok(stopped === 'stopping' || state === 'stopped', `${state} by a stop is ${stopped}`);
    }
    assert.deepEqual(new Set(nextOf('stopped')), new Set(['stopped']));
    assert.deepEqual(new Set(nextOf('stopping')), new Set(['stopping', 'stopped']));
  });

  it('name an event once: it leads somewhere, or is ignored', () => {
    for (const [state, { on, ignores }] of Object.entries(serviceTable)) {
      assert.deepEqual(
        ignores.filter((event) => event in on),
        [],
        state,
      );
      assert.equal(new Set(ignores).size, ignores.length, `${state} ignores something twice`);
    }
  });

  it('say what follows from the end of the one that serves, wherever one may', () => {
    const nobody = ['empty', 'resuming', 'waiting', 'reviving', 'orphaned'];
    for (const state of states.filter((one) => !nobody.includes(one)))
      for (const event of ['done', 'crashed', 'crashed-with-heir', 'crashed-in-probation'] as const)
        assert.ok(serviceStep(state, event).isExpected, `${event} while ${state}`);
  });

  it('start the last good release wherever nobody is left', () => {
    for (const state of states) {
      const { to, action } = serviceStep(state, 'nobody-left');
      assert.equal(to === 'waiting' && state !== 'waiting', action === 'revive', state);
    }
  });

  it('have nobody wait for a service for good, whatever comes unexpected', () => {
    assert.deepEqual(serviceStep('resuming', 'crashed'), {
      to: 'waiting',
      action: 'revive',
      isExpected: false,
    });
    assert.deepEqual(serviceStep('empty', 'serves'), {
      to: 'serving',
      action: undefined,
      isExpected: false,
    });
    for (const state of ['leaving', 'stopping', 'stopped'] as const)
      for (const event of events)
        assert.notEqual(serviceStep(state, event).action, 'revive', `${event}, ${state}`);
  });
});
