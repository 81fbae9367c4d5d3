import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { MoultError } from '#moult/errors.js';
import { defaultOptions } from '#moult/supervisor/options.js';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { ServiceMachine } from '#moult/supervisor/process/service-machine.js';
import { ServingState, type ServingStateParts } from '#moult/supervisor/serving/serving-state.js';

const { drainTimeoutMs, probationMs, stopTimeoutMs } = defaultOptions;
/** How long after a commit a predecessor may live on. */
const LIMIT_MS = Math.max(drainTimeoutMs, probationMs) + stopTimeoutMs;

const undone = new MoultError('MOULT_SUCCESSOR_LOST', 'it has ended', { serving: 'predecessor' });

/** A generation of which only matters who kills it. */
function generation(number: number) {
  const one = {
    number,
    kills: 0,
    state: async () => ({ state: 'probation' }) as { state: string } | undefined,
    isOurs: true,
    isProved: true,
    endsInTime: false,
    isUndone: false,
    servingSince: 0,
    servicePid: 100 + number,
    exited: new Promise(() => {}),
    exit: undefined,
    lastLines: [],
    giveUp: () => {},
    kill: () => {
      one.kills += 1;
    },
  };
  return one;
}

function known(...ones: ReturnType<typeof generation>[]) {
  const machine = new ServiceMachine({ warn: (what: string) => assert.fail(what) });
  machine.on('start');
  machine.on('serves');
  const generations = {
    machine,
    current: undefined as unknown,
    all: () => ones,
    numbered: (number: number) => ones.find((one) => one.number === number),
    reached: () => {},
  };
  const nothing = () => {};
  const probation = { begin: nothing, end: () => true, servesOn: nothing, predecessor: undefined as unknown };
  const parts = {
    generations,
    options: defaultOptions,
    probation,
    crashRecovery: { cancel: nothing },
    held: { undo: nothing, names: () => [] },
    restarts: { handoverTo: nothing },
    look: { whenIdle: async () => ({}) },
    manager: { isReady: true, tell: nothing },
    journal: { write: nothing },
    log: { error: nothing, warn: nothing, info: nothing },
  };
  return { generations, probation, state: new ServingState(parts as unknown as ServingStateParts) };
}

const asProcess = (one: ReturnType<typeof generation>) => one as unknown as GenerationProcess;

async function pass(t: TestContext, ms: number): Promise<void> {
  t.mock.timers.tick(ms);
  // A deadline strikes a turn later.
  for (let n = 0; n < 3; n += 1) await turn();
}

describe('the limit of a predecessor', () => {
  it('is that of its last handover: one that was undone does not strike in the next', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const [first, second, third] = [generation(1), generation(2), generation(3)];
    const { generations, state } = known(first, second, third);
    state.mayResume(asProcess(first), 2);
    await pass(t, 1000);
    state.undone(asProcess(first), 2, undone, false);
    await pass(t, LIMIT_MS - 2000);
    generations.current = third;
    state.mayResume(asProcess(first), 3);
    await pass(t, LIMIT_MS - 1);
    assert.equal(first.kills, 0, 'within the time of its second handover');
    await pass(t, 1);
    assert.equal(first.kills, 1, 'it has not ended in time');
  });

  it('does not strike while it waits for the end of the probation, unless it does not answer', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const [first, second] = [generation(1), generation(2)];
    const { generations, probation, state } = known(first, second);
    state.mayResume(asProcess(first), 2);
    generations.current = second;
    probation.predecessor = first;
    await pass(t, LIMIT_MS);
    first.state = async () => ({ state: 'verifying' });
    await pass(t, stopTimeoutMs);
    assert.equal(first.kills, 0);
    first.state = async () => {
      throw undone;
    };
    await pass(t, stopTimeoutMs);
    assert.equal(first.kills, 1);
  });

  it('strikes where it can resume no more', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const [first, second] = [generation(1), generation(2)];
    const { generations, probation, state } = known(first, second);
    state.mayResume(asProcess(first), 2);
    generations.current = second;
    probation.predecessor = first;
    first.state = async () => ({ state: 'draining' });
    await pass(t, LIMIT_MS);
    assert.equal(first.kills, 1);
  });

  it('is taken back from a successor that was to hand back, and serves on', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const [first, second, third] = [generation(1), generation(2), generation(3)];
    const { generations, state } = known(first, second, third);
    state.mayResume(asProcess(first), 2);
    state.undone(asProcess(first), 2, undone, true);
    Object.assign(second, { isUndone: true });
    generations.current = second;
    state.serving(asProcess(second), 3);
    generations.current = third;
    await pass(t, LIMIT_MS);
    assert.equal(second.kills, 0);
  });
});
