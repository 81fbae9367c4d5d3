import { it } from 'node:test';
import { comesBackTo, openDescriptors, warmUp } from './descriptors.js';

/** Registers what is to be done after a test, the last first. */
export type Later = (undo: () => unknown) => void;

let isWarm = false;

/** A test that must leave no descriptor behind, and close none that is not its own. */
export function tidy(
  name: string,
  body: (later: Later) => unknown,
  options: { skip?: string | false } = {},
): void {
  it(name, options, async () => {
    if (!isWarm) await warmUp();
    isWarm = true;
    const before = openDescriptors();
    const undos: (() => unknown)[] = [];
    let failed = true;
    try {
      await body((undo) => undos.push(undo));
      failed = false;
    } finally {
      for (const undo of undos.reverse()) await undo();
      // After a failure the next test must still find what it expects.
      if (failed) await comesBackTo(before, 1500).catch(() => {});
      else await comesBackTo(before);
    }
  });
}
