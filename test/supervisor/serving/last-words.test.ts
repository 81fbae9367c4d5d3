import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Logger } from 'pino';
import type { ServiceManagerLink } from '#moult/service-manager/service-manager.js';
import type { Journal } from '#moult/supervisor/journal/journal.js';
import type { HeldListeners } from '#moult/supervisor/listeners/held-listeners.js';
import { defaultOptions, settingsOf } from '#moult/supervisor/options.js';
import { OutputTail } from '#moult/supervisor/output/output-tail.js';
import type { GenerationFactory } from '#moult/supervisor/process/generation-factory.js';
import { GenerationNumbers } from '#moult/supervisor/process/generation-numbers.js';
import { GenerationProcess, type Lifeline } from '#moult/supervisor/process/generation-process.js';
import { Generations } from '#moult/supervisor/process/generations.js';
import type { Release } from '#moult/supervisor/releases/release.js';
import { nothingLeft } from '#moult/supervisor/restart/exclusive-changeover.js';
import { Shutdown, type ShutdownSlot } from '#moult/supervisor/serving/shutdown.js';
import { End } from '../../support/end.js';
import { soon, turns } from '../../support/events.js';

/*
 * Node collects every child that has ended when it hears of any: the end of a generation may be known before what it wrote
 * last has been read. Here it always is.
 */

const log = { debug: () => {}, info: () => {}, warn: () => {} } as unknown as Logger;
const report = { moved: 1, drained: 2, cut: [] };

/** A service with one generation, which serves; what is journaled of it. */
function service() {
  const told: string[] = [];
  const journal = { write: ({ event }: { event: string }) => told.push(event) } as unknown as Journal;
  const nobody = {} as GenerationFactory;
  const generations = new Generations(defaultOptions, nobody, journal, log, new GenerationNumbers());
  let end!: (exit: { code: number; signal: null }) => void;
  const exited = new Promise<{ code: number; signal: null }>((resolve) => {
    end = resolve;
  });
  const tree = { pid: -1, exited, output: new OutputTail() };
  const generation = new GenerationProcess(1, {} as Release, settingsOf(defaultOptions, false, false), tree);
  const [ours, theirs] = End.pair(process.pid, process.pid);
  generation.attach(ours as unknown as Lifeline);
  ours.on('drained', () => {
    told.push('drained');
    generation.hasDrained(report);
  });
  generation.beginToServe();
  generations.addForeign(generation);
  generations.current = generation;
  const ends = async () => {
    theirs.send({ type: 'drained' });
    theirs.close();
    end({ code: 0, signal: null });
    await turns(5);
  };
  const isRead = () => {
    while (ours.waiting > 0) ours.deliver();
    ours.close();
  };
  return { told, journal, generations, generation, ends, isRead };
}

describe('what a generation said before its end, of which is heard first', () => {
  it('is known before a stop is over', async () => {
    const { told, journal, generations, ends, isRead } = service();
    const nothing = { cancel: () => {}, stop: () => {}, callOff: () => {} };
    const slot = { generations, restarts: nothing, probation: nothing, crashRecovery: nothing };
    const shutdown = new Shutdown({
      slots: () => [slot as unknown as ShutdownSlot],
      held: { names: () => [] } as unknown as HeldListeners,
      manager: { stopping: () => {}, keepsListeners: false } as unknown as ServiceManagerLink,
      options: defaultOptions,
      journal,
      log,
    });
    const stopped = shutdown.stop();
    await ends();
    assert.equal(shutdown.state, 'stopping');
    isRead();
    await soon(stopped, 'the stop');
    assert.equal(await soon(shutdown.ended, 'the end'), 0);
    assert.deepEqual(told, ['stop', 'drained', 'exited']);
  });

  it('is what became of its connections, for who waits until it has drained', async () => {
    const { generations, generation, ends, isRead } = service();
    // Another one has taken over from it.
    generations.current = undefined;
    await ends();
    isRead();
    assert.deepEqual(await soon(generation.drained, 'the report'), report);
  });

  it('is waited for, and all else goes on meanwhile, before another one begins in its place', async () => {
    const { told, generations, generation, ends, isRead } = service();
    generation.isEnding = true;
    // What asks again and again in one turn keeps all else from happening.
    const own = generations.own.bind(generations);
    let asked = 0;
    generations.own = () => {
      asked += 1;
      if (asked > 100) throw new Error('it asks again and again');
      return own();
    };
    const left = nothingLeft(generations, defaultOptions, log);
    left.catch(() => {});
    await ends();
    isRead();
    await soon(left, 'the end');
    assert.deepEqual(told, ['drained', 'exited']);
  });

  it('is not waited for for ever where another process holds its channel open', async () => {
    const { told, generations, generation, ends } = service();
    generation.isEnding = true;
    await ends();
    assert.deepEqual(told, []);
    await soon(generations.allGone(), 'the end');
    assert.deepEqual(told, ['exited']);
    assert.equal(await generation.drained, undefined);
  });

  it('is not waited for after a crash of the one that serves: clients wait for the next one', async () => {
    const { told, ends } = service();
    await ends();
    assert.deepEqual(told, ['exited']);
  });
});
