import type { Line } from '../../channel/line.js';
import type { JournalEntry } from '../../lifecycle/journal-entry.js';
import type { GenerationFactory } from '../process/generation-factory.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { ProgramGeneration, type ProgramMeans } from './program-generation.js';

/** What is needed to make generations of a program, as it is when one is made. */
export interface ProgramFactoryParts {
  means(): ProgramMeans;
  /** Listens to what a generation says. */
  listen(generation: GenerationProcess, line: Line): void;
}

/** Makes generations of a service that is a program which knows nothing of moult. */
export function programFactory({ means, listen }: ProgramFactoryParts): GenerationFactory {
  const heard = (generation: ProgramGeneration) => {
    if (generation.lifeline !== undefined) listen(generation, generation.lifeline);
    return generation;
  };
  return {
    start: (number, release, settings, predecessor) =>
      heard(ProgramGeneration.startProgram(number, release, settings, means(), predecessor)),
    adopt: (number, release, settings, tree) =>
      heard(ProgramGeneration.adoptProgram(number, release, settings, tree, means())),
  };
}

/**
 * The generation that served when a journal ended, where it serves still: a program cannot say so itself. Pure.
 * @returns its number.
 */
export function servedLast(entries: readonly JournalEntry[]): number | undefined {
  let serving: number[] = [];
  for (const { event, generation: number = 0 } of entries) {
    if (event === 'serving') serving.push(number);
    if (event === 'undone' || event === 'exited' || event === 'stopping')
      serving = serving.filter((one) => one !== number);
    // From then on those before it have their stop signal.
    if (event === 'confirmed') serving = serving.filter((one) => one >= number);
  }
  return serving.at(-1);
}
