import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ServiceEvent } from '#moult/lifecycle/service-events.js';
import type { Message } from '#moult/protocol/messages.js';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { ServiceMachine } from '#moult/supervisor/process/service-machine.js';
import { ServingState, type ServingStateParts } from '#moult/supervisor/serving/serving-state.js';

const LEFT: Message<'left'> = { type: 'left', pid: 7, names: ['tcp://*:1'], closed: false };

/** What follows where a generation says that a process of it has left its listeners. */
function follows(
  left: Partial<Message<'left'>>,
  circumstances: {
    isInProbation?: boolean;
    isStopping?: boolean;
    isTakenOver?: boolean;
    isHandingOver?: boolean;
  } = {},
): string[] {
  const done: string[] = [];
  const generation = { number: 1, kill: () => done.push('killed') } as unknown as GenerationProcess;
  const note = (text: string) => void done.push(text.includes('worker thread') ? 'told of a thread' : 'told');
  const {
    isInProbation = false,
    isStopping = false,
    isTakenOver = false,
    isHandingOver = false,
  } = circumstances;
  const machine = new ServiceMachine({ warn: (what: string) => done.push(what) });
  const events: ServiceEvent[] = ['start', 'serves'];
  if (isStopping) events.push('stop');
  if (isTakenOver) events.push('offer');
  for (const event of events) machine.on(event);
  const parts = {
    generations: { current: generation, machine },
    restarts: { isHandingOver },
    probation: {
      successor: isInProbation ? generation : undefined,
      fail: () => done.push('failed') > 0,
    },
    manager: { tell: () => {} },
    log: { warn: note, error: note },
  };
  new ServingState(parts as unknown as ServingStateParts).left(generation, { ...LEFT, ...left });
  return done;
}

describe('listeners that a process of a service has left', () => {
  it('end the generation, unless that is the affair of who started the process', () => {
    assert.deepEqual(follows({}), ['told', 'killed']);
    assert.deepEqual(follows({ closed: true, failed: true }), ['told']);
    assert.deepEqual(follows({ closed: true, thread: 2 }), ['told of a thread']);
  });

  it('fail a probation, also of a helper that has failed, and not of one that was done', () => {
    assert.deepEqual(follows({}, { isInProbation: true }), ['failed']);
    assert.deepEqual(follows({ closed: true, failed: true }, { isInProbation: true }), ['failed']);
    assert.deepEqual(follows({ closed: true }, { isInProbation: true }), ['told']);
  });

  it('fail a probation also while connections still move, and are told of in any handover', () => {
    const circumstances = { isHandingOver: true, isInProbation: true };
    assert.deepEqual(follows({}, circumstances), ['failed']);
    assert.deepEqual(follows({ closed: true, failed: true }, circumstances), ['failed']);
    assert.deepEqual(follows({ closed: true }, { isHandingOver: true }), ['told']);
    // Who serves afterwards is not known yet, and it is said again.
    assert.deepEqual(follows({}, { isHandingOver: true }), []);
  });

  it('cut neither what serves in the delay of a stop, nor what another supervisor takes over', () => {
    assert.deepEqual(follows({}, { isStopping: true }), []);
    assert.deepEqual(follows({}, { isTakenOver: true }), []);
  });
});
