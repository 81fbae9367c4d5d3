import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultOptions } from '#moult/supervisor/options.js';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { ServiceMachine } from '#moult/supervisor/process/service-machine.js';
import { ServingState, type ServingStateParts } from '#moult/supervisor/serving/serving-state.js';

const COMMITTED = 10;

/** What is sent to a generation that has served, was undone, and then says again that it serves. */
function sent(toldEpoch: number, { saidAtCommit }: { saidAtCommit: boolean }): string[] {
  const types: string[] = [];
  const one = (number: number) => ({
    number,
    isEnding: false,
    isSecond: false,
    isUndone: false,
    isOurs: false,
    predecessor: undefined as unknown,
    livingPredecessor: undefined as unknown,
    servingSince: undefined as number | undefined,
    release: {},
    beginToServe() {
      this.servingSince = 0;
    },
    hasServed: () => {},
    serves: new Promise<void>(() => {}),
    exited: new Promise<void>(() => {}),
    lifeline: { send: ({ type }: { type: string }) => types.push(type) },
  });
  const [first, second] = [one(1), one(2)];
  Object.assign(first, { servingSince: 0 });
  Object.assign(second, { predecessor: first, livingPredecessor: first });
  const machine = new ServiceMachine({ warn: (what: string) => assert.fail(what) });
  machine.on('start');
  machine.on('serves');
  const nothing = () => {};
  const generations = { machine, current: first as unknown, epoch: COMMITTED - 1, reached: nothing };
  const parts = {
    generations,
    options: defaultOptions,
    probation: { begin: nothing },
    crashRecovery: { cancel: nothing },
    held: { namesOf: () => [] },
    releases: { listened: nothing },
    restarts: { handoverTo: () => ({ done: new Promise(() => {}), committed: nothing }) },
    manager: { accepting: nothing, serving: nothing },
    journal: { write: nothing },
    log: { error: nothing, warn: nothing, info: nothing },
  };
  const state = new ServingState(parts as unknown as ServingStateParts);
  const successor = second as unknown as GenerationProcess;
  state.serving(successor, saidAtCommit ? COMMITTED : undefined);
  // Its predecessor serves again, and then another that was started because that one died.
  second.isEnding = true;
  generations.current = one(3);
  types.length = 0;
  state.serving(successor, toldEpoch);
  return types;
}

describe('a generation that was undone, and says that it serves beside another', () => {
  it('is told to drain', () => {
    assert.deepEqual(sent(COMMITTED + 5, { saidAtCommit: true }), ['retire']);
  });

  it('is left alone where that is what it said at its commit, and comes late', () => {
    assert.deepEqual(sent(COMMITTED, { saidAtCommit: true }), []);
    assert.deepEqual(sent(COMMITTED, { saidAtCommit: false }), []);
  });
});
