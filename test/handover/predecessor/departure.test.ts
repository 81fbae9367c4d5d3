import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Departure } from '#moult/handover/predecessor/departure.js';
import type { DrainReport } from '#moult/protocol/messages.js';
import { StateEntries } from '#moult/state/state-entries.js';
import { Tasks } from '#moult/tasks/tasks.js';
import { turns, until } from '../../support/events.js';
import { ModelListener, surroundings } from '../surroundings.js';

/** One that has nothing to wait for. */
function departure(): { leave: Departure; said: string[] } {
  const said: string[] = [];
  const context = surroundings({
    listeners: new ModelListener().registry,
    state: new StateEntries(() => undefined as never),
    tasks: new Tasks(undefined, { failed: () => {}, idle: () => {} }),
    epoch: 1,
    isBeingFed: () => false,
  });
  const leave = new Departure(
    context,
    { servers: [], datagrams: [] },
    {
      takers: [],
      heirs: [],
      times: { timeoutMs: 60_000, spreadMs: 0 },
      flows: undefined,
      giving: undefined,
      isForGood: () => true,
      over: ({ moved }: DrainReport) => said.push(`over, ${moved} moved`),
    },
  );
  return { leave, said };
}

describe('what leaves a generation', () => {
  it('is not over before the operator was told what has moved: the process ends then', async () => {
    const { leave, said } = departure();
    let tell!: () => void;
    leave.told = new Promise<void>((resolve) => {
      tell = () => resolve(void said.push('told'));
    });
    await turns(5);
    assert.deepEqual(said, []);
    tell();
    await until(() => said.length === 2, 'it is over');
    assert.deepEqual(said, ['told', 'over, 0 moved']);
  });

  it('is over where that could not be told', async () => {
    const { leave, said } = departure();
    leave.told = Promise.reject(new Error('its supervisor is gone'));
    await until(() => said.length === 1, 'it is over');
  });

  it('is over by itself where nothing is to be told', async () => {
    const { said } = departure();
    await until(() => said.length === 1, 'it is over');
  });
});
