import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RestartQueue } from '#moult/supervisor/restart/restart-queue.js';
import { turns } from '../../support/events.js';

/** A queue whose restarts end when they are told to. */
function queue() {
  const began: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  let isStarting = false;
  let startOver = () => {};
  const queued = new RestartQueue<string, string>(
    {
      isUnderWay: () => isStarting,
      over: () =>
        new Promise((resolve) => {
          startOver = () => {
            isStarting = false;
            resolve();
          };
        }),
    },
    (asked) => {
      began.push(asked);
      return new Promise((resolve, reject) =>
        ends.set(asked, (error) => (error === undefined ? resolve(`${asked} is done`) : reject(error))),
      );
    },
  );
  return {
    queued,
    began,
    end: async (asked: string, error?: Error) => {
      ends.get(asked)?.(error);
      await turns();
    },
    starts: () => {
      isStarting = true;
    },
    startOver: async () => {
      startOver();
      await turns();
    },
  };
}

describe('restarts that are asked for', () => {
  it('during another one follow it, and those that ask for the same are one', async () => {
    const { queued, began, end } = queue();
    const first = queued.enqueue('wait', 'a');
    const second = queued.enqueue('wait', 'b');
    const third = queued.enqueue('wait', 'b');
    await turns();
    assert.deepEqual(began, ['a']);
    await end('a');
    assert.deepEqual(began, ['a', 'b']);
    await end('b');
    assert.deepEqual(await Promise.all([first, second, third]), ['a is done', 'b is done', 'b is done']);
    assert.deepEqual(began, ['a', 'b']);
    assert.equal(queued.isRunning, false);
  });

  it('for something else are not swallowed by one that waits already', async () => {
    const { queued, began, end } = queue();
    const all = ['a', 'b', 'c', 'b'].map((asked) => queued.enqueue('wait', asked));
    for (const asked of ['a', 'b', 'c', 'b']) {
      await turns();
      await end(asked);
    }
    assert.deepEqual(began, ['a', 'b', 'c', 'b']);
    assert.deepEqual(await Promise.all(all), ['a is done', 'b is done', 'c is done', 'b is done']);
  });

  it('go ahead after one that failed', async () => {
    const { queued, began, end } = queue();
    const first = queued.enqueue('wait', 'a');
    const second = queued.enqueue('wait', 'b');
    const failure = assert.rejects(first, /no/);
    await end('a', new Error('no'));
    await failure;
    assert.deepEqual(began, ['a', 'b']);
    await end('b');
    assert.equal(await second, 'b is done');
  });

  it('during a start that no restart asked for wait for it', async () => {
    const { queued, began, end, starts, startOver } = queue();
    starts();
    const first = queued.enqueue('wait', 'a');
    await turns();
    assert.deepEqual(began, []);
    await startOver();
    assert.deepEqual(began, ['a']);
    await end('a');
    assert.equal(await first, 'a is done');
  });

  it('are refused while another is under way or waits, where that was asked', async () => {
    const { queued, end } = queue();
    const first = queued.enqueue('wait', 'a');
    await assert.rejects(queued.enqueue('refuse', 'a'), { code: 'MOULT_RESTART_IN_PROGRESS' });
    await end('a');
    await first;
    const next = queued.enqueue('refuse', 'a');
    await end('a');
    assert.equal(await next, 'a is done');
  });
});
