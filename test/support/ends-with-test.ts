import { afterEach } from 'node:test';

const ends = new Set<() => unknown>();

/** Has something done when the test that runs now is over, whatever became of it: what goes on for ever would hold the file. For tests that run one after another. */
export function endsWithTest(end: () => unknown): void {
  ends.add(end);
}

afterEach(async () => {
  const due = [...ends];
  ends.clear();
  for (const end of due) await end();
});
