import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { EntryLink, Parts } from '#moult/state/state-entry.js';
import { ValueEntry } from '#moult/state/value-entry.js';

/** A number with a link to the generation before, and to two that come after; what was added late is added here. */
function between() {
  const value = { count: 0 };
  const entry = new ValueEntry<number>('count', {
    save: () => value.count,
    restore: (count) => {
      value.count = count;
    },
    late: (atEnd, atHandover) => {
      value.count += atEnd - atHandover;
    },
  });
  const [before, after, next] = [1, 2, 3].map((pid) => entry.link(pid)) as [EntryLink, EntryLink, EntryLink];
  return { value, before, after, next };
}

/** What the parts tell; they are sent as bytes up to this number, and not read. */
async function told(link: EntryLink, parts: Parts, upTo: number): Promise<unknown[]> {
  const all: unknown[] = [];
  for (let step = parts.next(0); !step.done; step = parts.next(1)) {
    all.push(await step.value);
    link.sent?.(upTo);
  }
  return all;
}

const late = (atEnd: number, atHandover: number) => ({ late: { atEnd, atHandover } });

describe('a value that was given away', () => {
  it('is told at once to who has it when the one before adds to it, and to nobody else', async () => {
    const { value, before, after, next } = between();
    let changes = 0;
    after.note(() => {
      changes += 1;
    });
    assert.deepEqual(await told(after, after.rest(1), 1), [{ value: 0 }]);
    await before.take(late(5, 3), 1);
    assert.equal(value.count, 2);
    assert.deepEqual([changes, after.changes, next.changes], [1, 1, 0]);
    assert.deepEqual(await told(after, after.rest(1), 2), [late(2, 0)]);
    assert.equal(after.changes, 0);
  });

  it('is not told to the one that adds to it', async () => {
    const { before, after } = between();
    for (const link of [before, after]) await told(link, link.rest(1), 1);
    await before.take(late(5, 3), 1);
    assert.deepEqual([before.changes, after.changes], [0, 1]);
  });

  it('is told to the next one when the one that had it is gone and had not read what was added', async () => {
    const { before, after, next } = between();
    await told(after, after.rest(1), 1);
    await before.take(late(5, 3), 1);
    await told(after, after.rest(1), 2);
    assert.deepEqual([...(after.unread ?? [])], ['count']);
    next.goOn(after);
    assert.equal(next.changes, 1);
    assert.deepEqual(await told(next, next.rest(1), 1), [late(2, 0)]);
  });

  it('is not told to the next one when the one that had it had read it', async () => {
    const { before, after, next } = between();
    await told(after, after.rest(1), 1);
    await before.take(late(5, 3), 1);
    await told(after, after.rest(1), 2);
    after.read?.(2);
    next.goOn(after);
    assert.equal(next.changes, 0);
    await before.take(late(9, 5), 1);
    assert.deepEqual(await told(next, next.rest(1), 1), [late(6, 2)]);
  });
});
